"""What a sweep will do and cost, found out in seconds: ``--plan`` of `tune`."""

import math
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console

from lscht_ray.artifacts import places
from lscht_ray.checking.usable import ClipSet
from lscht_ray.host.cpus import usable_cpus
from lscht_ray.settings.files import read_json
from lscht_ray.settings.sweep import LEARNERS, SweepConfig
from lscht_ray.shown import counted
from lscht_ray.sweep import asha
from lscht_ray.sweep.judge import rungs
from lscht_ray.training.plan import Plan, cost, duration, plan_run

NOISE_OF_LEARNERS, NOISE_OF_OTHERS = 0.5, 2.0
"""Noise with which `asha.likely_to_go_on` foretells sweeps best (docs/log.md): where a sampler learns, later trials are
better ones, and more go on."""


def trials_in_all(sweep: SweepConfig) -> int:
    """How many trials there will be: of a grid no more than it has combinations."""
    if sweep.sampler.type != "grid":
        return sweep.num_trials
    return min(sweep.num_trials, math.prod(len(values) for values in sweep.grid().values()))


def left_in(folder: Path, num_trials: int) -> int:
    """How many of a sweep's trials have still to be run or to be finished, by its summary."""
    file = folder / places.SUMMARY
    trials = read_json(file).get("trials", []) if file.is_file() else []
    return max(0, num_trials - sum(trial["status"] not in ("running", "interrupted") for trial in trials))


def likely_trials(sweep: SweepConfig, trials: int | None = None) -> list[float]:
    """How many trials will probably run each epoch, the first one first; of so many, or all."""
    stops, epochs = rungs(sweep), sweep.train.max_epochs
    noise = NOISE_OF_LEARNERS if sweep.sampler.type in LEARNERS else NOISE_OF_OTHERS
    trials = trials_in_all(sweep) if trials is None else trials
    going_on = asha.likely_to_go_on(trials, len(stops), sweep.asha.reduction_factor, noise)
    running = [float(trials), *going_on]
    return [running[bisect_left(stops, epoch)] for epoch in range(1, epochs + 1)]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Within, torch computes with so many CPU threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def plan_sweep(sweep: SweepConfig, clip_set: ClipSet, screen: Console, left: int | None = None) -> Plan:
    """Plan a sweep and print the plan. Every trial is taken to cost what the first one does.

    Args:
        sweep: The sweep.
        clip_set: The data set.
        screen: Where it is said.
        left: Trials that are still to be run, of a sweep that goes on; None: all.

    Raises:
        InputError: The model, the device or a setting can't be used.
    """
    with _threads(min(usable_cpus(), sweep.resources.threads)):  # as a trial's worker has them
        plan = plan_run(sweep.train, clip_set, screen, sweep.resources.workers_per_trial, under="train.")
    count = trials_in_all(sweep) if left is None else left
    if not count:
        screen.print("sweep: no trial is left to run; --extend N adds some")
        return plan
    most, likely = [float(count)] * sweep.train.max_epochs, likely_trials(sweep, count)
    text, forecasts = (
        f"sweep: {counted(count, 'trial')}{'' if left is None else ' left'}; {sum(most):.0f} epochs at most",
        [("at most", most)],
    )
    if stops := ", ".join(map(str, rungs(sweep))):
        text += f", probably about {sum(likely):.0f}; ASHA's rungs at epochs {stops} (simulated: one trial in "
        text += f"{sweep.asha.reduction_factor:g} passes a rung, and more of the first to come)"
        forecasts.append(("probably", likely))
    elif sweep.trial_stopping == "median":
        text += "; how many trials the median stops is not foretold"
    for line in (text, *sweep.sampler_notes(count)):
        screen.print(line)
    for word, trials in forecasts:
        price = cost(plan, trials, sweep.train.gpu_hour_price)
        screen.print(
            f"{word}: {duration(plan.seconds(trials))} of trials on {plan.device}, one after the other; {price}"
        )
    return plan
