"""The best epoch by one metric, and early stopping by patience."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lscht_ray.artifacts import figures


class BestEpoch:
    """Keeps the best epoch by a metric; of equal ones that with the lower validation loss, of these the earlier one."""

    def __init__(self, metric: str, mode: Literal["max", "min"]) -> None:
        self.metric, self.mode = metric, mode
        self.value: float | None = None
        self.epoch = 0
        self._worth: tuple[float, float] | None = None

    def update(self, metrics: Mapping[str, Any], epoch: int) -> bool:
        """Note an epoch's figures; whether it is the best so far."""
        worth = figures.worth(metrics, self.metric, self.mode)
        if self._worth is not None and worth <= self._worth:
            return False
        self.value, self.epoch, self._worth = metrics[self.metric], epoch, worth
        return True

    def state_dict(self) -> dict[str, Any]:
        """The best value and its epoch."""
        return {"value": self.value, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
        """Go on from a saved value and epoch, and the figures of all epochs."""
        self.value, self.epoch = state["value"], state["epoch"]
        known = 0 < self.epoch <= len(history)
        self._worth = figures.worth(history[self.epoch - 1], self.metric, self.mode) if known else None


class EarlyStopping:
    """Stops a run once ``patience`` epochs in a row brought no improvement by more than ``min_delta``."""

    def __init__(self, mode: Literal["max", "min"], patience: int, min_delta: float = 0.0) -> None:
        self.mode, self.patience, self.min_delta = mode, patience, min_delta
        self.value: float | None = None
        self.epoch = 0

    def should_stop(self, value: float, epoch: int) -> bool:
        """Note an epoch's value; whether the run is to stop after it."""
        gain = 0.0 if self.value is None else (value - self.value if self.mode == "max" else self.value - value)
        if self.value is None or gain > self.min_delta:
            self.value, self.epoch = value, epoch
        return epoch - self.epoch >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """The best value and its epoch."""
        return {"value": self.value, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved value and epoch."""
        self.value, self.epoch = state["value"], state["epoch"]
