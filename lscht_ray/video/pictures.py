"""Scales a decoded picture, turns it upright, cuts it to a box, and packs it as RGB or YUV 4:2:0."""

from typing import Any, Literal

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from lscht_ray.video.span import Box

Frames = NDArray[np.uint8]
PixelFormat = Literal["rgb", "yuv420"]
"""Pictures as uint8 (H, W, 3), or planes Y, U, V one below the other as (3 H / 2, W): BT.601, limited range."""


class Converter:
    """Scales and packs the frames of a video, all to the size of the first.

    One reformatter serves all frames, because making its tables costs more than using them.
    """

    def __init__(self, short_side: int | None, pixel_format: PixelFormat) -> None:
        self.short_side, self.pixel_format = short_side, pixel_format
        self.reformatter = VideoReformatter()
        self.target: dict[str, Any] = {"format": "rgb24"}
        if pixel_format == "yuv420":
            colours = {"dst_colorspace": Colorspace.ITU601, "dst_color_range": ColorRange.MPEG}
            self.target = {"format": "yuv420p", **colours}

    def __call__(self, frame: Any) -> Frames:
        """Convert one decoded frame to a picture."""
        if "width" not in self.target:
            width, height = scaled(frame.width, frame.height, self.short_side, self.pixel_format)
            self.target |= {"width": width, "height": height}
        picture = self.reformatter.reformat(frame, interpolation=Interpolation.AREA, threads=1, **self.target)
        return _upright(np.asarray(picture.to_ndarray(), np.uint8), frame.rotation, self.pixel_format)


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


def _upright(picture: Frames, rotation: int, pixel_format: PixelFormat) -> Frames:
    """Turn a picture as its rotation flag says (degrees counter-clockwise, as in FFmpeg's display matrix)."""
    turns = round(rotation / 90) % 4
    if not turns:
        return picture
    if pixel_format == "rgb":
        return np.ascontiguousarray(np.rot90(picture, turns))
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    luma = np.rot90(picture[:height], turns)
    chroma = [np.rot90(plane, turns).ravel() for plane in picture[height:].reshape(2, height // 2, width // 2)]
    return np.concatenate([luma.ravel(), *chroma]).reshape(-1, luma.shape[1])


def shrink(frames: Frames, short_side: int | None, pixel_format: PixelFormat = "rgb") -> Frames:
    """Scale RGB pictures (T, H, W, C) down to a short side and pack them, as `decode` does; never up."""
    height, width = frames.shape[1:3]
    if pixel_format == "rgb" and scaled(width, height, short_side) == (width, height):
        return frames
    converter = Converter(short_side, pixel_format)
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
