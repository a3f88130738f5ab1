"""--plan: the counts are those of the run, FLOPs those of the formula, and nothing is written."""

from pathlib import Path

import pytest
import torch
from transformers import VideoMAEConfig
from transformers.models.videomae import VideoMAEForVideoClassification

from lscht_ray.clips.transforms import ClipFormat
from lscht_ray.settings.sweep import AshaConfig, SweepConfig
from lscht_ray.settings.train import TrainConfig
from lscht_ray.sweep.plan import likely_epochs, rungs
from lscht_ray.training.build import Model
from lscht_ray.training.plan import count_flops
from support.doors import FAST, Door


def test_flops_of_videomae_base_are_the_formulas() -> None:
    with torch.device("meta"):
        network = VideoMAEForVideoClassification(VideoMAEConfig(num_labels=100))
    network.videomae.embeddings.position_embeddings = torch.zeros(1, 1568, 768, device="meta")
    form = ClipFormat(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    forward, both = count_flops(Model(network, form, "", torch.device("cpu"), "fp32"), 16)
    layers, tokens, width = 12, 1568, 768
    formula = layers * (24 * tokens * width**2 + 4 * tokens**2 * width)
    assert forward == pytest.approx(formula, rel=0.015)  # and the patches' projection
    assert both == pytest.approx(3 * forward, rel=0.02)


def test_train_says_what_the_run_then_does(small: Path, door: Door, tmp_path: Path) -> None:
    flags = ("--data", small, *FAST, "--accumulation", 2, "--repeated_augmentation", 2, "--max_epochs", 2)
    planned = door("train", *flags, "--plan", "--layer_decay", 0.5, cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert not (tmp_path / "models").exists()
    assert "global batch 8, 3 steps per epoch, 2 epochs at most, 1 warm-up steps of 6" in planned.stdout
    for part in ("train │ 12", "val   │ 6", "embeddings", "norm and head", "trained of", "GiB", "GPU hours", "FLOPs"):
        assert part in planned.stdout
    trained = door("train", *flags, cwd=tmp_path)
    assert "global batch 8 = 4 x 2 accumulation x 1 worker(s); 3 steps per epoch" in trained.stdout


def test_tune_says_rungs_epochs_and_money(small: Path, door: Door, tmp_path: Path) -> None:
    flags = [word.replace("--", "--train.") for word in FAST]
    more = ("--train.max_epochs", 30, "--num_trials", 30, "--asha.grace_period", 5, "--train.gpu_hour_price", 2)
    result = door("tune", "--config", "wlasl100.yaml", "--train.data", small, *flags, *more, "--plan", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "ASHA's rungs at epochs 5, 10, 20; 900 epochs at most, about 338" in result.stdout
    assert result.stdout.count(", costing ") == 3
    assert not (tmp_path / "models").exists()


def test_what_asha_will_probably_run() -> None:
    sweep = SweepConfig(train=TrainConfig(max_epochs=30), asha=AshaConfig(grace_period=5), num_trials=30)
    assert rungs(sweep) == [5, 10, 20]
    assert likely_epochs(sweep) == 30 * 5 + 15 * 5 + 75 + 38  # 7.5 trials from 10 to 20, 3.75 from 20 to 30
    never = SweepConfig(train=TrainConfig(max_epochs=30), trial_stopping="none", num_trials=3)
    assert (rungs(never), likely_epochs(never)) == ([], 90)
