"""What runs and sweeps leave behind: names, checkpoints, figures, reports, and a storage that every node reaches.

Public modules: `checkpoint`, `checkpoint_file` (whether a file can be one), `figures` (what an accuracy is worth),
`fonts`, `places` (the name of every file and folder), `recorder` (config.json, metrics, TensorBoard), `report` (the
files of an evaluation), `storage` (a folder or URI that all nodes of a sweep reach).
"""
