"""Test videos whose every frame says its number."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

BITS = 8
EDITS = {"use_editlist": "1", "avoid_negative_ts": "disabled"}


def picture(number: int, width: int, height: int) -> np.ndarray:
    """The number as eight vertical bars, the lowest bit at the left: white 1, black 0."""
    made = np.zeros((height, width, 3), np.uint8)
    for bit in range(BITS):
        made[:, bit * width // BITS : (bit + 1) * width // BITS] = 235 if number >> bit & 1 else 20
    return made


def number(frame: np.ndarray) -> int:
    """What `picture` painted, read from the middle of each bar."""
    height, width = frame.shape[:2]
    middle = frame[height // 4 : 3 * height // 4]
    edge = width // 4 // BITS
    bars = [middle[:, b * width // BITS + edge : (b + 1) * width // BITS - edge].mean() > 128 for b in range(BITS)]
    return sum(bar << bit for bit, bar in enumerate(bars))


def paint(
    path: Path,
    *,
    codec: str = "libx264",
    frames: int = 40,
    size: tuple[int, int] = (128, 96),
    pixels: str = "yuv420p",
    container: str | None = None,
    options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    hidden: int = 0,
    extra: tuple[int, int] | None = None,
) -> Path:
    """Write a video of numbered frames at 25 fps.

    Args:
        path: The file.
        codec: FFmpeg's encoder.
        frames: How many.
        size: Width and height.
        pixels: Pixel format.
        container: FFmpeg's muxer, where the suffix doesn't say it.
        options: Of the encoder.
        times: When each frame is shown, in ms; None: evenly.
        hidden: So many frames at the start lie before time 0, which makes an edit list that hides them (mp4, mov).
        extra: A second, earlier video stream of that size, all black.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    muxer: dict[str, Any] = {"options": EDITS} if hidden else {}
    with av.open(str(path), "w", format=container, **muxer) as out:
        side = _stream(out, "libx264", extra, "yuv420p", {}) if extra else None
        stream = _stream(out, codec, size, pixels, options or {})
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)

        def mux(packets: list[av.Packet]) -> None:
            for packet in packets:
                if hidden:
                    shift = int(hidden / 25 / packet.time_base)
                    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                out.mux(packet)

        for k in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(k, *size), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[k], Fraction(1, 1000)
            mux(stream.encode(frame))
            if side is not None and extra is not None:
                out.mux(side.encode(av.VideoFrame.from_ndarray(picture(0, *extra), format="rgb24")))
        mux(stream.encode())
        if side is not None:
            out.mux(side.encode())
    return path


def _stream(out: Any, codec: str, size: tuple[int, int], pixels: str, options: dict[str, str]) -> Any:
    stream = out.add_stream(codec, rate=25, options=options)
    stream.width, stream.height = size
    stream.pix_fmt = pixels
    return stream


def rotated(source: Path, path: Path, degrees: int) -> Path:
    """An MP4 or MOV copied with the rotation flag (clockwise degrees) written into its track header."""
    content = bytearray(source.read_bytes())
    start = content.index(b"tkhd") + 4 + 4 + 4 * 4 + 4 + 8 + 8  # version 0: flags, times, id, duration, layer, volume
    one, minus = (0x00010000).to_bytes(4, "big"), (0xFFFF0000).to_bytes(4, "big")
    zero, w = bytes(4), (0x40000000).to_bytes(4, "big")
    a, b, c, d = {90: (zero, one, minus, zero), 180: (minus, zero, zero, minus), 270: (zero, minus, one, zero)}[degrees]
    content[start : start + 36] = a + b + zero + c + d + zero + zero + zero + w
    path.write_bytes(content)
    return path


def damaged(source: Path, path: Path, first: float = 0.4, last: float = 0.6) -> Path:
    """A copy with the bytes between two shares of the file turned over."""
    content = bytearray(source.read_bytes())
    for position in range(int(first * len(content)), int(last * len(content))):
        content[position] ^= 0x55
    path.write_bytes(content)
    return path


def bomb(path: Path, side: int = 8192) -> Path:
    """A small file of huge grey pictures."""
    with av.open(str(path), "w") as out:
        stream = _stream(out, "libx264", (side, side), "yuv420p", {"preset": "ultrafast", "crf": "40"})
        frame = av.VideoFrame(side, side, "yuv420p")
        for plane in frame.planes:
            plane.update(b"\x80" * plane.buffer_size)
        for k in range(6):
            frame.pts = k
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path
