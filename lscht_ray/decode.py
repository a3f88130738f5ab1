"""One video and a choice of frames -> those frames as uint8 (T, H, W, C). A failure names the file."""

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
Choose = Callable[[int], NDArray[np.int64]]
"""Given the number of decodable frames, the indices to take (may repeat)."""

HELD_BYTES = 256 * 2**20
"""Decoded pictures are held until they are counted; beyond this the video is decoded a second time instead."""

log = logging.getLogger(__name__)


class UnreadableVideoError(Exception):
    """A video can't be decoded: carries the file and the reason."""

    def __init__(self, path: str | Path, reason: object) -> None:
        self.path, self.reason = str(path), " ".join(str(reason).split())
        super().__init__(f"{self.path}: {self.reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.reason)


def decode(
    path: str | Path,
    choose: Choose,
    *,
    short_side: int | None = None,
    decoder: Literal["auto", "pyav", "decord"] = "auto",
) -> Frames:
    """The chosen frames of a video, upright.

    Frames are counted by decoding all of them: headers lie. Rotation flags are applied.

    Args:
        path: The video file.
        choose: Picks frame indices once the number of frames is known.
        short_side: Pictures whose short side is larger are scaled down to it (area averaging); never up.
        decoder: ``auto`` and ``pyav`` read sequentially with PyAV. ``decord`` reads with decord where its count of
            frames, the header's and PyAV's agree, and falls back to PyAV with a warning where they don't.

    Returns:
        uint8 (T, H, W, C), RGB.

    Raises:
        UnreadableVideoError: The file is missing, damaged, empty or no video.
    """
    if decoder == "decord":
        frames = _decode_with_decord(str(path), choose, short_side)
        if frames is not None:
            return frames
    return _decode_with_pyav(str(path), choose, short_side)


def count_frames(path: str | Path) -> tuple[int, int]:
    """How many frames a video really has, and how many its header claims (0: it claims nothing).

    Raises:
        UnreadableVideoError: As for `decode`.
    """
    return _count_frames(str(path), *_fingerprint(path))


def _fingerprint(path: str | Path) -> tuple[int, int]:
    try:
        stat = Path(path).stat()
    except OSError as error:
        raise UnreadableVideoError(path, error.strerror or error) from None
    if stat.st_size == 0:
        raise UnreadableVideoError(path, "it is empty (0 bytes)")
    return stat.st_size, stat.st_mtime_ns


@functools.lru_cache(maxsize=65536)
def _count_frames(path: str, size: int, mtime: int) -> tuple[int, int]:
    del size, mtime  # part of the cache's key only
    try:
        with av.open(path) as container:
            stream = _best_stream(path, container)
            return sum(1 for _ in container.decode(stream)), stream.frames
    except (OSError, av.FFmpegError) as error:
        raise UnreadableVideoError(path, error) from None


def _best_stream(path: str, container: Any) -> Any:
    """The video stream with the largest picture, read in one thread (parallel over clips, by processes)."""
    streams = list(container.streams.video)
    if not streams:
        raise UnreadableVideoError(path, "it has no video stream")
    stream = max(streams, key=lambda candidate: candidate.width * candidate.height)
    stream.thread_type = "NONE"
    return stream


def _decode_with_pyav(path: str, choose: Choose, short_side: int | None) -> Frames:
    _fingerprint(path)
    try:
        held, count = _hold_frames(path)
        if count == 0:
            raise UnreadableVideoError(path, "it has no decodable frame")
        indices = choose(count)
        if held is None:
            held = _pick_frames(path, set(indices.tolist()))
        return _to_rgb(held, indices, short_side)
    except (OSError, av.FFmpegError) as error:
        raise UnreadableVideoError(path, error) from None


def _hold_frames(path: str) -> tuple[dict[int, Any] | None, int]:
    """All frames by index as the decoder made them, or None where they take too much memory; and their number."""
    held: dict[int, Any] | None = {}
    size = count = 0
    with av.open(path) as container:
        for frame in container.decode(_best_stream(path, container)):
            if held is not None:
                held[count] = frame
                size = size or sum(plane.buffer_size for plane in frame.planes)
                if size * len(held) > HELD_BYTES:
                    held = None
            count += 1
    return held, count


def _pick_frames(path: str, wanted: set[int]) -> dict[int, Any]:
    with av.open(path) as container:
        decoded = enumerate(container.decode(_best_stream(path, container)))
        return {index: frame for index, frame in decoded if index in wanted}


def _to_rgb(held: dict[int, Any], indices: NDArray[np.int64], short_side: int | None) -> Frames:
    reformatter = VideoReformatter()  # one for all frames: making its tables costs more than using them
    first = held[int(indices[0])]
    width, height = _scaled(first.width, first.height, short_side)
    pictures: dict[int, Frames] = {}
    for index in sorted(set(indices.tolist())):
        frame = held[index]
        rgb = reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation=Interpolation.AREA, threads=1
        )
        pictures[index] = _upright(np.asarray(rgb.to_ndarray(), np.uint8), frame.rotation)
    return np.stack([pictures[index] for index in indices.tolist()])


def _scaled(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    short = min(width, height)
    if short_side is None or short <= short_side:
        return width, height
    return round(width * short_side / short), round(height * short_side / short)


def _upright(picture: Frames, rotation: int) -> Frames:
    """Undo a rotation flag (degrees counter-clockwise, as FFmpeg's display matrix states it)."""
    return np.ascontiguousarray(np.rot90(picture, k=round(rotation / 90) % 4)) if rotation else picture


def _decode_with_decord(path: str, choose: Choose, short_side: int | None) -> Frames | None:
    """As decord reads them, or None (with a warning) where PyAV must do it.

    decord 0.6.0 hangs for ever on edit lists and silently returns wrong frames of MPEG program streams; both are
    seen beforehand, since there the header's count isn't what PyAV decodes.
    """
    real, claimed = count_frames(path)
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
        indices = choose(real)
        frames: Frames = reader.get_batch(indices.tolist()).asnumpy()
    except Exception as error:
        log.warning("%s: read with PyAV instead of decord (%s)", path, " ".join(str(error).split())[:200])
        return None
    return _shrink(frames, short_side)


def _shrink(frames: Frames, short_side: int | None) -> Frames:
    height, width = frames.shape[1:3]
    if _scaled(width, height, short_side) == (width, height):
        return frames
    as_video = {index: av.VideoFrame.from_ndarray(frame, format="rgb24") for index, frame in enumerate(frames)}
    return _to_rgb(as_video, np.arange(len(frames)), short_side)
