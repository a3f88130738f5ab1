"""One video and a choice of frames -> those frames as uint8 (T, H, W, C). A failure names the file."""

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from lscht_ray.video.frames import Indices, Times
from lscht_ray.video.pictures import Converter, Frames, PixelFormat, cut, shrink
from lscht_ray.video.span import Box

Choose = Callable[[Times], Indices]
"""Given when each decodable frame is shown (seconds, ascending), the indices to take (may repeat)."""

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,flv,gif,swf,asf,ogg,dv,mxf,nut,h264,hevc,ivf,obu,"
    "mpegvideo,m4v,vc1,rm"
)
"""Containers that hold a video themselves. Playlists and scripts (HLS, concat, SDP, ...), which name other files and
addresses to be opened, are not among them, whatever a file calls itself."""
SCRIPTS = (b"#EXTM3U", b"ffconcat", b"[playlist]", b"v=0\n", b"v=0\r", b"<MPD", b"<?xml", b"<smil")
"""What such files start with."""

HELD_BYTES = 256 * 2**20
"""Decoded pictures are held until they are counted; beyond this the video is decoded a second time instead."""

log = logging.getLogger(__name__)


class UnreadableVideoError(Exception):
    """A video can't be decoded: carries the file and the reason."""

    def __init__(self, path: str | Path, reason: object) -> None:
        text = getattr(reason, "strerror", None) or str(reason)  # FFmpeg's own words, without its numbers
        self.path, self.reason = str(path), " ".join(text.split())
        super().__init__(f"{self.path}: {self.reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.reason)


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
    """The chosen frames of a video, upright.

    Frames are counted by decoding all of them: headers lie. Of several video streams the largest is taken, rotation
    flags are applied.

    Args:
        path: The video file.
        choose: Picks frame indices once the frames and their times are known.
        short_side: Pictures whose short side is larger are scaled down to it (area averaging); never up.
        decoder: ``auto`` and ``pyav`` read sequentially with PyAV. ``decord`` reads with decord where its count of
            frames, the header's and PyAV's agree, and falls back to PyAV with a warning where they don't.
        box: The part of the upright pictures to take, before scaling.
        salvage: Of a damaged file take the good frames, which alone are counted, instead of refusing it.
        pixel_format: ``rgb``, or ``yuv420``: half the bytes, with even height and width.

    Returns:
        uint8 (T, H, W, C), or (T, 3 H / 2, W) for yuv420.

    Raises:
        UnreadableVideoError: The file is missing, damaged, empty or no video.
    """
    if decoder == "decord":
        frames = _decode_with_decord(str(path), choose, short_side, box, pixel_format)
        if frames is not None:
            return frames
    return _decode_with_pyav(str(path), choose, short_side, box, salvage, pixel_format)


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
    """All frames between two indices, exactly as `decode` makes them; the times of all frames; the first index.

    Args:
        path: The video file.
        window: Chooses the half-open range of frames.
        short_side: As for `decode`, as are the others.

    Raises:
        UnreadableVideoError: As for `decode`.
    """
    known: list[Any] = []

    def choose(times: Times) -> Indices:
        start, stop = window(times)
        known.extend((times, start))
        return np.arange(start, stop)

    settings: dict[str, Any] = {"short_side": short_side, "box": box, "salvage": salvage, "pixel_format": pixel_format}
    frames = decode(path, choose, decoder=decoder, **settings)
    return frames, known[-2], known[-1]


def count_frames(path: str | Path) -> tuple[int, int]:
    """How many frames a video really has, and how many its header claims (0: it claims nothing).

    Raises:
        UnreadableVideoError: As for `decode`.
    """
    times, claimed, _ = _read_times(str(path), *_fingerprint(path))
    return len(times), claimed


def open_video(path: str | Path) -> AbstractContextManager[Any]:
    """The file as PyAV's container; only files that hold a video themselves are opened, nothing that they name.

    Raises:
        UnreadableVideoError: It is a playlist or the like.
        av.FFmpegError: It is no video.
    """
    with Path(path).open("rb") as file:
        head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(SCRIPTS):
        raise UnreadableVideoError(path, "it is a playlist or script that names other files: refused, never followed")
    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    opened: AbstractContextManager[Any] = av.open(f"file:{path}", options=options, metadata_errors="replace")
    return opened


def _fingerprint(path: str | Path) -> tuple[int, int]:
    try:
        stat = Path(path).stat()
    except OSError as error:
        raise UnreadableVideoError(path, error.strerror or error) from None
    if stat.st_size == 0:
        raise UnreadableVideoError(path, "it is empty (0 bytes)")
    return stat.st_size, stat.st_mtime_ns


@functools.lru_cache(maxsize=65536)
def _read_times(path: str, size: int, mtime: int) -> tuple[Times, int, int]:
    """When each frame is shown; how many frames the header claims; how many video streams there are."""
    del size, mtime  # part of the cache's key only
    try:
        with open_video(path) as container:
            stream = best_stream(path, container)
            times = [frame_time(frame, number, stream) for number, frame in enumerate(container.decode(stream))]
            return from_first(times), stream.frames, len(_pictures(container))
    except (OSError, av.FFmpegError) as error:
        raise UnreadableVideoError(path, error) from None


def frame_time(frame: Any, number: int, stream: Any) -> float:
    """When a frame is shown, in seconds; a stream without time stamps goes by its rate."""
    return float(number / (stream.average_rate or 25) if frame.time is None else frame.time)


def from_first(times: list[float]) -> Times:
    """Seconds from the first frame, never falling."""
    given = np.asarray(times, np.float64)
    return np.maximum.accumulate(given - given[0]) if len(given) else given


def _pictures(container: Any) -> list[Any]:
    """The video streams that can be decoded, without cover pictures."""
    cover = av.stream.Disposition.attached_pic
    return [s for s in container.streams.video if s.codec_context is not None and not s.disposition & cover]


def best_stream(path: str | Path, container: Any) -> Any:
    """The video stream with the largest picture, read in one thread (parallel over clips, by processes).

    Raises:
        UnreadableVideoError: There is none.
    """
    streams = _pictures(container)
    if not streams:
        unknown = len(container.streams.video)
        raise UnreadableVideoError(path, "there is no decoder for its video" if unknown else "it has no video stream")
    stream = max(streams, key=lambda candidate: candidate.width * candidate.height)
    stream.thread_type = "NONE"
    return stream


def good_frames(container: Any, stream: Any, salvage: bool) -> Iterator[Any]:
    """The frames in order. Damage raises av.FFmpegError; with ``salvage`` damaged frames are passed over instead."""
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


def _decode_with_pyav(
    path: str, choose: Choose, short_side: int | None, box: Box | None, salvage: bool, pixel_format: PixelFormat
) -> Frames:
    _fingerprint(path)
    converter = Converter(short_side, pixel_format) if box is None else Converter(None, "rgb")
    try:
        held, times = _hold_frames(path, salvage)
        if len(times) == 0:
            raise UnreadableVideoError(path, "it has no decodable frame")
        indices = choose(times)
        wanted = set(indices.tolist())
        if held is not None:
            pictures = {index: converter(held[index]) for index in sorted(wanted)}
        else:
            pictures = _pick_pictures(path, wanted, salvage, converter)
        frames = np.stack([pictures[index] for index in indices.tolist()])
        return frames if box is None else shrink(cut(frames, box), short_side, pixel_format)
    except (OSError, av.FFmpegError) as error:
        raise UnreadableVideoError(path, error) from None


def _hold_frames(path: str, salvage: bool) -> tuple[dict[int, Any] | None, Times]:
    """All frames by index as the decoder made them, or None where they take too much memory; and their times."""
    held: dict[int, Any] | None = {}
    size = 0
    times: list[float] = []
    with open_video(path) as container:
        stream = best_stream(path, container)
        for number, frame in enumerate(good_frames(container, stream, salvage)):
            if held is not None:
                held[number] = frame
                size = size or sum(plane.buffer_size for plane in frame.planes)
                if size * len(held) > HELD_BYTES:
                    held = None
            times.append(frame_time(frame, number, stream))
    return held, from_first(times)


def _pick_pictures(path: str, wanted: set[int], salvage: bool, converter: "Converter") -> dict[int, Frames]:
    picked = {}
    with open_video(path) as container:
        for index, frame in enumerate(good_frames(container, best_stream(path, container), salvage)):
            if index in wanted:
                picked[index] = converter(frame)
            if len(picked) == len(wanted):
                break
    return picked


def _decode_with_decord(
    path: str, choose: Choose, short_side: int | None, box: Box | None, pixel_format: PixelFormat
) -> Frames | None:
    """As decord reads them, or None (with a warning) where PyAV must do it.

    decord 0.6.0 hangs for ever on edit lists and silently returns wrong frames of MPEG program streams; both are
    seen beforehand, since there the header's count isn't what PyAV decodes.
    """
    times, claimed, streams = _read_times(path, *_fingerprint(path))
    real = len(times)
    if streams > 1:
        log.warning("%s: %d video streams: read with PyAV instead of decord", path, streams)
        return None
    if real != claimed:
        log.warning("%s: %d frames decoded, %d claimed: read with PyAV instead of decord", path, real, claimed)
        return None
    try:
        import decord
    except ImportError:
        raise UnreadableVideoError(path, "decord is not installed (x86-64 only): use --decoder pyav") from None
    try:
        reader = decord.VideoReader(path, num_threads=1)
        if len(reader) != real:
            raise RuntimeError(f"decord counts {len(reader)} frames, PyAV {real}")
        indices = choose(times)
        frames: Frames = reader.get_batch(indices.tolist()).asnumpy()
    except Exception as error:
        log.warning("%s: read with PyAV instead of decord (%s)", path, " ".join(str(error).split())[:200])
        return None
    return shrink(frames if box is None else cut(frames, box), short_side, pixel_format)
