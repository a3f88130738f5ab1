"""Makes run folders, and writes into them: config.json, metrics.jsonl, TensorBoard, missing and unreadable videos."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lscht_ray.artifacts import places
from lscht_ray.artifacts.figures import BASIS
from lscht_ray.errors import InputError
from lscht_ray.host.files import slug, write_json, write_text
from lscht_ray.shown import shown

if TYPE_CHECKING:  # TensorBoard brings torch, which takes seconds to import
    from rich.console import Console
    from torch.utils.tensorboard import SummaryWriter

EPOCH_TAGS = {
    "Train/Loss_epoch": "train_loss",
    "Train/Accuracy_epoch": "train_accuracy",
    "Val/Loss_epoch": "val_loss",
    "Val/Accuracy_epoch": "val_accuracy",
    "Val/Top5_accuracy_epoch": "val_top5_accuracy",
    "Val/Mean_class_accuracy_epoch": "val_mean_class_accuracy",
    "Val/Criterion_epoch": "val_criterion",
}


class RunFolders(NamedTuple):
    """Where a run writes.

    Attributes:
        run: Checkpoints, settings and metrics.
        logs: TensorBoard's events.
    """

    run: Path
    logs: Path


def new_folders(checkpoint_dir: str, log_dir: str, run_name: str = "", now: datetime | None = None) -> RunFolders:
    """Make two folders of one name, ``run_YYYYMMDD_HHMMSS``, with a number after it where that name is taken.

    They are one where both are made in the same place.

    Args:
        checkpoint_dir: Where the run folder is made.
        log_dir: Where TensorBoard's folder is made.
        run_name: What stands in place of ``run``, as a slug.
        now: The time; None: that of the clock.

    Raises:
        InputError: A folder can't be made.
    """
    made = new_folder([checkpoint_dir, log_dir], slug(run_name) or "run", now)
    return RunFolders(made[0], made[-1])


def new_folder(parents: Sequence[str], kind: str, now: datetime | None = None) -> tuple[Path, ...]:
    """Make a new folder ``KIND_YYYYMMDD_HHMMSS`` in each of these, with a number after it where that name is taken.

    Raises:
        InputError: It can't be made.
    """
    stem = f"{kind}_{now or datetime.now():%Y%m%d_%H%M%S}"
    places_for_it = [*dict.fromkeys(Path(parent).expanduser().resolve() for parent in parents)]
    for parent in places_for_it:
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{parent} can't be written: {error.strerror}; choose another folder") from None
    try:
        return places.make_numbered(*(parent / stem for parent in places_for_it))
    except OSError as error:
        folder = error.filename or places_for_it[0]
        raise InputError(f"{folder} can't be written: {error.strerror}; choose another folder") from None


def write_hparams(folder: Path, params: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Add a trial's parameters, and the validation figures of an epoch, to TensorBoard's HPARAMS page."""
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    results = [name for name in metrics if name.startswith("val_") and name.removeprefix("val_") not in BASIS]
    params = {name: each if isinstance(each, bool | int | float | str) else str(each) for name, each in params.items()}
    named = {f"hparam/{name}": metrics[name] for name in results}
    with SummaryWriter(str(folder)) as writer:  # not its add_hparams, which opens a second file
        for entry in hparams(params, named):
            writer.file_writer.add_summary(entry)
        for name, value in named.items():
            writer.add_scalar(name, value)


class Recorder:
    """Writes a run's files. Once it has started, a failure to write is printed once, and training goes on.

    Args:
        folders: Where it writes.
        console: Where a failure is printed.
        enabled: False on ranks other than 0: then it writes nothing.

    Attributes:
        unreadable: The reason of each video that was left out, by its path.
    """

    def __init__(self, folders: RunFolders, console: Console, *, enabled: bool = True) -> None:
        self.folders, self.console, self.enabled = folders, console, enabled
        self.unreadable: dict[str, str] = {}
        self._before = 0
        self._history: list[dict[str, Any]] = []
        self._writer: SummaryWriter | None = None
        self._started = self._complained = False
        self._excepthook = threading.excepthook

    def start(
        self,
        config: dict[str, Any],
        missing: Iterable[Path],
        left_out: Iterable[tuple[Path, str]],
        history: Sequence[dict[str, Any]],
        step: int,
    ) -> None:
        """Write what is known before the first step.

        Args:
            config: What config.json is to hold.
            missing: Annotated videos that are not on disk.
            left_out: Videos that can't be used, each with the reason.
            history: The metrics of the epochs before, of a resumed run.
            step: Optimizer steps before.
        """
        self.unreadable = {str(video): reason for video, reason in left_out}
        self._before = len(self.unreadable)
        if not self.enabled:
            return
        from torch.utils.tensorboard import SummaryWriter

        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folders.run / places.CONFIG, config)
        gone = sorted(str(path) for path in missing)
        if gone:
            write_text(self.folders.run / places.MISSING, "\n".join(gone) + "\n")
        self._list_unreadable()
        self._history = list(history)
        self._write_metrics()
        self._started = True
        self._excepthook, threading.excepthook = threading.excepthook, self._thread_failed
        try:
            self._writer = SummaryWriter(str(self.folders.logs), purge_step=step + 1 if step else None)
        except OSError as error:
            self._give_tensorboard_up(error)

    def batch(self, step: int, loss: float, accuracy: float, lr: float) -> None:
        """Write TensorBoard's batch tags; ``step`` counts optimizer steps from 1."""
        tags = {"Train/Loss_batch": loss, "Train/Accuracy_batch": accuracy, "Train/Learning_rate": lr}
        self._add(tags, step)

    def epoch(self, metrics: dict[str, Any]) -> None:
        """Write an epoch's line of metrics.jsonl, and TensorBoard's epoch tags."""
        if not self._started:
            return
        self._history.append(metrics)
        try:
            self._write_metrics()
        except OSError as error:
            self._complain(f"{self.folders.run / places.METRICS} can't be written: {error.strerror}")
        tags = {tag: metrics[key] for tag, key in EPOCH_TAGS.items() if key in metrics}
        self._add(tags, metrics["epoch"], flush=True)

    def failures(self, failures: Iterable[tuple[str, str]]) -> list[str]:
        """Note videos that could not be read, each with the reason; return a message for each new one."""
        new = {video: reason for video, reason in failures if video not in self.unreadable}
        self.unreadable.update(new)
        if new and self.enabled:
            try:
                self._list_unreadable()
            except OSError as error:
                self._complain(f"{self.folders.run / places.UNREADABLE} can't be written: {error.strerror}")
        return [f"{shown(video)} can't be read and is left out: {shown(reason)}" for video, reason in new.items()]

    @property
    def lost(self) -> dict[str, str]:
        """Those of the unreadable videos that could be read when the run started, each with the reason."""
        return dict(list(self.unreadable.items())[self._before :])

    def _list_unreadable(self) -> None:
        if self.unreadable:
            lines = "".join(f"{shown(video)}\t{shown(reason)}\n" for video, reason in sorted(self.unreadable.items()))
            write_text(self.folders.run / places.UNREADABLE, lines)

    def _write_metrics(self) -> None:
        write_text(self.folders.run / places.METRICS, "".join(json.dumps(epoch) + "\n" for epoch in self._history))

    def _add(self, tags: dict[str, float], step: int, *, flush: bool = False) -> None:
        if self._writer is None:
            return
        try:
            for tag, value in tags.items():
                self._writer.add_scalar(tag, value, step)
            if flush:
                self._writer.flush()
        except OSError as error:
            self._give_tensorboard_up(error)

    def _give_tensorboard_up(self, error: OSError) -> None:
        self._writer, broken = None, self._writer
        if broken is not None:
            with contextlib.suppress(OSError):
                broken.close()
        self._complain(f"TensorBoard's events can't be written to {self.folders.logs}: {error.strerror}")

    def _complain(self, text: str) -> None:
        if not self._complained:
            self.console.print(f"warning: {text}; training goes on")
        self._complained = True

    def _thread_failed(self, failed: threading.ExceptHookArgs) -> None:
        """Ignore a full disk in TensorBoard's own thread: the next write to it raises the same error."""
        if not isinstance(failed.exc_value, OSError):
            self._excepthook(failed)

    def close(self) -> None:
        """Flush and close TensorBoard's writer."""
        threading.excepthook = self._excepthook
        try:
            if self._writer is not None:
                self._writer.close()
        except OSError as error:
            self._give_tensorboard_up(error)
        self._writer = None
