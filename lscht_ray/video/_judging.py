"""Judges a video by small grey pictures of its frames: black, frozen, and what it looks like."""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lscht_ray.video.facts import LOOKS
from lscht_ray.video.frames import evaluation_indices

SMALL = 32
"""Side in pixels of the grey pictures that frames are judged by."""
BLACK = 40.0
"""Grey level (0 to 255) below which every part of a frame lies that counts as black. Signers in black before black
walls reach it."""
STILL = 2.0
"""Difference in grey levels below which every part of a frame lies that repeats the one before."""
Grey = NDArray[np.uint8]


def judged(grey: list[Grey]) -> dict[str, Any]:
    """Shares of black and of repeated frames, and the perceptual hash, by small grey pictures."""
    if not grey:
        return {}
    black = sum(float(frame.max()) < BLACK for frame in grey)
    still = sum(
        int(np.abs(frame.astype(np.int16) - before).max()) < STILL for before, frame in itertools.pairwise(grey)
    )
    chosen = np.stack([grey[index] for index in evaluation_indices(len(grey), LOOKS)])
    return {
        "black": round(black / len(grey), 3),
        "frozen": round(still / (len(grey) - 1), 3) if len(grey) > 1 else 0.0,
        "looks": perceptual_hash(chosen.astype(np.float32)),
    }


def perceptual_hash(frames: NDArray[np.float32]) -> str:
    """64 bits a frame: the signs of the lowest 8x8 cosine coefficients about their median (pHash, phash.org).

    Args:
        frames: float32 (T, SMALL, SMALL), grey.
    """
    k, n = np.arange(8)[:, None], np.arange(SMALL)[None]
    cosines = np.cos(np.pi * (2 * n + 1) * k / (2 * SMALL)).astype(np.float32)  # DCT-II
    low = np.einsum("kn,tnm,lm->tkl", cosines, frames, cosines).reshape(
        len(frames), 64
    )  # without BLAS: it needs memory
    return bytes(np.packbits(low > np.median(low[:, 1:], axis=1, keepdims=True))).hex()
