"""Search space, sampler and ASHA, without a cluster."""

from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from ray.tune.schedulers import TrialScheduler

from lscht_ray import search
from lscht_ray.config import TrainConfig
from lscht_ray.ledger import Ledger
from lscht_ray.sweepconfig import AshaConfig, Dimension, SamplerConfig, SweepConfig
from lscht_ray.trial import trial_name
from lscht_ray.watch import cause
from lscht_ray.worker import reportable


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "uniform", "low": 0, "high": 1}, FloatDistribution(0, 1)),
        ({"type": "loguniform", "low": 1e-5, "high": 1}, FloatDistribution(1e-5, 1, log=True)),
        ({"type": "quniform", "low": 0, "high": 1, "step": 0.25}, FloatDistribution(0, 1, step=0.25)),
        ({"type": "int", "low": 2, "high": 8}, IntDistribution(2, 8)),
        ({"type": "logint", "low": 2, "high": 8}, IntDistribution(2, 8, log=True)),
        ({"type": "choice", "choices": [1, "a"]}, CategoricalDistribution([1, "a"])),
    ],
)
def test_distributions(given: dict[str, Any], expected: object) -> None:
    assert search.distribution(Dimension.model_validate(given)) == expected


def proposals(sweep: SweepConfig) -> list[dict[str, Any]]:
    searcher = search.searcher(sweep)
    return [searcher.suggest(f"t{n}") for n in range(4)]


def test_the_users_own_setting_is_first_and_the_seed_repeats_the_rest() -> None:
    sweep = SweepConfig(train=TrainConfig(lr=7e-5))
    first, again = proposals(sweep), proposals(sweep)
    assert first[0] == {"lr": 7e-5, "weight_decay": 0.05, "label_smoothing": 0.1}
    assert first == again
    assert len({trial["lr"] for trial in first}) == 4
    assert proposals(SweepConfig(sampler=SamplerConfig(seed=1)))[1] != first[1]


def test_tpe_is_multivariate_with_a_constant_liar() -> None:
    made = search.sampler(SamplerConfig())
    assert isinstance(made, optuna.samplers.TPESampler)
    assert made._multivariate
    assert made._constant_liar


def trial(name: str) -> Any:
    return SimpleNamespace(trial_id=name, is_finished=lambda: False, evaluated_params={})


def report(asha: search.ReplayingASHA, which: Any, epoch: int, value: float) -> str:
    return asha.on_trial_result(None, which, {"epoch": epoch, search.SCORE: value})


def test_asha_counts_our_epochs_and_lets_the_last_one_end_by_itself() -> None:
    asha = search.scheduler(SweepConfig(train=TrainConfig(max_epochs=4), asha=AshaConfig(grace_period=2)))
    good, bad = trial("good"), trial("bad")
    for one in (good, bad):
        asha.on_trial_add(None, one)
    for epoch in (1, 2, 3, 4):
        assert report(asha, good, epoch, 0.9) == TrialScheduler.CONTINUE
    assert report(asha, bad, 1, 0.1) == TrialScheduler.CONTINUE  # within the grace period
    assert report(asha, bad, 2, 0.1) == TrialScheduler.STOP


def test_asha_knows_its_rungs_after_a_restore() -> None:
    asha = search.scheduler(SweepConfig(train=TrainConfig(max_epochs=4), asha=AshaConfig(grace_period=2)))
    asha.reported = {"good": [{"epoch": epoch, search.SCORE: 0.9} for epoch in (1, 2, 3)]}
    good, bad = trial("good"), trial("bad")
    asha.on_trial_add(None, good)
    asha.on_trial_add(None, bad)
    assert report(asha, bad, 2, 0.1) == TrialScheduler.STOP


def test_only_finite_floats_are_reported() -> None:
    metrics = {"epoch": 3, "val_accuracy": 0.5, "best_val_accuracy": 0.6, "early_stopped": False}
    made = reportable(metrics, "val_accuracy", True)
    assert all(type(value) is float for value in made.values())
    assert made["best_score"] == 0.6
    later = reportable({**metrics, "epoch": 4}, "val_accuracy", True)
    assert later["checkpoint_score"] < made["checkpoint_score"]  # of equal epochs the earlier one is kept
    with pytest.raises(AssertionError, match="not finite"):
        reportable({**metrics, "val_accuracy": float("nan")}, "val_accuracy", True)


def test_trials_are_named_in_the_order_of_their_proposal() -> None:
    assert trial_name(SimpleNamespace(experiment_tag="12_lr=0.1")) == "trial_00012"


def test_the_best_trial_is_the_one_with_the_best_epoch() -> None:
    ledger = Ledger("val_accuracy", "max", 4)
    for name, values in {"peaked": (0.2, 0.9, 0.1), "steady": (0.5, 0.6, 0.7), "silent": ()}.items():
        ledger.start(name, {"lr": 1.0})
        for epoch, value in enumerate(values, start=1):
            ledger.report(name, {"epoch": float(epoch), "val_accuracy": value, "early_stopped": 0.0})
    ledger.report("steady", {"epoch": 4.0, "val_accuracy": 0.6, "early_stopped": 0.0})
    ledger.report("steady", {"epoch": 4.0, "val_accuracy": 0.6, "early_stopped": 0.0})  # repeated after a restart
    ledger.end("peaked")
    ledger.end("steady")
    ledger.end("silent", "out of memory")
    summary = ledger.summary("best/best_model.pt")
    assert summary["best"]["trial_id"] == "peaked"
    assert summary["best"]["metrics"]["epoch"] == 2
    rows = {row["trial_id"]: (row["status"], row["epochs"]) for row in summary["trials"]}
    assert rows == {"peaked": ("pruned", 3), "steady": ("completed", 4), "silent": ("failed", 0)}


def test_the_cause_of_a_failure_is_the_innermost_message() -> None:
    text = (
        "Failure # 1 (occurred at 2025-01-31_10-15-00)\n"
        "ray.train.WorkerGroupError: Training failed due to worker errors:\n"
        '  File "loop.py", line 243, in step\n    raise TrainingError(\n'
        "lscht_ray.errors.TrainingError: the loss at step 2 is nan: nothing was updated.\n"
        "The clips of that step:\n  a.mp4\n"
    )
    assert cause(text) == "TrainingError: the loss at step 2 is nan: nothing was updated."
    assert cause("") == "unknown: see the log file"
    died = (
        "ray.train.WorkerGroupError: Training failed due to worker errors:\n[Rank 0 Error Snippet]:\n"
        "A worker health check failed.\nThe actor died unexpectedly before finishing this task.\n"
    )
    exited = "The actor is dead because its worker process has died. Worker exit detail: Worker exits by a signal.\n"
    assert cause(died + exited) == "a worker died: Worker exits by a signal."
    short = "1 worker(s) were killed due to the node running low on memory. Memory was 3 GB used\n"
    assert cause(died + short) == f"a worker died: {short.strip()}"
    gone = "The actor died because its node has died. Node Id: 3c\n"
    assert cause(died + gone) == f"a worker died: {gone.strip()}"
