"""Chooses which frames of a video make a clip. Pure arithmetic on indices, 0-based and ascending."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lscht_ray.video.span import Span

Indices = NDArray[np.int64]
Times = NDArray[np.float64]
"""When each frame of a video is shown, in seconds from the first one: (N,), ascending."""


def clip_indices(
    times: Times,
    num_frames: int,
    *,
    span: Span | None = None,
    sampling: Literal["frame", "time"] = "frame",
    rng: np.random.Generator | None = None,
    boundary_shift: float = 0.0,
    speed_jitter: float = 0.0,
) -> Indices:
    """Choose the frames of a clip.

    Args:
        times: When each decodable frame is shown.
        num_frames: Frames per clip, T.
        span: The part of the video that is the clip; None: all of it.
        sampling: Evenly by the frames' numbers, or by their times, which differ where the frame rate varies.
        rng: Draws one frame from each of T segments (training); None: the middle of each (evaluation).
        boundary_shift: In training, start and end are moved by up to this share of the clip's length, and not beyond
            the video: a clip that is the whole video only becomes shorter.
        speed_jitter: In training, the clip is played up to this share faster or slower, which takes a longer or shorter
            part of the video; again not beyond it.

    Returns:
        (T,) indices in [0, N).

    Raises:
        ValueError: There is no frame to choose from, or none is asked for.
    """
    start, stop = span_indices(times, span)
    if rng is not None and (boundary_shift or speed_jitter):
        start, stop = _jittered(start, stop, len(times), rng, boundary_shift, speed_jitter)
    if sampling == "time" and stop - start > 1:
        return _by_time(times, start, stop, num_frames, rng)
    if rng is None:
        return start + evaluation_indices(stop - start, num_frames)
    return start + training_indices(stop - start, num_frames, rng)


def span_indices(times: Times, span: Span | None) -> tuple[int, int]:
    """The frames of a span as a half-open range of at least one frame of the video."""
    count = len(times)
    if span is None:
        return 0, count
    if span.unit == "second":
        start = int(np.searchsorted(times, span.start - 1e-6))
        stop = count if span.end is None else int(np.searchsorted(times, span.end - 1e-6))
    else:
        start, stop = int(span.start), count if span.end is None else int(span.end)
    start = min(start, count - 1)
    return start, max(start + 1, min(stop, count))


def _jittered(
    start: int, stop: int, count: int, rng: np.random.Generator, shift: float, speed: float
) -> tuple[int, int]:
    """Draw a half-open range near the given one, of at least one frame of the video.

    Each draw is even over what the video has: none is cut off at its ends, which would leave most clips that are whole
    videos as they are.
    """
    length, most = stop - start, shift * (stop - start)
    first = start + rng.uniform(max(-most, -start), most)
    last = stop + rng.uniform(-most, min(most, count - stop))
    middle, half = (first + last) / 2, (last - first) / 2
    longest = max(1 - speed, min(1 + speed, min(middle, count - middle) / max(half, 1 / length)))
    half *= rng.uniform(1 - speed, longest)
    first_frame = min(max(round(middle - half), 0), count - 1)
    return first_frame, min(max(round(middle + half), first_frame + 1), count)


def _by_time(times: Times, start: int, stop: int, num_frames: int, rng: np.random.Generator | None) -> Indices:
    """The frames shown at T moments, one moment in each of T equally long segments."""
    _check(stop - start, num_frames)
    own = times[start:stop]
    end = times[stop] if stop < len(times) else own[-1] + float(np.median(np.diff(own)))
    share = np.full(num_frames, 0.5) if rng is None else rng.random(num_frames)
    moments = own[0] + (np.arange(num_frames) + share) * (end - own[0]) / num_frames
    return np.asarray(start + np.searchsorted(own, moments + 1e-6, side="right") - 1, np.int64).clip(start, stop - 1)


def evaluation_indices(available: int, num_frames: int) -> Indices:
    """The middle frame of each of ``num_frames`` equal segments. A shorter video repeats its frames evenly.

    Args:
        available: Decodable frames of the video, at least 1.
        num_frames: Frames per clip, T.

    Returns:
        (T,) indices in [0, available).

    Raises:
        ValueError: There is no frame to choose from, or none is asked for.
    """
    _check(available, num_frames)
    return ((2 * np.arange(num_frames, dtype=np.int64) + 1) * available) // (2 * num_frames)


def training_indices(available: int, num_frames: int, rng: np.random.Generator) -> Indices:
    """Draw one frame from each of ``num_frames`` equal segments (temporal segment networks, arXiv 1608.00859).

    A video with fewer frames leaves no choice: it repeats its frames evenly, as in evaluation. Arguments, result and
    errors are those of `evaluation_indices`; ``rng`` makes the choice.
    """
    _check(available, num_frames)
    if available < num_frames:
        return evaluation_indices(available, num_frames)
    edges = np.arange(num_frames + 1, dtype=np.int64) * available // num_frames
    return rng.integers(edges[:-1], edges[1:])


def _check(available: int, num_frames: int) -> None:
    if available < 1 or num_frames < 1:
        raise ValueError(f"a clip of {num_frames} frames can't be made from {available} frames: both must be 1 or more")
