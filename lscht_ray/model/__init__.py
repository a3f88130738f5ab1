"""VideoMAE and what trains it.

Public modules: `adapt` (what a recipe changes), `card` (says beside an exported model how its clips are made), `ema`
(averaged weights), `features` (what the backbone gives the head), `hub` (whether a name can be had), `loss`, `optim`
(parameter groups, the learning rate of each step), `positions` (where tokens are), `shape` (for which clips a
checkpoint was made), `videomae` (builds and exports the model), `weights` (says what is wrong with a model's files).
"""
