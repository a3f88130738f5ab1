"""What is drawn at random of each clip in training, once for all its frames, before its pictures are touched.

Legend: H height, W width of a decoded picture, S the model's image size, D fields of a draw.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

EvalCrop = Literal["centre", "letterbox", "squash"]
"""The part of a picture that evaluation shows (`seen`)."""
RATIO = (3 / 4, 4 / 3)
"""How much wider or narrower than what evaluation shows a random crop may be (torchvision's aspect ratios)."""
TRIES = 10
"""So many crops are drawn before the one that evaluation shows is taken (torchvision's number)."""


@dataclass(frozen=True)
class Augmentation:
    """What is varied at random in training; the attributes are the settings of the same names (`settings.data`)."""

    crop_scale_min: float = 0.8
    flip_probability: float = 0.5
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.0
    hue: float = 0.0
    rotation: float = 0.0
    randaugment_ops: int = 0
    randaugment_magnitude: int = 9
    randaugment_probability: float = 1.0
    erasing_probability: float = 0.0
    erasing_fill: Literal["mean", "noise"] = "mean"
    eval_crop: EvalCrop = "centre"


class Draw(NamedTuple):
    """The random choices of one clip; the defaults change nothing but the crop.

    Attributes:
        top: Upper edge of the crop, in pixels of the decoded picture; beyond the picture all is black.
        left: Left edge of the crop, in the same pixels.
        height: Height of the crop, in the same pixels.
        width: Width of the crop, in the same pixels.
        flip: 1: left and right are exchanged; 0: they are not.
        brightness: Factor, 1 - b to 1 + b for the setting b.
        contrast: Factor, 1 - c to 1 + c for the setting c.
        saturation: Factor, 1 - s to 1 + s for the setting s.
        hue: Turns of the colour circle, -0.5 to 0.5.
        angle: Degrees, counter-clockwise.
        erase_top: Upper edge of the erased rectangle, as a share of S.
        erase_left: Left edge of the erased rectangle, as a share of S.
        erase_height: Height of the erased rectangle, as a share of S; 0: nothing is erased.
        erase_width: Width of the erased rectangle, as a share of S; 0: nothing is erased.
        seed: Of RandAugment and of an erased rectangle's noise, below 2^24.
    """

    top: float
    left: float
    height: float
    width: float
    flip: float = 0.0
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    angle: float = 0.0
    erase_top: float = 0.0
    erase_left: float = 0.0
    erase_height: float = 0.0
    erase_width: float = 0.0
    seed: float = 0.0


def seen(height: int, width: int, crop: EvalCrop) -> tuple[int, int, int, int]:
    """The part of a picture that evaluation shows: top, left, height, width in pixels.

    Args:
        height: H.
        width: W.
        crop: ``centre``: the largest square in its middle. ``letterbox``: all of it, with black bars that make it a
            square, so that top or left is negative. ``squash``: all of it, which is then scaled to a square.
    """
    if crop == "squash":
        return 0, 0, height, width
    side = min(height, width) if crop == "centre" else max(height, width)
    return (height - side) // 2, (width - side) // 2, side, side


def draw(augmentation: Augmentation, rng: np.random.Generator, height: int, width: int) -> Draw:
    """Draw a clip's random choices; the same generator state gives the same ones.

    Args:
        augmentation: What may vary, and how much.
        rng: The clip's own generator.
        height: Pixels of the decoded pictures.
        width: Pixels of the decoded pictures.
    """
    crop = _crop(rng, seen(height, width, augmentation.eval_crop), augmentation.crop_scale_min)
    factors = [rng.uniform(1 - x, 1 + x) for x in (augmentation.brightness, augmentation.contrast)]
    flip = float(rng.random() < augmentation.flip_probability)
    saturation = rng.uniform(1 - augmentation.saturation, 1 + augmentation.saturation)
    hue = rng.uniform(-augmentation.hue, augmentation.hue)
    angle = rng.uniform(-augmentation.rotation, augmentation.rotation)
    erase = _rectangle(rng) if rng.random() < augmentation.erasing_probability else (0.0, 0.0, 0.0, 0.0)
    brightness, contrast = factors
    seed = float(rng.integers(2**24))
    return Draw(*crop, flip, brightness, contrast, saturation, hue, angle, *erase, seed)


def _crop(rng: np.random.Generator, part: tuple[int, int, int, int], scale_min: float) -> tuple[int, int, int, int]:
    """Draw top, left, height, width of a crop within a part of the picture, in pixels.

    It is torchvision's RandomResizedCrop of that part, but that aspect ratios are multiples of the part's own: what
    evaluation shows is then in the middle of what training shows, in place, size and shape.
    """
    top, left, height, width = part
    for _ in range(TRIES):
        area = height * width * rng.uniform(scale_min, 1)
        ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1]))) * width / height
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            down, right = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            return top + down, left + right, h, w
    return part


def _rectangle(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Draw top, left, height, width of 2 to 33 % of the picture, as shares of S (Random Erasing, arXiv 1708.04896)."""
    area, ratio = rng.uniform(0.02, 0.33), math.exp(rng.uniform(math.log(0.3), math.log(3.3)))
    height, width = min(1.0, math.sqrt(area / ratio)), min(1.0, math.sqrt(area * ratio))
    return rng.uniform(0, 1 - height), rng.uniform(0, 1 - width), height, width


def packed_draw(drawn: Draw | None, height: int, width: int) -> NDArray[np.float32]:
    """A draw as a batch carries it, float32 (D,); None stands for the whole picture, with nothing varied."""
    return np.array(drawn or Draw(0, 0, height, width), np.float32)
