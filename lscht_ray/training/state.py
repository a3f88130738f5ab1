"""What changes while a run trains, and what a checkpoint keeps of it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lscht_ray.artifacts import checkpoint
from lscht_ray.artifacts.checkpoint_file import MODEL_KEYS
from lscht_ray.errors import InputError
from lscht_ray.model.adapt import Freezing, plain_state
from lscht_ray.model.ema import Ema
from lscht_ray.model.optim import WarmupCosine, regrouped
from lscht_ray.shown import counted
from lscht_ray.training._stopping import BestEpoch, EarlyStopping
from lscht_ray.training.metrics import rank_and_world

KEYS = (*MODEL_KEYS, "optimizer", "schedule", "early_stopping", "best", "rng", "step", "history")
"""The keys that every full checkpoint has. Newer ones have more, which `TrainState.load_state_dict` can do without."""


@dataclass
class MicroBatches:
    """How many clips go through the model at a time; halved where the memory does not suffice."""

    size: int

    def halve(self) -> None:
        """Take half as many, twice as often."""
        self.size = (self.size + 1) // 2


@dataclass(frozen=True)
class Inside:
    """How far an epoch has come.

    Attributes:
        steps: Its finished steps.
        tally: What this worker counted in them (`metrics.Tally.state`).
    """

    steps: int
    tally: dict[str, Tensor]


@dataclass
class Skipped:
    """Steps that were not finite and changed nothing: in all, and the last ones in a row."""

    total: int = 0
    in_a_row: int = 0


@dataclass
class TrainState:
    """What changes while a run trains.

    Attributes:
        network: The bare model.
        model: What is trained: ``network``, wrapped for several workers.
        wrap: Makes ``model`` of ``network``.
        optimizer: Of the trained parameters.
        schedule: Sets the learning rate and counts the steps.
        scaler: Scales the loss where fp16 needs it; else it does nothing.
        freezing: Freezes the backbone and thaws it.
        micro: How many clips go through the model at a time.
        best: The best epoch so far.
        stopper: Early stopping; None: never.
        ema: The averaged weights, which are evaluated and kept instead of ``network``'s; None: there are none.
        history: The metrics of each finished epoch.
        inside: Where a resumed run goes on in an epoch; None: at its beginning.
        skipped: Counts steps that were not finite.
    """

    network: torch.nn.Module
    model: torch.nn.Module
    wrap: Callable[[torch.nn.Module], torch.nn.Module]
    optimizer: torch.optim.Optimizer
    schedule: WarmupCosine
    scaler: torch.amp.GradScaler
    freezing: Freezing
    micro: MicroBatches
    best: BestEpoch
    stopper: EarlyStopping | None
    ema: Ema | None
    history: list[dict[str, Any]] = field(default_factory=list)
    inside: Inside | None = None
    skipped: Skipped = field(default_factory=Skipped)

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.history)

    @property
    def evaluated(self) -> torch.nn.Module:
        """The network whose answers count."""
        return self.ema.network if self.ema is not None else self.network

    @property
    def out_of_patience(self) -> bool:
        """Whether early stopping has ended the run."""
        return bool(self.history) and bool(self.history[-1]["early_stopped"])

    def freeze(self, frozen: bool) -> bool:
        """Freeze the backbone or thaw it; whether that changed anything."""
        changed = self.freezing.set(frozen)
        if changed:  # DistributedDataParallel learns what is trained when it is made
            self.model = self.wrap(self.network)
        return changed

    def no_sync(self) -> AbstractContextManager[Any]:
        """The context of a micro-batch that is not the last of its step: workers need not talk yet."""
        if isinstance(self.model, torch.nn.parallel.DistributedDataParallel):
            return self.model.no_sync()
        return nullcontext()

    def state_dict(self, inside: Inside | None = None) -> dict[str, Any]:
        """What a checkpoint keeps. Every worker must call it: each adds its own random generators and counts.

        ``model`` is what is evaluated, under VideoMAE's own names; ``weights`` what is trained, where that differs.
        """
        model, trained = plain_state(self.evaluated), self.network.state_dict()
        return {
            "model": model,
            "weights": trained if self.ema is not None or trained.keys() != model.keys() else None,
            "ema": self.ema.network.state_dict() if self.ema is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "early_stopping": self.stopper.state_dict() if self.stopper else None,
            "best": self.best.state_dict(),
            "rng": _of_all_workers(checkpoint.rng_state() | {"tally": inside.tally if inside is not None else None}),
            "epoch": self.epoch,
            "step": self.schedule.steps_done,
            "skipped": [self.skipped.total, self.skipped.in_a_row],
            "inside": inside.steps if inside is not None else None,
            "metrics": self.history[-1] if self.history else {},
            "history": self.history,
        }

    def load_state_dict(self, content: dict[str, Any]) -> None:
        """Go on where a full checkpoint left off.

        Raises:
            InputError: It is from inside an epoch of another number of workers.
        """
        self.network.load_state_dict(content.get("weights") or content["model"])
        if self.ema is not None:
            self.ema.network.load_state_dict(content["ema"])
        self._load_optimizer(content["optimizer"])
        self.schedule.load_state_dict(content["schedule"])
        if content.get("scaler"):
            self.scaler.load_state_dict(content["scaler"])
        self.best.load_state_dict(content["best"], content["history"])
        if self.stopper is not None and content["early_stopping"] is not None:
            self.stopper.load_state_dict(content["early_stopping"])
        self.history = list(content["history"])
        self.skipped = Skipped(*content.get("skipped", (0, 0)))
        self.micro.size = min(self.micro.size, int(content["metrics"].get("micro_batch", self.micro.size)))
        self._load_own(content["rng"], content.get("inside"))

    def _load_optimizer(self, saved: dict[str, Any]) -> None:
        saved = regrouped(saved, self.optimizer, self.network)
        for group, own in zip(saved["param_groups"], self.optimizer.param_groups, strict=True):
            group["fused"] = own["fused"]  # which depends on the device, not on the run
        self.optimizer.load_state_dict(saved)

    def _load_own(self, workers: list[dict[str, Any]], inside: int | None) -> None:
        """Load this worker's random generators, and what it had counted inside an epoch."""
        rank, world = rank_and_world()
        if rank < len(workers):
            checkpoint.restore_rng_state(workers[rank])
        if inside:
            if len(workers) != world:
                raise InputError(
                    f"the checkpoint is from inside an epoch of {counted(len(workers), 'worker')}: go on with as many"
                )
            self.inside = Inside(inside, workers[rank]["tally"])


def _of_all_workers(own: dict[str, Any]) -> list[Any]:
    """Each worker's object, in the order of ranks."""
    _, workers = rank_and_world()
    if workers == 1:
        return [own]
    gathered: list[Any] = [None] * workers
    dist.all_gather_object(gathered, own)
    return gathered
