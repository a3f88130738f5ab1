"""Videos that vanish while a run goes on, and settings with which nothing is learned: what is said of it."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from lscht_ray import train
from lscht_ray.artifacts import places
from lscht_ray.artifacts.recorder import RunFolders
from lscht_ray.errors import TrainingError
from lscht_ray.host.console import quiet_console
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training import run as training
from support.doors import FAST, Door


@pytest.fixture
def data(small: Path, tmp_path: Path) -> Path:
    """3 glosses: 12 training, 6 validation clips."""
    return Path(shutil.copytree(small, tmp_path / "señas"))


def train_while(data: Path, folder: Path, gone: list[Path]) -> training.Outcome:
    """Train for three epochs; after the first one these videos are gone."""
    fast: dict[str, Any] = {"model_name": "tiny", "num_workers": 0, "num_frames": 4, "image_size": 24, "batch_size": 4}
    config = TrainConfig.model_validate({"data": str(data), "cache": "off", "max_epochs": 3, **fast})

    def on_epoch_end(metrics: dict[str, Any], saved: Path | None) -> None:
        for video in gone if metrics["epoch"] == 1 else []:
            video.unlink()

    folders = RunFolders(folder / "run", folder / "logs")
    hooks = training.Hooks(on_epoch_end=on_epoch_end)
    return training.run(config, folders, screen=quiet_console(), hooks=hooks)


def test_a_val_set_that_shrinks_ends_the_run(data: Path, tmp_path: Path) -> None:
    gone = sorted((data / "val").rglob("*.mp4"))[:2]
    with pytest.raises(TrainingError) as refused:
        train_while(data, tmp_path, gone)
    said = str(refused.value)
    assert "epoch 2 was validated on 4 clips, the epochs before on 6: they can't be compared" in said
    assert gone[0].name in said
    assert gone[1].name in said
    assert len((tmp_path / "run" / places.METRICS).read_text().splitlines()) == 1  # the second is trained again


def test_training_clips_that_vanish_are_named_again_at_the_end(data: Path, tmp_path: Path) -> None:
    gone = sorted((data / "train").rglob("*.mp4"))[0]
    outcome = train_while(data, tmp_path, [gone])
    assert [Path(video) for video in outcome.lost] == [gone]
    said = "\n".join(train._warnings(outcome, "val_accuracy"))
    assert "warning: 1 video was lost while the run went on" in said
    assert gone.name in said


def test_a_step_an_epoch_and_an_absurd_lr_are_said(door: Door, small: Path, tmp_path: Path) -> None:
    absurd = ("--lr", "0.5", "--batch_size", "100000", "--max_epochs", "2")
    result = door("train", "--data", small, *FAST, *absurd, cwd=tmp_path)
    assert result.returncode == 0
    assert "warning: with a peak lr of 0.5 training will hardly converge" in result.stdout
    assert "warning: an epoch is a single step, so the model is updated 2 times at most" in result.stdout
    assert "warning: the best epoch can't be told from guessing" in result.stdout
    sane = door("train", "--data", small, *FAST, "--max_epochs", "1", cwd=tmp_path)
    assert "hardly converge" not in sane.stdout
    assert "a single step" not in sane.stdout


def test_top_5_can_not_judge_three_glosses(door: Door, small: Path, tmp_path: Path) -> None:
    result = door("train", "--data", small, *FAST, "--best_metric", "val_top5_accuracy", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr == (
        "error: val_top5_accuracy: of 3 glosses the right one is always among the first 5: judge by val_accuracy,"
        " val_mean_class_accuracy or val_loss\n"
    )
