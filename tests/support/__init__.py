"""What several tests need.

`doors` calls the commands, `data` draws clips, `media` encodes videos of numbered frames, `runs` trains, `sweeps`
tunes, `faults` counts the faults that tests provoke.
"""
