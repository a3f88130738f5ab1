"""What a sweep has found so far: each trial's parameters, best epoch and end. Plain values, written as summary.json."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["running", "completed", "early_stopped", "pruned", "failed", "interrupted"]


@dataclass
class TrialRecord:
    """One trial.

    Attributes:
        trial_id: Its name, also that of its folder.
        params: The searched settings and their values.
        origin: Where its settings come from.
        status: How it ended, or that it runs.
        epochs: The metrics of each epoch it reported, by epoch.
        error: Why it failed; empty where it did not.
        gpus: How many GPUs it takes.
        before: Seconds that it ran before its latest start.
        started: When it was last started (`time.monotonic`).
        heard: When it last reported.
        ended: When it ended; None while it runs.
    """

    trial_id: str
    params: dict[str, Any]
    origin: str = "sampler"
    status: Status = "running"
    epochs: dict[int, dict[str, Any]] = field(default_factory=dict)
    error: str = ""
    gpus: float = 0.0
    before: float = 0.0
    started: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    ended: float | None = None

    @property
    def seconds(self) -> float:
        """How long it has run, start-up included."""
        return self.before + (self.ended if self.ended is not None else time.monotonic()) - self.started

    @property
    def gpu_hours(self) -> float:
        """The GPU hours that it has taken."""
        return self.seconds * self.gpus / 3600

    @property
    def early_stopped(self) -> bool:
        """Whether its own patience ended it."""
        return bool(self.epochs) and bool(self.epochs[max(self.epochs)].get("early_stopped"))


class Ledger:
    """Keeps the facts of a sweep's trials: study, judge, live view and summary read them here.

    Args:
        metric: What trials are judged by.
        mode: Whether more or less of it is better.
        max_epochs: Epochs of a whole trial.
        second: Another metric, of which less is better; None: there is none.
        rungs: The epochs at which trials may be stopped.
    """

    def __init__(
        self,
        metric: str,
        mode: Literal["max", "min"],
        max_epochs: int,
        second: str | None = None,
        rungs: Sequence[int] = (),
    ) -> None:
        self.metric, self.mode, self.max_epochs, self.second, self.rungs = metric, mode, max_epochs, second, rungs
        self.trials: dict[str, TrialRecord] = {}

    def enter(self, record: TrialRecord) -> None:
        """Enter a trial that ran before this start of the sweep."""
        record.started = record.ended = time.monotonic()
        self.trials[record.trial_id] = record

    def start(self, trial_id: str, params: dict[str, Any], gpus: float = 0.0, origin: str = "sampler") -> None:
        """A trial starts, or starts again."""
        record = self.trials.setdefault(trial_id, TrialRecord(trial_id, params, origin))
        if record.ended is not None:
            record.before, record.started = record.seconds, time.monotonic()
        record.status, record.ended, record.heard, record.gpus = "running", None, time.monotonic(), gpus

    def report(self, trial_id: str, metrics: dict[str, Any]) -> None:
        """A trial finished an epoch; one that it repeats after a restart counts once."""
        record = self.trials[trial_id]
        record.epochs[int(metrics["epoch"])] = metrics
        record.heard = time.monotonic()

    def end(self, trial_id: str, error: str | None = None, *, cut_short: bool = False) -> None:
        """A trial is over.

        Args:
            trial_id: The trial.
            error: Why it failed; None: its last report says how it ended.
            cut_short: The sweep ends, not the trial, which is to go on later.
        """
        record = self.trials[trial_id]
        record.ended = time.monotonic()
        whole = len(record.epochs) >= self.max_epochs
        if error is not None:
            record.status, record.error = "failed", error
        elif record.early_stopped:
            record.status = "early_stopped"
        elif whole:
            record.status = "completed"
        else:
            record.status = "interrupted" if cut_short else "pruned"

    def prune(self, trial_id: str) -> None:
        """A trial that does not run was judged too weak to go on."""
        self.trials[trial_id].status = "pruned"

    def interrupt(self, trial_id: str | None = None) -> None:
        """All trials that run, or that one alone, end before their time and are to go on later."""
        for record in self.trials.values():
            if record.status == "running" and trial_id in (None, record.trial_id):
                record.status, record.ended = "interrupted", time.monotonic()

    def score(self, record: TrialRecord, epoch: int) -> float | None:
        """The best value of the metric in a trial up to an epoch; None where no epoch until then is known."""
        values = [float(metrics[self.metric]) for number, metrics in record.epochs.items() if number <= epoch]
        return (max if self.mode == "max" else min)(values, default=None)

    def scores_at(self, epoch: int, without: str = "") -> list[float]:
        """The scores at an epoch of all trials that came there, but for one."""
        came = [r for r in self.trials.values() if r.trial_id != without and max(r.epochs, default=0) >= epoch]
        return [score for record in came if (score := self.score(record, epoch)) is not None]

    @property
    def gpu_hours(self) -> float:
        """The GPU hours that all trials have taken."""
        return sum(record.gpu_hours for record in self.trials.values())

    def memory_share(self) -> float:
        """The largest share of a GPU's memory that was in use beside a trial that had it alone; 0: not known."""
        alone = [record for record in self.trials.values() if record.gpus >= 1]
        return max((float(e.get("memory_share", 0)) for record in alone for e in record.epochs.values()), default=0.0)

    def ended(self) -> list[TrialRecord]:
        """Trials that are over, in the order of their ends."""
        over = [record for record in self.trials.values() if record.status not in ("running", "interrupted")]
        return sorted(over, key=lambda record: (record.ended or 0.0, record.trial_id))

    def since_improvement(self) -> int:
        """How many trials have ended since the one that is the best."""
        ended, ranking = self.ended(), self.ranking()
        if not ranking or ranking[0] not in ended:
            return 0
        return len(ended) - 1 - ended.index(ranking[0])

    def standard_error(self, metrics: dict[str, Any]) -> float | None:
        """The standard error sqrt(p (1 - p) / n) of an accuracy over n validation clips; None for other metrics."""
        value, count = metrics[self.metric], metrics.get("val_clips")
        if self.metric not in ("val_accuracy", "val_top5_accuracy") or not count:
            return None
        return math.sqrt(value * (1 - value) / count)

    def ties(self) -> list[TrialRecord]:
        """The trials that are at most a standard error below the best one, without it."""
        ranking = self.ranking()
        best = self.best_epoch(ranking[0]) if ranking else None
        error = self.standard_error(best) if best else None
        if best is None or error is None:
            return []
        records = []
        for record in ranking[1:]:
            epoch = self.best_epoch(record)
            if epoch is not None and best[self.metric] - epoch[self.metric] <= error:
                records.append(record)
        return records

    def front(self) -> list[TrialRecord]:
        """With a second metric, the trials that no other one beats in one of both and at least equals in the other."""
        sign = -1 if self.mode == "max" else 1
        points = []
        for record in self.ranking():
            best = self.best_epoch(record)
            if self.second is not None and best is not None:
                points.append((sign * best[self.metric], best[self.second], record))
        return [
            record
            for first, second, record in points
            if not any(a <= first and b <= second and (a, b) != (first, second) for a, b, _ in points)
        ]

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
        """The content of summary.json.

        Args:
            checkpoint: Where the best model was put; None: nowhere yet.
        """
        ranking = self.ranking()
        best: dict[str, Any] | None = None
        if ranking:
            top = ranking[0]
            best = {
                "trial_id": top.trial_id,
                "params": top.params,
                "metrics": self.best_epoch(top),
                "checkpoint": checkpoint,
            }
            metrics = self.best_epoch(top)
            best["standard_error"] = self.standard_error(metrics) if metrics else None
            best["within_a_standard_error"] = [record.trial_id for record in self.ties()]
        front = {"pareto_front": [record.trial_id for record in self.front()]} if self.second else {}
        return {
            "metric": self.metric,
            "mode": self.mode,
            "best": best,
            **front,
            **self.totals(),
            "trials": [self._row(record) for record in self.in_order()],
        }

    def totals(self) -> dict[str, Any]:
        """Epochs, GPU hours and seconds of all trials."""
        return {
            "epochs_planned": len(self.trials) * self.max_epochs,
            "epochs_run": sum(len(record.epochs) for record in self.trials.values()),
            "gpu_hours": round(self.gpu_hours, 4),
            "trial_seconds": round(sum(record.seconds for record in self.trials.values()), 1),
        }

    def _row(self, record: TrialRecord) -> dict[str, Any]:
        name = record.trial_id
        row = {
            "trial_id": name,
            "params": record.params,
            "status": record.status,
            "epochs": len(record.epochs),
            "metrics": self.best_epoch(record),
            "seconds": round(record.seconds, 1),
            "gpu_hours": round(record.gpu_hours, 4),
            "origin": record.origin,
            "rungs": {rung: self.score(record, rung) for rung in self.rungs if max(record.epochs, default=0) >= rung},
        }
        return {**row, "error": record.error} if record.error else row


def epoch_metrics(result: dict[str, Any]) -> dict[str, Any]:
    """Our own figures in one of Tune's results."""
    counts = ("epoch", "step", "unreadable", "micro_batch", "skipped_steps", "train_clips", "val_clips")
    others = ("lr", "seconds", "early_stopped", "memory_share")
    figures = {key: v for key, v in result.items() if key in others or key.startswith(("train_", "val_"))}
    return figures | {key: int(result[key]) for key in counts}
