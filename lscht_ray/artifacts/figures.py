"""What figures are worth: which of two epochs is better, how sure an accuracy is, and what guessing reaches."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

from lscht_ray.shown import counted

Z = NormalDist().inv_cdf(0.975)
"""Standard errors to either side of a 95 % interval."""
TOP5 = 5
"""Glosses among which top-5 looks for the right one. With as many glosses or fewer it would always be 100 %."""
BASIS = ("chance", "commonest", "mean_class_clips")
"""Figures that are no results: accuracies are judged by them."""
DIVERGED = 10.0
"""A validation loss so many times that of equal probabilities comes from a training that diverged."""
NAMES = {"accuracy": "accuracy", "top5_accuracy": "top-5", "mean_class_accuracy": "mean class"}
"""How the accuracies of `metrics.Tally.result` are called where a person reads them."""


def worth(metrics: Mapping[str, Any], metric: str, mode: Literal["max", "min"]) -> tuple[float, float]:
    """What epochs are compared by, more is better: the metric; of equal values the one with the lower val_loss."""
    return (1 if mode == "max" else -1) * metrics[metric], -metrics.get("val_loss", math.inf)


def wilson(share: float, count: float) -> tuple[float, float]:
    """The 95 % interval of a share over so many clips, by Wilson's score (1927, doi 10.1080/01621459.1927.10502953)."""
    middle = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Accuracy:
    """An accuracy, and what it is worth; all are shares from 0 to 1.

    Attributes:
        value: The accuracy.
        low: Where its 95 % interval begins.
        high: Where it ends.
        chance: What guessing a gloss at random reaches.
        constant: What always naming the gloss with the most clips reaches; ``chance`` where that says nothing.
    """

    value: float
    low: float
    high: float
    chance: float
    constant: float

    @property
    def is_doubtful(self) -> bool:
        """Whether it can't be told from what a model reaches that has learned nothing."""
        return self.low <= max(self.chance, self.constant)

    @property
    def guessing(self) -> str:
        """What guessing reaches, in words."""
        constant = f", the commonest gloss {self.constant:.1%}" if self.constant > self.chance + 5e-4 else ""
        return f"chance {self.chance:.1%}{constant}"

    @property
    def interval(self) -> str:
        """The interval, in words."""
        return f"{100 * self.low:.1f}-{self.high:.1%}"

    def text(self) -> str:
        """The value with its interval and what guessing reaches."""
        return f"{self.value:.2%} ({self.interval}, {self.guessing})"


def accuracy(metrics: Mapping[str, Any], name: str) -> Accuracy | None:
    """An accuracy among the figures of an evaluation or, with ``val_`` before its name, of an epoch.

    The mean class accuracy is a mean over classes of n_k clips: its interval is Wilson's for the number of clips with
    which a plain share would be as sure, K^2 / sum 1/n_k (Korn and Graubard 1998, Survey Methodology 24, page 193).

    Returns:
        None where there is no such accuracy, or an earlier version wrote the figures and did not count what it takes.
    """
    prefix, plain = ("val_", name.removeprefix("val_")) if name.startswith("val_") else ("", name)
    count = metrics.get("val_clips" if prefix else "count")
    chance, by_class = metrics.get(f"{prefix}chance"), metrics.get(f"{prefix}mean_class_clips")
    if plain not in NAMES or name not in metrics or not count or not chance or not by_class:
        return None
    value, constant = float(metrics[name]), chance
    if plain == "accuracy":
        constant = float(metrics[f"{prefix}commonest"])
    elif plain == "top5_accuracy":
        chance = constant = TOP5 * chance
    low, high = wilson(value, by_class if plain == "mean_class_accuracy" else count)
    return Accuracy(value, low, high, float(chance), constant)


def accuracies(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, Accuracy]:
    """Every accuracy among the figures, by its name without the prefix."""
    found = {name: accuracy(metrics, f"{prefix}{name}") for name in NAMES}
    return {name: each for name, each in found.items() if each is not None}


def doubts(history: Sequence[Mapping[str, Any]], best_epoch: int, metric: str) -> Iterator[str]:
    """Warnings where a run has learned nothing that its figures could show.

    Args:
        history: The figures of its epochs.
        best_epoch: From 1.
        metric: What decided that. Where it is no accuracy, the top-1 accuracy of that epoch is looked at.
    """
    best, last = history[best_epoch - 1], history[-1]
    of = metric if metric.removeprefix("val_") in NAMES else "val_accuracy"
    reached = accuracy(best, of)
    if reached is not None and reached.is_doubtful:
        yield (
            f"warning: the best epoch can't be told from guessing: {of} {reached.text()} on"
            f" {counted(best['val_clips'], 'clip')}"
        )
    if last.get("val_chance") and last["val_loss"] > DIVERGED * -math.log(last["val_chance"]):
        yield (
            f"warning: training diverged: val_loss is {last['val_loss']:.4g} after the last epoch, and"
            f" {-math.log(last['val_chance']):.3g} where all glosses are equally probable: try a lower lr"
        )


def epoch_block(metrics: Mapping[str, Any], max_epochs: int, improved: bool) -> str:
    """Return the results of an epoch in a few lines; ``improved``: it is the best so far."""
    star = "  * best so far" if improved else ""
    first, *others = [f"{NAMES[name]} {each.text()}" for name, each in accuracies(metrics, "val_").items()]
    return "\n".join(
        [
            f"Epoch {metrics['epoch']}/{max_epochs}  ({metrics['seconds']:.1f} s, lr {metrics['lr']:.3g}){star}",
            f"  train  loss {metrics['train_loss']:.4f}  accuracy {metrics['train_accuracy']:.2%}",
            f"  val    loss {metrics['val_loss']:.4f}  {first}",
            *(f"         {other}" for other in others),
        ]
    )
