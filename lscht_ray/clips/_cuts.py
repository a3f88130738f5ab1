"""Cuts all signs of one long recording into the clip cache, in one pass over it, or by seeking from sign to sign."""

import errno
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lscht_ray.clips import _cache
from lscht_ray.video import opening, pictures, probe, seeking
from lscht_ray.video.frames import Times, span_indices
from lscht_ray.video.span import Box, Span


@dataclass
class Cut:
    """One sign of a recording.

    Attributes:
        target: The file of its entry in the cache.
        start: Index of the first frame that is kept.
        stop: Index of the frame before which the part ends that is kept.
        box: The part of the picture that is kept; None: all of it.
        kept: The pictures so far.
        written: Whether the entry is there.
    """

    target: Path
    start: int
    stop: int
    box: Box | None
    kept: list[pictures.Frames] = field(default_factory=list)
    written: bool = False


def window(times: Times, span: Span | None, margin: float) -> tuple[int, int]:
    """The frames that are kept of a clip: its span, and so large a share of its length on both sides."""
    start, stop = span_indices(times, span)
    more = int(np.ceil(margin * (stop - start))) if span else 0
    return max(0, start - more), min(len(times), stop + more)


def store(question: dict[str, Any], grant: probe.Grant) -> dict[str, Any]:
    """Write the entries of a recording's signs; answer how many frames they have and which signs failed."""
    path, errors = question["path"], dict[str, str]()
    try:
        index = seeking.frame_index(path, question["whole"]) if question["whole"] else None
        times = index.times if index else _times(path, question["salvage"], grant)
        cuts = []
        for target, span, box in question["cuts"]:
            start, stop = window(times, Span(*span), question["margin"])
            if stop - start > question["max_frames"]:
                errors[target] = "too many frames to keep"
            else:
                cuts.append(Cut(Path(target), start, stop, Box(*box) if box else None))
        _write_all(path, index, times, cuts, question, grant)
    except opening.UnreadableVideoError as error:
        return {"error": error.reason}
    except OSError as error:
        return {"error": "no_room" if is_full(error) else str(error)}
    return {"frames": sum(cut.stop - cut.start for cut in cuts), "errors": errors}


def is_full(error: OSError) -> bool:
    """Whether the disk, or what this user may have of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _write_all(
    path: str,
    index: seeking.FrameIndex | None,
    times: Times,
    cuts: list[Cut],
    question: dict[str, Any],
    grant: probe.Grant,
) -> None:
    if index is not None and cuts:
        needed = np.unique(np.concatenate([np.arange(cut.start, cut.stop) for cut in cuts]))
        try:
            frames = ((number, frame, index.aspect) for number, frame in seeking.read(path, index, needed))
            _write(frames, times, cuts, question, grant)
            return
        except seeking.CannotSeekError:
            pass
    left = [cut for cut in cuts if not cut.written]
    for cut in left:
        cut.kept.clear()
    if left:
        end = max(cut.stop for cut in left)
        every = itertools.takewhile(lambda item: item[0] < end, seeking.every_frame(path, question["salvage"]))
        _write(((number, frame, aspect) for number, frame, _, aspect in every), times, left, question, grant)


def _write(
    frames: Iterable[tuple[int, Any, Any]], times: Times, cuts: list[Cut], question: dict[str, Any], grant: probe.Grant
) -> None:
    """Give each frame to the signs that it belongs to; write each sign once it has all of its frames."""
    waiting = sorted(cuts, key=lambda cut: -cut.start)
    under_way: list[tuple[Cut, pictures.Cutter | None]] = []
    whole_pictures: pictures.Cutter | None = None
    for count, (number, frame, aspect) in enumerate(frames, start=1):
        if count % probe.GRANTED_FRAMES == 0:
            grant(probe.GRANTED_SECONDS, count)
        packing = (question["short_side"], None, question["pixel_format"], aspect)
        whole_pictures = whole_pictures or pictures.Cutter(*packing)
        while waiting and waiting[-1].start <= number:
            cut = waiting.pop()
            boxed = pictures.Cutter(packing[0], cut.box, *packing[2:]) if cut.box else None
            under_way.append((cut, boxed))
        whole = whole_pictures(frame) if any(cutter is None for _, cutter in under_way) else None
        for cut, cutter in under_way:
            picture = cutter(frame) if cutter else whole
            assert picture is not None
            cut.kept.append(picture)
        for cut, _ in under_way:
            if cut.stop == number + 1:
                stacked = np.stack(cut.kept)
                size = pictures.picture_size(stacked, question["pixel_format"])
                _cache.write_entry(cut.target, stacked, size, times, cut.start, part=True)
                cut.written, cut.kept = True, []
        under_way = [pair for pair in under_way if not pair[0].written]


def _times(path: str, salvage: bool, grant: probe.Grant) -> Times:
    """When each frame of a video is shown, found by decoding it."""
    on_each, found = probe.granting(grant), list[float]()
    for _, frame, moment, aspect in seeking.every_frame(path, salvage):
        found.append(moment)
        on_each(frame, moment, aspect)
    if not found:
        raise opening.UnreadableVideoError(path, "it has no decodable frame")
    return opening.from_first(found)
