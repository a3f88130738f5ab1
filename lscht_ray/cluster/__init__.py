"""The only folder that imports Ray, beside the door `tune`.

`connect` joins or starts a cluster, with `surroundings`; `loss` notices that it is gone; `room` works out how many
trials fit; `driver` runs a sweep with Ray Tune, whose questions `search` answers and whose trials `watch` follows;
`trial` is a trial with Ray Train's workers and `actor` one in a process that stays; `worker` trains, and `report` tells
Ray of each epoch.
"""
