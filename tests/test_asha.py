"""ASHA's ladder and decision, against Optuna's SuccessiveHalvingPruner and Ray's ASHAScheduler."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.pruners._successive_halving import _is_trial_promotable_to_next_rung
from optuna.study import StudyDirection
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from lscht_ray.sweep.asha import among_the_best, as_good_as_the_median, ladder

SCORES = st.lists(st.integers(0, 20).map(lambda number: number / 20), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("grace", "factor", "epochs", "rungs"),
    [
        (1, 2, 4, [1, 2]),  # the last epoch is no rung: no trial goes on from it
        (1, 2, 5, [1, 2, 4]),
        (3, 3, 30, [3, 9, 27]),
        (1, 1.5, 10, [1, 2, 3, 4, 6, 8]),  # 1, 1.5, 2.25, 3.375, 5.06, 7.59 rounded up
        (1, 1.25, 4, [1, 2, 3]),  # 1.25, 1.56 and 1.95 are one rung
        (4, 2, 4, []),
        (2, 1.1, 3, [2]),
    ],
)
def test_the_ladder(grace: int, factor: float, epochs: int, rungs: list[int]) -> None:
    assert ladder(grace, factor, epochs) == rungs


@given(st.integers(1, 20), st.floats(1.05, 5), st.integers(1, 200))
def test_rungs_are_whole_epochs_below_the_last_each_once(grace: int, factor: float, epochs: int) -> None:
    rungs = ladder(grace, factor, epochs)
    assert rungs == sorted(set(rungs))
    assert all(grace <= rung < epochs for rung in rungs)
    powers = [grace * factor**k for k in range(200)]
    assert set(rungs) == {math.ceil(power - 1e-6) for power in powers if math.ceil(power - 1e-6) < epochs}


@given(SCORES, st.integers(2, 4), st.booleans())
def test_the_decision_is_the_papers_as_optuna_has_it(scores: list[float], factor: int, higher: bool) -> None:
    *others, score = scores
    theirs = _is_trial_promotable_to_next_rung(
        score, list(scores), factor, StudyDirection.MAXIMIZE if higher else StudyDirection.MINIMIZE
    )
    assert among_the_best(score, others, factor, higher_is_better=higher) == theirs


@given(SCORES, st.sampled_from([2, 2.5, 3, 4]))
def test_ray_never_stops_a_trial_that_goes_on_here(scores: list[float], factor: float) -> None:
    """Ray's cut-off is an interpolated quantile of the others, below the worst of the best 1/eta of all."""
    scheduler: Any = AsyncHyperBandScheduler(max_t=100, grace_period=1, reduction_factor=factor)
    bracket = scheduler._brackets[0]

    class Trial:
        def __init__(self, number: int) -> None:
            self.trial_id = str(number)

    for number, score in enumerate(scores):
        rays = bracket.on_result(Trial(number), 1, score)
        if among_the_best(score, scores[:number], factor, higher_is_better=True):
            assert rays == TrialScheduler.CONTINUE


def test_the_first_trial_goes_on_and_of_two_the_better_one() -> None:
    assert among_the_best(0.1, [], 4, higher_is_better=True)
    assert among_the_best(0.2, [0.1], 2, higher_is_better=True)
    assert not among_the_best(0.1, [0.2], 2, higher_is_better=True)
    assert among_the_best(0.1, [0.2], 2, higher_is_better=False)
    assert among_the_best(0.2, [0.2], 4, higher_is_better=True)  # of equal scores all go on


def test_a_median_of_few_says_nothing() -> None:
    assert as_good_as_the_median(0.0, [0.5, 0.6], higher_is_better=True)
    assert not as_good_as_the_median(0.5, [0.5, 0.6, 0.7], higher_is_better=True)
    assert as_good_as_the_median(0.6, [0.5, 0.6, 0.7], higher_is_better=True)
    assert not as_good_as_the_median(0.7, [0.5, 0.6, 0.7], higher_is_better=False)
    assert as_good_as_the_median(0.6, [0.5, 0.6, 0.7], higher_is_better=False)
