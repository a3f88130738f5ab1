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


def test_of_equal_epochs_the_earlier_is_best() -> None:
    best = BestEpoch("max")
    assert [best.update(value, epoch) for epoch, value in enumerate((0.3, 0.5, 0.5), start=1)] == [True, True, False]
    assert (best.value, best.epoch) == (0.5, 2)
