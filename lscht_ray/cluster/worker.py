"""What one Ray Train worker process does: the same run as `train`, with Ray's hooks."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray.train
import ray.util

from lscht_ray.cluster.report import Report, WorkOrder
from lscht_ray.errors import OutOfMemoryError, UnfitSettingsError
from lscht_ray.host.interrupt import StopRequest
from lscht_ray.host.processes import is_alive
from lscht_ray.shown import counted

if TYPE_CHECKING:  # torch and transformers take seconds to import: only the worker itself does, not who sends it
    from lscht_ray.checking.usable import ClipSet

NOTICE_STEPS = 4
"""Workers ask for spot notices every so many steps: each time costs them a round of messages."""
WATCHER = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
"""Ray's switch for such notices; "0": there are none."""


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
    clip_set: ClipSet | None = None,
) -> None:
    """Train as ordered, from where the trial was; not at all where its settings have proved unfit before.

    Where they do so now, that is noted, and one worker ends as if the trial were over: it is not started again. Of
    several workers each must fail, since the others may wait for it.

    Args:
        order: The trial.
        report: How Ray is told of an epoch.
        device: Where the model computes, such as cuda:0.
        first: Whether this worker is the one that writes.
        prepare_model: Wraps the model for several workers.
        stop: May ask the run to save.
        clip_set: The data set, where this process has looked at it before; it keeps the model's weights in memory, too.

    Raises:
        OutOfMemoryError: One of several workers has no memory; how much is enough was written down.
        UnfitSettingsError: One of several workers found the settings unfit, which was written down.
    """
    import torch

    from lscht_ray.artifacts.recorder import RunFolders
    from lscht_ray.host.console import new_console, quiet_console
    from lscht_ray.training import run as training
    from lscht_ray.training.metrics import rank_and_world

    torch.set_num_threads(order.threads)
    scratch = _scratch(Path(order.storage).name, order.trial_id)
    try:
        folders = RunFolders(scratch / "run", scratch / "logs")
        folders.run.mkdir(parents=True)
        screen = new_console() if first else quiet_console()
        hook = report(order, folders, screen, first)
        if hook.rescue.unfit():
            return
        hook.begin()
        hooks = training.Hooks(
            prepare_model=prepare_model,
            on_resumed=hook.catch_up,
            on_epoch_end=hook,
            on_saved_inside=hook.saved_inside,
            on_hang=hook.publish,
            listen=lambda: nullcontext(stop),
            keep_weights=clip_set is not None,
        )
        resume_from = hook.rescue.newest(scratch)
        training.run(
            order.config.model_copy(update={"device": device, **_as_it_began(resume_from)}),
            folders,
            screen=screen,
            hooks=hooks,
            resume_from=resume_from,
            clip_set=clip_set,
            most_at_once=hook.rescue.clips_at_once(),
        )
        if first:
            hook.rescue.forget()
    except OutOfMemoryError as error:
        half = hook.rescue.halve(error.clips_at_once)
        text = f"{error}\nstarting again with {counted(half, 'clip')} at a time; the global batch stays"
        new_console().print(text)  # whichever worker it is
        raise
    except UnfitSettingsError as error:
        noted = hook.give_up(str(error))
        if rank_and_world()[1] > 1 or not noted:
            raise
        screen.print(str(error))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _as_it_began(saved: Path | None) -> dict[str, Any]:
    """What a trial that goes on keeps of its beginning: up to version 0.1 patience watched another metric."""
    if saved is None:
        return {}
    from lscht_ray.artifacts import checkpoint

    return {"early_stopping_metric": checkpoint.load(saved)["config"]["early_stopping_metric"]}


class _SpotNotice(StopRequest):
    """Has the run save where it is when a node of its workers is about to be taken away.

    It goes on training: Ray ends it in time, and starts it elsewhere.
    """

    def __init__(self) -> None:
        self.last_notice: object = None

    def save_now(self, step: int) -> bool:
        """Ask every few steps: all workers must ask, and wait for each other."""
        if step % NOTICE_STEPS or os.environ.get(WATCHER) == "0":
            return False
        notice = ray.train.get_preemption_info()
        new = notice is not None and notice != self.last_notice
        self.last_notice = notice
        return new


def _scratch(sweep: str, trial_id: str) -> Path:
    """A new folder on this node for what a worker writes; folders that killed workers left behind are removed."""
    parent = Path(tempfile.gettempdir()) / "lscht_ray" / sweep
    parent.mkdir(parents=True, exist_ok=True)
    for old in parent.glob("*.pid*"):
        process = old.suffix.removeprefix(".pid")
        if process.isdecimal() and not is_alive(int(process)):
            shutil.rmtree(old, ignore_errors=True)
    folder = parent / f"{trial_id}-{uuid.uuid4().hex[:8]}.pid{os.getpid()}"
    folder.mkdir()
    return folder
