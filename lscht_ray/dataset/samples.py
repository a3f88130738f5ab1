"""What a row of the annotations becomes: first a `Sample` of a data set, then a `Clip` that can be read."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from lscht_ray.dataset.rows import Row
from lscht_ray.settings.data import DataConfig
from lscht_ray.video.facts import Facts
from lscht_ray.video.span import Box, Span

LONG = 256
"""Frames of a video from which on it pays to seek in it."""


@dataclass(frozen=True)
class Sample:
    """One recorded performance, as annotated.

    Attributes:
        video: The file.
        gloss: What is signed.
        label: Class id of the gloss, from 0.
        split: train, val or test.
        signer: Who signs, where that is known.
        span: The annotated part of the video; None: all of it.
        box: The annotated part of the picture that shows the signer; None: all of it.
    """

    video: Path
    gloss: str
    label: int
    split: str
    signer: str | None
    span: Span | None
    box: Box | None

    def row(self) -> Row:
        """The annotation, with the split that the sample is in."""
        return Row(self.video, self.gloss, self.split, self.signer, self.span, self.box)


@dataclass(frozen=True)
class Clip:
    """A sample whose video was looked at, and how its frames are to be read.

    Attributes:
        sample: The sample.
        facts: What is known of its video.
        span: The part of the video that is the clip; None: all of it. An annotated span may not apply.
        box: The part of the picture to take; None: all of it. An annotated box may not apply.
        decord: False where decord is known not to read this video right.
        key: The clip's name in the cache (`clip_key`).
    """

    sample: Sample
    facts: Facts
    span: Span | None
    box: Box | None
    decord: bool
    key: str

    @property
    def seekable(self) -> int:
        """Number of frames of its video, where that is long and whole, and the clip a part of it; else 0."""
        return self.facts.frames if self.span and self.facts.whole and self.facts.frames >= LONG else 0

    @property
    def video(self) -> Path:
        """The file."""
        return self.sample.video

    @property
    def gloss(self) -> str:
        """What is signed."""
        return self.sample.gloss

    @property
    def label(self) -> int:
        """Class id of the gloss, from 0."""
        return self.sample.label

    @property
    def split(self) -> str:
        """train, val or test."""
        return self.sample.split


def make_clip(sample: Sample, facts: Facts, span: Span | None, box: Box | None, config: DataConfig) -> Clip:
    """The clip of a sample, with the span and the box that apply to its video."""
    decord = facts.decord in ("", "same") and not facts.special and not facts.pictures
    part = (span, margin(config)) if is_long(facts, config) else None
    return Clip(sample, facts, span, box, decord, clip_key(facts.sha256, box, part, decord, facts.special))


def margin(config: DataConfig) -> float:
    """Share of a clip's length that is kept before and after it: as far as its ends may be moved in training.

    They are moved by boundary_shift first; then the clip is stretched about its middle by speed_jitter.
    """
    return config.boundary_shift + config.speed_jitter * (0.5 + config.boundary_shift)


def is_long(facts: Facts, config: DataConfig) -> bool:
    """Whether the cache keeps only a clip's own part of such a video."""
    return facts.frames > config.cache_max_frames


def clip_key(
    sha256: str,
    box: Box | None = None,
    part: tuple[Span | None, float] | None = None,
    decord: bool = True,
    special: str = "",
) -> str:
    """The name of a clip in the cache: equal for the same bytes of video of which the same is kept.

    Args:
        sha256: Of the video file.
        box: The part of the picture that is kept; None: all of it.
        part: The span that is kept of a long video, and the share of its length that is kept around it; None: the
            whole video is kept.
        decord: Whether decord may have decoded it.
        special: `Facts.special` of the video.
    """
    return content_name(sha256, box, "" if part is None else part, decord, *([special] if special else []))


def content_name(*parts: object) -> str:
    """32 hexadecimal digits, equal for parts that print equally."""
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()[:32]
