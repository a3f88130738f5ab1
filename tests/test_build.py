"""Every setting of a run reaches the part that it is for, and a state comes back whole from its checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lscht_ray.clips.loader import DeviceLoader
from lscht_ray.host.console import quiet_console
from lscht_ray.model.loss import class_weights
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training import data
from lscht_ray.training.build import Built, build
from lscht_ray.training.state import MicroBatches

TINY = {"model_name": "tiny", "num_frames": 4, "image_size": 24, "num_workers": 0, "batch_size": 2, "max_epochs": 5}


def built(small: Path, **settings: Any) -> Built:
    config = TrainConfig.model_validate({"data": str(small), **TINY, **settings})
    return build(config, data.ready(config, quiet_console()), quiet_console())


def weights(run: Built) -> list[float]:
    return run.parts.criterion.weights.tolist()


def lora(run: Built) -> Any:
    return next(module for module in run.state.network.modules() if hasattr(module, "get_delta_weight"))


LABELS = [0] * 6 + [1] * 4 + [2] * 2
"""Of the training clips of the small data set."""

SETTINGS: dict[str, tuple[dict[str, Any], Callable[[Built], Any], Any]] = {
    "early_stopping_metric": ({"early_stopping_metric": "val_loss"}, lambda run: run.parts.stop_metric, "val_loss"),
    "its direction": ({"early_stopping_metric": "val_loss"}, lambda run: run.state.stopper.mode, "min"),
    "min_delta": ({"min_delta": 0.25}, lambda run: run.state.stopper.min_delta, 0.25),
    "patience": ({"patience": 3}, lambda run: run.state.stopper.patience, 3),
    "best_metric": (
        {"best_metric": "val_loss"},
        lambda run: (run.parts.best_metric, run.state.best.mode),
        ("val_loss", "min"),
    ),
    "similarity_temperature": (
        {"smoothing_by_similarity": True, "label_smoothing": 0.1, "similarity_temperature": 0.3},
        lambda run: run.parts.temperature,
        0.3,
    ),
    "mix_probability": ({"mixup": 0.8, "mix_probability": 0.4}, lambda run: run.parts.mixer.probability, 0.4),
    "seed of the mixer": ({"mixup": 0.8, "seed": 7}, lambda run: run.parts.mixer.seed, 7),
    "label_smoothing": ({"label_smoothing": 0.3}, lambda run: run.parts.criterion.label_smoothing, 0.3),
    "class_weight_power": (
        {"class_weighted": True, "class_weight_power": 0.5},
        weights,
        class_weights(LABELS, 3, 0.5).tolist(),
    ),
    "class_weighted": ({"class_weighted": False}, weights, [1.0, 1.0, 1.0]),
    "weight_decay": (
        {"weight_decay": 0.3},
        lambda run: {group["weight_decay"] for group in run.state.optimizer.param_groups},
        {0.0, 0.3},
    ),
    "warmup_ratio": ({"warmup_ratio": 0.5}, lambda run: run.state.schedule.warmup_steps, 15),  # of 5 x 6 steps
    "limit_batches": (
        {"limit_batches": 2, "warmup_ratio": 0.5},
        lambda run: (run.state.schedule.total_steps, run.state.schedule.warmup_steps, run.parts.limits.batches),
        (10, 5, 2),
    ),
    "min_lr, scaled": (
        {"lr": 1e-3, "min_lr": 1e-4, "lr_scaling": "linear"},
        lambda run: run.state.schedule.min_lr / run.state.schedule.peak,
        pytest.approx(0.1),
    ),
    "lora_alpha": ({"lora_rank": 2, "lora_alpha": 6}, lambda run: lora(run).scaling["default"], 3.0),
    "attention": ({"attention": "eager"}, lambda run: run.state.network.config._attn_implementation, "eager"),
    "repeated_augmentation": (
        {"repeated_augmentation": 3},
        lambda run: (len(run.parts.train_loader), len(run.parts.val_loader)),
        (18, 3),
    ),
    "accumulation": ({"accumulation": 3}, lambda run: (len(run.parts.train_loader), len(run.parts.val_loader)), (2, 3)),
    "class_balanced_sampling": (
        {"class_balanced_sampling": True},
        lambda run: [position.index for position in run.parts.val_loader.sampler],
        [0, 1, 2, 3, 4, 5],
    ),
    "cache": ({"cache": "device"}, lambda run: type(run.parts.val_loader), DeviceLoader),
    "gradient_clip": ({"gradient_clip": 0.7}, lambda run: run.parts.gradient_clip, 0.7),
    "freeze_epochs": ({"freeze_epochs": 2}, lambda run: run.parts.freeze_epochs, 2),
    "limits": (
        {"max_skipped_steps": 3, "batch_seconds": 77, "step_seconds": 88},
        lambda run: (run.parts.limits.max_skipped_steps, run.parts.limits.batch_seconds, run.parts.limits.step_seconds),
        (3, 77, 88),
    ),
}
"""Settings, where their effect is to be seen, and what is to be seen there."""


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_reaches_its_part(small: Path, name: str) -> None:
    settings, look, expected = SETTINGS[name]
    assert look(built(small, **settings)) == expected


def trained(run: Built) -> None:
    """Change everything that a state has."""
    state = run.state
    for number, parameter in enumerate(state.network.parameters()):
        parameter.grad = torch.full_like(parameter, 0.01 * (number + 1))
    state.optimizer.step()
    for _ in range(3):
        state.schedule.step()
    assert state.ema is not None
    assert state.stopper is not None
    state.ema.update(1)
    state.micro.size = 1
    state.skipped.total, state.skipped.in_a_row = 4, 2
    state.best.update({"val_accuracy": 0.7, "val_loss": 1.0}, 1)
    state.stopper.should_stop(0.7, 1)
    state.history.append({"epoch": 1, "early_stopped": False, "micro_batch": 1, "val_accuracy": 0.7, "val_loss": 1.0})


def test_a_state_comes_back_whole(small: Path) -> None:
    settings: dict[str, Any] = {"ema_decay": 0.5, "patience": 2, "early_stopping_metric": "val_accuracy"}
    one, other = built(small, **settings), built(small, **settings, seed=3)
    one.state.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    other.state.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    trained(one)
    saved = one.state.state_dict()
    other.state.load_state_dict(saved)
    assert other.state.micro == MicroBatches(1)
    again = other.state.state_dict()
    assert again.keys() == saved.keys()
    for part in ("model", "weights", "ema"):
        assert all(torch.equal(value, again[part][name]) for name, value in saved[part].items()), part
    for part in set(saved) - {"model", "weights", "ema", "optimizer", "rng"}:
        assert again[part] == saved[part], part
    moments, moments_again = (content["optimizer"]["state"] for content in (saved, again))
    assert moments.keys() == moments_again.keys()
    for number, values in moments.items():
        assert all(torch.equal(value, moments_again[number][name]) for name, value in values.items())
    assert saved["scaler"]["scale"] == 1024.0
    assert other.state.stopper is not None
    assert [other.state.stopper.should_stop(0.6, epoch) for epoch in (2, 3)] == [False, True]  # patience goes on


@pytest.mark.parametrize(("size", "halves"), [(8, [4, 2, 1]), (7, [4, 2, 1]), (3, [2, 1, 1])])
def test_halved_sizes_are_rounded_up(size: int, halves: list[int]) -> None:
    """So that twice as many passes are enough for the same clips."""
    micro = MicroBatches(size)
    seen = []
    for _ in halves:
        micro.halve()
        seen.append(micro.size)
    assert seen == halves
