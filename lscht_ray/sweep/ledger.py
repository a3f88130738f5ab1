"""What a sweep has found so far: each trial's parameters, best epoch and end. Plain values, written as summary.json."""

import math
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Literal

from lscht_ray.artifacts import figures, places
from lscht_ray.sweep.record import Curve, TrialRecord


class Ledger:
    """Keeps the facts of a sweep's trials: study, judge, live view and summary read them here.

    Args:
        metric: What trials are judged by.
        mode: Whether more or less of it is better.
        max_epochs: Epochs of a whole trial.
        second: Another metric, of which less is better; None: there is none.
        rungs: The epochs at which trials may be stopped.
        own_settings: What a trial has of its own besides the searched settings, by its number; None: nothing.
    """

    def __init__(
        self,
        metric: str,
        mode: Literal["max", "min"],
        max_epochs: int,
        second: str | None = None,
        rungs: Sequence[int] = (),
        own_settings: Callable[[int], dict[str, int]] | None = None,
    ) -> None:
        self.metric, self.mode, self.max_epochs, self.second, self.rungs = metric, mode, max_epochs, second, rungs
        self.own_settings = own_settings
        self.trials: dict[str, TrialRecord] = {}
        self._sign = 1 if mode == "max" else -1
        # What follows is asked for at every epoch or at every step of the driver: it is kept, for with thousands of
        # trials it would cost more to find it anew than all the rest.
        self._running: dict[str, TrialRecord] = {}
        self._ended: list[TrialRecord] = []
        self._hours = 0.0
        self._scores: defaultdict[int, dict[str, float]] = defaultdict(dict)
        self._patient: dict[str, TrialRecord] = {}
        self._leader: TrialRecord | None = None
        self._since: tuple[TrialRecord | None, int, int] = (None, 0, 0)

    def enter(self, record: TrialRecord) -> None:
        """Enter a trial that ran before this start of the sweep."""
        record.started = record.ended = time.monotonic()
        self.trials[record.trial_id] = record
        self._note_scores(record, 1)
        self._note_end(record)

    def start(self, trial_id: str, params: dict[str, Any], gpus: float = 0.0, origin: str = "sampler") -> None:
        """A trial starts, or starts again."""
        record = self.trials.setdefault(trial_id, TrialRecord(trial_id, params, origin))
        if record.ended is not None:
            self._hours -= record.gpu_hours
            self._ended = [other for other in self._ended if other is not record]
            self._patient.pop(trial_id, None)
            record.before, record.started = record.seconds, time.monotonic()
        record.status, record.ended, record.heard, record.gpus = "running", None, time.monotonic(), gpus
        self._running[trial_id] = record

    def report(self, trial_id: str, metrics: dict[str, Any]) -> None:
        """A trial finished an epoch; one that it repeats after a restart counts once."""
        record, epoch = self.trials[trial_id], int(metrics["epoch"])
        last = self._last(record)
        if epoch in record.epochs:  # it may be another value: on a GPU sums have no fixed order
            record.curve = self._leader = None
        record.epochs[epoch] = metrics
        record.heard = time.monotonic()
        self._note_scores(record, min(epoch, last + 1))

    def _note_scores(self, record: TrialRecord, first: int) -> None:
        """Keep a trial's scores from an epoch on, and whether it is the best trial now."""
        for epoch in range(first, self._last(record) + 1):
            score = self.score(record, epoch)
            if score is not None:
                self._scores[epoch][record.trial_id] = score
        if self._leader is not None and record.epochs:
            self._leader = min(self._leader, record, key=self._rank)

    def worth(self, metrics: dict[str, Any]) -> tuple[float, float]:
        """What epochs are compared by (`figures.worth`)."""
        return figures.worth(metrics, self.metric, self.mode)

    def _rank(self, record: TrialRecord) -> tuple[float, float, str]:
        """What trials are sorted by: the best epoch; of equal ones those come first that were proposed first."""
        best = self.best_epoch(record)
        value, loss = self.worth(best) if best is not None else (-math.inf, -math.inf)
        return -value, -loss, record.trial_id

    def end(
        self, trial_id: str, error: str | None = None, *, cut_short: bool = False, for_its_settings: bool = False
    ) -> None:
        """A trial is over.

        Args:
            trial_id: The trial.
            error: Why it failed; None: its last report says how it ended.
            cut_short: The sweep ends, not the trial, which is to go on later.
            for_its_settings: Whether it failed for its settings, as it would on any machine.
        """
        record = self.trials[trial_id]
        record.ended = time.monotonic()
        whole = len(record.epochs) >= self.max_epochs
        if error is not None:
            record.status, record.error = "unfit" if for_its_settings else "failed", error
        elif record.early_stopped:
            record.status = "early_stopped"
        elif whole:
            record.status = "completed"
        else:
            record.status = "interrupted" if cut_short else "pruned"
        self._note_end(record)

    def prune(self, trial_id: str) -> None:
        """A trial that does not run, and was to go on, was judged too weak for that."""
        record = self.trials[trial_id]
        if record.status == "interrupted":
            record.status = "pruned"
            self._ended.append(record)

    def interrupt(self, trial_id: str | None = None) -> None:
        """All trials that run, or that one alone, end before their time and are to go on later."""
        for record in self.running():
            if trial_id in (None, record.trial_id):
                record.status, record.ended = "interrupted", time.monotonic()
                self._note_end(record)

    def _note_end(self, record: TrialRecord) -> None:
        """Count a trial that does not run any more."""
        self._running.pop(record.trial_id, None)
        self._hours += record.gpu_hours
        if record.status != "interrupted":
            self._ended.append(record)
        if record.status == "early_stopped":
            self._patient[record.trial_id] = record

    def _curve(self, record: TrialRecord) -> Curve:
        """The trial's curve, brought up to date."""
        curve, epochs = record.curve, record.epochs
        newest = next(reversed(epochs), 0)
        if curve is not None and len(curve.numbers) == len(epochs) - 1 and curve.numbers[-1:] < [newest]:
            curve.add(newest, epochs[newest])
        elif curve is None or len(curve.numbers) != len(epochs):
            curve = record.curve = Curve(epochs, self.worth)
        return curve

    def _last(self, record: TrialRecord) -> int:
        """The last epoch that a trial has finished; 0: none."""
        return next(iter(self._curve(record).numbers[-1:]), 0)

    def score(self, record: TrialRecord, epoch: int) -> float | None:
        """The best value of the metric in a trial up to an epoch; None where no epoch until then is known."""
        curve = self._curve(record)
        known = bisect_right(curve.numbers, epoch)
        return float(curve.best[known - 1][self.metric]) if known else None

    def scores_at(self, epoch: int, without: str = "") -> list[float]:
        """The scores at an epoch of all trials that came there, but for one.

        A trial that its own patience ended has come to every later epoch, too: with the score that it ended with.
        """
        scores = dict(self._scores[epoch])
        for name, record in self._patient.items():
            score = self.score(record, epoch)
            if score is not None:
                scores[name] = score
        scores.pop(without, None)
        return list(scores.values())

    @property
    def gpu_hours(self) -> float:
        """The GPU hours that all trials have taken."""
        return self._hours + sum(record.gpu_hours for record in self._running.values())

    def running(self) -> list[TrialRecord]:
        """Trials that run."""
        return list(self._running.values())

    def memory_share(self) -> float:
        """The largest share of a GPU's memory that was in use beside a trial that had it alone; 0: not known."""
        alone = [record for record in self.trials.values() if record.gpus >= 1]
        return max((float(e.get("memory_share", 0)) for record in alone for e in record.epochs.values()), default=0.0)

    def ended(self) -> list[TrialRecord]:
        """Trials that are over, in the order of their ends."""
        return self._ended

    def since_improvement(self) -> int:
        """How many trials have ended since the one that is the best."""
        leader, ended = self.leader(), self._ended
        if self._since[:2] != (leader, len(ended)):
            places = [place for place, record in enumerate(ended) if record is leader]
            self._since = (leader, len(ended), len(ended) - 1 - places[0] if places else 0)
        return self._since[2]

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
        points = []
        for record in self.ranking():
            best = self.best_epoch(record)
            if self.second is not None and best is not None:
                points.append((-self._sign * best[self.metric], best[self.second], record))
        return [
            record
            for first, second, record in points
            if not any(a <= first and b <= second and (a, b) != (first, second) for a, b, _ in points)
        ]

    def best_epoch(self, record: TrialRecord) -> dict[str, Any] | None:
        """The metrics of a trial's best epoch; of equally accurate ones that with the lower loss, then the earliest."""
        return next(iter(self._curve(record).best[-1:]), None)

    def equally_good(self, record: TrialRecord) -> set[int]:
        """The epochs of a trial that have the same value of the metric as its best one."""
        best = self.best_epoch(record)
        return {n for n, epoch in record.epochs.items() if best and epoch[self.metric] == best[self.metric]}

    def settle_on(self, record: TrialRecord, epoch: int) -> None:
        """Have one of these epochs count as a trial's best: the one whose checkpoint was kept."""
        self._curve(record).best[-1] = record.epochs[epoch]

    def leader(self) -> TrialRecord | None:
        """The best trial of all (the first of `ranking`); None where none has reported."""
        if self._leader is None:
            self._leader = next(iter(self.ranking()), None)
        return self._leader

    def in_order(self) -> list[TrialRecord]:
        """All trials by name, which is the order of their proposal."""
        return [self.trials[name] for name in sorted(self.trials)]

    def ranking(self) -> list[TrialRecord]:
        """Trials that reported at least once, by their best epoch, the best first."""
        return sorted((record for record in self.trials.values() if record.epochs), key=self._rank)

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
                **self.own(top),
                "metrics": self.best_epoch(top),
                "checkpoint": checkpoint,
            }
            metrics = self.best_epoch(top)
            best["standard_error"] = self.standard_error(metrics) if metrics else None
            reached = figures.accuracy(metrics, self.metric) if metrics else None
            best["interval"] = [reached.low, reached.high] if reached else None
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

    def own(self, record: TrialRecord) -> dict[str, int]:
        """What a trial has of its own besides the searched settings."""
        own = self.own_settings(places.trial_number(record.trial_id)) if self.own_settings else {}
        return {name: value for name, value in own.items() if name not in record.params}

    def totals(self) -> dict[str, Any]:
        """Epochs, GPU hours and seconds of all trials."""
        return {
            "epochs_planned": len(self.trials) * self.max_epochs,
            "epochs_run": sum(len(record.epochs) for record in self.trials.values()),
            "epochs_saved": sum(
                self.max_epochs - len(record.epochs)
                for record in self.trials.values()
                if record.status in ("pruned", "early_stopped")
            ),
            "gpu_hours": round(self.gpu_hours, 6),
            "trial_seconds": round(sum(record.seconds for record in self.trials.values()), 1),
        }

    def _row(self, record: TrialRecord) -> dict[str, Any]:
        name = record.trial_id
        row = {
            "trial_id": name,
            "params": record.params,
            **self.own(record),
            "status": record.status,
            "epochs": len(record.epochs),
            "metrics": self.best_epoch(record),
            "seconds": round(record.seconds, 1),
            "gpu_hours": round(record.gpu_hours, 6),
            "origin": record.origin,
            "rungs": {rung: self.score(record, rung) for rung in self.rungs if self._last(record) >= rung},
        }
        return {**row, "error": record.error} if record.error else row


def epoch_metrics(result: dict[str, Any]) -> dict[str, Any]:
    """Our own figures in one of Tune's results."""
    counts = ("epoch", "step", "unreadable", "micro_batch", "skipped_steps", "train_clips", "val_clips")
    others = ("lr", "seconds", "early_stopped", "memory_share")
    values = {key: v for key, v in result.items() if key in others or key.startswith(("train_", "val_"))}
    return values | {key: int(result[key]) for key in counts}
