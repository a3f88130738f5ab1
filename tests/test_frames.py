"""Frame indices: properties that hold for every length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lscht_ray.frames import evaluation_indices, training_indices

LENGTHS = st.integers(1, 3000)
FRAMES = st.integers(1, 64)


@given(LENGTHS, FRAMES)
def test_evaluation_is_in_range_ascending_and_even(available: int, frames: int) -> None:
    indices = evaluation_indices(available, frames)
    assert indices.shape == (frames,)
    assert indices.min() >= 0
    assert indices.max() < available
    steps = np.diff(indices)
    if len(steps):
        assert steps.min() >= 0
        assert steps.max() - steps.min() <= 1  # as even as whole numbers can be


@given(LENGTHS, FRAMES)
def test_short_videos_repeat_every_frame_equally_often(available: int, frames: int) -> None:
    counts = np.bincount(evaluation_indices(available, frames), minlength=available)
    if available <= frames:
        assert counts.max() - counts.min() <= 1


@given(LENGTHS, FRAMES, st.integers(0, 2**32))
def test_training_takes_one_frame_of_each_segment(available: int, frames: int, seed: int) -> None:
    indices = training_indices(available, frames, np.random.default_rng(seed))
    again = training_indices(available, frames, np.random.default_rng(seed))
    assert (indices == again).all()
    if available < frames:
        assert (indices == evaluation_indices(available, frames)).all()
    else:
        for segment, index in enumerate(indices):
            assert segment * available // frames <= index < (segment + 1) * available // frames


def test_training_reaches_every_frame() -> None:
    rng = np.random.default_rng(0)
    seen = {int(index) for _ in range(500) for index in training_indices(50, 16, rng)}
    assert seen == set(range(50))


@pytest.mark.parametrize(("available", "frames"), [(0, 16), (10, 0)])
def test_nothing_to_choose_from_is_said(available: int, frames: int) -> None:
    with pytest.raises(ValueError, match="can't be made"):
        evaluation_indices(available, frames)
