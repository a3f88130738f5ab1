"""Every shipped recipe loads, says where it comes from, and trains; as a run and as a sweep's base."""

import math
from pathlib import Path
from typing import Any

import pytest

from lscht_ray.artifacts.recorder import RunFolders
from lscht_ray.host.console import quiet_console
from lscht_ray.settings.commandline import parse, shipped_configs
from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training import run as training

RECIPES = sorted((shipped_configs() / "recipes").glob("*.yaml"))


def test_the_shipped_ones() -> None:
    assert {path.stem for path in RECIPES} == {"seed", "brettmann", "videomae_ucf101", "signnet"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_each_says_command_source_cost_and_result(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for word in (f"lscht_ray.train --config recipes/{path.name}", "lscht_ray.tune", "Source:", "Cost:", "Published:"):
        assert word in text


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_each_trains_for_two_steps(path: Path, small: Path, tmp_path: Path) -> None:
    config, _ = parse(TrainConfig, ["--config", f"recipes/{path.name}"], prog="train", description="")
    # The recipe itself, but for what needs a large model and hours.
    lighter: dict[str, Any] = {"data": str(small), "model_name": "tiny", "num_workers": 0, "num_frames": 4}
    lighter |= {"image_size": 24, "batch_size": 3, "accumulation": min(config.accumulation, 2), "max_epochs": 1}
    config = config.model_copy(update={**lighter, "limit_batches": 2, "cache_dir": str(tmp_path / "c")})
    outcome = training.run(config, RunFolders(tmp_path / "run", tmp_path / "logs"), screen=quiet_console())
    (epoch,) = outcome.history
    assert epoch["step"] == 2
    assert math.isfinite(epoch["train_loss"])


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_each_is_a_sweeps_base(path: Path) -> None:
    alone, _ = parse(TrainConfig, ["--config", str(path)], prog="train", description="")
    flags = ["--config", f"recipes/{path.name}", "--train.data", "x", "--num_trials", "5"]
    sweep, _ = parse(SweepConfig, flags, prog="tune", description="")
    assert sweep.train == alone.model_copy(update={"data": "x"})
    assert sweep.num_trials == 5
    assert sweep.first_point()["lr"] == alone.lr
    both, _ = parse(SweepConfig, ["--config", "wlasl100.yaml", *flags], prog="tune", description="")
    assert (both.train.drop_path, both.asha.grace_period) == (alone.drop_path, 5)
