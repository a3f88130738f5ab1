"""What a sweep says last: epochs that were saved, whether anything beat the baseline, what can't be compared."""

from pathlib import Path
from typing import Any

import pytest

from lscht_ray.host.console import new_console
from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.sweep.folder import Sweep
from lscht_ray.sweep.ledger import Ledger
from lscht_ray.sweep.results import against_baseline, conclude


def sweep_of(
    *trials: tuple[str, list[float]], max_epochs: int = 4, clips: int = 100, metric: str = "val_accuracy", **ended: Any
) -> Ledger:
    """Trials of an origin and a list of scores; ``ended`` says of a trial that it was cut short."""
    ledger = Ledger(metric, "min" if metric == "val_loss" else "max", max_epochs)
    for number, (origin, scores) in enumerate(trials, start=1):
        name = f"trial_{number:05d}"
        ledger.start(name, {"lr": 1e-4}, origin=origin)
        for epoch, score in enumerate(scores, start=1):
            figures = {metric: score, "val_clips": clips, "val_chance": 0.1, "val_commonest": 0.1}
            loss = {} if metric == "val_loss" else {"val_loss": 1.0}
            ledger.report(name, {"epoch": epoch, **figures, **loss, "val_mean_class_clips": clips, "unreadable": 0})
        ledger.end(name, cut_short=name in ended.get("cut_short", ()))
    return ledger


def said_by(ledger: Ledger, folder: Path, capsys: pytest.CaptureFixture[str], num_trials: int) -> str:
    sweep = SweepConfig.model_validate({"train": {"max_epochs": ledger.max_epochs}})
    conclude(Sweep(sweep, folder, str(folder), num_trials), ledger, folder / "best_model.pt", new_console())
    return capsys.readouterr().out


def test_what_is_not_done_is_not_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of 3 trials of 4 epochs one was whole, one stopped by ASHA, one cut short by Ctrl-C; 5 had not begun."""
    ledger = sweep_of(("train", [0.5] * 4), ("sampler", [0.4]), ("sampler", [0.4] * 2), cut_short=["trial_00003"])
    said = said_by(ledger, tmp_path, capsys, num_trials=8)
    assert "7 of 12 epochs run, 3 saved by stopping trials early (25%), 2 not done, 5 trials not begun;" in said
    assert ledger.summary()["epochs_saved"] == 3
    cut = sweep_of(("train", [0.5]), cut_short=["trial_00001"])
    assert "1 of 4 epochs run, 3 not done;" in said_by(cut, tmp_path, capsys, num_trials=1)


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        (
            [("train", [0.5]), ("sampler", [0.45])],
            "no trial beat the baseline (trial_00001: val_accuracy 0.5000); the next best is trial_00002 (0.4500)",
        ),
        (
            [("train", [0.5]), ("sampler", [0.5])],
            "no trial beat the baseline (trial_00001: val_accuracy 0.5000); the next best is trial_00002 (0.5000)",
        ),
        (  # sqrt(0.5 x 0.5 / 100 + 0.6 x 0.4 / 100)
            [("train", [0.5]), ("sampler", [0.45]), ("sampler", [0.6])],
            "trial_00003 (0.6000) beat the baseline (trial_00001: val_accuracy 0.5000) by 0.1000: within the noise, as"
            " the standard error of the difference is 0.0700",
        ),
        (  # sqrt(0.5 x 0.5 / 100 + 0.8 x 0.2 / 100)
            [("train", [0.5]), ("sampler", [0.8])],
            "trial_00002 (0.8000) beat the baseline (trial_00001: val_accuracy 0.5000) by 0.3000: more than the noise"
            " of two accuracies, as the standard error of the difference is 0.0640",
        ),
        ([("train", [0.5])], "there is nothing to compare the baseline (trial_00001: val_accuracy 0.5000) with"),
        (
            [("train", []), ("sampler", [0.5])],
            "the baseline (the settings of train: as they stand) has no result to compare with",
        ),
    ],
)
def test_whether_anything_beat_the_baseline(trials: list[tuple[str, list[float]]], said: str) -> None:
    assert against_baseline(sweep_of(*trials, max_epochs=1)) == said


def test_a_trial_that_equals_the_baseline_is_no_contradiction() -> None:
    """It is the best for its lower val loss, and beat nothing."""
    ledger = sweep_of(("train", [0.5] * 4), ("sampler", [0.5] * 4))
    ledger.trials["trial_00002"].epochs[1]["val_loss"] = 0.5
    assert ledger.ranking()[0].trial_id == "trial_00002"
    assert against_baseline(ledger) == (
        "trial_00002 (0.5000) is as good as the baseline (trial_00001: val_accuracy 0.5000), with the lower val loss:"
        " nothing beat it"
    )


def test_a_baseline_that_was_stopped_early_is_said() -> None:
    said = against_baseline(sweep_of(("train", [0.3]), ("sampler", [0.4, 0.5, 0.6, 0.6])))
    assert said.startswith(
        "trial_00002 (0.6000) beat the baseline (trial_00001: val_accuracy 0.3000), which was stopped after 1 of 4"
        " epochs, by 0.3000"
    )


def test_of_losses_the_lower_is_better() -> None:
    ledger = sweep_of(("train", [1.5]), ("sampler", [1.2]), max_epochs=1, metric="val_loss")
    assert against_baseline(ledger) == "trial_00002 (1.2000) beat the baseline (trial_00001: val_loss 1.5000) by 0.3000"


def test_trials_on_other_clips_are_no_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = sweep_of(("train", [0.5] * 4), ("sampler", [0.6] * 4))
    for epoch in ledger.trials["trial_00002"].epochs.values():
        epoch["val_clips"] = 80
    ledger.trials["trial_00002"].epochs[4]["unreadable"] = 3
    said = said_by(ledger, tmp_path, capsys, num_trials=2)
    groups = "(80 clips: trial_00002; 100 clips: trial_00001)"
    assert f"warning: not all trials were validated on the same clips, so they can't be compared {groups}" in said
    assert "warning: videos were lost while trials ran (3 in trial_00002)" in said
    assert "warning" not in said_by(sweep_of(("train", [0.5] * 4)), tmp_path, capsys, num_trials=1)


def test_a_sweep_whose_best_is_no_better_than_guessing_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_by(sweep_of(("train", [0.1] * 4), ("sampler", [0.12] * 4)), tmp_path, capsys, num_trials=2)
    assert "val_accuracy 12.00% (7.0-19.8%, chance 10.0%) on 100 clips" in said
    assert "warning: the best epoch can't be told from guessing: val_accuracy 12.00%" in said
