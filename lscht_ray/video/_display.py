"""How a decoded frame is to be shown: turned or mirrored, in square pixels, from one field of an interlaced frame."""

from fractions import Fraction
from typing import Any, NamedTuple

import av.filter
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
ABSURD = 8
"""Pixels more times as wide as high, or as high as wide, are taken for a damaged header."""


class Orientation(NamedTuple):
    """What makes a picture upright: first rows and columns change places, then it is turned over.

    Attributes:
        transposed: Rows become columns.
        across: Then left and right change places.
        down: Then top and bottom change places.
    """

    transposed: bool = False
    across: bool = False
    down: bool = False

    @property
    def mirrored(self) -> bool:
        """Whether no turn alone would do."""
        return (self.transposed + self.across + self.down) % 2 == 1

    @property
    def rotation(self) -> int:
        """Degrees counter-clockwise, after a mirrored picture was mirrored left to right: 0, 90, -180 or -90."""
        if self.transposed:
            return -90 if self.across else 90
        return -180 if self.down else 0

    def upright(self, picture: Picture) -> Picture:
        """Turn a picture (H, W, ...) upright; a view of the same memory."""
        turned = picture.swapaxes(0, 1) if self.transposed else picture
        return turned[:: -1 if self.down else 1, :: -1 if self.across else 1]

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of a picture once it is upright."""
        return (height, width) if self.transposed else (width, height)


def orientation(frame: Any) -> Orientation:
    """The orientation that the frame's display matrix asks for, of which a container has one, or a phone's codec.

    A point (x, y) is shown at (a x + c y, b x + d y). As FFmpeg does, a matrix that maps all to a line is passed over.
    """
    matrix = next((data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return Orientation()
    numbers = np.frombuffer(matrix, "<i4").tolist()
    a, b, c, d = numbers[0], numbers[1], numbers[3], numbers[4]
    if a * d == b * c:
        return Orientation()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(transposed=True, across=c < 0, down=b < 0)
    return Orientation(across=a < 0, down=d < 0)


def pixel_aspect(stream: Any) -> Fraction:
    """How many times as wide as high a pixel is, before any turn: the container's word, else the codec's, else 1."""
    aspect = stream.sample_aspect_ratio
    if aspect is None or not Fraction(1, ABSURD) <= aspect <= ABSURD:
        return Fraction(1)
    return Fraction(aspect)


def in_square_pixels(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Width and height of a picture in square pixels (FFmpeg's scale=iw*sar:ih)."""
    return max(1, round(width * aspect)), height


def shown_size(frame: Any, aspect: Fraction) -> tuple[int, int]:
    """Width and height of a decoded frame as it is shown: upright, and in square pixels."""
    return orientation(frame).size(*in_square_pixels(frame.width, frame.height, aspect))


class OneField:
    """Takes one of the two fields of interlaced frames: half the lines, all of one moment."""

    def __init__(self) -> None:
        self._graph: Any = None
        self._made_for: object = None

    def __call__(self, frame: Any) -> Any:
        """The upper field as a frame of half the height; the memory is the same."""
        made_for = (frame.width, frame.height, frame.format.name, int(frame.colorspace), int(frame.color_range))
        if made_for != self._made_for:
            self._made_for, self._graph = made_for, _graph(*made_for)
        self._graph.push(frame)
        return self._graph.pull()


def _graph(width: int, height: int, pixels: str, colorspace: int, colour_range: int) -> Any:
    graph = av.filter.Graph()
    source = graph.add(
        "buffer",
        video_size=f"{width}x{height}",
        pix_fmt=pixels,
        time_base="1/1000",
        pixel_aspect="1/1",
        colorspace=str(colorspace),
        range=str(colour_range),
    )
    field, sink = graph.add("field", "top"), graph.add("buffersink")
    graph.link_nodes(source, field, sink).configure()
    return graph
