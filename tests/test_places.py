"""README's lists of files and folders are a contract: they are what runs, evaluations and sweeps leave."""

import json
from pathlib import Path

import pytest

from lscht_ray.artifacts import places
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training.device import choose_device
from support.data import draw
from support.doors import FAST, Door, run_folder
from support.readme import README, documented

RUN = {
    *(places.CONFIG, places.METRICS, places.BEST, places.EXPORT, places.LAST, places.HASHES, places.LOCK),
    *(places.SPLITS, places.MISSING, places.UNREADABLE, places.STACKS, places.epoch_checkpoint(5)),
}
SWEEP = {
    *(places.SUMMARY, places.STUDY, places.WINNER, places.LOGS, places.TRIALS, places.SWEEP, places.RAY_LOG),
    *(places.PLACE, places.DRIVER, places.LOCK),
}


def test_readme_lists_every_file_of_a_run_folder() -> None:
    assert documented("models/checkpoints/run_20250131_101500") == RUN


def test_readme_lists_every_file_of_a_sweep_folder() -> None:
    assert documented("models/checkpoints/sweep_20250131_101500") == SWEEP


def test_readme_lists_every_file_of_an_evaluation() -> None:
    assert all(f"`{name}`" in README for name in places.EVALUATION_FILES if name != places.CONFUSION_PICTURE)
    assert "`evaluation_SPLIT/`" in README


@pytest.mark.parametrize(
    ("name", "epoch"),
    [
        (places.epoch_checkpoint(5), 5),
        (places.epoch_checkpoint(120), 120),
        (places.epoch_folder(7, "a1b2c3d4"), 7),
        ("last_checkpoint.pt", None),
        ("checkpoint_epoch_.pt", None),
        ("7.pt", None),
        ("checkpoint_manager_snapshot.json", None),
    ],
)
def test_the_epoch_in_a_name(name: str, epoch: int | None) -> None:
    assert places.epoch_of(name) == epoch


def test_a_run_leaves_what_readme_lists_and_its_config_is_taken_again(door: Door, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    for number in range(12):
        draw(clips / ("casa", "tú")[number % 2] / f"{number}.mp4", number % 2, number)
    every = ("--checkpoint_every", 1, "--val_fraction", 0.3)
    result = door("train", "--data", clips, *FAST, *every, "--max_epochs", 1, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    folder = run_folder(tmp_path)
    left = {path.name for path in folder.iterdir()}
    assert left == RUN - {places.STACKS, places.MISSING, places.UNREADABLE, places.LOCK, places.epoch_checkpoint(5)} | {
        places.epoch_checkpoint(1)
    }
    config = json.loads((folder / places.CONFIG).read_text(encoding="utf-8"))
    assert (config["num_classes"], config["device"]) == (2, str(choose_device("auto")))
    assert TrainConfig.model_validate(config).device == "auto"

    again = door("train", "--config", folder / places.CONFIG, "--plan", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    resumed = door("train", "--resume", folder, "--max_epochs", 2, "--override", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads((folder / places.CONFIG).read_text(encoding="utf-8")) == {**config, "max_epochs": 2}

    result = door("evaluate", folder, "--split", "val", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert {path.name for path in (folder / places.evaluation("val")).iterdir()} == set(places.EVALUATION_FILES)
