"""Frame indices: properties that hold for every length."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lscht_ray.video.frames import clip_indices, evaluation_indices, training_indices
from lscht_ray.video.span import Span

LENGTHS = st.integers(1, 3000)
FRAMES = st.integers(1, 64)


@settings(deadline=None)
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


@settings(deadline=None)
@given(LENGTHS, FRAMES)
def test_short_videos_repeat_every_frame_equally_often(available: int, frames: int) -> None:
    counts = np.bincount(evaluation_indices(available, frames), minlength=available)
    if available <= frames:
        assert counts.max() - counts.min() <= 1


@settings(deadline=None)
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


EVEN = np.arange(40) / 25


def test_a_span_of_frames_or_of_seconds_is_the_same_part() -> None:
    frames = clip_indices(EVEN, 5, span=Span(10, 30))
    assert frames.tolist() == [12, 16, 20, 24, 28]
    assert clip_indices(EVEN, 5, span=Span(0.4, 1.2, "second")).tolist() == frames.tolist()
    assert clip_indices(EVEN, 3, span=Span(30, None)).tolist() == [31, 35, 38]


@pytest.mark.parametrize("span", [Span(39, 99), Span(1.59, 9, "second"), Span(50, 60), Span(9, 10, "second")])
def test_a_span_beyond_the_end_takes_the_last_frame(span: Span) -> None:
    assert set(clip_indices(EVEN, 4, span=span).tolist()) == {39}


@settings(deadline=None)
@given(
    steps=st.lists(st.floats(0.001, 3), min_size=1, max_size=60),
    num_frames=st.integers(1, 32),
    sampling=st.sampled_from(["frame", "time"]),
    seed=st.none() | st.integers(0, 9),
)
def test_indices_are_ascending_and_there(
    steps: list[float], num_frames: int, sampling: Literal["frame", "time"], seed: int | None
) -> None:
    times = np.cumsum([0.0, *steps])
    rng = None if seed is None else np.random.default_rng(seed)
    indices = clip_indices(times, num_frames, sampling=sampling, rng=rng)
    assert len(indices) == num_frames
    assert indices.min() >= 0
    assert indices.max() < len(times)
    assert (np.diff(indices) >= 0).all()


def test_at_an_even_rate_time_and_frames_agree() -> None:
    for num_frames in (1, 4, 16, 40, 64):
        by_time = clip_indices(EVEN, num_frames, sampling="time")
        assert np.abs(by_time - clip_indices(EVEN, num_frames)).max() <= 1


def ranges(count: int, span: Span | None, **how: float) -> np.ndarray:
    """Half-open ranges that 2,000 draws take of a video; more frames than it has show the whole range."""
    rng = np.random.default_rng(0)
    taken = (clip_indices(np.arange(count) / 25, 4 * count, span=span, rng=rng, **how) for _ in range(2000))  # type: ignore[arg-type]
    return np.array([(indices[0], indices[-1] + 1) for indices in taken])


@pytest.mark.parametrize(
    "how", [{"speed_jitter": 0.2}, {"boundary_shift": 0.1}, {"speed_jitter": 0.2, "boundary_shift": 0.1}]
)
def test_few_draws_leave_a_clip_that_is_a_whole_video_as_it_is(how: dict[str, float]) -> None:
    """All that is possible there is a shorter clip: draws that would be longer are not made, instead of cut off."""
    drawn = ranges(100, None, **how)
    lengths = np.diff(drawn, axis=1)[:, 0]
    assert (lengths == 100).mean() < 0.1
    assert lengths.min() in range(60, 83)
    assert np.abs(np.histogram(lengths, bins=4, range=(lengths.min(), 100))[0].min()) > 50


def test_a_clip_with_room_around_it_becomes_longer_as_often_as_shorter_and_moves_both_ways() -> None:
    for how, low, high in (({"speed_jitter": 0.2}, 80, 120), ({"boundary_shift": 0.1}, 80, 120)):
        drawn = ranges(300, Span(100, 200), **how)
        lengths = np.diff(drawn, axis=1)[:, 0]
        assert low <= lengths.min() < low + 4 and high - 4 < lengths.max() <= high
        assert abs((lengths > 100).mean() - (lengths < 100).mean()) < 0.08
        assert abs(drawn.mean() - 150) < 0.5


def test_a_clip_at_a_videos_end_grows_to_the_other_side_as_far_as_that_goes() -> None:
    drawn = ranges(110, Span(10, 110), boundary_shift=0.2)
    assert drawn[:, 0].min() == 0 and drawn[:, 0].max() > 26
    assert drawn[:, 1].max() == 110 and (drawn[:, 1] == 110).mean() < 0.1
