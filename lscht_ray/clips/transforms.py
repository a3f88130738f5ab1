"""Turns batches of packed uint8 clips into the model's pixel_values, on the model's device.

Every random choice is drawn once per clip, beforehand, and is the same for all its frames.

Legend: B clips, T frames, H height, W width, N bytes of a frame, S the model's image size, 3 colours.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from lscht_ray.clips.batch import Batch, sent
from lscht_ray.video.pictures import default_short_side

GREY = (0.2989, 0.587, 0.114)
"""Weights of the colours in a grey level (torchvision's)."""
RATIO = (3 / 4, 4 / 3)
"""Aspect ratios of the random crop (torchvision's)."""
GEOMETRY = ("top", "left", "height", "width", "flip", "angle")


@dataclass(frozen=True)
class ClipFormat:
    """The clips that the model takes, and how decoded clips are packed.

    Attributes:
        image_size: S, height and width in pixels of the model's clips.
        mean: Mean of each colour, 0 to 1; the model gets (x - mean) / std.
        std: Standard deviation of each colour, 0 to 1.
        short_side: Short side in pixels at which clips are decoded; None: `default_short_side` of S.
        pixel_format: How decoded frames are packed: rgb (H, W, 3), or yuv420: planes Y (H, W), U and V (H/2, W/2).
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    short_side: int | None = None
    pixel_format: Literal["rgb", "yuv420"] = "rgb"

    @property
    def decoded_short_side(self) -> int:
        """Short side in pixels at which clips are decoded."""
        return self.short_side or default_short_side(self.image_size)


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
    erasing_probability: float = 0.0


class Draw(NamedTuple):
    """The random choices of one clip; the defaults change nothing but the crop.

    Attributes:
        top: Upper edge of the crop, in pixels of the decoded picture.
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
        randaugment: Seed of RandAugment, below 2^24.
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
    randaugment: float = 0.0


def draw(augmentation: Augmentation, rng: np.random.Generator, height: int, width: int) -> Draw:
    """Draw a clip's random choices; the same generator state gives the same ones.

    Args:
        augmentation: What may vary, and how much.
        rng: The clip's own generator.
        height: Pixels of the decoded pictures.
        width: Pixels of the decoded pictures.
    """
    crop = _crop(rng, height, width, augmentation.crop_scale_min)
    factors = [rng.uniform(1 - x, 1 + x) for x in (augmentation.brightness, augmentation.contrast)]
    flip = float(rng.random() < augmentation.flip_probability)
    saturation = rng.uniform(1 - augmentation.saturation, 1 + augmentation.saturation)
    hue = rng.uniform(-augmentation.hue, augmentation.hue)
    angle = rng.uniform(-augmentation.rotation, augmentation.rotation)
    erase = _rectangle(rng) if rng.random() < augmentation.erasing_probability else (0.0, 0.0, 0.0, 0.0)
    brightness, contrast = factors
    seed = float(rng.integers(2**24))
    return Draw(*crop, flip, brightness, contrast, saturation, hue, angle, *erase, seed)


def _crop(rng: np.random.Generator, height: int, width: int, scale_min: float) -> tuple[int, int, int, int]:
    """Draw top, left, height, width of a crop in pixels, as torchvision's RandomResizedCrop does."""
    for _ in range(10):
        area = height * width * rng.uniform(scale_min, 1)
        ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    w = min(width, round(height * RATIO[1]))
    h = min(height, round(width / RATIO[0]))
    return (height - h) // 2, (width - w) // 2, h, w


def _rectangle(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Draw top, left, height, width of 2 to 33 % of the picture, as shares of S (Random Erasing, arXiv 1708.04896)."""
    area, ratio = rng.uniform(0.02, 0.33), math.exp(rng.uniform(math.log(0.3), math.log(3.3)))
    height, width = min(1.0, math.sqrt(area / ratio)), min(1.0, math.sqrt(area * ratio))
    return rng.uniform(0, 1 - height), rng.uniform(0, 1 - width), height, width


class TrainingTransform:
    """Crops, flips, turns and colours clips as drawn, normalises them, and erases a rectangle."""

    def __init__(self, clip_format: ClipFormat, augmentation: Augmentation) -> None:
        self.clip_format, self.augmentation = clip_format, augmentation
        ops, magnitude = augmentation.randaugment_ops, augmentation.randaugment_magnitude
        self.randaugment = v2.RandAugment(ops, magnitude) if ops else None
        self._memory: Tensor | None = None

    def __call__(self, batch: Batch) -> Tensor:
        """Augment clips.

        Args:
            batch: On any device.

        Returns:
            float32 (B, T, 3, S, S), normalised. On a CPU the next call overwrites it.
        """
        draws = [Draw(*row) for row in batch.draws.tolist()]
        clips = unpacked(batch, self.clip_format.pixel_format)
        size = self.clip_format.image_size
        if batch.frames.device.type == "cpu" and not any(draw.angle for draw in draws):
            sampled = cropped(clips, draws, size, self._memory_for(len(clips), len(clips[0])))
        else:
            sampled = affine_sampled(clips, draws, size)
        if self.randaugment is not None:
            sampled = torch.stack([self._randaugmented(c, d) for c, d in zip(sampled, draws, strict=True)])
        matrices, keep = colour_matrices(draws)
        at_once = 1 if sampled.device.type == "cpu" else len(draws)  # one clip fits into a CPU's cache
        for first in range(0, len(draws), at_once):
            rows = slice(first, first + at_once)
            _normalised(coloured(sampled[rows], matrices[rows], keep[rows]), self.clip_format)
        return erased(sampled, draws)

    def _memory_for(self, clips: int, frames: int) -> Tensor:
        """Memory for a batch. Fresh memory for each would cost more than the arithmetic; numpy's is in huge pages."""
        shape = (clips, frames, 3, self.clip_format.image_size, self.clip_format.image_size)
        if self._memory is None or len(self._memory) < clips or self._memory.shape[1:] != shape[1:]:
            self._memory = torch.from_numpy(np.empty(shape, np.float32))
        return self._memory

    def _randaugmented(self, clip: Tensor, draw: Draw) -> Tensor:
        """Apply RandAugment to a clip, float (T, 3, S, S) in 0..255: the same operations to all frames."""
        assert self.randaugment is not None
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: without CUDA it keeps a stack trace of every call, for ever.
            torch.default_generator.manual_seed(int(draw.randaugment))
            varied: Tensor = self.randaugment(clip.round().to(torch.uint8))
        return varied.to(clip.dtype)


class EvaluationTransform:
    """Scales the short side of clips to S, cuts out the centre and normalises it. Nothing is random."""

    def __init__(self, clip_format: ClipFormat) -> None:
        self.clip_format = clip_format

    def __call__(self, batch: Batch) -> Tensor:
        """Prepare clips, as `TrainingTransform` does without its draws."""
        size = [self.clip_format.image_size]
        clips = unpacked(batch, self.clip_format.pixel_format)
        shaped = [F.center_crop(F.resize(c.permute(0, 3, 1, 2), size, antialias=True), size) for c in clips]
        return _normalised(torch.stack(shaped).float(), self.clip_format)


# ---------------------------------------------------------------- the batched operations


def unpacked(batch: Batch, pixel_format: str) -> list[Tensor]:
    """Unpack each clip to uint8 (T, H, W, 3)."""
    sizes = [(int(height), int(width)) for height, width in batch.sizes.tolist()]
    if pixel_format == "rgb":
        return [packed[:, : h * w * 3].reshape(-1, h, w, 3) for packed, (h, w) in zip(batch.frames, sizes, strict=True)]
    return [yuv_to_rgb(packed, h, w) for packed, (h, w) in zip(batch.frames, sizes, strict=True)]


def yuv_to_rgb(packed: Tensor, height: int, width: int) -> Tensor:
    """Convert planes Y, U, V (T, N) of 4:2:0 pictures (ITU-R BT.601, limited range) to uint8 (T, H, W, 3)."""
    luma, quarter = height * width, height * width // 4
    y = (packed[:, :luma].reshape(-1, height, width).float() - 16) * (255 / 219)
    chroma = packed[:, luma : luma + 2 * quarter].reshape(-1, 2, height // 2, width // 2).float() - 128
    u, v = chroma.repeat_interleave(2, 2).repeat_interleave(2, 3).unbind(1)
    red = y + 1.596027 * v
    green = y - 0.391762 * u - 0.812968 * v
    blue = y + 2.017232 * u
    return torch.stack((red, green, blue), dim=3).round().clamp(0, 255).to(torch.uint8)


def cropped(clips: list[Tensor], draws: list[Draw], size: int, memory: Tensor | None = None) -> Tensor:
    """Crop, scale and flip clips with torchvision's uint8 kernels, the fastest way on a CPU.

    Args:
        clips: Each uint8 (T, H, W, 3).
        draws: One for each clip.
        size: S.
        memory: float (at least B, T, 3, S, S) to write into; None: fresh memory.

    Returns:
        float (B, T, 3, S, S) in 0..255.
    """
    shape = (len(clips), len(clips[0]), 3, size, size)
    crops = torch.empty(shape) if memory is None else memory[: len(clips)]
    for target, clip, draw in zip(crops, clips, draws, strict=True):
        box = (int(draw.top), int(draw.left), int(draw.height), int(draw.width))
        crop = F.resized_crop(clip.permute(0, 3, 1, 2), *box, [size, size], antialias=True)
        target.copy_(F.horizontal_flip(crop) if draw.flip else crop)
    return crops


def affine_sampled(clips: list[Tensor], draws: list[Draw], size: int) -> Tensor:
    """Crop, scale, flip and turn the whole batch in one bilinear sampling; float (B, T, 3, S, S) in 0..255.

    Clips of several sizes are padded. Padding is never sampled: positions stay inside the crop, or inside the picture
    where it is turned.
    """
    height, width = max(clip.shape[1] for clip in clips), max(clip.shape[2] for clip in clips)
    frames = len(clips[0])
    source = clips[0].new_zeros(len(clips), frames * 3, height, width, dtype=torch.float32)
    for target, clip in zip(source, clips, strict=True):
        pictures = clip.permute(0, 3, 1, 2).flatten(0, 1)  # (T * 3, H, W)
        target[:, : pictures.shape[1], : pictures.shape[2]] = pictures
    drawn = sent(torch.tensor(draws), source.device)[:, :, None, None]  # (B, D, 1, 1)
    top, left, high, wide, flip, angle = (drawn[:, Draw._fields.index(name)] for name in GEOMETRY)
    steps = (torch.arange(size, device=source.device) + 0.5) / size - 0.5  # -0.5 .. 0.5
    across = torch.where(flip > 0, -steps, steps).expand(-1, size, -1) * wide
    down = steps[None, :, None] * high
    turn = torch.deg2rad(angle)
    x = left + wide / 2 - 0.5 + across * turn.cos() - down * turn.sin()
    y = top + high / 2 - 0.5 + across * turn.sin() + down * turn.cos()
    ends = sent(torch.tensor([clip.shape[1:3] for clip in clips]).float(), source.device)[:, :, None, None] - 1
    turned = (angle != 0).float()  # 1: positions stay inside the picture; 0: inside the crop
    x = x.clamp((1 - turned) * left, turned * ends[:, 1] + (1 - turned) * (left + wide - 1))
    y = y.clamp((1 - turned) * top, turned * ends[:, 0] + (1 - turned) * (top + high - 1))
    grid = torch.stack((2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1), dim=3)
    sampled = torch.nn.functional.grid_sample(source, grid, "bilinear", "border", align_corners=True)
    return sampled.reshape(len(clips), frames, 3, size, size)


def colour_matrices(draws: list[Draw]) -> tuple[Tensor, Tensor]:
    """Brightness, contrast, saturation and hue as one map of each pixel: x -> M x + k m, m the frame's mean grey level.

    Saturation mixes with the grey level as in torchvision; hue turns the colours about the grey axis of YIQ.

    Returns:
        M, float32 (B, 3, 3), and k, float32 (B,).
    """
    grey = torch.tensor(GREY, dtype=torch.float64)
    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], dtype=torch.float64)
    from_yiq = torch.linalg.inv(to_yiq)
    matrices, keeps = [], []
    for draw in draws:
        mix = draw.saturation * torch.eye(3, dtype=torch.float64) + (1 - draw.saturation) * grey.expand(3, 3)
        turn = torch.eye(3, dtype=torch.float64)
        if draw.hue:
            c, s = math.cos(2 * math.pi * draw.hue), math.sin(2 * math.pi * draw.hue)
            circle = torch.tensor([[1, 0, 0], [0, c, -s], [0, s, c]], dtype=torch.float64)
            turn = from_yiq @ circle @ to_yiq
        matrices.append(turn @ mix * draw.brightness * draw.contrast)
        keeps.append((1 - draw.contrast) * draw.brightness)
    return torch.stack(matrices).float(), torch.tensor(keeps, dtype=torch.float32)


def coloured(clips: Tensor, matrices: Tensor, keep: Tensor) -> Tensor:
    """Apply `colour_matrices` to float (B, T, 3, S, S) in 0..255, in place, and clamp to 0..255."""
    factors = matrices[:, 0, 0]
    plain = torch.equal(matrices, factors[:, None, None] * torch.eye(3))
    matrices, keep, factors = (sent(values, clips.device) for values in (matrices, keep, factors))
    mean = clips.mean((3, 4)) @ sent(torch.tensor(GREY), clips.device)  # (B, T)
    grey = (keep[:, None] * mean)[:, :, None, None, None]
    if plain:
        return clips.mul_(factors[:, None, None, None, None]).add_(grey).clamp_(0, 255)
    turned = torch.einsum("bdc,btchw->btdhw", matrices, clips)
    return clips.copy_(turned).add_(grey).clamp_(0, 255)


def erased(clips: Tensor, draws: list[Draw]) -> Tensor:
    """Set the drawn rectangles of normalised clips to 0, the mean colour, in place."""
    size = clips.shape[-1]
    for clip, draw in zip(clips, draws, strict=True):
        if draw.erase_height and draw.erase_width:
            top, left = int(draw.erase_top * size), int(draw.erase_left * size)
            bottom = top + max(1, int(draw.erase_height * size))
            clip[..., top:bottom, left : left + max(1, int(draw.erase_width * size))] = 0
    return clips


def _normalised(clips: Tensor, clip_format: ClipFormat) -> Tensor:
    """Map float (B, T, 3, S, S) in 0..255 to (x / 255 - mean) / std, in place."""
    std = sent(torch.tensor(clip_format.std), clips.device)[:, None, None] * 255
    mean = sent(torch.tensor(clip_format.mean), clips.device)[:, None, None] * 255
    return clips.sub_(mean).div_(std)


def packed_draw(drawn: Draw | None, height: int, width: int) -> NDArray[np.float32]:
    """A draw as a batch carries it, float32 (D,); None stands for the whole picture, with nothing varied."""
    return np.array(drawn or Draw(0, 0, height, width), np.float32)
