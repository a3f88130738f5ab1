"""fit, train_one_epoch and validate over built parts. The loop does not know who built them or who launched it.

Legend: B clips, T frames, C = 3 colours, H and W pixels, K glosses. A loader's batch is one worker's share of a step;
it goes through the model in micro-batches.
"""

import itertools
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from lscht_ray.artifacts import checkpoint, figures
from lscht_ray.artifacts.recorder import Recorder
from lscht_ray.clips.batch import Batch
from lscht_ray.errors import TrainingError, UnfitSettingsError
from lscht_ray.host.console import EpochProgress
from lscht_ray.host.interrupt import Interrupted, StopRequest
from lscht_ray.model.optim import WarmupCosine
from lscht_ray.shown import counted, shown, some
from lscht_ray.training._gradient import apply, gradients
from lscht_ray.training._steps import StepLog
from lscht_ray.training.device import memory_share
from lscht_ray.training.metrics import Tally, of_first_rank
from lscht_ray.training.parts import Parts, Reporting
from lscht_ray.training.state import Inside, TrainState

OnEpochEnd = Callable[[dict[str, Any], Path | None], None]
AfterStep = Callable[[int, Tally, StepLog], None]
SMALLEST_SCALE = 1e-3
"""Of the loss in fp16. The scaler halves it at every overflow, and doubles it again after many good steps."""


def fit(
    parts: Parts,
    state: TrainState,
    reporting: Reporting,
    *,
    max_epochs: int,
    saver: checkpoint.Saver,
    on_epoch_end: OnEpochEnd,
    save_every: int = 0,
    stop: StopRequest | None = None,
) -> bool:
    """Train until the epochs or the patience are at an end.

    Args:
        parts: What is trained with.
        state: What is trained.
        reporting: Where the run says what it does.
        max_epochs: Epochs at most.
        saver: Writes checkpoints.
        on_epoch_end: Gets each epoch's metrics and, on rank 0, the checkpoint just saved.
        save_every: Save inside epochs too, every so many steps; 0: never.
        stop: Asks the run to stop after its next step.

    Returns:
        Whether it was the patience.

    Raises:
        Interrupted: The run was asked to stop, and has saved where it is.
        UnfitSettingsError: Too many steps were not finite, or validation was not.
        TrainingError: No clip could be read, or the validation clips are not those of the epochs before.
    """
    after_step = partial(_save_or_stop, parts, state, reporting, saver, save_every, stop)
    stopped, val_clips = state.out_of_patience, None
    while not stopped and state.epoch < max_epochs:
        epoch, started = state.epoch + 1, time.monotonic()
        _freeze_or_thaw(parts, state, epoch, reporting.console)
        train = train_one_epoch(parts, state, reporting, epoch, max_epochs, after_step)
        val = validate(parts, state, reporting, f"Epoch {epoch}/{max_epochs}  val  ")
        metrics = _epoch_metrics(epoch, state.schedule, train, val)
        if val_clips not in (None, metrics["val_clips"]):
            raise TrainingError(_other_val_clips(epoch, metrics["val_clips"], val_clips, reporting.recorder))
        val_clips = metrics["val_clips"]
        improved = state.best.update(metrics, epoch)
        stopped = _should_stop(parts, state, metrics)
        metrics |= {
            "best_epoch": state.best.epoch,
            f"best_{parts.best_metric}": state.best.value,
            "early_stopped": stopped,
            "unreadable": len(reporting.recorder.unreadable),
            "micro_batch": state.micro.size,
            "skipped_steps": state.skipped.total,
            "memory_share": memory_share(parts.device),
            "seconds": time.monotonic() - started,
        }
        state.history.append(metrics)
        reporting.watchdog.begin(f"saving epoch {epoch}", parts.limits.step_seconds)
        content = parts.about | state.state_dict()
        saved = saver.save(content, improved=improved) if reporting.recorder.enabled else None
        reporting.recorder.epoch(metrics)
        reporting.console.print(figures.epoch_block(metrics, max_epochs, improved))
        on_epoch_end(metrics, saved)
    return stopped


def _should_stop(parts: Parts, state: TrainState, metrics: dict[str, Any]) -> bool:
    """Whether patience ends the run after this epoch: what the first rank finds counts for all."""
    value, epoch = metrics[parts.stop_metric], metrics["epoch"]
    stopped = state.stopper is not None and state.stopper.should_stop(value, epoch)
    return of_first_rank(stopped, parts.device)


def _save_or_stop(
    parts: Parts,
    state: TrainState,
    reporting: Reporting,
    saver: checkpoint.Saver,
    save_every: int,
    stop: StopRequest | None,
    steps: int,
    tally: Tally,
    log: StepLog,
) -> None:
    """After a step: save inside the epoch where that is due, and end the run where that was asked for."""
    step = state.schedule.steps_done
    asked = stop.number if stop is not None else None
    due = save_every > 0 and step % save_every == 0
    wanted = stop.save_now(step) if stop is not None else False
    saved: Path | None = None
    if due or wanted or asked is not None:
        log.flush()  # so that every skipped step is counted
        content = parts.about | state.state_dict(Inside(steps, tally.state()))
        saved = saver.save_inside(content) if reporting.recorder.enabled else None
    if asked is not None:
        raise Interrupted(asked, step, saved=saved is not None)


def train_one_epoch(
    parts: Parts,
    state: TrainState,
    reporting: Reporting,
    epoch: int,
    max_epochs: int,
    after_step: AfterStep = lambda steps, tally, log: None,
) -> dict[str, float]:
    """Train on the training clips once, or on the rest of them where the run was stopped inside the epoch.

    Args:
        parts: What is trained with.
        state: What is trained.
        reporting: Where the run says what it does.
        epoch: From 1.
        max_epochs: For the label of the progress bar.
        after_step: Gets the number of the epoch's steps so far, what was counted in them, and their log.

    Returns:
        The epoch's figures over all workers (`metrics.Tally.result`).

    Raises:
        UnfitSettingsError: No step was finite, or fp16 overflows at any scale.
        TrainingError: No clip could be read.
    """
    state.model.train()
    tally = Tally(parts.num_classes, parts.device)
    done = _take_up(state, tally)
    parts.train_loader.sampler.set_epoch(epoch, skip=done * (parts.train_loader.batch_size or 1))
    total = parts.batches(parts.train_loader)
    recorder, console = reporting.recorder, reporting.console
    with EpochProgress(console, f"Epoch {epoch}/{max_epochs}  train", total) as progress:
        progress.skip(done)
        wait = parts.device.type == "cuda"
        log = StepLog(recorder, progress, console, state.skipped, parts.limits.max_skipped_steps, wait=wait)
        _watch_loading(parts, reporting, "training")
        for steps, batch in enumerate(itertools.islice(parts.train_loader, total - done), start=done + 1):
            reporting.watchdog.begin(f"step {state.schedule.steps_done + 1}", parts.limits.step_seconds)
            _report_failures(batch, recorder, console)
            _train_step(parts, state, batch, tally, log, console)
            after_step(steps, tally, log)
            _watch_loading(parts, reporting, "training")
        log.flush()
    if state.scaler.is_enabled() and state.scaler.get_scale() < SMALLEST_SCALE:
        raise UnfitSettingsError(
            "the gradients overflow fp16 at any scale: nothing is learned. Use --precision fp32 or a lower lr"
        )
    result = tally.result()
    if not result["count"] and state.skipped.in_a_row:
        log.give_up(f"not one step of epoch {epoch} was finite")
    return _of_readable(result, "training", recorder)


def _take_up(state: TrainState, tally: Tally) -> int:
    """How many steps of the epoch were done before the run was stopped inside it; their counts go into the tally."""
    if state.inside is None:
        return 0
    inside, state.inside = state.inside, None
    tally.load_state(inside.tally)
    return inside.steps


def _train_step(parts: Parts, state: TrainState, batch: Batch, tally: Tally, log: StepLog, console: Console) -> None:
    """One optimizer step; its figures go to the log, which knows when to look at them."""
    step, lr = state.schedule.steps_done, state.schedule.lr
    outcomes = gradients(parts, state, batch, step, console)
    figures, finite = apply(parts, state, outcomes)
    log.add(step + 1, lr, figures, finite, batch.videos)
    state.schedule.step()
    if state.ema is not None:
        state.ema.update(step)
    for outcome in outcomes:
        tally.add(*outcome.counting(finite))


@torch.inference_mode()
def validate(parts: Parts, state: TrainState, reporting: Reporting, label: str) -> dict[str, float]:
    """Run the model over the validation clips, each counted once.

    Args:
        parts: What is trained with.
        state: What is trained.
        reporting: Where the run says what it does.
        label: Of the progress bar.

    Returns:
        The figures over all workers (`metrics.Tally.result`).

    Raises:
        UnfitSettingsError: The loss is not finite.
        TrainingError: No clip could be read.
    """
    network = state.evaluated.eval()
    tally = Tally(parts.num_classes, parts.device)
    total, micro = parts.batches(parts.val_loader), state.micro.size
    with EpochProgress(reporting.console, label, total) as progress:
        _watch_loading(parts, reporting, "validation")
        for number, batch in enumerate(itertools.islice(parts.val_loader, total), start=1):
            reporting.watchdog.begin(f"validation batch {number}", parts.limits.step_seconds)
            _report_failures(batch, reporting.recorder, reporting.console)
            for chunk in batch.split(micro):
                moved = (chunk.padded(micro) if parts.fixed_shape else chunk).to(parts.device)
                with parts.autocast():
                    logits = network(pixel_values=parts.present(moved)).logits.float()  # (B, T, C, H, W) -> (B, K)
                tally.add(logits, moved.labels, moved.mask, *parts.criterion(logits, moved.labels, moved.mask))
            progress.advance()
            _watch_loading(parts, reporting, "validation")
    reporting.watchdog.begin("adding up the validation", parts.limits.step_seconds)
    return _of_readable(tally.result(), "validation", reporting.recorder)


def _other_val_clips(epoch: int, now: int, before: int, recorder: Recorder) -> str:
    """Why an epoch that was validated on other clips than those before ends the run."""
    lost = some(shown(video) for video in recorder.lost) or "none is named on this worker"
    return (
        f"epoch {epoch} was validated on {counted(now, 'clip')}, the epochs before on"
        f" {before}: they can't be compared.\n"
        f"  not readable any more: {lost}\n"
        "  put them back, and the epoch is trained again"
    )


def _watch_loading(parts: Parts, reporting: Reporting, what: str) -> None:
    # Data workers have the same limit, and know which of them hangs: theirs runs out first.
    reporting.watchdog.begin(f"loading a {what} batch", 1.5 * parts.limits.batch_seconds)


def _freeze_or_thaw(parts: Parts, state: TrainState, epoch: int, console: Console) -> None:
    frozen = parts.freeze_epochs == -1 or epoch <= parts.freeze_epochs
    if state.freeze(frozen):
        how = "frozen, only the head is trained" if frozen else "trained too"
        console.print(f"Epoch {epoch}: the backbone is {how}")


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
        **{f"val_{name}": value for name, value in val.items() if name != "count"},
        "train_clips": int(train["count"]),
        "val_clips": int(val["count"]),
    }


def _report_failures(batch: Batch, recorder: Recorder, console: Console) -> None:
    for message in recorder.failures(batch.failures):
        console.print(f"warning: {message}")


def _of_readable(result: dict[str, float], what: str, recorder: Recorder) -> dict[str, float]:
    """A pass's figures.

    Raises:
        UnfitSettingsError: The loss is not finite.
        TrainingError: No clip could be read.
    """
    if not result["count"]:
        video, reason = next(iter(recorder.unreadable.items()), ("", "unknown"))
        raise TrainingError(f"not one {what} clip could be read; the first: {shown(video)}: {shown(reason)}")
    if not math.isfinite(result["loss"] + result["criterion"]):
        raise UnfitSettingsError(
            f"the {what} loss is {result['loss']}: the model's outputs are not finite; try a lower lr"
        )
    return result
