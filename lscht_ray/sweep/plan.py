"""What a sweep will do and cost, found out in seconds: ``--plan`` of `tune`."""

import math

from rich.console import Console

from lscht_ray.checking.usable import ClipSet
from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.sweep.judge import rungs
from lscht_ray.training.plan import Plan, cost, duration, plan_run


def likely_epochs(sweep: SweepConfig) -> int:
    """Epochs in all, if at every rung one trial in ``reduction_factor`` goes on. ASHA lets early trials go further."""
    total, before, running = 0.0, 0, float(sweep.num_trials)
    for rung in [*rungs(sweep), sweep.train.max_epochs]:
        total += running * (rung - before)
        before, running = rung, running / sweep.asha.reduction_factor
    return math.ceil(total)


def plan_sweep(sweep: SweepConfig, clip_set: ClipSet, screen: Console) -> Plan:
    """Plan a sweep and print the plan. Every trial is taken to cost what the first one does.

    Raises:
        InputError: The model, the device or a setting can't be used.
    """
    plan = plan_run(sweep.train, clip_set, screen, sweep.resources.workers_per_trial)
    most, likely = sweep.num_trials * sweep.train.max_epochs, likely_epochs(sweep)
    listed = ", ".join(map(str, rungs(sweep))) or "none"
    screen.print(
        f"sweep: {sweep.num_trials} trials; ASHA's rungs at epochs {listed}; {most} epochs at most, about {likely} "
        f"if one trial in {sweep.asha.reduction_factor:g} passes each rung"
    )
    for word, epochs in (("at most", most), ("probably", likely)):
        (price,) = cost(plan, epochs, sweep.train)
        screen.print(f"{word}: {duration(epochs * plan.epoch_seconds)} of trials on {plan.device}; {price}")
    return plan
