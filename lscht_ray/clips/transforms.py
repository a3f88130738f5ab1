"""Turns batches of packed uint8 clips into the model's pixel_values, on the model's device.

Every random choice is drawn once per clip, beforehand, and is the same for all its frames.

Legend: B clips, T frames, H height, W width, N bytes of a frame, S the model's image size, 3 colours.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from lscht_ray.clips.augmentation import Augmentation, Draw, EvalCrop
from lscht_ray.clips.batch import Batch, sent
from lscht_ray.video.pictures import default_short_side

GREY = (0.2989, 0.587, 0.114)
"""Weights of the colours in a grey level (torchvision's)."""
NOISE_SEED = 2**24
"""Added to a clip's seed for the noise of its erased rectangle: RandAugment has the seed itself."""


@dataclass(frozen=True)
class ClipFormat:
    """The clips that the model takes, and how decoded clips are packed.

    Attributes:
        image_size: S, height and width in pixels of the model's clips.
        mean: Mean of each colour, 0 to 1; the model gets (x - mean) / std.
        std: Standard deviation of each colour, 0 to 1.
        short_side: Short side in pixels at which clips are decoded; None: `default_short_side` of S.
        pixel_format: How decoded frames are packed: rgb (H, W, 3), or yuv420: planes Y (H, W), U and V (H/2, W/2).
        eval_crop: The part of a picture that evaluation shows (`augmentation.seen`).
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    short_side: int | None = None
    pixel_format: Literal["rgb", "yuv420"] = "rgb"
    eval_crop: EvalCrop = "centre"

    @property
    def decoded_short_side(self) -> int:
        """Short side in pixels at which clips are decoded."""
        return self.short_side or default_short_side(self.image_size)


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
        memory = self._memory_for(len(clips), len(clips[0])) if batch.frames.device.type == "cpu" else None
        sampled = cropped(clips, draws, self.clip_format.image_size, memory)
        if self.randaugment is not None:
            sampled = torch.stack([self._randaugmented(c, d) for c, d in zip(sampled, draws, strict=True)])
        matrices, keep = colour_matrices(draws)
        at_once = 1 if sampled.device.type == "cpu" else len(draws)  # one clip fits into a CPU's cache
        for first in range(0, len(draws), at_once):
            rows = slice(first, first + at_once)
            _normalised(coloured(sampled[rows], matrices[rows], keep[rows]), self.clip_format)
        return erased(sampled, draws, self.augmentation.erasing_fill)

    def _memory_for(self, clips: int, frames: int) -> Tensor:
        """Memory for a batch. Fresh memory for each would cost more than the arithmetic; numpy's is in huge pages."""
        shape = (clips, frames, 3, self.clip_format.image_size, self.clip_format.image_size)
        if self._memory is None or len(self._memory) < clips or self._memory.shape[1:] != shape[1:]:
            self._memory = torch.from_numpy(np.empty(shape, np.float32))
        return self._memory

    def _randaugmented(self, clip: Tensor, draw: Draw) -> Tensor:
        """Apply RandAugment to a clip, float (T, 3, S, S) in 0..255: the same operations to all frames."""
        assert self.randaugment is not None
        ops, probability = self.augmentation.randaugment_ops, self.augmentation.randaugment_probability
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: without CUDA it keeps a stack trace of every call, for ever.
            torch.default_generator.manual_seed(int(draw.seed))
            applied = ops if probability == 1 else int((torch.rand(ops) < probability).sum())
            self.randaugment.num_ops = applied
            varied: Tensor = self.randaugment(clip.round().to(torch.uint8)) if applied else clip
        return varied.to(clip.dtype)


class EvaluationTransform:
    """Scales clips as `ClipFormat.eval_crop` says and normalises them. Nothing is random."""

    def __init__(self, clip_format: ClipFormat) -> None:
        self.clip_format = clip_format

    def __call__(self, batch: Batch) -> Tensor:
        """Prepare clips, as `TrainingTransform` does without its draws."""
        size, crop = self.clip_format.image_size, self.clip_format.eval_crop
        clips = unpacked(batch, self.clip_format.pixel_format)
        shaped = [shown(clip.permute(0, 3, 1, 2), size, crop) for clip in clips]
        return _normalised(torch.stack(shaped).float(), self.clip_format)


def shown(clip: Tensor, size: int, crop: EvalCrop) -> Tensor:
    """Scale and crop pictures (..., H, W) to squares of ``size`` pixels, as evaluation shows them."""
    height, width = clip.shape[-2:]
    fits = min(height, width) if crop == "centre" else max(height, width)
    high, wide = (size, size) if crop == "squash" else (size * height // fits, size * width // fits)
    small: Tensor = F.resize(clip, [max(1, high), max(1, wide)], antialias=True)
    framed: Tensor = F.center_crop(
        small, [size, size]
    )  # it cuts what is too long, and adds black where it is too short
    return framed


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
    """Turn, crop, scale and flip clips as drawn, with torchvision's antialiased kernels on any device.

    A CPU's kernel computes in whole numbers, a GPU's in float32: they differ by at most one grey level.

    Args:
        clips: Each uint8 (T, H, W, 3).
        draws: One for each clip.
        size: S.
        memory: float (at least B, T, 3, S, S) to write into; None: fresh memory.

    Returns:
        float (B, T, 3, S, S) in 0..255.
    """
    shape = (len(clips), len(clips[0]), 3, size, size)
    crops = clips[0].new_empty(shape, dtype=torch.float32) if memory is None else memory[: len(clips)]
    for target, clip, draw in zip(crops, clips, draws, strict=True):
        box = (int(draw.top), int(draw.left), int(draw.height), int(draw.width))
        pictures = clip.permute(0, 3, 1, 2)
        if draw.angle:
            pictures = turned(pictures, draw.angle, box)
        crop = F.resized_crop(pictures, *box, [size, size], antialias=True)
        target.copy_(F.horizontal_flip(crop) if draw.flip else crop)
    return crops


def turned(pictures: Tensor, angle: float, box: tuple[int, int, int, int]) -> Tensor:
    """Turn pictures (T, 3, H, W) about the middle of a crop by degrees counter-clockwise; float32, of the same size.

    Positions beyond the picture show its edge: a turned picture has no black corners.
    """
    top, left, high, wide = box
    height, width = pictures.shape[-2:]
    turn = math.radians(angle)
    x0, y0 = left + wide / 2 - 0.5, top + high / 2 - 0.5
    across = torch.arange(width, device=pictures.device)[None] - x0
    down = torch.arange(height, device=pictures.device)[:, None] - y0
    x = x0 + across * math.cos(turn) - down * math.sin(turn)
    y = y0 + across * math.sin(turn) + down * math.cos(turn)
    grid = torch.stack((2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1), dim=2)
    flat = pictures.flatten(0, 1)[None].float()
    sampled = torch.nn.functional.grid_sample(flat, grid[None], "bilinear", "border", align_corners=True)
    return sampled.reshape(pictures.shape)


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


def erased(clips: Tensor, draws: list[Draw], fill: Literal["mean", "noise"] = "mean") -> Tensor:
    """Set the drawn rectangles of normalised clips to 0, the mean colour, or to normal noise, in place."""
    size = clips.shape[-1]
    for clip, draw in zip(clips, draws, strict=True):
        if draw.erase_height and draw.erase_width:
            top, left = int(draw.erase_top * size), int(draw.erase_left * size)
            bottom = top + max(1, int(draw.erase_height * size))
            rectangle = clip[..., top:bottom, left : left + max(1, int(draw.erase_width * size))]
            if fill == "mean":
                rectangle.zero_()
            else:
                generator = torch.Generator(clip.device).manual_seed(int(draw.seed) + NOISE_SEED)
                rectangle.normal_(generator=generator)
    return clips


def _normalised(clips: Tensor, clip_format: ClipFormat) -> Tensor:
    """Map float (B, T, 3, S, S) in 0..255 to (x / 255 - mean) / std, in place."""
    std = sent(torch.tensor(clip_format.std), clips.device)[:, None, None] * 255
    mean = sent(torch.tensor(clip_format.mean), clips.device)[:, None, None] * 255
    return clips.sub_(mean).div_(std)
