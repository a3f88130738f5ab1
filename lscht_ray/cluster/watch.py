"""Follows the trials from the driver: keeps the ledger, prints progress, frees what stopped trials leave behind."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.tune
import ray.util
from ray.tune.experiment import Trial
from rich.console import Console

from lscht_ray.artifacts import places
from lscht_ray.artifacts.storage import Storage
from lscht_ray.cluster import _ray_internals
from lscht_ray.cluster._ray_internals import ENDED_FOR_MEMORY
from lscht_ray.cluster.report import PLACEMENT_GROUP
from lscht_ray.cluster.search import SCORE
from lscht_ray.cluster.trial import halve, proposal_of, trial_name
from lscht_ray.host.console import short
from lscht_ray.host.processes import is_alive
from lscht_ray.shown import counted
from lscht_ray.sweep.budget import Budget
from lscht_ray.sweep.ledger import Ledger, epoch_metrics
from lscht_ray.sweep.record import TrialRecord
from lscht_ray.sweep.rescue import Rescue
from lscht_ray.sweep.study import Study

RELEASE_SECONDS = 3.0
"""Time for Train to free a stopped trial's place by itself, once the trial's process is gone; then we do."""

EXIT_SECONDS = 15.0
"""Time for a stopped trial's process to end by itself; then it is killed. While it lives, so does its Train
controller, which would take another place for the one that we free."""

SILENT_SECONDS = 120.0
"""A trial that reports nothing for so many seconds (or eight times its longest epoch) is named on the screen."""


class Stop(ray.tune.Stopper):  # type: ignore[misc]  # Ray has no types
    """Ends the sweep when its budget is used up, when every trial fails, or when it can't be written down."""

    def __init__(self, budget: Budget, study: Study) -> None:
        self.budget, self.study = budget, study
        self.reason, self.cause = "", ""

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune saves this object, and nobody reads it."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Stop no single trial."""
        return False

    def stop_all(self) -> bool:
        """Whether the sweep is over."""
        if not self.reason:
            self.reason = self.study.broken or self.budget.used_up() or ""
            self.cause = self.budget.hopeless() or ""
        return bool(self.reason or self.cause)


class Watch(ray.tune.Callback):  # type: ignore[misc]  # Ray has no types
    """A Tune callback; everything it needs of a trial is kept by the trial's name.

    Args:
        ledger: What has been done.
        study: Is told of scores and ends.
        storage: The sweep's.
        driver: Stands for this driver.
        screen: Where lines are printed.
        on_end: Gets the record of each trial that ended.
        on_step: Called at each of Tune's steps, many a second.
        stopping: Whether the sweep is about to end, so that a trial which ends now is to go on later.
    """

    def __init__(
        self,
        ledger: Ledger,
        study: Study,
        storage: Storage,
        driver: str,
        screen: Console,
        on_end: Callable[[TrialRecord], None],
        on_step: Callable[[], None],
        stopping: Callable[[], bool],
    ) -> None:
        self.ledger, self.study, self.storage, self.driver = ledger, study, storage, driver
        self.screen, self.on_end, self.on_step, self.stopping = screen, on_end, on_step, stopping
        self.groups: dict[str, str] = {}
        self.processes: dict[str, int] = {}
        self.named: set[str] = set()
        self.waiting: dict[str, float] = {}
        self.began = time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune saves its callbacks, and nobody reads them."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial starts."""
        proposal = proposal_of(trial)
        name, fresh = proposal.trial_id, proposal.trial_id not in self.ledger.trials
        gpus = float(trial.config["gpus"]) * self.study.sweep.resources.workers_per_trial
        self.waiting.pop(name, None)
        self.named.discard(name)
        self.ledger.start(name, proposal.params, gpus, proposal.origin)
        params = ", ".join(f"{key} {short(value)}" for key, value in proposal.params.items())
        self._say(f"{name} {'starts' if fresh else 'starts again'}: {params}")

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial reports an epoch."""
        name = trial_name(trial)
        if "epoch" not in result:
            return
        if PLACEMENT_GROUP in result:  # a trial that has workers of its own
            self.groups[name] = str(result[PLACEMENT_GROUP])
            if result.get("hostname") == socket.gethostname():  # else it is not this machine's process of that number
                self.processes[name] = int(result.get("pid", 0))
        self.ledger.report(name, epoch_metrics(result))
        self.study.report(name, int(result["epoch"]), float(result[SCORE]))
        self.named.discard(name)
        metric, best = self.ledger.metric, self.ledger.leader()
        leader = self.ledger.best_epoch(best) if best is not None else None
        assert best is not None and leader is not None  # this trial has reported
        self._say(
            f"{name} epoch {int(result['epoch'])}/{self.ledger.max_epochs}: {metric} {result[metric]:.4f}"
            f"   best so far {leader[metric]:.4f} ({best.trial_id}, epoch {int(leader['epoch'])})"
        )

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial ended, by itself or stopped by ASHA."""
        self._end(trial_name(trial), None)  # by itself also where its settings proved unfit

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial failed, and Tune starts it again."""
        if ENDED_FOR_MEMORY in _error_text(trial):
            self._halve(self.ledger.trials[trial_name(trial)])

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial failed for good; where its process could not even be started, nobody has heard of it before."""
        proposal = proposal_of(trial)
        if proposal.trial_id not in self.ledger.trials:
            self.ledger.start(proposal.trial_id, proposal.params, origin=proposal.origin)
        self._fail(trial_name(trial), _error_text(trial))

    def on_tune_error(self, error: Exception) -> None:
        """Tune itself failed because a trial was ended for its memory; it may be any of those that ran."""
        for record in self.ledger.in_order():
            if record.status == "running":
                self._fail(record.trial_id, str(error))

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Write down what is due, and name trials that have been silent for long, and why that may be."""
        self.on_step()
        now = time.monotonic()
        for record in self.ledger.running():
            if now - record.heard > _patience(record):
                self._name(record.trial_id, now - record.heard, partial(self._reason, record))
        for trial in trials:
            if trial.status == Trial.PENDING:
                since = self.waiting.setdefault(trial_name(trial), now)
                if now - since > SILENT_SECONDS:
                    self._name(trial_name(trial), now - since, _waits)

    def _name(self, name: str, silent: float, reason: Callable[[], str]) -> None:
        if name not in self.named:
            self.named.add(name)
            self._say(f"{name} has reported nothing for {silent:.0f} s: {reason()}")

    def release(self) -> None:
        """Free what the trials' workers still hold, at the end of the sweep."""
        for name, group in list(self.groups.items()):
            self._release(name, group)

    def _fail(self, name: str, text: str) -> None:
        """A trial failed; where that was for its memory it goes on, with fewer clips at a time if it can."""
        if ENDED_FOR_MEMORY not in text or not self._halve(self.ledger.trials[name]):
            self._end(name, _ray_internals.cause(text))
            return
        self.ledger.interrupt(name)
        self.study.put_back(self.ledger.trials[name])
        self._say(f"{name} was ended, for a node ran out of memory: it will go on with fewer clips at a time")
        self._let_go(name)

    def _halve(self, record: TrialRecord) -> bool:
        return halve(Rescue(self.storage, record.trial_id), self.study.sweep.trial_config(record.params))

    def _end(self, name: str, error: str | None) -> None:
        unfit = ""
        with contextlib.suppress(OSError):  # the storage can't be reached now
            unfit = Rescue(self.storage, name).unfit().split("\n")[0]
        error = unfit or error
        self.ledger.end(name, error, cut_short=self.stopping(), for_its_settings=bool(unfit))
        record = self.ledger.trials[name]
        self.study.end(record, self.ledger)
        cause = f": {error}" if error else ""
        self._say(
            f"{name} {record.status} after {counted(len(record.epochs), 'epoch')}, {record.seconds:.0f} s"
            f" ({len(self.ledger.ended())} of {counted(self.study.num_trials, 'trial')} done){cause}"
        )
        self._let_go(name)
        self.on_end(record)

    def _let_go(self, name: str) -> None:
        """Free a trial's place in time; the trial may have another by then, if it goes on."""
        given = (name, self.groups.get(name, ""), self.processes.pop(name, 0))
        threading.Thread(target=self._release_in_time, args=given, daemon=True).start()

    def _release_in_time(self, name: str, group: str, process: int) -> None:
        """Free a trial's place once its process, which runs on this node, is gone."""
        asked = time.monotonic()
        while process and is_alive(process):
            if time.monotonic() - asked > EXIT_SECONDS:
                os.kill(process, signal.SIGKILL)
                break
            time.sleep(0.2)
        time.sleep(RELEASE_SECONDS)
        self._release(name, group)

    def _release(self, name: str, group: str) -> None:
        if self.groups.get(name) == group:
            del self.groups[name]
        if group and ray.is_initialized():
            _ray_internals.remove_placement_group(group)

    def _reason(self, record: TrialRecord) -> str:
        if record.epochs:
            return f"its last report was epoch {max(record.epochs)}; the next one is long, or it hangs"
        driver, _, where = (
            self.storage.read_text(f"{places.trial(record.trial_id)}/{places.STARTED}") or ""
        ).partition(" ")
        if driver == self.driver:
            return f"its worker ({where}) is in its first epoch; that is long, or it hangs"
        groups = ray.util.placement_group_table().values()
        return _waits() if any(group["state"] == "PENDING" for group in groups) else "its worker has not started"

    def _say(self, text: str) -> None:
        self.screen.print(f"[{time.monotonic() - self.began:5.0f} s] {text}")


def _waits() -> str:
    free = ray.available_resources()
    return f"it waits for resources (free now: {free.get('CPU', 0):g} CPU, {free.get('GPU', 0):g} GPU)"


def _patience(record: TrialRecord) -> float:
    longest = max((epoch.get("seconds", 0.0) for epoch in record.epochs.values()), default=0.0)
    return max(SILENT_SECONDS, 8 * longest)


def _error_text(trial: Trial) -> str:
    """What Tune wrote down of a trial's failure."""
    file = Path(trial.error_file) if trial.error_file else None
    return file.read_text(encoding="utf-8", errors="replace") if file is not None and file.is_file() else ""
