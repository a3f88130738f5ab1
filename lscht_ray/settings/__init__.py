"""Every setting of every door, typed, frozen and documented; and the command line and YAML files that are made of them.

Public modules: `columns` (where things stand in a table), `commandline`, `data` (which clips, and how they are read),
`elan` (which annotations are signs), `files` (YAML and JSON, checked), `space` (one searched setting), `sweep`,
`train`.
"""
