"""One trial of a sweep: its settings, its epochs, how it ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["running", "completed", "early_stopped", "pruned", "unfit", "failed", "interrupted"]


class Curve:
    """The best epoch of a trial up to each of its epochs, kept as they come.

    Attributes:
        numbers: The trial's epochs, ascending.
        best: The metrics of the best epoch up to each of them; of equally good ones the earliest.
    """

    def __init__(
        self, epochs: dict[int, dict[str, Any]], worth: Callable[[dict[str, Any]], tuple[float, float]]
    ) -> None:
        self.worth = worth
        self.numbers: list[int] = []
        self.best: list[dict[str, Any]] = []
        for number in sorted(epochs):
            self.add(number, epochs[number])

    def add(self, number: int, metrics: dict[str, Any]) -> None:
        """An epoch after all others."""
        better = not self.best or self.worth(metrics) > self.worth(self.best[-1])
        self.numbers.append(number)
        self.best.append(metrics if better else self.best[-1])


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
        curve: Of ``epochs``, as far as it was asked for.
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
    curve: Curve | None = field(default=None, repr=False, compare=False)

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
