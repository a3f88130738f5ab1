"""Runs of the tiny model without a door, and whether two of them are the same."""

import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from lscht_ray.artifacts import checkpoint, places
from lscht_ray.artifacts.recorder import RunFolders
from lscht_ray.host.console import quiet_console
from lscht_ray.host.interrupt import StopRequest
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training import run as training

RECIPE: dict[str, Any] = {
    "model_name": "tiny",
    "num_frames": 4,
    "image_size": 24,
    "num_workers": 0,
    "max_epochs": 3,
    "batch_size": 2,
    "accumulation": 2,
    "lr": 1e-3,
    "drop_path": 0.2,
    "head_dropout": 0.2,
    "mixup": 0.8,
    "cutmix": 1.0,
    "ema_decay": 0.9,
    "class_balanced_sampling": True,
    "randaugment_ops": 1,
}
"""3 epochs of 3 steps on the small data set, with every generator of random numbers in use."""


class StopAt(StopRequest):
    """Asks to stop once it was looked at so many times: after that step."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    @property
    def number(self) -> int | None:  # type: ignore[override]
        self.looks -= 1
        return signal.SIGTERM if self.looks == 0 else None


def run(folder: Path, data: Path, stop_at: int = 0, resume: bool = False, **changes: Any) -> training.Outcome:
    """Train with the recipe in `folder/run`, or resume there; ``stop_at`` asks to stop after that step."""
    config = TrainConfig(data=str(data), **{**RECIPE, **changes})
    folders = RunFolders(folder / "run", folder / "logs")
    torch.manual_seed(99 if resume else 0)  # what was drawn before must not matter
    return training.run(
        config,
        folders,
        screen=quiet_console(),
        resume_from=folders.run / places.LAST if resume else None,
        hooks=training.Hooks(listen=lambda: nullcontext(StopAt(stop_at) if stop_at else None)),
    )


def same(one: Path, other: Path) -> bool:
    """Whether two runs ended with the same weights, averages, optimizer, and history."""
    full = [checkpoint.load(folder / "run" / places.LAST) for folder in (one, other)]
    for part in ("model", "weights", "ema"):
        if not all(torch.equal(full[0][part][key], full[1][part][key]) for key in full[0][part]):
            return False
    states = [content["optimizer"]["state"] for content in full]
    moments = all(torch.equal(states[0][k][m], states[1][k][m]) for k in states[0] for m in ("exp_avg", "exp_avg_sq"))
    histories = [[{k: v for k, v in e.items() if k != "seconds"} for e in content["history"]] for content in full]
    return moments and histories[0] == histories[1]
