"""What follows from the facts of a data set's videos: which samples become clips, and how their annotations apply."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from lscht_ray.dataset.annotations import Annotations, trainable
from lscht_ray.dataset.samples import Clip, make_clip
from lscht_ray.settings.data import DataConfig
from lscht_ray.shown import counted
from lscht_ray.video.facts import Facts
from lscht_ray.video.span import Box, Span

SALVAGEABLE = ("damaged", "truncated")
"""Troubles that leave good frames, which ``salvage`` uses."""
RATE_TOLERANCE = 0.01
"""Frame rates, and ends of spans, that differ by a smaller share are equal."""
BOX_TOLERANCE = 0.02
"""A box may reach so far beyond the picture, as a share of its sides."""
FOREIGN_BOXES = 0.1
"""Where a larger share of a data set's boxes reaches beyond the pictures, they are those of other videos: of the raw
ones that these were cut from. Those that fit by chance would cut a picture a second time."""


USUAL_FPS = 25.0
"""Frames a second of most videos."""
SHORTEST = 4
"""Frames of the median range below which ranges can't be signs."""


@dataclass(frozen=True)
class ClipSet:
    """A data set as it can be used.

    Attributes:
        annotations: The data set; its samples are those of the clips, in their order.
        clips: The clips that can be used.
        left_out: Videos that exist and can't be used, each with the reason as `kind: words`.
        notes: Lines that the user should read once, those of the annotations included.
    """

    annotations: Annotations
    clips: tuple[Clip, ...]
    left_out: tuple[tuple[Path, str], ...]
    notes: tuple[str, ...]

    @property
    def glosses(self) -> tuple[str, ...]:
        """In label order."""
        return self.annotations.glosses

    def split(self, name: str) -> tuple[Clip, ...]:
        """The clips of one split."""
        return tuple(clip for clip in self.clips if clip.split == name)

    def trainable(self, untrained: str) -> "ClipSet":
        """The clips as training needs them, as `annotations.trainable` does it with samples."""
        kept = trainable(self.annotations, untrained)
        if kept is self.annotations:
            return self
        clips = [clip for clip in self.clips if clip.gloss in set(kept.glosses)]
        relabelled = tuple(replace(clip, sample=sample) for clip, sample in zip(clips, kept.samples, strict=True))
        notes = (*self.notes, *kept.notes[len(self.annotations.notes) :])
        return replace(self, annotations=kept, clips=relabelled, notes=notes)


def settle(annotations: Annotations, facts: dict[Path, Facts], config: DataConfig) -> ClipSet:
    """Make clips of the samples that can be used; say which can't, and which spans and boxes don't apply."""
    clips: list[Clip] = []
    left_out: list[tuple[Path, str]] = []
    unapplied = uncut = 0
    wrong, boxed = foreign_boxes(annotations, facts)
    boxes_apply = config.crop_to_bbox and not are_foreign(wrong, boxed)
    for sample in annotations.samples:
        video_facts = facts.get(sample.video)
        reason = unusable(video_facts, config)
        if reason or video_facts is None:
            left_out.append((sample.video, reason))
            continue
        span = applied(sample.span, video_facts, config)
        if span is not None and beyond(span, video_facts) == "start":
            left_out.append((sample.video, "range_beyond_clip: its range starts after the last frame"))
            continue
        unapplied += span is None and sample.span is not None and sample.span.doubtful
        box = sample.box if boxes_apply else None
        if box is not None and outside(box, video_facts):
            box, uncut = None, uncut + 1
        clips.append(make_clip(sample, video_facts, span, box, config))
    notes = list(annotations.notes)
    if unapplied and config.frame_ranges == "auto":
        notes.append(
            f"{counted(unapplied, 'clip is', 'clips are')} annotated with a frame range and cut"
            " to it already, it seems: the whole clip is used"
        )
    if config.crop_to_bbox and not boxes_apply:
        notes.append(
            f"the boxes of {wrong} of {boxed} clips reach beyond their pictures, so the videos seem to be cut to them "
            "already: crop_to_bbox is ignored for all"
        )
    if uncut:
        notes.append(f"the boxes of {counted(uncut, 'clip')} reach beyond their pictures: these are used whole")
    used = replace(annotations, samples=tuple(clip.sample for clip in clips))
    return ClipSet(used, tuple(clips), tuple(left_out), tuple(notes))


def unusable(facts: Facts | None, config: DataConfig) -> str:
    """Why a video can't be used, as `kind: reason`; nothing where it can."""
    if facts is None:
        return "unreadable: it vanished while it was looked at"
    if facts.trouble and not (config.salvage and facts.trouble in SALVAGEABLE and facts.frames):
        return f"{facts.trouble}: {facts.reason}"
    if facts.frames < config.min_frames:
        return f"few_frames: {counted(facts.frames, 'frame')}, min_frames asks for {config.min_frames}"
    return ""


def applied(span: Span | None, facts: Facts, config: DataConfig) -> Span | None:
    """The part of a video that an annotated span means, or None where the whole video is the clip.

    A span in frames becomes one in seconds where the video has another frame rate than the annotation. A doubtful span
    (WLASL numbers the frames of the raw video; the clips in circulation are cut to it already) applies only where it
    starts after the first frame and ends within the video.
    """
    if span is None or config.frame_ranges == "ignore":
        return None
    if span.fps and facts.fps and abs(facts.fps / span.fps - 1) > RATE_TOLERANCE:
        end = None if span.end is None else span.end / span.fps
        span = Span(span.start / span.fps, end, "second", doubtful=span.doubtful)
    if span.doubtful and config.frame_ranges == "auto" and (span.start <= 0 or beyond(span, facts)):
        return None
    if facts.pictures and span.unit == "second":  # decoders time pictures at another rate: count them
        first, last = (None if moment is None else math.ceil(moment * facts.fps - 1e-6) for moment in span[:2])
        return Span(first or 0, last)
    return span


def at_rate(facts: Facts, config: DataConfig) -> Facts:
    """The facts of a video; of a folder of pictures at the frame rate that the settings say."""
    if not facts.pictures:
        return facts
    return replace(facts, fps=config.fps, duration=facts.frames / config.fps)


def unlikely_ranges(annotations: Annotations, facts: dict[Path, Facts], config: DataConfig) -> tuple[str, str] | None:
    """What can't be right about the ranges of a data set as a whole, and its likely cause; None where all is well.

    Half of them are shorter than a sign can be, or half lie beyond their videos: the unit is another one, or the videos
    are. Ranges that may not apply (WLASL's) don't count.
    """
    known = [(sample.span, facts.get(sample.video)) for sample in annotations.samples if sample.span is not None]
    ranges = [(span, video) for span, video in known if video is not None and video.frames and not span.doubtful]
    if config.frame_ranges == "ignore" or not ranges:
        return None
    lengths = sorted(_length(span, video) for span, video in ranges)
    median = lengths[len(lengths) // 2]
    outside = sum(_far_beyond(span, video) for span, video in ranges)
    unit = ranges[0][0].unit
    other = "in seconds (--columns.unit second) or milliseconds" if unit == "frame" else "frames (--columns.unit frame)"
    if median < SHORTEST:
        longest = max(video.frames for _, video in ranges)
        text = f"half of the {len(ranges)} ranges have {median:.3g} frames or fewer (in videos of up to {longest})"
        return text, f"a sign is longer: are they {other}?"
    if 2 * outside > len(ranges):
        cause = "are the videos cut to their ranges already (--frame_ranges ignore)"
        if unit == "second":
            other = "milliseconds (--columns.unit millisecond) or frames (--columns.unit frame)"
        return f"{outside} of {len(ranges)} ranges lie beyond their videos", f"{cause}, or are they {other}?"
    return None


def _length(span: Span, facts: Facts) -> float:
    """Frames of a range in its video; of one in seconds at least as many as videos usually have in that time."""
    last = facts.frames if span.unit == "frame" else facts.duration
    length = (last if span.end is None else span.end) - span.start
    return length * (max(facts.fps, USUAL_FPS) if span.unit == "second" else 1.0)


def _far_beyond(span: Span, facts: Facts) -> bool:
    last = facts.frames if span.unit == "frame" else facts.duration
    return span.start >= last or (span.end is not None and span.end > 1.5 * last)


def beyond(span: Span, facts: Facts) -> str:
    """Which end of a span lies beyond the video: "start", "end", or nothing."""
    last = facts.frames if span.unit == "frame" else facts.duration
    if span.start >= last:
        return "start"
    return "end" if span.end is not None and span.end > last * (1 + RATE_TOLERANCE) else ""


def foreign_boxes(annotations: Annotations, facts: dict[Path, Facts]) -> tuple[int, int]:
    """How many boxes reach beyond their pictures, and how many there are."""
    known = [(sample.box, facts.get(sample.video)) for sample in annotations.samples if sample.box is not None]
    found = [outside(box, video_facts) for box, video_facts in known if video_facts is not None and video_facts.width]
    return sum(found), len(found)


def are_foreign(wrong: int, boxed: int) -> bool:
    """Whether boxes of which so many reach beyond their pictures are those of other videos."""
    return wrong > FOREIGN_BOXES * boxed


def outside(box: Box, facts: Facts) -> bool:
    """Whether a box reaches beyond the picture, as WLASL's boxes do where the clips were scaled down."""
    width, height = (1, 1) if box.unit == "share" else (facts.width, facts.height)
    too_wide, too_high = (
        low < -BOX_TOLERANCE * length or high > (1 + BOX_TOLERANCE) * length
        for low, high, length in ((box.left, box.right, width), (box.top, box.bottom, height))
    )
    return too_wide or too_high
