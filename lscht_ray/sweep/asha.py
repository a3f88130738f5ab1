"""ASHA's stopping variant as pure functions: the ladder of rungs, and whether a trial goes on from one.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020 (arXiv 1810.05934). A trial that comes to
a rung is compared at once with those that came there before; it goes on where it is among the best 1/eta of them all,
itself included, and at least the best one always does. This is what Optuna's SuccessiveHalvingPruner decides, too.
Ray's ASHAScheduler compares with an interpolated quantile of the others instead: it never stops a trial that this rule
lets on (eta of 2 and above), but lets some more on.
"""

import math
import random
from bisect import bisect_right, insort
from collections.abc import Sequence
from statistics import median

TOLERANCE = 1e-9
"""Products and quotients that are whole but for rounding count as whole."""
SIMULATED = 200
"""Sweeps that a forecast is the mean of: its error is then about 1 %."""
FEW = 3
"""A median of fewer trials says nothing."""


def ladder(grace_period: int, reduction_factor: float, max_epochs: int) -> list[int]:
    """The rungs: the whole epochs below ``max_epochs`` at or after grace_period x reduction_factor^k, each once.

    Args:
        grace_period: The first rung, from 1.
        reduction_factor: eta, at least 1.01.
        max_epochs: The last epoch, from which no trial goes on anyway.
    """
    rungs: list[int] = []
    exact = float(grace_period)
    while (rung := math.ceil(exact - TOLERANCE)) < max_epochs:
        rungs += [rung] if rung not in rungs[-1:] else []
        exact *= reduction_factor
    return rungs


def among_the_best(score: float, others: Sequence[float], reduction_factor: float, *, higher_is_better: bool) -> bool:
    """Whether a trial goes on from a rung: it is among the best 1/eta there. Of equal scores all go on.

    Args:
        score: The trial's.
        others: The scores of the trials that came to the rung before.
        reduction_factor: eta, above 1.
        higher_is_better: Direction of the scores.
    """
    going_on = max(1, math.floor((len(others) + 1) / reduction_factor + TOLERANCE))
    better = sum(other > score if higher_is_better else other < score for other in others)
    return better < going_on


def likely_to_go_on(num_trials: int, rungs: int, reduction_factor: float, noise: float) -> list[float]:
    """How many trials go on from each rung, on average over simulated sweeps.

    More do than one in eta: the first to come always goes on, and of those that come to a later rung the first ones
    are the least chosen. A trial's score at a rung is its quality, which varies by 1 between trials, plus noise.

    Args:
        num_trials: Trials that come to the first rung.
        rungs: Number of rungs.
        reduction_factor: eta, above 1.
        noise: Standard deviation of a score at a rung, as a multiple of that of the qualities.
    """
    rng, total = random.Random(0), [0] * rungs
    repeats = max(10, min(SIMULATED, 20_000 // num_trials))  # of many trials each sweep says as much as several
    for _ in range(repeats):
        before: list[list[float]] = [[] for _ in range(rungs)]
        for _ in range(num_trials):
            quality, best = rng.gauss(0, 1), -math.inf
            for rung, others in enumerate(before):
                best = max(best, quality + noise * rng.gauss(0, 1))
                better = len(others) - bisect_right(others, best)  # they are sorted
                going_on = max(1, math.floor((len(others) + 1) / reduction_factor + TOLERANCE))
                insort(others, best)
                if better >= going_on:
                    break
                total[rung] += 1
    return [count / repeats for count in total]


def as_good_as_the_median(score: float, others: Sequence[float], *, higher_is_better: bool) -> bool:
    """Whether a trial is at least as good as the median of the others at its epoch (Golovin et al. 2017, Vizier)."""
    if len(others) < FEW:
        return True
    return score >= median(others) if higher_is_better else score <= median(others)
