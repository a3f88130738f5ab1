"""What a sweep has found so far: each trial's parameters, best epoch and end. Plain values, written as summary.json."""

import time
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["running", "completed", "early_stopped", "pruned", "failed", "interrupted"]


@dataclass
class TrialRecord:
    """One trial.

    Attributes:
        trial_id: Its name, also that of its folder.
        params: The sampled settings.
        epochs: The metrics of each epoch it reported, by epoch.
        error: Why it failed.
    """

    trial_id: str
    params: dict[str, Any]
    status: Status = "running"
    epochs: dict[int, dict[str, Any]] = field(default_factory=dict)
    error: str = ""
    started: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    ended: float | None = None

    @property
    def seconds(self) -> float:
        """How long it has run, start-up included."""
        return (self.ended if self.ended is not None else time.monotonic()) - self.started


class Ledger:
    """Keeps the trials of a sweep; several may start at a time in any order, so their names give theirs."""

    def __init__(self, metric: str, mode: Literal["max", "min"], max_epochs: int) -> None:
        self.metric, self.mode, self.max_epochs = metric, mode, max_epochs
        self.trials: dict[str, TrialRecord] = {}

    def start(self, trial_id: str, params: dict[str, Any]) -> None:
        """A trial starts, or starts again."""
        record = self.trials.setdefault(trial_id, TrialRecord(trial_id, params))
        record.status, record.ended, record.heard = "running", None, time.monotonic()

    def report(self, trial_id: str, metrics: dict[str, Any]) -> None:
        """A trial finished an epoch; one that it repeats after a restart counts once."""
        record = self.trials[trial_id]
        record.epochs[int(metrics["epoch"])] = metrics
        record.heard = time.monotonic()

    def end(self, trial_id: str, error: str | None = None) -> None:
        """A trial is over: failed where there is an error, else as its last report says."""
        record = self.trials[trial_id]
        record.ended = time.monotonic()
        if error is not None:
            record.status, record.error = "failed", error
        elif record.epochs and record.epochs[max(record.epochs)].get("early_stopped"):
            record.status = "early_stopped"
        else:
            record.status = "completed" if len(record.epochs) >= self.max_epochs else "pruned"

    def interrupt(self) -> None:
        """The sweep is over before its time: what still runs is marked so."""
        for record in self.trials.values():
            if record.status == "running":
                record.status, record.ended = "interrupted", time.monotonic()

    def best_epoch(self, record: TrialRecord) -> dict[str, Any] | None:
        """The metrics of a trial's best epoch, of equal ones the earliest."""
        sign = -1 if self.mode == "max" else 1
        return min(record.epochs.values(), key=lambda m: (sign * m[self.metric], m["epoch"]), default=None)

    def in_order(self) -> list[TrialRecord]:
        """All trials by name, which is the order of their proposal."""
        return [self.trials[name] for name in sorted(self.trials)]

    def ranking(self) -> list[TrialRecord]:
        """Trials that reported at least once, by their best epoch, the best first."""
        scored = [(self.best_epoch(record), record) for record in self.in_order()]
        sign = -1 if self.mode == "max" else 1
        ranked = sorted((sign * best[self.metric], index) for index, (best, _) in enumerate(scored) if best)
        return [scored[index][1] for _, index in ranked]

    def summary(self, checkpoint: str | None = None) -> dict[str, Any]:
        """What summary.json holds; ``checkpoint`` is where the best model was put."""
        ranking = self.ranking()
        best = None
        if ranking:
            top = ranking[0]
            best = {
                "trial_id": top.trial_id,
                "params": top.params,
                "metrics": self.best_epoch(top),
                "checkpoint": checkpoint,
            }
        return {
            "metric": self.metric,
            "mode": self.mode,
            "best": best,
            "trials": [self._row(record) for record in self.in_order()],
        }

    def _row(self, record: TrialRecord) -> dict[str, Any]:
        row = {
            "trial_id": record.trial_id,
            "params": record.params,
            "status": record.status,
            "epochs": len(record.epochs),
            "metrics": self.best_epoch(record),
            "seconds": round(record.seconds, 1),
        }
        return {**row, "error": record.error} if record.error else row
