"""What the times of a video's frames tell: its rate, gaps, and how many frames are missing or how long it should be."""

import re
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

BY_DURATION = ("matroska,webm", "flv", "asf")
"""Containers whose header tells how long the video is, not how many frames it has."""
MPEG = ("mpegts", "mpeg")
"""Containers of broadcast and camcorders, in which frames come evenly."""
GAP = 5.0
"""How many times the usual distance of frames their longest one is at least to be called a gap."""


def missing(times: list[float], damaged: list[float], stream: Any, claimed: int, container: str) -> int:
    """The number of frames that are damaged or missing, where a decoder calls some damaged, as far as it can be known.

    In MPEG streams frames come evenly: their times show a gap. An MP4 claims a number of frames. In other containers
    a gap may as well be a pause, and an AVI leaves out frames that repeat the one before.

    Args:
        times: Those of the good frames, in seconds.
        damaged: Those of the damaged ones.
        stream: The video stream.
        claimed: How many frames the header claims; 0 or less: it claims none.
        container: FFmpeg's name of it.
    """
    if not damaged or len(times) < 2:
        return 0
    if container in MPEG:
        steps = np.diff(times)
        gaps = np.unique(np.clip(np.searchsorted(times, damaged) - 1, 0, len(steps) - 1))
        return int(np.rint(steps[gaps] / np.median(steps) - 1).sum())
    paused = container == "avi" and (times[-1] - times[0]) * float(stream.average_rate or 0) > 0.97 * (claimed - 1)
    return 0 if paused else claimed - len(times)


def claimed_duration(container: Any, stream: Any, start: float) -> float:
    """How long a header says that the video is from its first frame on, in seconds; 0: it doesn't say.

    An AVI's number of frames counts those that are left out because they repeat the one before. FFmpeg and mkvmerge tag
    each stream of a Matroska file with its end; else the duration is that of the longest stream.
    """
    name = container.format.name
    if name == "avi" and stream.average_rate:
        return float(stream.frames / stream.average_rate)
    tagged = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if tagged:
        hours, minutes, seconds = map(float, tagged.groups())
        return max(0.0, 3600 * hours + 60 * minutes + seconds - start)
    alone = name in BY_DURATION and len(container.streams) == 1 and container.duration
    return max(0.0, container.duration / av.time_base - start) if alone else 0.0


def pace(times: NDArray[np.float64], stream: Any) -> dict[str, Any]:
    """Frame rate, duration, whether the rate varies, and the longest gap in seconds, by the frames' own times."""
    steps = np.diff(times)
    if len(steps) == 0:
        rate = float(stream.average_rate or 0)
        return {"fps": rate, "duration": len(times) / rate if rate else 0.0}
    usual = float(np.median(steps))
    varies = bool(np.abs(steps - usual).max() > max(0.002, 0.1 * usual))
    duration = float(times[-1]) + usual
    longest = int(steps.argmax())
    gap = {"gap": float(steps[longest]), "gap_start": float(times[longest])} if steps[longest] > GAP * usual else {}
    fps = round(len(times) / duration, 3) if duration else 0.0
    return {"fps": fps, "duration": duration, "variable_rate": varies, **gap}
