"""Shows a decoded picture as a player does, scales it, cuts it to a box, and packs it as RGB or YUV 4:2:0."""

from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from lscht_ray.video._display import OneField, Orientation, orientation, shown_size
from lscht_ray.video._hdr import UNTAGGED, Transfer, to_sdr, transfer_of
from lscht_ray.video.span import Box

Frames = NDArray[np.uint8]
PixelFormat = Literal["rgb", "yuv420"]
"""Pictures as uint8 (H, W, 3), or planes Y, U, V one below the other as (3 H / 2, W): BT.601, limited range."""


class Converter:
    """Scales, turns and packs the frames of a video as a player shows them, all to the size of the first.

    One reformatter serves all frames, because making its tables costs more than using them.

    Args:
        short_side: Pixels of the shorter side of larger pictures; None: they stay as large as they are.
        pixel_format: How pictures are packed.
        aspect: How many times as wide as high a pixel is (`_display.pixel_aspect`).
        first: Width and height of the video's first picture, upright and in square pixels; None: the first one that is
            converted is the video's.
    """

    def __init__(
        self,
        short_side: int | None,
        pixel_format: PixelFormat,
        aspect: Fraction = Fraction(1),
        first: tuple[int, int] | None = None,
    ) -> None:
        self.short_side, self.pixel_format, self.aspect = short_side, pixel_format, aspect
        self.reformatter = VideoReformatter()
        self.target: dict[str, Any] = {"format": "rgb24"}
        if pixel_format == "yuv420":
            colours = {"dst_colorspace": Colorspace.ITU601, "dst_color_range": ColorRange.MPEG}
            self.target = {"format": "yuv420p", **colours}
        self._one_field = OneField()
        self._first = first

    def __call__(self, frame: Any) -> Frames:
        """Convert one decoded frame to a picture."""
        turn, transfer = orientation(frame), transfer_of(frame)
        upright = shown_size(frame, self.aspect)
        self._first = self._first or upright
        size = scaled(*self._first, self.short_side, self.pixel_format)
        if frame.interlaced_frame:
            frame = self._one_field(frame)
        if upright == self._first and transfer == "sdr":
            return _turned(self._reformatted(frame, turn.size(*size), **self.target), turn, self.pixel_format)
        fitting = size if upright == self._first else _within(upright, size)
        picture = _fitted(self._rgb(frame, transfer, turn, fitting), size)
        if self.pixel_format == "rgb":
            return picture
        return np.asarray(self._reformatted(av.VideoFrame.from_ndarray(picture, format="rgb24"), size, **self.target))

    def _rgb(self, frame: Any, transfer: Transfer, turn: Orientation, size: tuple[int, int]) -> Frames:
        """The frame as an upright RGB picture of that width and height, in standard range."""
        if transfer == "sdr":
            return turn.upright(self._reformatted(frame, turn.size(*size), format="rgb24"))
        source = {} if frame.colorspace != UNTAGGED else {"src_colorspace": Colorspace.BT2020}
        coded = self._reformatted(frame, turn.size(*size), format="rgb48le", **source)
        return turn.upright(to_sdr(np.asarray(coded, np.uint16), transfer))

    def _reformatted(self, frame: Any, size: tuple[int, int], **target: Any) -> Any:
        """The frame in that width and height, as an array."""
        width, height = size
        made = self.reformatter.reformat(
            frame, width=width, height=height, interpolation=Interpolation.AREA, threads=1, **target
        )
        return made.to_ndarray()


class Cutter:
    """Makes the pictures of a clip: converted, cut to the box of the signer where there is one, then scaled.

    Args:
        short_side: As for `Converter`, as are the arguments that follow the box.
        box: The part of the upright pictures to take, before scaling; None: all of them.
        pixel_format: See `Converter`.
        aspect: See `Converter`.
        first: See `Converter`.
    """

    def __init__(
        self,
        short_side: int | None,
        box: Box | None,
        pixel_format: PixelFormat,
        aspect: Fraction = Fraction(1),
        first: tuple[int, int] | None = None,
    ) -> None:
        self.box, self.short_side, self.pixel_format = box, short_side, pixel_format
        packing: tuple[int | None, PixelFormat] = (short_side, pixel_format) if box is None else (None, "rgb")
        self._converter = Converter(*packing, aspect, first)
        self._packer = Converter(short_side, pixel_format)

    def __call__(self, frame: Any) -> Frames:
        """Make the picture of one decoded frame."""
        picture = self._converter(frame)
        if self.box is None:
            return picture
        small = shrink(cut(picture[None], self.box), self.short_side, self.pixel_format, self._packer)
        return np.asarray(small[0], np.uint8)


def _within(size: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the same shape that fits into that width and height."""
    scale = min(room[0] / size[0], room[1] / size[1])
    return max(1, min(room[0], round(size[0] * scale))), max(1, min(room[1], round(size[1] * scale)))


def _fitted(picture: Frames, size: tuple[int, int]) -> Frames:
    """The picture in the middle of a black one of that width and height."""
    height, width = picture.shape[:2]
    if (width, height) == size:
        return np.ascontiguousarray(picture)
    whole = np.zeros((size[1], size[0], 3), np.uint8)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    whole[top : top + height, left : left + width] = picture
    return whole


def default_short_side(image_size: int) -> int:
    """Short side in pixels to decode at for a model of that image size: 8/7 of it, so that a crop isn't scaled up."""
    return image_size * 8 // 7


def scaled(width: int, height: int, short_side: int | None, pixel_format: PixelFormat = "rgb") -> tuple[int, int]:
    """Width and height of the pictures that `decode` makes of pictures of that size."""
    short = min(width, height)
    if short_side is not None and short > short_side:
        width, height = round(width * short_side / short), round(height * short_side / short)
    return (width, height) if pixel_format == "rgb" else (max(2, width // 2 * 2), max(2, height // 2 * 2))


def picture_size(frames: Frames, pixel_format: PixelFormat) -> tuple[int, int]:
    """Height and width of decoded pictures."""
    height, width = frames.shape[1:3]
    return (height, width) if pixel_format == "rgb" else (height * 2 // 3, width)


def _turned(picture: Frames, turn: Orientation, pixel_format: PixelFormat) -> Frames:
    """Turn a packed picture upright."""
    picture = np.asarray(picture, np.uint8)
    if turn == Orientation():
        return picture
    if pixel_format == "rgb":
        return np.ascontiguousarray(turn.upright(picture))
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    luma = turn.upright(picture[:height])
    chroma = [turn.upright(plane).ravel() for plane in picture[height:].reshape(2, height // 2, width // 2)]
    return np.concatenate([luma.ravel(), *chroma]).reshape(-1, luma.shape[1])


def shrink(
    frames: Frames, short_side: int | None, pixel_format: PixelFormat = "rgb", converter: Converter | None = None
) -> Frames:
    """Scale RGB pictures (T, H, W, C) down to a short side and pack them, as `decode` does; never up."""
    height, width = frames.shape[1:3]
    if pixel_format == "rgb" and scaled(width, height, short_side) == (width, height):
        return frames
    converter = converter or Converter(short_side, pixel_format)
    return np.stack([converter(av.VideoFrame.from_ndarray(frame, format="rgb24")) for frame in frames])


def cut(frames: Frames, box: Box) -> Frames:
    """Cut pictures (T, H, W, C) to the part that the box shows; at least one pixel."""
    height, width = frames.shape[1:3]
    scale = (width, height) if box.unit == "share" else (1, 1)
    left, right = _side(box.left * scale[0], box.right * scale[0], width)
    top, bottom = _side(box.top * scale[1], box.bottom * scale[1], height)
    return np.ascontiguousarray(frames[:, top:bottom, left:right])


def _side(low: float, high: float, length: int) -> tuple[int, int]:
    """A half-open range of pixels within 0 to length, with at least one pixel."""
    first = min(max(round(low), 0), length - 1)
    return first, max(first + 1, min(round(high), length))
