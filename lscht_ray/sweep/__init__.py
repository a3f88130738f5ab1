"""A sweep without Ray: what is tried, what was found, and who goes on.

`folder` makes a sweep's folder or opens it again; `study` proposes trials (Optuna) and outlives the driver; `firsts`
says what is tried first; `record` is one trial, `ledger` keeps the facts of all,
`summary` writes them down as the sweep goes on; `judge` stops weak trials by the rules of `asha`; `budget`
ends the sweep; `rescue` is what a trial that starts again finds; `winner` keeps the best model; `view` and `results`
show what was found, `ending` how it ended; `plan` says what a sweep will do and cost.
"""
