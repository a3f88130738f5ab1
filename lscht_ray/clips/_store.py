"""Child process: decodes one video after the other into the clip cache. A JSON question a line, an answer a line."""

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lscht_ray.clips import _cache
from lscht_ray.video import decode, pictures
from lscht_ray.video.frames import span_indices
from lscht_ray.video.span import Box, Span


def _store(question: dict[str, Any]) -> dict[str, Any]:
    span = Span(*question["span"]) if question["span"] else None
    box = Box(*question["box"]) if question["box"] else None

    def window(times: NDArray[np.float64]) -> tuple[int, int]:
        start, stop = span_indices(times, span)
        margin = int(np.ceil(question["margin"] * (stop - start))) if span else 0
        start, stop = max(0, start - margin), min(len(times), stop + margin)
        if stop - start > question["max_frames"]:
            raise decode.UnreadableVideoError(question["path"], "too many frames to keep")
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
        _cache.write_entry(Path(question["target"]), frames, size, times, start)
    except decode.UnreadableVideoError as error:
        return {"error": error.reason}
    except OSError as error:
        return {"error": "no_room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error)}
    return {"frames": len(frames)}


def main() -> int:
    """Answer questions until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="surrogateescape")
    os.dup2(2, 1)  # whatever a library prints
    sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_store(json.loads(line))), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
