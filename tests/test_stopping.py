"""Patience, ties and directions."""

import pytest

from lscht_ray.training._stopping import BestEpoch, EarlyStopping


@pytest.mark.parametrize(
    ("mode", "values", "stops_at"),
    [
        ("min", [5, 4, 4, 4], 4),
        ("min", [5, 4, 4, 3, 3, 3], 6),
        ("max", [1, 2, 2, 2], 4),
        ("max", [1, 2, 3, 4], None),
    ],
)
def test_stops_after_patience_epochs_without_gain(mode: str, values: list[float], stops_at: int | None) -> None:
    stopper = EarlyStopping(mode, patience=2)  # type: ignore[arg-type]
    stopped = [epoch for epoch, value in enumerate(values, start=1) if stopper.should_stop(value, epoch)]
    assert (stopped[0] if stopped else None) == stops_at


def test_small_gains_do_not_count() -> None:
    stopper = EarlyStopping("max", patience=1, min_delta=0.1)
    assert not stopper.should_stop(0.5, 1)
    assert stopper.should_stop(0.55, 2)


def test_goes_on_from_its_state() -> None:
    first = EarlyStopping("min", patience=3)
    for epoch, value in enumerate((3.0, 2.0, 2.5), start=1):
        first.should_stop(value, epoch)
    second = EarlyStopping("min", patience=3)
    second.load_state_dict(first.state_dict())
    assert not second.should_stop(2.5, 4)
    assert second.should_stop(2.5, 5)


def _epochs(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    return [{"val_accuracy": accuracy, "val_loss": loss} for accuracy, loss in pairs]


@pytest.mark.parametrize(
    ("pairs", "best_epoch"),
    [
        ([(0.3, 1.0), (0.5, 1.0), (0.5, 1.2)], 2),
        ([(0.3, 1.0), (0.5, 1.0), (0.5, 0.8)], 3),  # as accurate, with the lower loss
        ([(0.5, 1.0), (0.5, 1.0)], 1),  # as good in both: the earlier
        ([(0.5, 1.0), (0.4, 0.1)], 1),  # the loss alone decides nothing
    ],
)
def test_of_equally_accurate_epochs_that_with_the_lower_loss_is_best(
    pairs: list[tuple[float, float]], best_epoch: int
) -> None:
    best, history = BestEpoch("val_accuracy", "max"), _epochs(*pairs)
    for epoch, metrics in enumerate(history, start=1):
        best.update(metrics, epoch)
    assert (best.epoch, best.value) == (best_epoch, pairs[best_epoch - 1][0])


def test_the_best_epoch_goes_on_from_its_state() -> None:
    first, history = BestEpoch("val_accuracy", "max"), _epochs((0.5, 1.0), (0.4, 2.0))
    for epoch, metrics in enumerate(history, start=1):
        first.update(metrics, epoch)
    second = BestEpoch("val_accuracy", "max")
    second.load_state_dict(first.state_dict(), history)
    assert not second.update(*_epochs((0.5, 1.1)), 3)
    assert second.update(*_epochs((0.5, 0.9)), 3)
