"""What training on a CPU is said to take, before anything is loaded."""

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import VideoMAEConfig, VideoMAEForVideoClassification

from lscht_ray.host import gpus
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training import cpu_cost


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The folder of a model of VideoMAE-base's size, of which only the config is there; on a machine without GPU."""
    monkeypatch.setattr(gpus, "nvidia_gpus", lambda: 0)
    monkeypatch.setattr(cpu_cost, "_speed", lambda: 200e9)
    (tmp_path / "config.json").write_text(json.dumps(VideoMAEConfig().to_dict()))
    return str(tmp_path)


def test_the_arithmetic_is_what_torch_counts() -> None:
    with torch.device("meta"):
        network = VideoMAEForVideoClassification(VideoMAEConfig(num_labels=5))
        with FlopCounterMode(display=False) as counter:
            network(pixel_values=torch.zeros(1, 16, 3, 224, 224))
    assert cpu_cost.forward_flops(768, 12, 8 * 14 * 14) == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_the_published_models_have_the_sizes_that_transformers_has() -> None:
    usual = VideoMAEConfig()
    assert {name: getattr(usual, name) for name in cpu_cost.BASE} == cpu_cost.BASE


def test_a_long_run_on_a_cpu_is_said(base: str) -> None:
    """18 clips of VideoMAE-base: `--plan` measured 103 minutes and 15.3 GiB on two cores of 225 GFLOP/s each second."""
    said = cpu_cost.warning(TrainConfig(model_name=base), 18, 3)
    assert "training takes about 1.7 hours and 15 GiB of memory (30 epochs of 18 clips; --plan measures it)" in said
    assert "Cheaper: --quick true (what the backbone sees is computed once, then" in said
    assert "--freeze_epochs -1" in said
    quick = cpu_cost.estimate(TrainConfig(model_name=base, quick=True), 18, 3)
    assert quick is not None
    assert quick.seconds == pytest.approx(21 * 3.57e11 / (0.5 * 200e9), rel=0.02)
    frozen = cpu_cost.warning(TrainConfig(model_name=base, freeze_epochs=-1), 18, 3)
    assert "takes about 37 minutes and 0.3 GiB" in frozen
    assert "--freeze_epochs" not in frozen
    assert cpu_cost.warning(TrainConfig(model_name="tiny"), 18, 3) == ""


def test_with_a_gpu_nothing_is_said(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "nvidia_gpus", lambda: 1)
    assert cpu_cost.warning(TrainConfig(model_name=base), 1000, 100) == ""
    assert cpu_cost.warning(TrainConfig(model_name=base, device="cpu"), 1000, 100) != ""


def test_gpus_are_counted_as_torch_counts_them() -> None:
    counted = gpus.nvidia_gpus()
    assert counted is None or counted == torch.cuda.device_count()
