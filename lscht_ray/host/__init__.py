"""This machine: files, disks, processes, signals and the terminal. Knows nothing of clips, runs or sweeps.

Public modules: `children` (child processes that answer questions), `console` (what a person sees), `cpus`, `deadline`
(a time limit for Python's own work), `disk` (room and file systems), `environment` (variables set for a library),
`files` (the user's files), `gpus`, `interrupt` (Ctrl-C and SIGTERM), `layout` (what fits into a terminal), `lock` (one
writer per folder), `neighbours` (other sweeps on this machine), `processes`, `watchdog` (ends a run that hangs).
"""
