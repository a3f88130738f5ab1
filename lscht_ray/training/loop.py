"""fit, train_one_epoch and validate over built parts. Who built them, and who launched this, is none of its business.

Legend: B clips, T frames, C = 3 colours, H and W pixels, K glosses. A loader's batch is one worker's share of a step;
it goes through the model in micro-batches.
"""

import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console

from lscht_ray.artifacts import checkpoint
from lscht_ray.artifacts.recorder import Recorder
from lscht_ray.clips.batch import Batch
from lscht_ray.errors import InputError, TrainingError
from lscht_ray.host.console import EpochProgress, epoch_block
from lscht_ray.host.interrupt import Interrupted, StopRequest
from lscht_ray.model.adapt import plain_state
from lscht_ray.model.optim import WarmupCosine
from lscht_ray.training._gradient import apply, gradients
from lscht_ray.training._steps import StepLog
from lscht_ray.training.device import memory_share
from lscht_ray.training.metrics import Tally, of_first_rank, rank_and_world
from lscht_ray.training.parts import Inside, Skipped, Training

OnEpochEnd = Callable[[dict[str, Any], Path | None], None]
SMALLEST_SCALE = 1e-3
"""Of the loss in fp16: it is halved at every overflow, and rises again where there is none."""


def fit(
    parts: Training,
    *,
    max_epochs: int,
    recorder: Recorder,
    saver: checkpoint.Saver,
    console: Console,
    on_epoch_end: OnEpochEnd,
    save_every: int = 0,
    stop: StopRequest | None = None,
) -> bool:
    """Train until the epochs or the patience are at an end; whether it was the patience.

    Args:
        parts: The run.
        max_epochs: Epochs at most.
        recorder: Writes the run folder.
        saver: Writes checkpoints.
        console: Shows progress.
        on_epoch_end: Gets each epoch's metrics and, on rank 0, the checkpoint just saved.
        save_every: Save inside epochs too, every so many steps; 0: never.
        stop: Asks the run to stop after its next step.

    Raises:
        Interrupted: It was asked to stop, and has saved where it is.
        TrainingError: Too many steps were not finite, validation was not, or no clip could be read.
    """
    stopped = _out_of_patience(parts)
    while not stopped and len(parts.history) < max_epochs:
        epoch, started = len(parts.history) + 1, time.monotonic()
        _freeze_or_thaw(parts, epoch, console)

        def after_step(steps: int, tally: Tally, log: StepLog) -> None:
            step = parts.schedule.steps_done
            asked = stop.number if stop is not None else None
            wanted = stop.save_now(step) if stop is not None else False
            saved: Path | None = None
            if wanted or asked is not None or (save_every and step % save_every == 0):
                log.flush()  # so that every skipped step is counted
                content = _checkpoint(parts, Inside(steps, tally.state()))
                saved = saver.save_inside(content) if recorder.enabled else None
            if asked is not None:
                raise Interrupted(asked, step, saved=saved is not None)

        train = train_one_epoch(parts, epoch, max_epochs, recorder, console, after_step)
        val = validate(parts, f"Epoch {epoch}/{max_epochs}  val  ", recorder, console)
        metrics = _epoch_metrics(epoch, parts.schedule, train, val)
        improved = parts.best.update(metrics[parts.best_metric], epoch)
        stopped = parts.stopper is not None and parts.stopper.should_stop(metrics[parts.stop_metric], epoch)
        stopped = of_first_rank(stopped, parts.device)
        metrics |= {
            "best_epoch": parts.best.epoch,
            f"best_{parts.best_metric}": parts.best.value,
            "early_stopped": stopped,
            "unreadable": len(recorder.unreadable),
            "micro_batch": parts.micro.size,
            "skipped_steps": parts.skipped.total,
            "memory_share": memory_share(parts.device),
            "seconds": time.monotonic() - started,
        }
        parts.history.append(metrics)
        parts.watchdog.begin(f"saving epoch {epoch}", parts.limits.step_seconds)
        content = _checkpoint(parts)
        saved = saver.save(content, improved=improved) if recorder.enabled else None
        recorder.epoch(metrics)
        console.print(epoch_block(metrics, max_epochs, improved))
        on_epoch_end(metrics, saved)
    return stopped


def train_one_epoch(
    parts: Training,
    epoch: int,
    max_epochs: int,
    recorder: Recorder,
    console: Console,
    after_step: Callable[[int, Tally, StepLog], None] = lambda steps, tally, log: None,
) -> dict[str, float]:
    """One pass over the training clips, or the rest of one; the epoch's figures over all workers.

    ``after_step`` gets the number of the epoch's steps so far, what was counted in them, and their log.
    """
    parts.model.train()
    tally = Tally(parts.num_classes, parts.device)
    done = 0
    if parts.inside is not None:
        done = parts.inside.steps
        tally.load_state(parts.inside.tally)
        parts.inside = None
    parts.train_loader.sampler.set_epoch(epoch, skip=done * (parts.train_loader.batch_size or 1))
    total = parts.batches(parts.train_loader)
    with EpochProgress(console, f"Epoch {epoch}/{max_epochs}  train", total) as progress:
        progress.skip(done)
        wait = parts.device.type == "cuda"
        log = StepLog(recorder, progress, console, parts.skipped, parts.limits.max_skipped_steps, wait=wait)
        _watch_loading(parts, "training")
        for steps, batch in enumerate(itertools.islice(parts.train_loader, total - done), start=done + 1):
            parts.watchdog.begin(f"step {parts.schedule.steps_done + 1}", parts.limits.step_seconds)
            _report_failures(batch, recorder, console)
            _train_step(parts, batch, tally, log, console)
            after_step(steps, tally, log)
            _watch_loading(parts, "training")
        log.flush()
    if parts.scaler.is_enabled() and parts.scaler.get_scale() < SMALLEST_SCALE:
        raise TrainingError(
            "the gradients overflow fp16 at any scale: nothing is learned. Use --precision fp32 or a lower lr"
        )
    result = tally.result()
    if not result["count"] and parts.skipped.in_a_row:
        log.give_up(f"not one step of epoch {epoch} was finite")
    return _read_something(result, "training", recorder)


def _train_step(parts: Training, batch: Batch, tally: Tally, log: StepLog, console: Console) -> None:
    """One optimizer step; its figures go to the log, which knows when to look at them."""
    step, lr = parts.schedule.steps_done, parts.schedule.lr
    found = gradients(parts, batch, step, console)
    figures, finite = apply(parts, found)
    log.add(step + 1, lr, figures, finite, batch.videos)
    parts.schedule.step()
    if parts.ema is not None:
        parts.ema.update(step)
    for outcome in found:
        tally.add(*outcome.counting(finite))


@torch.inference_mode()
def validate(parts: Training, label: str, recorder: Recorder, console: Console) -> dict[str, float]:
    """One pass over the validation clips, each counted once; the figures over all workers."""
    network = parts.evaluated.eval()
    tally = Tally(parts.num_classes, parts.device)
    total = parts.batches(parts.val_loader)
    with EpochProgress(console, label, total) as progress:
        _watch_loading(parts, "validation")
        for number, batch in enumerate(itertools.islice(parts.val_loader, total), start=1):
            parts.watchdog.begin(f"validation batch {number}", parts.limits.step_seconds)
            _report_failures(batch, recorder, console)
            for chunk in batch.split(parts.micro.size):
                moved = (chunk.padded(parts.micro.size) if parts.fixed_shape else chunk).to(parts.device)
                with parts.autocast():
                    logits = network(pixel_values=parts.present(moved)).logits.float()  # (B, T, C, H, W) -> (B, K)
                tally.add(logits, moved.labels, moved.mask, *parts.criterion(logits, moved.labels, moved.mask))
            progress.advance()
            _watch_loading(parts, "validation")
    parts.watchdog.begin("adding up the validation", parts.limits.step_seconds)
    return _read_something(tally.result(), "validation", recorder)


def _watch_loading(parts: Training, what: str) -> None:
    # Data workers have the same limit, and know which of them hangs: theirs is over first.
    parts.watchdog.begin(f"loading a {what} batch", 1.5 * parts.limits.batch_seconds)


def _freeze_or_thaw(parts: Training, epoch: int, console: Console) -> None:
    frozen = parts.freeze_epochs == -1 or epoch <= parts.freeze_epochs
    if parts.freezing.set(frozen):
        console.print(
            f"Epoch {epoch}: the backbone is {'frozen, only the head is trained' if frozen else 'trained too'}"
        )
        parts.model = parts.wrap(parts.network)  # DistributedDataParallel knows what is trained when it is made


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
        "val_calibration_error": val["calibration_error"],
        "train_clips": int(train["count"]),
        "val_clips": int(val["count"]),
    }


def _checkpoint(parts: Training, inside: Inside | None = None) -> dict[str, Any]:
    """All that resuming needs. Every worker must call it: each adds its own random generators and counts.

    ``model`` is what is evaluated, under VideoMAE's own names; ``weights`` what is trained, where that is another.
    """
    states: list[Any] = [checkpoint.rng_state() | {"tally": inside.tally if inside is not None else None}]
    _, workers = rank_and_world()
    if workers > 1:
        own, states = states[0], [None] * workers
        dist.all_gather_object(states, own)
    model, trained = plain_state(parts.evaluated), parts.network.state_dict()
    return {
        **parts.constants,
        "model": model,
        "weights": trained if parts.ema is not None or trained.keys() != model.keys() else None,
        "ema": parts.ema.network.state_dict() if parts.ema is not None else None,
        "optimizer": parts.optimizer.state_dict(),
        "schedule": parts.schedule.state_dict(),
        "scaler": parts.scaler.state_dict(),
        "early_stopping": parts.stopper.state_dict() if parts.stopper else None,
        "best": parts.best.state_dict(),
        "rng": states,
        "epoch": len(parts.history),
        "step": parts.schedule.steps_done,
        "skipped": [parts.skipped.total, parts.skipped.in_a_row],
        "inside": inside.steps if inside is not None else None,
        "metrics": parts.history[-1] if parts.history else {},
        "history": parts.history,
    }


def restore(parts: Training, content: dict[str, Any], rank: int) -> None:
    """Put the parts where a full checkpoint left them."""
    parts.network.load_state_dict(content.get("weights") or content["model"])
    if parts.ema is not None:
        parts.ema.network.load_state_dict(content["ema"])
    optimizer = content["optimizer"]
    for group, own in zip(optimizer["param_groups"], parts.optimizer.param_groups, strict=True):
        group["fused"] = own["fused"]  # which depends on the device, not on the run
    parts.optimizer.load_state_dict(optimizer)
    parts.schedule.load_state_dict(content["schedule"])
    if content.get("scaler"):
        parts.scaler.load_state_dict(content["scaler"])
    parts.best.load_state_dict(content["best"])
    if parts.stopper is not None and content["early_stopping"] is not None:
        parts.stopper.load_state_dict(content["early_stopping"])
    parts.history = list(content["history"])
    parts.skipped = Skipped(*content.get("skipped", (0, 0)))
    parts.micro.size = min(parts.micro.size, int(content["metrics"].get("micro_batch", parts.micro.size)))
    if rank < len(content["rng"]):
        checkpoint.restore_rng_state(content["rng"][rank])
    if content.get("inside"):
        if len(content["rng"]) != rank_and_world()[1]:
            raise InputError(
                f"the checkpoint is from inside an epoch of {len(content['rng'])} workers: go on with as many"
            )
        parts.inside = Inside(content["inside"], content["rng"][rank]["tally"])


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
