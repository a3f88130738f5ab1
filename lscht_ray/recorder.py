"""The run folder: config.json, metrics.jsonl, TensorBoard, the lists of missing and unreadable videos."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lscht_ray.errors import InputError
from lscht_ray.files import write_json

if TYPE_CHECKING:  # TensorBoard brings torch, which takes seconds to import
    from torch.utils.tensorboard import SummaryWriter

CONFIG, METRICS, SPLITS = "config.json", "metrics.jsonl", "splits.csv"
MISSING, UNREADABLE = "missing_videos.txt", "unreadable_videos.txt"
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
    """Where a run writes: checkpoints, configuration and metrics; and TensorBoard's events."""

    run: Path
    logs: Path


def new_folders(checkpoint_dir: str, log_dir: str, now: datetime | None = None) -> RunFolders:
    """Two new folders ``run_YYYYMMDD_HHMMSS`` of one name; a number is added where that second's name is taken.

    Raises:
        InputError: They can't be made.
    """
    name = new_folder(Path(checkpoint_dir), "run", now)
    logs = Path(log_dir).expanduser().resolve() / name.name
    try:
        logs.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"log_dir {log_dir}: {logs} can't be made: {error.strerror}") from None
    return RunFolders(name, logs)


def new_folder(parent: Path, kind: str, now: datetime | None = None) -> Path:
    """A new folder ``KIND_YYYYMMDD_HHMMSS`` that nobody else has.

    Raises:
        InputError: It can't be made.
    """
    parent = parent.expanduser().resolve()
    stem = f"{kind}_{now or datetime.now():%Y%m%d_%H%M%S}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1000):
            folder = parent / (f"{stem}_{number + 1}" if number else stem)
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise InputError(f"{parent} can't be written: {error.strerror}; choose another folder") from None
    raise InputError(f"{parent}: {stem} and a thousand names like it are taken")


def write_hparams(folder: Path, params: dict[str, Any], metrics: dict[str, float]) -> None:
    """Add a trial's parameters and results to TensorBoard's HPARAMS page."""
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    named = {f"hparam/{name}": value for name, value in metrics.items()}
    with SummaryWriter(str(folder)) as writer:  # not its add_hparams, which opens a second file
        for entry in hparams(params, named):
            writer.file_writer.add_summary(entry)
        for name, value in named.items():
            writer.add_scalar(name, value)


class Recorder:
    """Writes a run's files; a disabled one (ranks other than 0) writes nothing."""

    def __init__(self, folders: RunFolders, *, enabled: bool = True) -> None:
        self.folders, self.enabled = folders, enabled
        self.unreadable: dict[str, str] = {}
        self._writer: SummaryWriter | None = None

    def start(
        self,
        config: dict[str, Any],
        missing: Iterable[Path],
        left_out: Iterable[tuple[Path, str]],
        history: Sequence[dict[str, Any]],
        step: int,
    ) -> None:
        """Write what is known before the first step; a resumed run brings its history and its step."""
        self.unreadable = {str(video): reason for video, reason in left_out}
        if not self.enabled:
            return
        from torch.utils.tensorboard import SummaryWriter

        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folders.run / CONFIG, config)
        gone = sorted(str(path) for path in missing)
        if gone:
            (self.folders.run / MISSING).write_text("\n".join(gone) + "\n", encoding="utf-8", errors="backslashreplace")
        self._list_unreadable()
        lines = "".join(json.dumps(epoch) + "\n" for epoch in history)
        (self.folders.run / METRICS).write_text(lines, encoding="utf-8")
        self._writer = SummaryWriter(str(self.folders.logs), purge_step=step + 1 if step else None)

    def batch(self, step: int, loss: float, accuracy: float, lr: float) -> None:
        """TensorBoard's batch tags; ``step`` counts optimizer steps from 1."""
        if self._writer is not None:
            self._writer.add_scalar("Train/Loss_batch", loss, step)
            self._writer.add_scalar("Train/Accuracy_batch", accuracy, step)
            self._writer.add_scalar("Train/Learning_rate", lr, step)

    def epoch(self, metrics: dict[str, Any]) -> None:
        """One line of metrics.jsonl, and TensorBoard's epoch tags."""
        if self._writer is None:
            return
        for tag, key in EPOCH_TAGS.items():
            self._writer.add_scalar(tag, metrics[key], metrics["epoch"])
        self._writer.flush()
        with (self.folders.run / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")

    def failures(self, failures: Iterable[tuple[str, str]]) -> list[str]:
        """Note videos that could not be read; messages for those that are new."""
        new = {video: reason for video, reason in failures if video not in self.unreadable}
        self.unreadable.update(new)
        if new and self.enabled:
            self._list_unreadable()
        return [f"{video} can't be read and is left out: {reason}" for video, reason in new.items()]

    def _list_unreadable(self) -> None:
        if self.unreadable:
            lines = "".join(f"{video}\t{reason}\n" for video, reason in sorted(self.unreadable.items()))
            (self.folders.run / UNREADABLE).write_text(lines, encoding="utf-8", errors="backslashreplace")

    def close(self) -> None:
        """Flush and close TensorBoard's writer."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
