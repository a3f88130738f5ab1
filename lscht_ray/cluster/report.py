"""What a trial's worker is told, and how it tells Ray of each epoch and publishes the run's small files."""

from __future__ import annotations

import os
import socket
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray.train
import ray.util

from lscht_ray.artifacts import places
from lscht_ray.artifacts.storage import Storage
from lscht_ray.errors import TrainingError
from lscht_ray.host.files import write_json
from lscht_ray.settings.train import TrainConfig

if TYPE_CHECKING:  # torch takes seconds to import: only the worker itself does, not who sends it
    from rich.console import Console

    from lscht_ray.artifacts.recorder import RunFolders

CHECKPOINT_SCORE = "checkpoint_score"
PLACEMENT_GROUP = "placement_group"
NOT_PUBLISHED = (places.HASHES,)
"""Files of the run folder that are not copied to the sweep's storage: they list checkpoints that stay on this node."""


@dataclass(frozen=True)
class WorkOrder:
    """What a worker needs to know.

    Attributes:
        config: The trial's settings.
        trial_id: Its name.
        storage: The sweep's folder or URI, the same on all nodes.
        threads: Threads for the model.
        driver: Who gives the order. Where another driver has taken the sweep over, because this one was killed, nobody
            listens to this worker any more, and it must not write.
    """

    config: TrainConfig
    trial_id: str
    storage: str
    threads: int
    driver: str


class Report:
    """Reports each epoch to Ray Train, on every rank and in finite floats, and publishes the run's small files."""

    def __init__(self, order: WorkOrder, folders: RunFolders, screen: Console, first: bool) -> None:
        from lscht_ray.sweep import rescue

        self.order, self.folders, self.screen, self.first = order, folders, screen, first
        self.attempt = uuid.uuid4().hex[:8]
        self.storage = Storage(order.storage)
        self.rescue = rescue.Rescue(self.storage, order.trial_id)
        self.complained = False

    def begin(self) -> None:
        """Record which driver's worker started, and as which process of which host."""
        if self.first:
            text = f"{self.order.driver} process {os.getpid()} on {socket.gethostname()}"
            try:
                self.storage.write_text(f"{self.rescue.place}/{places.STARTED}", text)
            except OSError as error:
                self.complain(error)

    def __call__(self, metrics: dict[str, Any], saved: Path | None) -> None:
        """An epoch has ended; ``saved`` is its checkpoint on the worker that writes."""
        report = reportable(metrics, self.order.config.best_metric)
        if not self.first:
            self.tell(report)
            return
        from lscht_ray.artifacts import checkpoint

        self._still_wanted()
        self._publish_run()
        if saved is None or not self._has_room(saved):
            self.tell(report)
            return
        # A name that no earlier attempt used: a lost epoch's folder may still be there.
        name = places.epoch_folder(int(metrics["epoch"]), self.attempt)
        with tempfile.TemporaryDirectory(dir=self.folders.run) as folder:
            os.link(saved, Path(folder) / saved.name)
            write_json(Path(folder) / places.HASHES, checkpoint.read_hashes(saved.parent))
            self.tell_with_checkpoint(report, Path(folder), name)

    def tell(self, report: dict[str, Any]) -> None:
        """Report an epoch without a checkpoint."""
        ray.train.report(report | self._group())

    def tell_with_checkpoint(self, report: dict[str, Any], folder: Path, name: str) -> None:
        """Report an epoch, and have the folder kept under that name."""
        kept = ray.train.Checkpoint.from_directory(folder)
        ray.train.report(report | self._group(), checkpoint=kept, checkpoint_dir_name=name)

    def _group(self) -> dict[str, str]:
        group = ray.util.get_current_placement_group()
        return {} if group is None else {PLACEMENT_GROUP: group.id.hex()}

    def untold(self, history: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The epochs that Ray may not have heard of before the trial was started again."""

        told = ray.train.get_checkpoint()
        known = (places.epoch_of(Path(told.path).name) or 0) if told is not None else 0
        return [metrics for metrics in history if metrics["epoch"] > known]

    def catch_up(self, history: list[dict[str, Any]]) -> None:
        """Report the epochs that Ray may not have been told of."""
        for metrics in self.untold(history):
            self.tell(reportable(metrics, self.order.config.best_metric))

    def _still_wanted(self) -> None:
        if self.storage.read_text(places.DRIVER) not in (self.order.driver, None):
            raise TrainingError("another driver has taken the sweep over: this worker is not wanted any more")

    def saved_inside(self, saved: Path, step: int) -> None:
        """Put a checkpoint from inside an epoch where the next start finds it."""
        self._still_wanted()
        try:
            self.rescue.keep(saved, step)
        except OSError as error:
            self.complain(error)

    def publish(self, file: Path) -> None:
        """Put a file of the run where it can be read when this node is gone."""
        self.storage.put(file, f"{places.trial(self.order.trial_id)}/{file.name}")

    def _publish_run(self) -> None:
        try:
            for file in self.folders.run.iterdir():
                if file.suffix in (".json", ".jsonl", ".txt", ".csv") and file.name not in NOT_PUBLISHED:
                    self.publish(file)
            self.storage.put(self.folders.logs, places.trial_logs(self.order.trial_id))
        except OSError as error:
            self.complain(error)

    def _has_room(self, saved: Path) -> bool:
        """Whether the storage has room: Ray could not tell a checkpoint that is cut off from a whole one."""
        try:
            self.storage.check_room(saved.stat().st_size)
        except OSError as error:
            self.complain(error)
            return False
        return True

    def give_up(self, reason: str) -> bool:
        """Note that the trial's settings are unfit, so that nobody starts it again; whether that could be written."""
        try:
            self.rescue.give_up(reason)
        except OSError as error:
            self.complain(error)
            return False
        return True

    def complain(self, error: OSError) -> None:
        """Warn once that the storage can't be written."""
        if not self.complained:
            self.screen.print(f"warning: {self.storage.root} can't be written: {error}; training goes on")
        self.complained = True


def reportable(metrics: dict[str, Any], metric: str) -> dict[str, Any]:
    """An epoch's metrics as Ray may see them: finite Python floats, with the score by which checkpoints are kept."""
    report: dict[str, Any] = {name: float(value) for name, value in metrics.items()}
    report["best_score"] = report[f"best_{metric}"]
    # Each best epoch is better than all before it, so the last of them is to be kept.
    report[CHECKPOINT_SCORE] = report["epoch"] if report["best_epoch"] == report["epoch"] else -1.0
    infinite = [name for name, value in report.items() if value - value != 0]
    assert not infinite, f"the loop let through what is not finite: {infinite}"
    return report
