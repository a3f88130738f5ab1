"""Every setting of every door, typed, frozen and documented; and the command line and YAML files that are made of them.

Public modules: `allowed` and `synonyms` (what is said of a wrong value or name), `columns` (where things stand in a
table), `commandline`, `complaints` (what is wrong with settings), `data` (which clips, and how they are read), `elan`
(which annotations are signs), `evaluate`, `files` (YAML and JSON, checked), `help`, `parser` (flags), `space` (one
searched setting), `sweep`, `train`.
"""
