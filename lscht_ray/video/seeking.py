"""Reads parts of a long video without decoding all of it: seeks to the key frame before each part.

The times of all frames are those of the packets, which are read and not decoded. That is trusted only where there are
as many of them as frames were counted when the whole video was decoded.
"""

import functools
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

from lscht_ray.video._display import pixel_aspect
from lscht_ray.video.frames import Indices, Times
from lscht_ray.video.opening import best_stream, frame_time, from_first, good_frames, open_video, readable
from lscht_ray.video.recognise import stamp

TRIES = 3
"""Key frames that are tried before a part, each before the last, until the part comes whole."""
OPEN_INDICES = 32
"""Videos whose frames' times a process keeps."""


class CannotSeekError(Exception):
    """A part did not come whole after seeking; only decoding from the start is safe."""


@dataclass(frozen=True)
class FrameIndex:
    """The frames of a video, in the order in which they are shown.

    Attributes:
        times: When each is shown, in seconds from the first one.
        stamps: The same in the stream's own units, int64 (N,), ascending.
        keys: Indices of the frames from which decoding can begin, ascending.
        sums: CRC-32 of each frame's packet, uint32 (N,).
        aspect: How many times as wide as high a pixel is.
    """

    times: Times
    stamps: NDArray[np.int64]
    keys: NDArray[np.int64]
    sums: NDArray[np.uint32]
    aspect: Fraction

    def holds(self, packet: Any) -> bool:
        """Whether a packet is that of the frame whose time it has."""
        if packet.pts is None:
            return False
        place = int(np.searchsorted(self.stamps, packet.pts))
        same_time = place < len(self.stamps) and self.stamps[place] == packet.pts
        return bool(same_time and self.sums[place] == zlib.crc32(bytes(packet)))

    def key_before(self, index: int, tries: int = 1) -> int:
        """The frame to begin at for a frame: the key frame before it, or the one before that, and so on."""
        place = int(np.searchsorted(self.keys, index, side="right")) - tries
        return int(self.keys[place]) if place >= 0 else 0

    def cost(self, indices: Indices) -> int:
        """How many frames are decoded to get these."""
        return sum(last - self.key_before(first) + 1 for first, last in self.runs(indices))

    def runs(self, indices: Indices) -> list[tuple[int, int]]:
        """First and last frame of each part that is decoded in one go. Between two of them a key frame is skipped."""
        found: list[tuple[int, int]] = []
        for index in sorted(set(indices.tolist())):
            if found and self.key_before(index) <= found[-1][1] + 1:
                found[-1] = (found[-1][0], index)
            else:
                found.append((index, index))
        return found


def frame_index(path: str | Path, frames: int) -> FrameIndex | None:
    """The frames of a video that has so many; None where its packets don't tell.

    Raises:
        UnreadableVideoError: The video can't be opened.
    """
    if Path(path).is_dir():
        return None
    with readable(path):
        size, changed = stamp(Path(path))
    found = _index(str(path), size, changed)
    return found if found is not None and len(found.times) == frames else None


@functools.lru_cache(maxsize=OPEN_INDICES)
def _index(path: str, size: int, mtime: int) -> FrameIndex | None:
    del size, mtime  # part of the cache's key only
    with readable(path), open_video(path) as container:
        stream = best_stream(path, container)
        packets = [
            (packet.pts, bool(packet.is_keyframe), packet.is_discard or packet.is_corrupt, zlib.crc32(bytes(packet)))
            for packet in container.demux(stream)
            if packet.size
        ]
        if not packets or any(pts is None or bad for pts, _, bad, _ in packets):
            return None
        packets.sort()
        stamps = np.array([pts for pts, *_ in packets], np.int64)
        if (np.diff(stamps) <= 0).any():  # two frames of one time could not be told apart
            return None
        times = from_first([float(pts * stream.time_base) for pts, *_ in packets])
        keys, sums = (np.array([packet[place] for packet in packets]) for place in (1, 3))
        return FrameIndex(times, stamps, np.flatnonzero(keys), sums.astype(np.uint32), pixel_aspect(stream))


def read(path: str | Path, index: FrameIndex, indices: Sequence[int] | Indices) -> Iterator[tuple[int, Any]]:
    """Yield the frames of these indices as the decoder makes them, each once, in order.

    Raises:
        CannotSeekError: A part did not come whole; frames may have been yielded before.
        UnreadableVideoError: The video can't be decoded.
    """
    wanted = np.unique(np.asarray(indices, np.int64))
    with readable(path), open_video(path) as container:
        stream = best_stream(path, container)
        for first, last in index.runs(wanted):
            part = wanted[(wanted >= first) & (wanted <= last)]
            yield from _part(container, stream, index, part)


def every_frame(path: str | Path, salvage: bool = False) -> Iterator[tuple[int, Any, float, Fraction]]:
    """Yield the index, the frame as the decoder makes it, its time as stamped, and the aspect of its pixels, of each.

    Raises:
        UnreadableVideoError: The video can't be decoded.
    """
    with readable(path), open_video(path) as container:
        stream = best_stream(path, container)
        for number, frame in enumerate(good_frames(container, stream, salvage)):
            yield number, frame, frame_time(frame, number, stream), pixel_aspect(stream)


def _decoded(container: Any, stream: Any, index: FrameIndex) -> Iterator[Any]:
    """Decode on from where the file stands.

    Raises:
        CannotSeekError: A packet has another time than it has from the start, as after seeking in MPEG program streams,
            where not every packet says its own.
    """
    for packet in container.demux(stream):
        if packet.size and not index.holds(packet):
            raise CannotSeekError
        yield from packet.decode()


def _part(container: Any, stream: Any, index: FrameIndex, part: Indices) -> Iterator[tuple[int, Any]]:
    """The frames of one part. Nothing is yielded before the first one has come."""
    for tries in range(1, TRIES + 1):
        begin = index.key_before(int(part[0]), tries)
        container.seek(int(index.stamps[begin]), stream=stream, backward=True)
        frames = _decoded(container, stream, index)
        whole, first = False, None
        for frame in frames:
            whole |= frame.pict_type == PictureType.I  # a gradual refresh has key packets whose pictures lean on others
            if frame.pts is None or frame.pts >= index.stamps[part[0]]:
                first = frame
                break
        if first is not None and whole and first.pts == index.stamps[part[0]] and not first.is_corrupt:
            break
        if begin == 0:
            raise CannotSeekError
    else:
        raise CannotSeekError
    yield int(part[0]), first
    left = iter(part[1:].tolist())
    wanted = next(left, None)
    while wanted is not None:
        frame = next(frames, None)
        if frame is None or frame.pts is None or frame.is_corrupt or frame.pts > index.stamps[wanted]:
            raise CannotSeekError
        if frame.pts == index.stamps[wanted]:
            yield wanted, frame
            wanted = next(left, None)
