"""The best epoch by one metric, and early stopping by patience."""

from typing import Any, Literal


class BestEpoch:
    """Keeps the best value of a metric and its epoch; of equal values the earlier one."""

    def __init__(self, mode: Literal["max", "min"], min_delta: float = 0.0) -> None:
        self.mode, self.min_delta = mode, min_delta
        self.value: float | None = None
        self.epoch = 0

    def update(self, value: float, epoch: int) -> bool:
        """Note an epoch's value; whether it is better than the best so far by more than ``min_delta``."""
        gain = 0.0 if self.value is None else (value - self.value if self.mode == "max" else self.value - value)
        if self.value is None or gain > self.min_delta:
            self.value, self.epoch = value, epoch
            return True
        return False

    def state_dict(self) -> dict[str, Any]:
        """The best value and its epoch."""
        return {"value": self.value, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved value and epoch."""
        self.value, self.epoch = state["value"], state["epoch"]


class EarlyStopping(BestEpoch):
    """Stops a run once ``patience`` epochs in a row brought no improvement."""

    def __init__(self, mode: Literal["max", "min"], patience: int, min_delta: float = 0.0) -> None:
        super().__init__(mode, min_delta)
        self.patience = patience

    def should_stop(self, value: float, epoch: int) -> bool:
        """Note an epoch's value; whether the run is to stop after it."""
        self.update(value, epoch)
        return epoch - self.epoch >= self.patience
