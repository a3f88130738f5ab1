"""The part of a video that is a clip: in time, and in the picture."""

from typing import Literal, NamedTuple


class Span(NamedTuple):
    """Part of a video in time, 0-based and half-open.

    Attributes:
        start: First frame, or seconds from the first frame.
        end: Frame or second before which it ends; None: the end of the video.
        unit: Of start and end.
        fps: Frames a second at which the annotation numbers frames, where it says so. A video of another rate is then
            cut by time.
        doubtful: The span is not applied where the video seems to be cut to it already (WLASL).
    """

    start: float
    end: float | None
    unit: Literal["frame", "second"] = "frame"
    fps: float | None = None
    doubtful: bool = False

    def text(self) -> str:
        """The part in words, as in `second 0.5 to 1.75`."""
        end = "" if self.end is None else f"{self.end:g}"
        return f"{self.unit} {self.start:g} to {end}".strip()


class Box(NamedTuple):
    """Where the signer is in the picture as a player shows it: half-open, in pixels or in shares of its sides."""

    left: float
    top: float
    right: float
    bottom: float
    unit: Literal["pixel", "share"] = "pixel"
