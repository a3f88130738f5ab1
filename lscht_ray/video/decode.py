"""Decodes chosen frames of one video as uint8 (T, H, W, C). Every failure names the file."""

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from lscht_ray.video._display import pixel_aspect, shown_size
from lscht_ray.video.frames import Indices, Times
from lscht_ray.video.pictures import Converter, Frames, PixelFormat, cut, shrink
from lscht_ray.video.span import Box

Choose = Callable[[Times], Indices]
"""Gets the time of every decodable frame (seconds, ascending) and returns the indices to take, which may repeat."""
Trouble = Literal["unreadable", "no_video_stream", "refused"]

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,flv,gif,swf,asf,ogg,dv,mxf,nut,h264,hevc,ivf,obu,"
    "mpegvideo,m4v,vc1,rm"
)
"""Containers that hold a video themselves. Playlists and scripts (HLS, concat, SDP, ...) name other files and addresses
to be opened, so they are not among them, whatever a file calls itself."""
SCRIPTS = (b"#EXTM3U", b"ffconcat", b"[playlist]", b"v=0\n", b"v=0\r", b"<MPD", b"<?xml", b"<smil")
"""First bytes of such playlists and scripts."""

HELD_BYTES = 256 * 2**20
"""Decoded pictures stay in memory until all are counted. Where they take more, the video is decoded a second time."""

log = logging.getLogger(__name__)


class UnreadableVideoError(Exception):
    """A video can't be decoded.

    Attributes:
        path: The video file.
        reason: The reason in words, one line.
        kind: The reason as one word; a probe files it under that name.
    """

    def __init__(self, path: str | Path, reason: object, kind: Trouble = "unreadable") -> None:
        text = getattr(reason, "strerror", None) or str(reason)  # FFmpeg's words without its error number
        self.path, self.reason, self.kind = str(path), " ".join(text.split()), kind
        super().__init__(f"{self.path}: {self.reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.reason, self.kind)


def decode(
    path: str | Path,
    choose: Choose,
    *,
    short_side: int | None = None,
    decoder: Literal["auto", "pyav", "decord"] = "auto",
    box: Box | None = None,
    salvage: bool = False,
    pixel_format: PixelFormat = "rgb",
) -> Frames:
    """Decode the chosen frames of a video, upright.

    All frames are decoded to count them, because headers lie. Of several video streams the largest is taken. Pictures
    are as a player shows them: turned and mirrored by the display matrix, in square pixels, of interlaced frames one
    field, of HDR in standard range; decord knows turns alone. An error that ``choose`` raises reaches the caller
    unchanged.

    Args:
        path: The video file.
        choose: Picks frame indices once the frames and their times are known.
        short_side: Pixels. Pictures with a larger short side are scaled down to it (area averaging), never up.
        decoder: ``auto`` and ``pyav`` read sequentially with PyAV. ``decord`` reads with decord where its count of
            frames, the header's and PyAV's agree, and falls back to PyAV with a warning where they don't.
        box: The part of the upright pictures to take, before scaling.
        salvage: Take the good frames of a damaged file, and count only those, instead of refusing the file.
        pixel_format: ``rgb``, or ``yuv420``: half the bytes, with even height and width.

    Returns:
        uint8 (T, H, W, C), or (T, 3 H / 2, W) for yuv420.

    Raises:
        UnreadableVideoError: The file is missing, damaged, empty or no video.
        ValueError: ``choose`` picked a frame that the video doesn't have.
    """
    name = str(path)
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


def open_video(path: str | Path) -> AbstractContextManager[Any]:
    """Open the file as PyAV's container. Only files that hold a video themselves are opened, nothing that they name.

    Raises:
        UnreadableVideoError: The file is a playlist or a script.
        av.FFmpegError: The file is no video.
        OSError: The file can't be read.
    """
    with Path(path).open("rb") as file:
        head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(SCRIPTS):
        reason = "it is a playlist or script that names other files: refused, never followed"
        raise UnreadableVideoError(path, reason, "refused")
    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    opened: AbstractContextManager[Any] = av.open(f"file:{path}", options=options, metadata_errors="replace")
    return opened


def _fingerprint(path: str | Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in nanoseconds."""
    try:
        stat = Path(path).stat()
    except OSError as error:
        raise UnreadableVideoError(path, error.strerror or error) from None
    if stat.st_size == 0:
        raise UnreadableVideoError(path, "it is empty (0 bytes)")
    return stat.st_size, stat.st_mtime_ns


@functools.lru_cache(maxsize=65536)
def _read_times(path: str, size: int, mtime: int) -> tuple[Times, int, int]:
    """Return the time of each frame, the frame count that the header claims, and the number of video streams."""
    del size, mtime  # they are only part of the cache's key
    try:
        with open_video(path) as container:
            stream = best_stream(path, container)
            times = [frame_time(frame, number, stream) for number, frame in enumerate(container.decode(stream))]
            return from_first(times), stream.frames, len(_pictures(container))
    except (OSError, av.FFmpegError) as error:
        raise UnreadableVideoError(path, error) from None


def frame_time(frame: Any, number: int, stream: Any) -> float:
    """When a frame is shown, in seconds. A stream without time stamps is timed by its average rate."""
    return float(number / (stream.average_rate or 25) if frame.time is None else frame.time)


def from_first(times: list[float]) -> Times:
    """Count times from the first frame, in seconds. A time that falls is raised to the one before."""
    stamps = np.asarray(times, np.float64)
    return np.maximum.accumulate(stamps - stamps[0]) if len(stamps) else stamps


def _pictures(container: Any) -> list[Any]:
    """The video streams that can be decoded, without cover pictures."""
    cover = av.stream.Disposition.attached_pic
    return [s for s in container.streams.video if s.codec_context is not None and not s.disposition & cover]


def best_stream(path: str | Path, container: Any) -> Any:
    """The video stream with the largest picture, set to one thread: clips are read in parallel by processes instead.

    Raises:
        UnreadableVideoError: There is none.
    """
    streams = _pictures(container)
    if not streams and container.streams.video:
        raise UnreadableVideoError(path, "there is no decoder for its video")
    if not streams:
        raise UnreadableVideoError(path, "it has no video stream", "no_video_stream")
    stream = max(streams, key=lambda candidate: candidate.width * candidate.height)
    stream.thread_type = "NONE"
    return stream


def good_frames(container: Any, stream: Any, salvage: bool) -> Iterator[Any]:
    """Yield the frames in order. Damage raises av.FFmpegError; with ``salvage`` damaged frames are skipped instead."""
    if not salvage:
        yield from container.decode(stream)
        return
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        yield from (frame for frame in frames if not frame.is_corrupt)


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
    packing: tuple[int | None, PixelFormat] = (short_side, pixel_format) if box is None else (None, "rgb")
    converter = Converter(*packing, aspect, first)
    try:
        if held is not None:
            pictures = {index: converter(held[index]) for index in sorted(wanted)}
        else:
            pictures = _pick_pictures(path, wanted, salvage, converter)
        frames = np.stack([pictures[index] for index in indices.tolist()])
        return frames if box is None else shrink(cut(frames, box), short_side, pixel_format)
    except (OSError, av.FFmpegError) as error:
        raise UnreadableVideoError(path, error) from None


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


def _pick_pictures(path: str, wanted: set[int], salvage: bool, converter: Converter) -> dict[int, Frames]:
    """Decode the video again and convert the wanted frames."""
    picked = {}
    with open_video(path) as container:
        for index, frame in enumerate(good_frames(container, best_stream(path, container), salvage)):
            if index in wanted:
                picked[index] = converter(frame)
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
