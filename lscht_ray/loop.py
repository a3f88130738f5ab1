"""fit, train_one_epoch and validate over built parts. Who built them, and who launched this, is none of its business.

Legend: B clips per micro-batch and worker, T frames, C = 3 colours, H and W pixels, K glosses.
"""

import itertools
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console
from torch import Tensor

from lscht_ray import checkpoint
from lscht_ray.batch import Batch, Loader
from lscht_ray.console import EpochProgress, epoch_block
from lscht_ray.errors import TrainingError
from lscht_ray.loss import Criterion
from lscht_ray.metrics import Tally, all_reduced, rank_and_world
from lscht_ray.optim import WarmupCosine
from lscht_ray.recorder import Recorder
from lscht_ray.stopping import BestEpoch, EarlyStopping

OnEpochEnd = Callable[[dict[str, Any], Path | None], None]


@dataclass
class Training:
    """The parts of a run, built.

    Attributes:
        model: What is trained; under several workers wrapped in DistributedDataParallel.
        network: The bare model inside it.
        augment: Makes pixel_values (B, T, C, H, W) of a training batch.
        present: The same for a validation batch, without anything random.
        constants: What every checkpoint repeats (config, glosses, model_config, clip_format, format).
        history: The metrics of each finished epoch.
    """

    model: torch.nn.Module
    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    schedule: WarmupCosine
    criterion: Criterion
    train_loader: Loader
    val_loader: Loader
    augment: Callable[[Batch], Tensor]
    present: Callable[[Batch], Tensor]
    best: BestEpoch
    best_metric: str
    stopper: EarlyStopping | None
    stop_metric: str
    num_classes: int
    device: torch.device
    bf16: bool
    gradient_clip: float
    limit_batches: int | None
    constants: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)

    def batches(self, loader: Loader) -> int:
        """Batches per epoch of a loader."""
        return min(len(loader), self.limit_batches or len(loader))

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which the model computes."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()


def fit(
    parts: Training,
    *,
    max_epochs: int,
    recorder: Recorder,
    saver: checkpoint.Saver,
    console: Console,
    on_epoch_end: OnEpochEnd,
) -> bool:
    """Train until the epochs or the patience are at an end; whether it was the patience.

    Raises:
        TrainingError: The loss is not finite, or no clip could be read.
    """
    stopped = _out_of_patience(parts)
    while not stopped and len(parts.history) < max_epochs:
        epoch, started = len(parts.history) + 1, time.monotonic()
        train = train_one_epoch(parts, epoch, max_epochs, recorder, console)
        val = validate(parts, f"Epoch {epoch}/{max_epochs}  val  ", recorder, console)
        metrics = _epoch_metrics(epoch, parts.schedule, train, val)
        improved = parts.best.update(metrics[parts.best_metric], epoch)
        stopped = parts.stopper is not None and parts.stopper.should_stop(metrics[parts.stop_metric], epoch)
        metrics |= {
            "best_epoch": parts.best.epoch,
            f"best_{parts.best_metric}": parts.best.value,
            "early_stopped": stopped,
            "unreadable": len(recorder.unreadable),
            "seconds": time.monotonic() - started,
        }
        parts.history.append(metrics)
        content = _checkpoint(parts)
        saved = saver.save(content, improved=improved) if recorder.enabled else None
        recorder.epoch(metrics)
        console.print(epoch_block(metrics, max_epochs, improved))
        on_epoch_end(metrics, saved)
    return stopped


def train_one_epoch(
    parts: Training, epoch: int, max_epochs: int, recorder: Recorder, console: Console
) -> dict[str, float]:
    """One pass over the training clips; the epoch's figures over all workers."""
    parts.model.train()
    parts.train_loader.sampler.set_epoch(epoch)
    tally = Tally(parts.num_classes, parts.device)
    total = parts.batches(parts.train_loader)
    with EpochProgress(console, f"Epoch {epoch}/{max_epochs}  train", total) as progress:
        for batch in itertools.islice(parts.train_loader, total):
            _report_failures(batch, recorder, console)
            moved = batch.to(parts.device)
            loss, accuracy, lr = _train_step(parts, moved, parts.augment(moved), tally)
            recorder.batch(parts.schedule.steps_done, loss, accuracy, lr)
            progress.advance(loss=loss, acc=accuracy, lr=lr)
    return _read_something(tally.result(), "training", recorder)


def _train_step(parts: Training, batch: Batch, pixel_values: Tensor, tally: Tally) -> tuple[float, float, float]:
    """One optimizer step; the loss and accuracy of the batch over all workers, and the learning rate used."""
    with parts.autocast():
        logits = parts.model(pixel_values=pixel_values).logits  # (B, T, C, H, W) -> (B, K)
    loss_sum, weight = parts.criterion(logits.float(), batch.labels, batch.mask)
    right = ((logits.argmax(dim=1) == batch.labels) & batch.mask).sum()
    sums = all_reduced(torch.stack([loss_sum.detach(), weight, right, batch.mask.sum()]).float())
    total_loss, total_weight, total_right, total_count = sums.tolist()
    if not math.isfinite(total_loss):
        _stop_at_non_finite("loss", total_loss, parts.schedule.steps_done + 1, batch)
    # DistributedDataParallel averages gradients over workers; times their number it is the sum, and the sum over all
    # clips divided by the weight of all clips is what one worker with the whole batch would compute.
    _, workers = rank_and_world()
    (loss_sum * workers / max(total_weight, 1e-12)).backward()
    norm = torch.nn.utils.clip_grad_norm_(parts.model.parameters(), parts.gradient_clip or math.inf)
    if not torch.isfinite(norm):
        _stop_at_non_finite("gradient norm", float(norm), parts.schedule.steps_done + 1, batch)
    lr = parts.schedule.lr
    parts.optimizer.step()
    parts.optimizer.zero_grad(set_to_none=True)
    parts.schedule.step()
    tally.add(logits.detach(), batch.labels, batch.mask, loss_sum.detach(), weight)
    return total_loss / max(total_weight, 1e-12), total_right / max(total_count, 1.0), lr


@torch.inference_mode()
def validate(parts: Training, label: str, recorder: Recorder, console: Console) -> dict[str, float]:
    """One pass over the validation clips, each counted once; the figures over all workers."""
    parts.network.eval()
    tally = Tally(parts.num_classes, parts.device)
    total = parts.batches(parts.val_loader)
    with EpochProgress(console, label, total) as progress:
        for batch in itertools.islice(parts.val_loader, total):
            _report_failures(batch, recorder, console)
            moved = batch.to(parts.device)
            with parts.autocast():
                logits = parts.network(pixel_values=parts.present(moved)).logits.float()
            tally.add(logits, moved.labels, moved.mask, *parts.criterion(logits, moved.labels, moved.mask))
            progress.advance()
    return _read_something(tally.result(), "validation", recorder)


def _epoch_metrics(
    epoch: int, schedule: WarmupCosine, train: dict[str, float], val: dict[str, float]
) -> dict[str, Any]:
    """``train_loss`` is the training criterion; ``val_loss`` the plain cross-entropy, which all trials share."""
    return {
        "epoch": epoch,
        "step": schedule.steps_done,
        "lr": schedule.lr_at(schedule.steps_done - 1),
        "train_loss": train["criterion"],
        "train_accuracy": train["accuracy"],
        "val_loss": val["loss"],
        "val_criterion": val["criterion"],
        "val_accuracy": val["accuracy"],
        "val_top5_accuracy": val["top5_accuracy"],
        "val_mean_class_accuracy": val["mean_class_accuracy"],
        "train_clips": int(train["count"]),
        "val_clips": int(val["count"]),
    }


def _checkpoint(parts: Training) -> dict[str, Any]:
    """All that resuming needs. Every worker must call it: each adds the state of its random generators."""
    states: list[Any] = [checkpoint.rng_state()]
    _, workers = rank_and_world()
    if workers > 1:
        own, states = states[0], [None] * workers
        dist.all_gather_object(states, own)
    return {
        **parts.constants,
        "model": parts.network.state_dict(),
        "optimizer": parts.optimizer.state_dict(),
        "schedule": parts.schedule.state_dict(),
        "early_stopping": parts.stopper.state_dict() if parts.stopper else None,
        "best": parts.best.state_dict(),
        "rng": states,
        "epoch": len(parts.history),
        "step": parts.schedule.steps_done,
        "metrics": parts.history[-1],
        "history": parts.history,
    }


def restore(parts: Training, content: dict[str, Any], rank: int) -> None:
    """Put the parts where a full checkpoint left them."""
    parts.network.load_state_dict(content["model"])
    parts.optimizer.load_state_dict(content["optimizer"])
    parts.schedule.load_state_dict(content["schedule"])
    parts.best.load_state_dict(content["best"])
    if parts.stopper is not None and content["early_stopping"] is not None:
        parts.stopper.load_state_dict(content["early_stopping"])
    parts.history = list(content["history"])
    if rank < len(content["rng"]):
        checkpoint.restore_rng_state(content["rng"][rank])


def _out_of_patience(parts: Training) -> bool:
    return bool(parts.history) and bool(parts.history[-1]["early_stopped"])


def _report_failures(batch: Batch, recorder: Recorder, console: Console) -> None:
    for message in recorder.failures(batch.failures):
        console.print(f"warning: {message}")


def _read_something(result: dict[str, float], what: str, recorder: Recorder) -> dict[str, float]:
    if not result["count"]:
        first = next(iter(recorder.unreadable.items()), ("", "unknown"))
        raise TrainingError(f"not one {what} clip could be read; the first: {first[0]}: {first[1]}")
    if not math.isfinite(result["loss"] + result["criterion"]):
        raise TrainingError(f"the {what} loss is {result['loss']}: the model's outputs are not finite; try a lower lr")
    return result


def _stop_at_non_finite(what: str, value: float, step: int, batch: Batch) -> None:
    videos = "\n  ".join(video for video in batch.videos if video)
    raise TrainingError(
        f"the {what} at step {step} is {value}: nothing was updated. A lower lr or gradient_clip may help.\n"
        f"The clips of that step (on this worker):\n  {videos}"
    )
