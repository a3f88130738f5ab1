"""What one Ray Train worker process does: the same run as `train`, with Ray's hooks."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray.train
import ray.util

from lscht_ray.artifacts import places
from lscht_ray.artifacts.storage import Storage
from lscht_ray.errors import OutOfMemoryError, TrainingError
from lscht_ray.host.files import write_json
from lscht_ray.host.interrupt import StopRequest
from lscht_ray.settings.train import TrainConfig

if TYPE_CHECKING:  # torch and transformers take seconds to import: only the worker itself does, not who sends it
    from rich.console import Console

    from lscht_ray.artifacts.recorder import RunFolders
    from lscht_ray.dataset.annotations import Annotations

CHECKPOINT_SCORE = "checkpoint_score"
PLACEMENT_GROUP = "placement_group"
NOT_PUBLISHED = (places.HASHES,)
"""Of the run folder: it speaks of checkpoints that stay on this node."""
NOTICE_STEPS = 4
"""Workers ask for spot notices, which costs them a round of messages, every so many steps."""
WATCHER = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
"""Ray's switch for such notices; "0": there are none."""
TIE = 1e-9
"""Of equally good epochs the earlier one has the higher checkpoint score."""


@dataclass(frozen=True)
class WorkOrder:
    """What a worker needs to know.

    Attributes:
        config: The trial's settings.
        trial_id: Its name.
        storage: The sweep's folder or URI, the same on all nodes.
        threads: Threads for the model.
        higher_is_better: Direction of ``config.best_metric``.
        driver: Who gives the order. Another driver may take the sweep over, of one that was killed: then nobody listens
            to this worker any more, and it must not write.
    """

    config: TrainConfig
    trial_id: str
    storage: str
    threads: int
    higher_is_better: bool
    driver: str


def train_worker(settings: dict[str, Any]) -> None:
    """Train one trial, or this worker's share of it, as a worker of Ray Train's."""
    import ray.train.torch

    order: WorkOrder = settings["order"]
    first = ray.train.get_context().get_world_rank() == 0
    # Nothing in the model's buffers is learned: they need not be sent at every step. The model is where it is to be.
    wrap = partial(
        ray.train.torch.prepare_model, move_to_device=False, parallel_strategy_kwargs={"broadcast_buffers": False}
    )
    wish = order.config.device
    device = str(ray.train.torch.get_device()) if wish == "auto" else wish
    carry_out(order, Report, device, first=first, prepare_model=wrap, stop=_SpotNotice())


def carry_out(
    order: WorkOrder,
    report: type[Report],
    device: str,
    *,
    first: bool = True,
    prepare_model: Callable[[Any], Any] = lambda network: network,
    stop: StopRequest | None = None,
    found: Annotations | None = None,
) -> None:
    """Train as ordered, from where the trial was.

    Args:
        order: What is to be done.
        report: How Ray is told of an epoch.
        device: Where.
        first: Whether this worker is the one that writes.
        prepare_model: Wraps the model for several workers.
        stop: May ask the run to save.
        found: The data set, where this process has looked at it before: it stays, and so do the model's weights.

    Raises:
        OutOfMemoryError: One of several workers has no memory; how much is enough was written down.
    """
    import torch

    from lscht_ray.artifacts.recorder import RunFolders
    from lscht_ray.host.console import new_console, quiet_console
    from lscht_ray.training import run as training

    torch.set_num_threads(order.threads)
    scratch = _scratch(Path(order.storage).name, order.trial_id)
    try:
        folders = RunFolders(scratch / "run", scratch / "logs")
        folders.run.mkdir(parents=True)
        screen = new_console() if first else quiet_console()
        hook = report(order, folders, screen, first)
        hook.begin()
        hooks = training.Hooks(
            prepare_model=prepare_model,
            on_resumed=hook.catch_up,
            on_epoch_end=hook,
            on_saved_inside=hook.saved_inside,
            on_hang=hook.publish,
            listen=lambda: nullcontext(stop),
            keep_weights=found is not None,
        )
        training.run(
            order.config.model_copy(update={"device": device}),
            folders,
            screen=screen,
            hooks=hooks,
            resume_from=hook.rescue.newest(scratch),
            found=found,
            most_at_once=hook.rescue.clips_at_once(),
        )
        if first:
            hook.rescue.forget()
    except OutOfMemoryError as error:
        half = hook.rescue.halve(error.clips_at_once)
        text = f"{error}\nstarting again with {half} clips at a time; the global batch stays"
        new_console().print(text)  # whichever worker it is
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _SpotNotice(StopRequest):
    """Has the run save where it is when a node of its workers is about to be taken away.

    It goes on training: Ray ends it in time, and starts it elsewhere.
    """

    def __init__(self) -> None:
        self.known: object = None

    def save_now(self, step: int) -> bool:
        """Ask every few steps: all workers must ask, and wait for each other."""
        if step % NOTICE_STEPS or os.environ.get(WATCHER) == "0":
            return False
        notice = ray.train.get_preemption_info()
        new = notice is not None and notice != self.known
        self.known = notice
        return new


class Report:
    """Tells Ray Train of an epoch: once per epoch, on every rank, finite floats only; and publishes the run's logs."""

    def __init__(self, order: WorkOrder, folders: RunFolders, screen: Console, first: bool) -> None:
        from lscht_ray.sweep import rescue

        self.order, self.folders, self.screen, self.first = order, folders, screen, first
        self.attempt = uuid.uuid4().hex[:8]
        self.storage = Storage(order.storage)
        self.rescue = rescue.Rescue(self.storage, order.trial_id)
        self.complained = False

    def begin(self) -> None:
        """Say to whom it may concern that this worker has started, and where."""
        if self.first:
            text = f"{self.order.driver} process {os.getpid()} on {socket.gethostname()}"
            try:
                self.storage.write_text(f"{self.rescue.place}/{places.STARTED}", text)
            except OSError as error:
                self.complain(error)

    def __call__(self, metrics: dict[str, Any], saved: Path | None) -> None:
        """An epoch is over; its checkpoint is there, on the worker that writes."""
        report = reportable(metrics, self.order.config.best_metric, self.order.higher_is_better)
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
        """The epochs that Ray may not have been told of before the trial was started again."""

        told = ray.train.get_checkpoint()
        known = (places.epoch_of(Path(told.path).name) or 0) if told is not None else 0
        return [metrics for metrics in history if metrics["epoch"] > known]

    def catch_up(self, history: list[dict[str, Any]]) -> None:
        """Report them."""
        for metrics in self.untold(history):
            self.tell(reportable(metrics, self.order.config.best_metric, self.order.higher_is_better))

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
        """A checkpoint that is cut off because the disk is full could not be told from a whole one by Ray."""
        try:
            self.storage.check_room(saved.stat().st_size)
        except OSError as error:
            self.complain(error)
            return False
        return True

    def complain(self, error: OSError) -> None:
        """Say once that the storage can't be written."""
        if not self.complained:
            self.screen.print(f"warning: {self.storage.root} can't be written: {error}; training goes on")
        self.complained = True


def reportable(metrics: dict[str, Any], metric: str, higher_is_better: bool) -> dict[str, Any]:
    """An epoch's metrics as Ray may see them: finite Python floats, with the score by which checkpoints are kept."""
    report: dict[str, Any] = {name: float(value) for name, value in metrics.items()}
    report["best_score"] = report[f"best_{metric}"]
    report[CHECKPOINT_SCORE] = (report[metric] if higher_is_better else -report[metric]) - TIE * report["epoch"]
    infinite = [name for name, value in report.items() if value - value != 0]
    assert not infinite, f"the loop let through what is not finite: {infinite}"
    return report


def _scratch(sweep: str, trial_id: str) -> Path:
    """A new folder on this node for what a worker writes; folders that killed workers left behind are removed."""
    parent = Path(tempfile.gettempdir()) / "lscht_ray" / sweep
    parent.mkdir(parents=True, exist_ok=True)
    for old in parent.glob("*.pid*"):
        if not Path(f"/proc/{old.suffix.removeprefix('.pid')}").exists():
            shutil.rmtree(old, ignore_errors=True)
    folder = parent / f"{trial_id}-{uuid.uuid4().hex[:8]}.pid{os.getpid()}"
    folder.mkdir()
    return folder
