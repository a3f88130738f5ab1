"""Which part of a video is a clip, in time and in the picture."""

from typing import Literal, NamedTuple


class Span(NamedTuple):
    """Part of a video: 0-based and half-open, in frames or in seconds from its first frame; an end of None is its end.

    ``fps`` is the rate at which frames are numbered, where the annotation says so: a video of another rate is then cut
    by time. A ``doubtful`` span is left alone where the video seems to be cut to it already (WLASL).
    """

    start: float
    end: float | None
    unit: Literal["frame", "second"] = "frame"
    fps: float | None = None
    doubtful: bool = False


class Box(NamedTuple):
    """Where the signer is in the picture: half-open, in pixels of the upright picture or in shares of it."""

    left: float
    top: float
    right: float
    bottom: float
    unit: Literal["pixel", "share"] = "pixel"
