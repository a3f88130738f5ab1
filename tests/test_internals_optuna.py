"""The reaches into Optuna's private parts (sweep/_optuna_internals.py): what is used is there and does what we need."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from lscht_ray.sweep import _optuna_internals

SPACE = {"x": FloatDistribution(0, 1)}


def test_a_trial_that_another_process_began_can_be_told() -> None:
    study = optuna.create_study()
    study.add_trial(optuna.create_trial(state=TrialState.RUNNING, params={"x": 0.5}, distributions=SPACE))
    (frozen,) = study.get_trials(states=(TrialState.RUNNING,))
    trial = _optuna_internals.running_trial(study, frozen)
    trial.report(0.25, 1)
    trial.set_user_attr("name", "ñ")
    study.tell(trial, 0.5)
    (ended,) = study.trials
    assert (ended.state, ended.value, ended.intermediate_values) == (TrialState.COMPLETE, 0.5, {1: 0.25})
    assert ended.user_attrs == {"name": "ñ"}


def test_what_was_enqueued_for_a_trial_is_known_before_it_is_suggested() -> None:
    study = optuna.create_study()
    study.enqueue_trial({"x": 0.5})
    study.ask()
    study.ask()
    first, second = study.trials
    assert _optuna_internals.enqueued_params(first) == {"x": 0.5}
    assert _optuna_internals.enqueued_params(second) == {}


def test_a_grid_ends_without_ending_anything_else() -> None:
    sampler = _optuna_internals.EndlessGrid({"x": [1, 2]}, seed=0)
    study = optuna.create_study(sampler=sampler)
    for _ in range(2):
        trial = study.ask()
        trial.suggest_categorical("x", [1, 2])
        study.tell(trial, 0.0)
    assert sampler.is_exhausted(study)


@pytest.mark.parametrize("kind", [_optuna_internals.GPOfPruned, _optuna_internals.CmaEsOfPruned])
def test_a_sampler_learns_from_pruned_trials_alone(kind: Any) -> None:
    """Without a single complete trial; one that never reported anything tells nothing. The study stays as it was."""
    pytest.importorskip("scipy")
    pytest.importorskip("cmaes")
    drawn = {}
    for name, sampler in (("learned", kind(seed=1, n_startup_trials=4)), ("random", RandomSampler(seed=1))):
        study = optuna.create_study(sampler=sampler, direction="maximize")
        for _ in range(14):
            trial = study.ask()
            x, y = (trial.suggest_float(axis, 0, 1) for axis in "xy")
            trial.report(-((x - 0.3) ** 2) - (y - 0.3) ** 2, 1)
            study.tell(trial, state=TrialState.PRUNED)
        silent = study.ask()
        study.tell(silent, state=TrialState.PRUNED)
        drawn[name] = [trial.params for trial in study.trials[5:14]]
        assert {trial.state for trial in study.trials} == {TrialState.PRUNED}
    away = {name: sum((p["x"] - 0.3) ** 2 + (p["y"] - 0.3) ** 2 for p in tried) for name, tried in drawn.items()}
    assert away["learned"] < away["random"]


def test_cma_keeps_its_state_under_a_name_of_its_own(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    sampler = optuna.samplers.CmaEsSampler(seed=0, n_startup_trials=1)
    _optuna_internals.own_cma_state(sampler, "mine")
    study = optuna.create_study(storage=storage, sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1), n_trials=12)
    names = {key for trial in study.trials for key in trial.system_attrs if "cma" in key}
    assert names
    assert all(name.startswith("cmamine:") for name in names)


def test_values_outside_of_a_space_are_refused_by_create_trial() -> None:
    """What `Study.learn` relies on; a public behaviour."""
    for space, value in ((FloatDistribution(0, 1), 2.0), (CategoricalDistribution(["a"]), "b")):
        try:
            optuna.create_trial(value=0.0, params={"x": value}, distributions={"x": space})
        except ValueError:
            continue
        raise AssertionError(f"{value!r} is taken for a value of {space}")
