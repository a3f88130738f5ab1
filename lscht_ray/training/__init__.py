"""One training run, whoever launches it.

`early` says what can't work here, `cpu_cost` what a CPU will take; `run` trains once; `data` reads the data set that
it trains on; `build` makes its `parts`, which never change, and its `state`, which a checkpoint keeps; `loop` trains
and validates; `metrics` counts; `device` chooses where and in what precision; `quick` trains the head alone, on
features; `inference` runs a checkpoint's model over clips, `evaluation` evaluates it on a split; `plan` says what a
run will do and cost.
"""
