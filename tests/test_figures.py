"""What accuracies are worth: their intervals, what guessing reaches, and what is said where nothing was learned."""

import pytest
import torch
from scipy.stats import binomtest
from sklearn.dummy import DummyClassifier

from lscht_ray.artifacts import figures
from lscht_ray.training.metrics import Tally


@pytest.mark.parametrize(("right", "count"), [(0, 8), (1, 1), (3, 10), (24, 60), (172, 338), (338, 338)])
def test_the_interval_is_wilsons(right: int, count: int) -> None:
    theirs = binomtest(right, count).proportion_ci(0.95, method="wilson")
    assert figures.wilson(right / count, count) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def _counted(labels: list[int], said: list[int], num_classes: int) -> dict[str, float]:
    tally = Tally(num_classes)
    logits = torch.nn.functional.one_hot(torch.tensor(said), num_classes).float()
    mask = torch.ones(len(labels), dtype=torch.bool)
    tally.add(logits, torch.tensor(labels), mask, torch.tensor(1.0), torch.tensor(1.0))
    return tally.result()


def test_what_guessing_reaches() -> None:
    labels = [0] * 6 + [1] * 3 + [2] * 1 + [3] * 2
    metrics = _counted(labels, [0] * 12, 8)
    reached = figures.accuracies(metrics)
    constant = DummyClassifier(strategy="most_frequent").fit(labels, labels).score(labels, labels)
    assert reached["accuracy"].value == reached["accuracy"].constant == constant == 0.5
    assert reached["accuracy"].chance == 1 / 8
    assert reached["top5_accuracy"].chance == 5 / 8
    assert reached["mean_class_accuracy"].value == 0.25
    assert reached["accuracy"].text() == "50.00% (25.4-74.6%, chance 12.5%, the commonest gloss 50.0%)"


def test_the_mean_class_accuracy_is_as_sure_as_a_share_where_classes_are_alike() -> None:
    reached = figures.accuracies(_counted([0, 1, 2] * 10, [0, 1, 1] * 10, 3))
    plain, by_class = reached["accuracy"], reached["mean_class_accuracy"]
    assert (by_class.low, by_class.high) == pytest.approx((plain.low, plain.high))
    # of 1 and 99 clips: (1/2)^2 (1/1 + 1/99) = 1/n
    uneven = _counted([0] + [1] * 99, [0] + [1] * 99, 2)
    assert uneven["mean_class_clips"] == pytest.approx(3.96)


@pytest.mark.parametrize(("num_classes", "there"), [(4, False), (5, False), (6, True)])
def test_top_5_of_five_glosses_says_nothing(num_classes: int, there: bool) -> None:
    metrics = _counted([0, 1, 2, 3], [0, 1, 2, 3], num_classes)
    assert ("top5_accuracy" in metrics) == there
    assert ("top5_accuracy" in figures.accuracies(metrics)) == there


def _epoch(accuracy: float, clips: int = 60, loss: float = 1.5, glosses: int = 6) -> dict[str, float]:
    judged = {"val_chance": 1 / glosses, "val_commonest": 1 / glosses, "val_mean_class_clips": clips}
    return {"val_accuracy": accuracy, "val_loss": loss, "val_clips": clips, **judged}


def test_a_run_that_learned_nothing_says_so() -> None:
    (said,) = figures.doubts([_epoch(0.1), _epoch(0.2)], 2, "val_accuracy")
    reached = "val_accuracy 20.00% (11.8-31.8%, chance 16.7%) on 60 clips"
    assert said == f"warning: the best epoch can't be told from guessing: {reached}"
    assert list(figures.doubts([_epoch(0.1), _epoch(0.4)], 2, "val_accuracy")) == []
    assert "val_accuracy 20.00%" in next(figures.doubts([_epoch(0.2)], 1, "val_loss"))


def test_a_run_that_diverged_says_so() -> None:
    said = list(figures.doubts([_epoch(0.4), _epoch(0.3, loss=379424537)], 1, "val_accuracy"))
    assert said == [
        "warning: training diverged: val_loss is 3.794e+08 after the last epoch, and 1.79 where all glosses are equally"
        " probable: try a lower lr"
    ]


def test_figures_of_an_earlier_version_have_no_interval() -> None:
    assert figures.accuracy({"val_accuracy": 0.5, "val_loss": 1.0, "val_clips": 10}, "val_accuracy") is None
    assert list(figures.doubts([{"val_accuracy": 0.5, "val_loss": 1.0, "val_clips": 10}], 1, "val_accuracy")) == []
