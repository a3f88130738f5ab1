"""Decodes chosen frames of one video as uint8 (T, H, W, C). Every failure names the file."""

import contextlib
import functools
import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from lscht_ray.video import seeking
from lscht_ray.video._display import pixel_aspect, shown_size
from lscht_ray.video.frames import Indices, Times
from lscht_ray.video.opening import (
    UnreadableVideoError,
    best_stream,
    frame_time,
    from_first,
    good_frames,
    open_video,
    readable,
    video_streams,
)
from lscht_ray.video.pictures import Cutter, Frames, PixelFormat, cut, shrink
from lscht_ray.video.recognise import stamp
from lscht_ray.video.span import Box

Choose = Callable[[Times], Indices]
"""Gets the time of every decodable frame (seconds, ascending) and returns the indices to take, which may repeat."""

HELD_BYTES = 256 * 2**20
"""Decoded pictures stay in memory until all are counted. Where they take more, the video is decoded a second time."""

SEEK_SHARE = 1 / 2
"""Share of a video's frames up to which they are read by seeking."""

log = logging.getLogger(__name__)


def decode(
    path: str | Path,
    choose: Choose,
    *,
    short_side: int | None = None,
    decoder: Literal["auto", "pyav", "decord"] = "auto",
    box: Box | None = None,
    salvage: bool = False,
    pixel_format: PixelFormat = "rgb",
    whole: int = 0,
) -> Frames:
    """Decode the chosen frames of a video, upright.

    All frames are decoded to count them, because headers lie, unless the video is known to be whole. Of several video
    streams the largest is taken. Pictures are as a player shows them: turned and mirrored by the display matrix, in
    square pixels, of interlaced frames one field, of HDR in standard range; decord knows turns alone. An error that
    ``choose`` raises reaches the caller unchanged.

    Args:
        path: The video file.
        choose: Picks frame indices once the frames and their times are known.
        short_side: Pixels. Pictures with a larger short side are scaled down to it (area averaging), never up.
        decoder: ``auto`` and ``pyav`` read sequentially with PyAV. ``decord`` reads with decord where its count of
            frames, the header's and PyAV's agree, and falls back to PyAV with a warning where they don't.
        box: The part of the upright pictures to take, before scaling.
        salvage: Take the good frames of a damaged file, and count only those, instead of refusing the file.
        pixel_format: ``rgb``, or ``yuv420``: half the bytes, with even height and width.
        whole: Number of frames of a video that was decoded whole before, without any damage, hidden frame or change of
            size: then a small part of it is read by seeking (`seeking`); 0: that is not known.

    Returns:
        uint8 (T, H, W, C), or (T, 3 H / 2, W) for yuv420.

    Raises:
        UnreadableVideoError: The file is missing, damaged, empty or no video.
        ValueError: ``choose`` picked a frame that the video doesn't have.
    """
    name = str(path)
    index = seeking.frame_index(name, whole) if whole and decoder != "decord" else None
    if index is not None:
        indices = _chosen(choose, index.times)
        if index.cost(indices) <= SEEK_SHARE * whole:
            with contextlib.suppress(seeking.CannotSeekError):
                return _sought_frames(name, index, indices, short_side, box, pixel_format)
        return _pyav_frames(name, lambda _: indices, short_side, box, salvage, pixel_format)
    if decoder == "decord":
        times = _times_for_decord(name)
        if times is not None:
            indices = _chosen(choose, times)
            frames = _read_with_decord(name, indices, len(times))
            if frames is not None:
                return shrink(frames if box is None else cut(frames, box), short_side, pixel_format)
            if not salvage:  # PyAV then counts the same frames, so the choice stands
                return _pyav_frames(name, lambda _: indices, short_side, box, salvage, pixel_format)
    return _pyav_frames(name, choose, short_side, box, salvage, pixel_format)


def decode_window(
    path: str | Path,
    window: Callable[[Times], tuple[int, int]],
    *,
    short_side: int | None,
    box: Box | None,
    salvage: bool,
    pixel_format: PixelFormat,
    decoder: Literal["auto", "pyav", "decord"] = "auto",
) -> tuple[Frames, Times, int]:
    """Decode all frames between two indices, exactly as `decode` makes them.

    Args:
        path: The video file.
        window: Chooses the half-open range of frames.
        short_side: As for `decode`, as are the arguments that follow.
        box: See `decode`.
        salvage: See `decode`.
        pixel_format: See `decode`.
        decoder: See `decode`.

    Returns:
        The frames, the times of all frames of the video in seconds, and the index of the first frame returned.

    Raises:
        UnreadableVideoError: As for `decode`.
    """
    seen: list[tuple[Times, int]] = []

    def choose(times: Times) -> Indices:
        start, stop = window(times)
        seen.append((times, start))
        return np.arange(start, stop)

    settings: dict[str, Any] = {"short_side": short_side, "box": box, "salvage": salvage, "pixel_format": pixel_format}
    frames = decode(path, choose, decoder=decoder, **settings)
    return frames, *seen[-1]


def count_frames(path: str | Path) -> tuple[int, int]:
    """Count the frames that decode; return that count and the header's claim (0: the header claims nothing).

    Raises:
        UnreadableVideoError: As for `decode`.
    """
    times, claimed, _ = _read_times(str(path), *_fingerprint(path))
    return len(times), claimed


def _fingerprint(path: str | Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in nanoseconds."""
    try:
        size, changed = stamp(Path(path))
    except OSError as error:
        raise UnreadableVideoError(path, error.strerror or error) from None
    if size == 0:
        raise UnreadableVideoError(path, "no picture is in it" if Path(path).is_dir() else "it is empty (0 bytes)")
    return size, changed


@functools.lru_cache(maxsize=65536)
def _read_times(path: str, size: int, mtime: int) -> tuple[Times, int, int]:
    """Return the time of each frame, the frame count that the header claims, and the number of video streams."""
    del size, mtime  # they are only part of the cache's key
    try:
        with open_video(path) as container:
            stream = best_stream(path, container)
            times = [frame_time(frame, number, stream) for number, frame in enumerate(container.decode(stream))]
            return from_first(times), stream.frames, len(video_streams(container))
    except (OSError, av.FFmpegError) as error:
        raise UnreadableVideoError(path, error) from None


def _chosen(choose: Choose, times: Times) -> Indices:
    """Ask the caller for frames, outside of every `try` that is meant for a decoder's errors."""
    indices = choose(times)
    if len(indices) and (indices.min() < 0 or indices.max() >= len(times)):
        raise ValueError(f"frames {indices.min()} to {indices.max()} were chosen of {len(times)}")
    return indices


def _pyav_frames(
    path: str, choose: Choose, short_side: int | None, box: Box | None, salvage: bool, pixel_format: PixelFormat
) -> Frames:
    """Read the chosen frames with PyAV."""
    _fingerprint(path)
    try:
        held, times, aspect, first = _hold_frames(path, salvage)
    except (OSError, av.FFmpegError) as error:
        raise UnreadableVideoError(path, error) from None
    if len(times) == 0:
        raise UnreadableVideoError(path, "it has no decodable frame")
    indices = _chosen(choose, times)
    wanted = set(indices.tolist())
    cutter = Cutter(short_side, box, pixel_format, aspect, first)
    with readable(path):
        if held is not None:
            pictures = {index: cutter(held[index]) for index in sorted(wanted)}
        else:
            pictures = _pick_pictures(path, wanted, salvage, cutter)
        return np.stack([pictures[index] for index in indices.tolist()])


def _sought_frames(
    path: str,
    index: seeking.FrameIndex,
    indices: Indices,
    short_side: int | None,
    box: Box | None,
    pixel_format: PixelFormat,
) -> Frames:
    """Read the chosen frames by seeking, as `_pyav_frames` makes them."""
    cutter = Cutter(short_side, box, pixel_format, index.aspect)
    pictures = {number: cutter(frame) for number, frame in seeking.read(path, index, indices)}
    return np.stack([pictures[number] for number in indices.tolist()])


def _hold_frames(path: str, salvage: bool) -> tuple[dict[int, Any] | None, Times, Fraction, tuple[int, int] | None]:
    """Decode all frames; return them by index as the decoder made them, and their times.

    Besides, the aspect of their pixels, and the size at which the first one is shown (None: there is none).

    The frames are None where they take more memory than `HELD_BYTES`.
    """
    held: dict[int, Any] | None = {}
    size = 0
    times: list[float] = []
    first: tuple[int, int] | None = None
    with open_video(path) as container:
        stream = best_stream(path, container)
        for number, frame in enumerate(good_frames(container, stream, salvage)):
            first = first or shown_size(frame, pixel_aspect(stream))
            if held is not None:
                held[number] = frame
                size += sum(plane.buffer_size for plane in frame.planes)
                if size > HELD_BYTES:
                    held = None
            times.append(frame_time(frame, number, stream))
        return held, from_first(times), pixel_aspect(stream), first


def _pick_pictures(path: str, wanted: set[int], salvage: bool, cutter: Cutter) -> dict[int, Frames]:
    """Decode the video again and convert the wanted frames."""
    picked = {}
    with open_video(path) as container:
        for index, frame in enumerate(good_frames(container, best_stream(path, container), salvage)):
            if index in wanted:
                picked[index] = cutter(frame)
            if len(picked) == len(wanted):
                break
    return picked


def _times_for_decord(path: str) -> Times | None:
    """The times of all frames, or None (with a warning) where decord must not read the file.

    decord 0.6.0 hangs for ever on edit lists and silently returns wrong frames of MPEG program streams. Both show
    beforehand: there the header claims another number of frames than PyAV decodes.
    """
    times, claimed, streams = _read_times(path, *_fingerprint(path))
    if len(times) == 0:
        raise UnreadableVideoError(path, "it has no decodable frame")
    if streams > 1:
        log.warning("%s: %d video streams: read with PyAV instead of decord", path, streams)
        return None
    if len(times) != claimed:
        log.warning("%s: %d frames decoded, %d claimed: read with PyAV instead of decord", path, len(times), claimed)
        return None
    return times


def _read_with_decord(path: str, indices: Indices, count: int) -> Frames | None:
    """Read those of the video's ``count`` frames with decord, or return None (with a warning) where it fails."""
    try:
        import decord
    except ImportError:
        raise UnreadableVideoError(path, "decord is not installed (x86-64 only): use --decoder pyav") from None
    try:
        reader = decord.VideoReader(path, num_threads=1)
        if len(reader) != count:
            raise RuntimeError(f"decord counts {len(reader)} frames, PyAV {count}")
        frames: Frames = reader.get_batch(indices.tolist()).asnumpy()
    except Exception as error:  # decord raises its own class, and RuntimeError
        log.warning("%s: read with PyAV instead of decord (%s)", path, " ".join(str(error).split())[:200])
        return None
    return frames
