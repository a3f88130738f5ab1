"""The built parts of a run, as the loop and the step take them.

Legend: B clips, T frames, C = 3 colours, H and W pixels.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lscht_ray.clips.batch import Batch, Loader
from lscht_ray.clips.mix import Mixer
from lscht_ray.host.watchdog import Watchdog
from lscht_ray.model.adapt import Freezing
from lscht_ray.model.ema import Ema
from lscht_ray.model.loss import Criterion
from lscht_ray.model.optim import WarmupCosine
from lscht_ray.training._stopping import BestEpoch, EarlyStopping
from lscht_ray.training.device import Precision, autocast


@dataclass
class MicroBatches:
    """How many clips go through the model at a time; halved where the memory does not suffice."""

    size: int

    def halve(self) -> None:
        """Take half as many, twice as often."""
        self.size = (self.size + 1) // 2


@dataclass
class Inside:
    """How far an epoch has come: its finished steps, and what this worker counted in them (`metrics.Tally.state`)."""

    steps: int
    tally: dict[str, Tensor]


@dataclass
class Limits:
    """What a run may not exceed: the settings of the same names.

    Attributes:
        batches: `limit_batches`.
    """

    step_seconds: float
    batch_seconds: float
    max_skipped_steps: int
    batches: int | None


@dataclass
class Skipped:
    """Steps that were not finite and changed nothing: in all, and the last ones in a row."""

    total: int = 0
    in_a_row: int = 0


@dataclass
class Training:
    """The parts of a run, built.

    Attributes:
        model: What is trained; under several workers wrapped in DistributedDataParallel.
        network: The bare model inside it.
        wrap: Makes ``model`` of ``network``.
        augment: Makes pixel_values (B, T, C, H, W) of a training batch.
        present: The same for a validation batch, without anything random.
        mixer: Mixes the clips of a micro-batch.
        micro: How many clips go through the model at a time.
        temperature: Of smoothing by the similarity of glosses; None: evenly.
        ema: The averaged weights, which are evaluated and kept instead.
        scaler: Scales the loss where fp16 needs it; else it does nothing.
        freezing: Freezes the backbone in the first ``freeze_epochs`` epochs (-1: in all).
        fixed_shape: Batches are filled up to one size, for a compiled model.
        constants: What every checkpoint repeats (config, glosses, model_config, clip_format, format).
        history: The metrics of each finished epoch.
        inside: Where a resumed run goes on in an epoch.
        skipped: Counts steps that were not finite.
        watchdog: Ends the run where a step hangs, once it is entered.
    """

    model: torch.nn.Module
    network: torch.nn.Module
    wrap: Callable[[torch.nn.Module], torch.nn.Module]
    optimizer: torch.optim.Optimizer
    schedule: WarmupCosine
    criterion: Criterion
    train_loader: Loader
    val_loader: Loader
    augment: Callable[[Batch], Tensor]
    present: Callable[[Batch], Tensor]
    mixer: Mixer
    micro: MicroBatches
    temperature: float | None
    ema: Ema | None
    scaler: torch.amp.GradScaler
    freezing: Freezing
    freeze_epochs: int
    fixed_shape: bool
    best: BestEpoch
    best_metric: str
    stopper: EarlyStopping | None
    stop_metric: str
    num_classes: int
    device: torch.device
    precision: Precision
    gradient_clip: float
    limits: Limits
    constants: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)
    inside: Inside | None = None
    skipped: Skipped = field(default_factory=Skipped)
    watchdog: Watchdog = field(default_factory=lambda: Watchdog(Path(), list))

    def batches(self, loader: Loader) -> int:
        """Batches per epoch of a loader."""
        return min(len(loader), self.limits.batches or len(loader))

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which the model computes."""
        return autocast(self.device, self.precision)

    def no_sync(self) -> AbstractContextManager[Any]:
        """The context of a micro-batch that is not the last of its step: workers need not talk yet."""
        wrapped = isinstance(self.model, torch.nn.parallel.DistributedDataParallel)
        return self.model.no_sync() if wrapped else nullcontext()  # type: ignore[operator]

    @property
    def evaluated(self) -> torch.nn.Module:
        """The network whose answers count."""
        return self.ema.network if self.ema is not None else self.network
