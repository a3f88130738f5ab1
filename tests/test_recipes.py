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


STRONG = {
    "weight_decay": {"videomae_ucf101": 0.05, "signnet": 0.1},
    "layer_decay": {"videomae_ucf101": 0.7, "signnet": 0.9},
    "drop_path": {"videomae_ucf101": 0.2, "signnet": 0.3},
    "head_dropout": {"videomae_ucf101": 0.5, "signnet": 0.0},
    "lr": {"videomae_ucf101": 5e-4 * 128 / 256, "signnet": 1e-3 * 64 / 256},
    "min_lr": {"videomae_ucf101": 1e-5 * 128 / 256, "signnet": 1e-6 * 64 / 256},
    "max_epochs": {"videomae_ucf101": 100, "signnet": 200},
}
"""finetune.sh of MCG-NJU/VideoMAE (UCF101) and ganzobtn/slr_vit (WLASL-100, 16 frames), their lr rule applied."""
OF_BOTH = {
    "gradient_clip": 0.0,  # --clip_grad None
    "head_init_scale": 0.001,  # --init_scale
    "label_smoothing": 0.1,
    "mixup": 0.8,
    "cutmix": 1.0,
    "mix_probability": 1.0,
    "eval_crop": "centre",  # short side 224, then the middle
    "crop_scale_min": 0.08,
    "flip_probability": 0.5,
    "randaugment_ops": 4,  # rand-m7-n4-mstd0.5-inc1
    "randaugment_magnitude": 21,
    "randaugment_probability": 0.5,
    "erasing_probability": 0.25,  # --reprob
    "erasing_fill": "noise",  # --remode pixel
}


@pytest.mark.parametrize("name", ["videomae_ucf101", "signnet"])
def test_the_numbers_of_the_strong_recipes_are_their_sources(name: str) -> None:
    config, _ = parse(TrainConfig, ["--config", f"recipes/{name}.yaml"], prog="train", description="")
    expected = {key: values[name] for key, values in STRONG.items()} | OF_BOTH
    assert {key: getattr(config, key) for key in expected} == pytest.approx(expected)
    assert config.warmup_ratio * config.max_epochs == pytest.approx(5)  # --warmup_epochs
    clips = config.batch_size * config.accumulation
    assert clips == {"videomae_ucf101": 8 * 16 * 2, "signnet": 4 * 16}[name]
