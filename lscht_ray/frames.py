"""Which frames of a video make a clip: pure arithmetic on indices, 0-based, ascending."""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def evaluation_indices(available: int, num_frames: int) -> Indices:
    """The middle frame of each of ``num_frames`` equal segments; a shorter video repeats its frames evenly.

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
    """One random frame from each of ``num_frames`` equal segments (temporal segment networks, arXiv 1608.00859).

    A video with fewer frames than that has no choice to offer: it repeats its frames evenly, as in evaluation.
    Arguments, result and errors as for `evaluation_indices`; ``rng`` makes the choice.
    """
    _check(available, num_frames)
    if available < num_frames:
        return evaluation_indices(available, num_frames)
    edges = np.arange(num_frames + 1, dtype=np.int64) * available // num_frames
    return rng.integers(edges[:-1], edges[1:])


def _check(available: int, num_frames: int) -> None:
    if available < 1 or num_frames < 1:
        raise ValueError(f"a clip of {num_frames} frames can't be made from {available} frames: both must be 1 or more")
