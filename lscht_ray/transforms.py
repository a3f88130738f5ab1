"""One clip in, one clip out. Every random choice is drawn once per clip and is equal on all its frames.

Legend: T frames, H height, W width, C = 3 colours.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F


@dataclass(frozen=True)
class ClipFormat:
    """What the model wants: clips of ``image_size`` pixels a side, (x - mean) / std per colour."""

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def decoded_short_side(self) -> int:
        """Short side in pixels to decode at: 8/7 of the model's (256 for 224), so that a crop isn't scaled up."""
        return self.image_size * 8 // 7


class TrainingTransform:
    """Random resized crop, horizontal flip, brightness and contrast jitter, then normalisation."""

    def __init__(
        self, form: ClipFormat, *, crop_scale_min: float, flip_probability: float, brightness: float, contrast: float
    ) -> None:
        self.form = form
        self.augment = v2.Compose(
            [
                v2.RandomResizedCrop(form.image_size, scale=(crop_scale_min, 1.0), antialias=True),
                v2.RandomHorizontalFlip(flip_probability),
                v2.ColorJitter(brightness=brightness, contrast=contrast),
            ]
        )

    def __call__(self, frames: Tensor, seed: int) -> Tensor:
        """Augment a clip.

        Args:
            frames: uint8 (T, H, W, C).
            seed: Decides every random choice; the global random state is left alone.

        Returns:
            float32 (T, C, image_size, image_size), normalised.
        """
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: without CUDA that remembers a stack trace per call, for ever.
            torch.default_generator.manual_seed(seed)
            augmented = self.augment(frames.permute(0, 3, 1, 2))
        return _normalised(augmented, self.form)


class EvaluationTransform:
    """Short side to ``image_size``, centre crop, normalisation: nothing random."""

    def __init__(self, form: ClipFormat) -> None:
        self.form = form

    def __call__(self, frames: Tensor, seed: int = 0) -> Tensor:
        """As `TrainingTransform.__call__`; ``seed`` has no effect."""
        del seed
        clip = frames.permute(0, 3, 1, 2)
        clip = F.resize(clip, [self.form.image_size], antialias=True)
        return _normalised(F.center_crop(clip, [self.form.image_size]), self.form)


def _normalised(clip: Tensor, form: ClipFormat) -> Tensor:
    scaled = F.to_dtype(clip, torch.float32, scale=True)
    normalised: Tensor = F.normalize(scaled.contiguous(), list(form.mean), list(form.std), inplace=True)
    return normalised
