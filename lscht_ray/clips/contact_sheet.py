"""One picture of what the model sees: per gloss, the sampled frames of a clip, and of the same clip augmented."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lscht_ray.clips import reader
from lscht_ray.clips.batch import Batch
from lscht_ray.clips.dataset import ClipDataset, Position
from lscht_ray.clips.transforms import ClipFormat, EvaluationTransform, TrainingTransform
from lscht_ray.dataset.annotations import Annotations, Sample
from lscht_ray.settings.data import DataConfig

CELL, TEXT, GAP = 96, 18, 6
"""Pixels: the side of a frame, the height of a line of text, the distance between glosses."""
MAX_FRAMES = 16
MAX_GLOSSES = 100
"""A larger picture would be of no use to anybody; the first glosses are shown."""


def draw(found: Annotations, config: DataConfig, seed: int) -> tuple[Image.Image, int]:
    """The contact sheet, and how many glosses are on it.

    Args:
        found: The data set without what can't be used (`survey.trusted`).
        config: How clips are read and augmented.
        seed: Of the augmentation.
    """
    form = ClipFormat(
        config.image_size or 224, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), config.short_side, config.pixel_format
    )
    varied = reader.augmentation(config)
    chosen = [sample for gloss in found.glosses if (sample := _one(found, gloss)) is not None][:MAX_GLOSSES]
    datasets = [
        ClipDataset(
            chosen,
            reader=reader.reader(config, form),
            sampling=reader.sampling(config, training=augmented is not None),
            seed=seed,
            augmentation=augmented,
        )
        for augmented in (None, varied)
    ]
    transforms: tuple[Callable[[Batch], Tensor], ...] = (EvaluationTransform(form), TrainingTransform(form, varied))
    strips: list[tuple[str, list[NDArray[np.uint8]]]] = []
    for index, sample in enumerate(chosen):
        pairs = zip(datasets, transforms, strict=True)
        pictures = [_strip(transform(dataset[Position(1, index)])[0]) for dataset, transform in pairs]
        strips.append((f"{sample.gloss}   {sample.split}   {sample.video.name}", pictures))
    return _sheet(strips), len(chosen)


def _one(found: Annotations, gloss: str) -> Sample | None:
    """The first clip of a gloss, of the training split where there is one."""
    own = [sample for sample in found.samples if sample.gloss == gloss]
    return next((sample for sample in own if sample.split == "train"), own[0] if own else None)


def _strip(clip: Tensor) -> NDArray[np.uint8]:
    """float32 (T, C, H, W) in 0..1 -> uint8 (CELL, T * CELL, C), its frames side by side."""
    frames = (clip.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()[:MAX_FRAMES]
    small = [np.asarray(Image.fromarray(frame).resize((CELL, CELL))) for frame in frames]
    return np.concatenate(small, axis=1)


def _sheet(strips: list[tuple[str, list[NDArray[np.uint8]]]]) -> Image.Image:
    height = sum(TEXT + len(pictures) * CELL + GAP for _, pictures in strips)
    width = max(strip.shape[1] for _, pictures in strips for strip in pictures)
    sheet = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    top = 0
    for title, pictures in strips:
        pen.text((4, top + 1), f"{title}   (above: as evaluated, below: augmented)", fill="black", font=font)
        top += TEXT
        for strip in pictures:
            sheet.paste(Image.fromarray(strip), (0, top))
            top += CELL
        top += GAP
    return sheet


def write(sheet: Image.Image, file: Path) -> None:
    """Save it as what the file's name says (PNG, JPEG, ...).

    Raises:
        ValueError: The name says nothing that Pillow knows.
        OSError: It can't be written.
    """
    sheet.save(file)
