"""What child processes are asked to decode into the cache, and how much room it takes."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from lscht_ray.clips import _cache
from lscht_ray.clips._cache import ClipCache
from lscht_ray.dataset.samples import Clip, is_long, margin
from lscht_ray.settings.data import DataConfig
from lscht_ray.video import pictures

STRETCH = 16
"""Signs of a long recording that a child cuts at most before progress is shown."""
MB = 2**20


def frames_of(clip: Clip, config: DataConfig) -> int:
    """Frames to keep, as far as that is known before decoding."""
    facts, span = clip.facts, clip.span
    if not is_long(facts, config) or span is None:
        return facts.frames
    rate = facts.fps if span.unit == "second" else 1.0
    end = facts.frames if span.end is None else min(span.end * rate, facts.frames)
    return int((end - span.start * rate) * (1 + 2 * margin(config))) + 1


def bytes_of(clip: Clip, config: DataConfig, short_side: int) -> int:
    """Bytes of a clip's file, as far as that is known before decoding."""
    width, height, box = clip.facts.width, clip.facts.height, clip.box
    if box is not None and box.unit == "share":
        width, height = _side(box.right - box.left, width), _side(box.bottom - box.top, height)
    elif box is not None:
        width, height = int(box.right - box.left), int(box.bottom - box.top)
    width, height = pictures.scaled(width, height, short_side, config.pixel_format)
    per_frame = width * height * 3 // (1 if config.pixel_format == "rgb" else 2)
    frames = frames_of(clip, config)
    return per_frame * frames + 2 * _cache.PAGE + 24 * frames


def _side(share: float, length: int) -> int:
    return max(1, int(share * length))


def is_cut(clip: Clip, config: DataConfig) -> bool:
    """Whether a clip is one sign of a long recording, to be cut out of it together with others."""
    return is_long(clip.facts, config) and clip.span is not None and not (config.decoder == "decord" and clip.decord)


def cuts_of(
    cache: ClipCache, clips: list[Clip], config: DataConfig, short_side: int, seconds: float, processes: int
) -> list[dict[str, Any]]:
    """What children are asked to cut the signs of long recordings.

    A recording in which one can seek is shared out in stretches, so that several children work on it and progress
    shows; one in which one can't is decoded by one child in one go.
    """
    by_video = defaultdict[Path, list[Clip]](list)
    for clip in sorted(clips, key=lambda clip: clip.span.start if clip.span else 0.0):
        by_video[clip.video].append(clip)
    questions = []
    for video, signs in by_video.items():
        size = min(STRETCH, -(-len(signs) // processes)) if signs[0].facts.whole else len(signs)
        for first in range(0, len(signs), size):
            cuts = [(str(cache.path(clip.key)), clip.span, clip.box) for clip in signs[first : first + size]]
            questions.append(
                {
                    "ask": "cuts",
                    "seconds": seconds + video.stat().st_size / MB,
                    "path": str(video),
                    "cuts": cuts,
                    "whole": signs[0].facts.frames if signs[0].facts.whole else 0,
                    "short_side": short_side,
                    "salvage": config.salvage,
                    "pixel_format": config.pixel_format,
                    "margin": margin(config),
                    "max_frames": config.cache_max_frames,
                }
            )
    return questions


def question(cache: ClipCache, clip: Clip, config: DataConfig, short_side: int, seconds: float) -> dict[str, Any]:
    """What a child is asked, to decode one clip."""
    return {
        "ask": "store",
        "seconds": seconds,
        "path": str(clip.video),
        "target": str(cache.path(clip.key)),
        "short_side": short_side,
        "decoder": config.decoder if clip.decord else "pyav",
        "salvage": config.salvage,
        "pixel_format": config.pixel_format,
        "box": clip.box,
        "span": clip.span if is_long(clip.facts, config) else None,
        "margin": margin(config),
        "max_frames": config.cache_max_frames,
    }
