"""Child process that decodes videos into the clip cache. It answers a JSON object a line (`video.probe.serve`).

{"ask": "store", ...} decodes the part of one video that is kept, {"ask": "cuts", ...} all signs of a long one.
{"ask": "facts", "keep": {...}, ...} finds out what a new video holds, and keeps the frames of the same pass where the
cache needs all of them and nothing else. All other questions are answered as `video.probe` answers them.
"""

import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lscht_ray.clips import _cache, _cuts
from lscht_ray.dataset.samples import clip_key
from lscht_ray.video import decode, opening, pictures, probe
from lscht_ray.video.facts import Facts
from lscht_ray.video.span import Box, Span

KEPT_SHARE = 1 / 8
"""Share of the child's memory that the frames of a new video may take: the look itself must not fail for them."""


def _store(question: dict[str, Any]) -> dict[str, Any]:
    """Decode and write one clip; answer the number of frames, or the error."""
    span = Span(*question["span"]) if question["span"] else None
    box = Box(*question["box"]) if question["box"] else None

    def window(times: NDArray[np.float64]) -> tuple[int, int]:
        start, stop = _cuts.window(times, span, question["margin"])
        if stop - start > question["max_frames"]:
            raise opening.UnreadableVideoError(question["path"], "too many frames to keep")
        return start, stop

    try:
        frames, times, start = decode.decode_window(
            question["path"],
            window,
            short_side=question["short_side"],
            box=box,
            salvage=question["salvage"],
            pixel_format=question["pixel_format"],
            decoder=question["decoder"],
        )
        size = pictures.picture_size(frames, question["pixel_format"])
        _cache.write_entry(Path(question["target"]), frames, size, times, start, part=span is not None)
    except opening.UnreadableVideoError as error:
        return {"error": error.reason}
    except OSError as error:
        return {"error": "no_room" if _cuts.is_full(error) else str(error)}
    return {"frames": len(frames)}


class _Gathered:
    """The frames of one video as the cache keeps them, gathered while a look decodes it.

    Args:
        keep: What is kept, and where.
        max_bytes: More than these, and none is kept.
        seconds: Where converting them takes longer, none is kept: the rest of the time is for the look.
    """

    def __init__(self, keep: dict[str, Any], max_bytes: int, seconds: float) -> None:
        self.keep, self.max_bytes, self.seconds = keep, max_bytes, seconds
        self.converter: pictures.Converter | None = None
        self.frames: list[pictures.Frames] | None = []
        """None: they are too many, or something went wrong; the cache is filled in a pass of its own."""
        self.times: list[float] = []

    def add(self, frame: Any, moment: float, aspect: Fraction) -> None:
        """Convert one more decoded frame."""
        if self.frames is None:
            return
        started = time.monotonic()
        if self.converter is None:
            self.converter = pictures.Converter(self.keep["short_side"], self.keep["pixel_format"], aspect)
        try:
            self.frames.append(self.converter(frame))
            self.times.append(moment)
        except Exception:  # whatever it is: the look at the video must go on, and names it
            self.frames = None
            return
        self.seconds -= time.monotonic() - started
        count = len(self.frames)
        too_many = count > self.keep["max_frames"] or count * self.frames[0].nbytes > self.max_bytes
        if too_many or self.seconds < 0:
            self.frames = None

    def write(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Write the entry of a video that is whole; answer its name and bytes, or why nothing was written."""
        whole = facts.get("trouble") == "" and not facts["corrupt"] and facts["frames"] >= self.keep["min_frames"]
        if not self.frames or not whole:
            return {}
        special = Facts.from_dict(facts).special
        key = clip_key(facts["sha256"], decord=not special, special=special)
        target = Path(self.keep["folder"]) / f"{key}{_cache.SUFFIX}"
        if target.exists():
            return {}
        try:
            frames = np.stack(self.frames)
            size = pictures.picture_size(frames, self.keep["pixel_format"])
            _cache.write_entry(target, frames, size, opening.from_first(self.times), 0)
        except MemoryError:
            return {}
        except OSError as error:
            return {"no_room": True} if _cuts.is_full(error) else {}
        return {"kept": target.name, "bytes": target.stat().st_size}


def main(argv: list[str]) -> int:
    """Answer questions; the first argument, if any, is the memory in bytes that this process may take."""
    memory = int(argv[0]) if argv else None

    def respond(question: dict[str, Any], grant: probe.Grant) -> dict[str, Any]:
        if question["ask"] == "store":
            return _store(question)
        if question["ask"] == "cuts":
            return _cuts.store(question, grant)
        keep = question.get("keep")
        if not keep or memory is None:
            return probe.answer(question, grant)
        gathered = _Gathered(keep, int(KEPT_SHARE * memory), question["keep_seconds"])
        facts = probe.answer(question, grant, gathered.add)
        return facts | gathered.write(facts)

    return probe.serve(memory, respond)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
