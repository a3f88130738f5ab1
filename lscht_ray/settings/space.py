"""One searched setting: its kind and range."""

from typing import Any, Literal

from pydantic import Field, model_validator

from lscht_ray.settings.data import Settings


class Dimension(Settings):
    """One searched setting: its kind and range. `int` and `logint` include both ends."""

    type: Literal["uniform", "loguniform", "quniform", "int", "logint", "choice"]
    """Kind of range: quniform is uniform in steps, logint a whole number on a logarithmic scale."""
    low: float | None = None
    """Lower end (all but choice)."""
    high: float | None = None
    """Upper end (all but choice)."""
    step: float | None = Field(None, gt=0)
    """Step from one value to the next (quniform, int)."""
    choices: list[Any] | None = None
    """Values of choice."""
    when: dict[str, Any] = Field(default_factory=dict)
    """Search it only where other settings have these values (or one of a list); else it is as in `train`."""

    @model_validator(mode="after")
    def _is_a_range(self) -> "Dimension":
        if self.type == "choice":
            if not self.choices:
                raise ValueError("type choice needs a list: choices: [a, b]")
            if (self.low, self.high, self.step) != (None, None, None):
                raise ValueError("type choice takes choices only, not low, high or step")
            return self
        if self.choices is not None:
            raise ValueError(f"type {self.type} takes low and high, not choices")
        if self.low is None or self.high is None:
            raise ValueError(f"type {self.type} needs low and high")
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        if self.type in ("loguniform", "logint") and self.low <= 0:
            raise ValueError(f"type {self.type} needs low above 0, not {self.low:g}")
        if self.type in ("int", "logint") and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"type {self.type} needs whole numbers for low and high")
        if self.type == "int" and self.step is not None and not self.step.is_integer():
            raise ValueError("type int needs a whole step")
        if (self.step is not None) != (self.type == "quniform") and self.type != "int":
            raise ValueError("step belongs to quniform (where it is needed) and int")
        return self

    @property
    def conditions(self) -> dict[str, list[Any]]:
        """`when`, with a list of values for each of the other settings."""
        return {name: wanted if isinstance(wanted, list) else [wanted] for name, wanted in self.when.items()}

    def values(self) -> list[Any]:
        """Return every value of the range.

        Raises:
            ValueError: They can't be counted.
        """
        if self.choices is not None:
            return self.choices
        if self.type not in ("int", "quniform"):
            raise ValueError(f"a grid needs values that can be counted: choice, int or quniform, not {self.type}")
        assert self.low is not None and self.high is not None
        step = self.step or 1
        values = [self.low + number * step for number in range(int((self.high - self.low) / step + 1e-9) + 1)]
        return [int(value) for value in values] if self.type == "int" else values

    def examples(self) -> list[Any]:
        """Return the values at the ends of the range and one within, or every choice."""
        if self.choices is not None:
            return self.choices
        assert self.low is not None and self.high is not None
        if self.type in ("int", "logint"):
            return [int(self.low), int(self.high)]
        within = self.low + (self.step or 0.381966 * (self.high - self.low))
        short = float(f"{within:.3g}")  # as a message shows it
        return [self.low, self.high, short if self.low < short < self.high and not self.step else within]


def default_space() -> dict[str, Dimension]:
    """What is searched where nobody says it."""
    return {
        "lr": Dimension(type="loguniform", low=3e-6, high=5e-4),
        "weight_decay": Dimension(type="loguniform", low=0.005, high=0.3),
        "label_smoothing": Dimension(type="uniform", low=0.0, high=0.3),
    }
