"""The built parts of a run that never change, and where it says what it does.

Legend: B clips, T frames, C = 3 colours, H and W pixels, K glosses.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from lscht_ray.artifacts.recorder import Recorder
from lscht_ray.clips.batch import Batch, Loader
from lscht_ray.clips.mix import Mixer
from lscht_ray.host.watchdog import Watchdog
from lscht_ray.model.loss import Criterion
from lscht_ray.training.device import Precision, autocast


@dataclass(frozen=True)
class Limits:
    """What a run may not exceed: the settings of the same names.

    Attributes:
        step_seconds: Seconds for one step, validation batch or checkpoint.
        batch_seconds: Seconds for loading one batch.
        max_skipped_steps: Steps in a row that are not finite.
        batches: Steps per epoch and validation batches (`limit_batches`); None: all.
    """

    step_seconds: float
    batch_seconds: float
    max_skipped_steps: int
    batches: int | None


@dataclass(frozen=True)
class Parts:
    """The parts of a run that never change.

    Attributes:
        train_loader: This worker's share of each training step.
        val_loader: This worker's share of the validation clips.
        augment: Turns a training batch into pixel_values (B, T, C, H, W).
        present: Turns a validation batch into pixel_values, without anything random.
        mixer: Mixes the clips of a micro-batch.
        criterion: The training loss.
        temperature: Of smoothing by the similarity of glosses; None smooths evenly.
        fixed_shape: Batches are filled up to one size, for a compiled model.
        freeze_epochs: The backbone is frozen in the first so many epochs; -1: in all.
        best_metric: Decides which epoch is the best.
        stop_metric: What early stopping watches.
        num_classes: K.
        device: Where the model computes.
        precision: What it computes in.
        gradient_clip: Largest norm of the gradient; 0: no limit.
        limits: What the run may not exceed.
        about: What every checkpoint repeats (`checkpoint_file.MODEL_KEYS` without weights, epoch and metrics).
    """

    train_loader: Loader
    val_loader: Loader
    augment: Callable[[Batch], Tensor]
    present: Callable[[Batch], Tensor]
    mixer: Mixer
    criterion: Criterion
    temperature: float | None
    fixed_shape: bool
    freeze_epochs: int
    best_metric: str
    stop_metric: str
    num_classes: int
    device: torch.device
    precision: Precision
    gradient_clip: float
    limits: Limits
    about: dict[str, Any]

    def batches(self, loader: Loader) -> int:
        """Batches per epoch of a loader."""
        return min(len(loader), self.limits.batches or len(loader))

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which the model computes."""
        return autocast(self.device, self.precision)

    def reading(self) -> list[str]:
        """The videos that this process and its data workers are reading now."""
        return [video for loader in (self.train_loader, self.val_loader) for video in loader.dataset.reading()]


@dataclass(frozen=True)
class Reporting:
    """Where a run says what it does.

    Attributes:
        recorder: Writes the run folder.
        console: Shows progress and warnings.
        watchdog: Ends the run where a step hangs, once it is entered.
    """

    recorder: Recorder
    console: Console
    watchdog: Watchdog
