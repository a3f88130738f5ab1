"""Draws one picture of what the model sees: per gloss, the frames of a clip, and of the same clip augmented.

Both are what the model gets, with its normalisation taken back.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from lscht_ray.artifacts import fonts
from lscht_ray.clips import reader
from lscht_ray.clips.batch import Batch
from lscht_ray.clips.dataset import ClipDataset, Position
from lscht_ray.clips.transforms import ClipFormat, EvaluationTransform, TrainingTransform
from lscht_ray.dataset.reports import MARK
from lscht_ray.dataset.samples import Clip
from lscht_ray.host.files import replacing
from lscht_ray.settings.data import DataConfig
from lscht_ray.shown import shown

CELL, SPACE, TEXT, GAP = 96, 2, 18, 6
"""Pixels: the side of a frame, the distance between two, the height of a line of text, the distance between glosses."""
MAX_FRAMES = 16
MAX_GLOSSES = 100
"""A larger picture can't be looked at any more; the first glosses are shown."""


def draw(
    glosses: Sequence[str], clips: Sequence[Clip], config: DataConfig, clip_format: ClipFormat, seed: int
) -> tuple[Image.Image, int]:
    """Draw the contact sheet; return it and the number of glosses on it.

    Args:
        glosses: In the order in which they are shown.
        clips: The clips that can be used.
        config: How clips are read and augmented.
        clip_format: The clips that the model takes.
        seed: Seed of the augmentation.
    """
    varied = reader.augmentation(config)
    chosen = [clip for gloss in glosses if (clip := _one(clips, gloss)) is not None][:MAX_GLOSSES]
    datasets = [
        ClipDataset(
            chosen,
            reader=reader.reader(config, clip_format),
            sampling=reader.sampling(config, training=augmented is not None),
            seed=seed,
            augmentation=augmented,
        )
        for augmented in (None, varied)
    ]
    transforms: tuple[Callable[[Batch], Tensor], ...] = (
        EvaluationTransform(clip_format),
        TrainingTransform(clip_format, varied),
    )
    strips: list[tuple[str, list[NDArray[np.uint8]]]] = []
    for index, clip in enumerate(chosen):
        pairs = zip(datasets, transforms, strict=True)
        pictures = [_strip(transform(dataset[Position(1, index)])[0], clip_format) for dataset, transform in pairs]
        part = "" if clip.sample.span is None else f"   {clip.sample.span.text()}"
        strips.append((shown(f"{clip.gloss}   {clip.split}   {clip.video.name}{part}"), pictures))
    return _sheet(strips, f"(above: as evaluated, eval_crop {config.eval_crop}; below: augmented)"), len(chosen)


def _one(clips: Sequence[Clip], gloss: str) -> Clip | None:
    """The first clip of a gloss, of the training split where there is one."""
    own = [clip for clip in clips if clip.gloss == gloss]
    return next((clip for clip in own if clip.split == "train"), own[0] if own else None)


def _strip(clip: Tensor, clip_format: ClipFormat) -> NDArray[np.uint8]:
    """Normalised float32 (T, C, H, W) -> uint8 (CELL, T * (CELL + SPACE) - SPACE, C), its frames side by side."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (clip_format.mean, clip_format.std))
    frames = ((clip * std + mean).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()[:MAX_FRAMES]
    small = [np.asarray(Image.fromarray(frame).resize((CELL, CELL))) for frame in frames]
    apart = [np.pad(frame, ((0, 0), (0, SPACE), (0, 0)), constant_values=255) for frame in small]
    return np.concatenate(apart, axis=1)[:, :-SPACE]


def _sheet(strips: list[tuple[str, list[NDArray[np.uint8]]]], legend: str) -> Image.Image:
    height = sum(TEXT + len(pictures) * CELL + GAP for _, pictures in strips)
    width = max(strip.shape[1] for _, pictures in strips for strip in pictures)
    sheet = Image.new("RGB", (width, height), "white")
    pen, top = ImageDraw.Draw(sheet), 0
    for title, pictures in strips:
        file, text = fonts.for_text(f"{title}   {legend}")
        pen.text((4, top + 1), text, fill="black", font=ImageFont.truetype(file, 13))
        top += TEXT
        for strip in pictures:
            sheet.paste(Image.fromarray(strip), (0, top))
            top += CELL
        top += GAP
    return sheet


def write(sheet: Image.Image, file: Path) -> None:
    """Save the sheet in the format that the file's suffix names (PNG, JPEG, ...); it is never seen half written.

    Raises:
        ValueError: Pillow knows no format of that suffix.
        OSError: The file can't be written.
    """
    kind = Image.registered_extensions().get(file.suffix.lower())
    if kind is None:
        raise ValueError(f"pictures of the kind {file.suffix or 'without suffix'} are not known: name it .png or .jpg")
    with replacing(file) as temporary, temporary.open("wb") as opened:
        about = PngInfo()
        about.add_text("Description", MARK)
        sheet.save(opened, kind, pnginfo=about, comment=MARK)
