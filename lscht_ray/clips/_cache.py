"""The decoded clips of a node, which all workers and trials on it share through the page cache.

A set of clips (one data set, decoded in one way by one version of the decoder) is a folder. A clip is a file in it,
named by the content of its video. A file appears whole or not at all: it is written under another name, synced, and
renamed.

A file holds 8 bytes MAGIC, 4 bytes length of the header, 4 bytes its CRC-32, the header (JSON), and from the next
multiple of PAGE on the frames, one after the other.
"""

import contextlib
import json
import os
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lscht_ray.host.disk import IN_USE, flock

Frames = NDArray[np.uint8]
MAGIC, PAGE, SUFFIX = b"LSCHTCL1", 4096, ".clip"
OPEN_FILES = 2048
"""Memory maps that a process keeps open."""


class BrokenClipError(ValueError):
    """A file is no whole clip, or not the bytes that were written."""


class Entry:
    """A cached clip: frames of one video, mapped into memory.

    Attributes:
        start: Index in the video of the first cached frame.
        size: Height and width of the pictures in pixels.
        frames: uint8 (frames, N), packed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        header, offset = _read_header(path)
        self._times = np.asarray(header["times"], np.float64)
        self._times_from: int = header.get("times_from", 0)
        self._count: int = header.get("count", len(self._times))
        self.start: int = header["start"]
        self.size: tuple[int, int] = (header["size"][0], header["size"][1])
        shape = (header["frames"], header["bytes"])
        self.frames: Frames = np.asarray(np.memmap(path, np.uint8, "r", offset, shape))
        self._sums: list[int] = header["sums"]
        self._verified = np.zeros(shape[0], bool)

    @property
    def times(self) -> NDArray[np.float64]:
        """When each frame of the whole video is shown, in seconds.

        Of a part of a long video only the times around it are known; the others are as if frames came evenly.
        """
        if self._count == len(self._times):
            return self._times
        steps = np.diff(self._times)
        step = float(np.median(steps)) if len(steps) else 1.0
        numbers = np.arange(self._count) - self._times_from
        last = len(self._times) - 1
        times = np.where(numbers < 0, self._times[0] + numbers * step, self._times[last] + (numbers - last) * step)
        times[self._times_from : self._times_from + len(self._times)] = self._times
        return np.asarray(times, np.float64)

    def take(self, indices: NDArray[np.int64], out: Frames) -> bool:
        """Copy frames of the video into ``out`` (T, at least N); return False where one of them is not cached.

        Raises:
            BrokenClipError: A frame's checksum is wrong. Each process checks each frame once.
        """
        rows = indices - self.start
        if rows.min() < 0 or rows.max() >= len(self.frames):
            return False
        length = self.frames.shape[1]
        np.take(self.frames, rows, axis=0, out=out[:, :length], mode="clip")  # one copy; "clip" needs no buffer
        for target, row in zip(out, rows.tolist(), strict=True) if not self._verified[rows].all() else ():
            if zlib.crc32(target[:length].data) != self._sums[row]:
                raise BrokenClipError(f"{self.path}: frame {row} is not what was written")
            self._verified[row] = True
        return True


def write_entry(
    path: Path, frames: Frames, size: tuple[int, int], times: NDArray[np.float64], start: int, *, part: bool = False
) -> None:
    """Write a clip so that it is whole or absent.

    Args:
        path: The file.
        frames: uint8 (frames, ...), packed or not.
        size: Height and width of the pictures in pixels.
        times: Of all frames of the video, in seconds.
        start: Index in the video of the first frame.
        part: Whether only the times of these frames, and of one before and after, are kept: those of hours of video
            would take more room than a sign's pictures.

    Raises:
        OSError: There is no room, or the folder can't be written.
    """
    flat = np.ascontiguousarray(frames).reshape(len(frames), -1)
    first, last = (max(0, start - 1), start + len(flat) + 1) if part else (0, len(times))
    header = json.dumps(
        {
            "frames": flat.shape[0],
            "bytes": flat.shape[1],
            "size": [int(side) for side in size],
            "start": int(start),
            "times": [round(float(moment), 6) for moment in times[first:last]],
            **({"times_from": int(first), "count": len(times)} if part else {}),
            "sums": [zlib.crc32(frame.data) for frame in flat],
        }
    ).encode()
    head = MAGIC + len(header).to_bytes(4, "little") + zlib.crc32(header).to_bytes(4, "little") + header
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(head + bytes(-len(head) % PAGE))
            file.write(flat.data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Read the header, and the byte at which the frames start.

    Raises:
        BrokenClipError: The file is no whole clip.
        OSError: There is no such file.
    """
    with path.open("rb") as file:
        start = file.read(16)
        length, checksum = int.from_bytes(start[8:12], "little"), int.from_bytes(start[12:16], "little")
        header = file.read(length)
        size = os.fstat(file.fileno()).st_size
    if start[:8] != MAGIC or len(header) != length or zlib.crc32(header) != checksum:
        raise BrokenClipError(f"{path}: its header is not what was written")
    content: dict[str, Any] = json.loads(header)
    offset = (16 + length + PAGE - 1) // PAGE * PAGE
    if size != offset + content["frames"] * content["bytes"]:
        raise BrokenClipError(f"{path}: it has {size} bytes, which is not what was written")
    return content, offset


class ClipCache:
    """A set of cached clips. While a process has it open, no other process evicts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._held = -1
        self.hold()

    def hold(self) -> None:
        """Mark the set as in use by this process, and as used now."""
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = self.folder / IN_USE
            try:
                self._held = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
                os.utime(self._held)
                flock(self._held, exclusive=False)
                if file.stat().st_ino == os.fstat(self._held).st_ino:
                    return
            except FileNotFoundError:  # another process evicted the set in this very moment
                pass
            self.release()

    def release(self) -> None:
        """Let other processes evict the set."""
        self._entries.clear()
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def __getstate__(self) -> dict[str, Any]:
        """Hand a data worker the folder; it opens the files itself."""
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]  # of this very class

    def path(self, key: str) -> Path:
        """The file of a clip."""
        return self.folder / f"{key}{SUFFIX}"

    def entry(self, key: str) -> Entry | None:
        """A clip, or None where it isn't cached. A broken file is removed."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
            return entry
        try:
            entry = Entry(self.path(key))
        except BrokenClipError:
            self.drop(key)
            return None
        except OSError:
            return None
        self._entries[key] = entry
        if len(self._entries) > OPEN_FILES:
            self._entries.popitem(last=False)
        return entry

    def drop(self, key: str) -> None:
        """Remove a clip: it will be decoded again."""
        self._entries.pop(key, None)
        with contextlib.suppress(OSError):
            self.path(key).unlink(missing_ok=True)

    def missing(self, keys: list[str]) -> list[str]:
        """The keys without a file."""
        try:
            there = {entry.name for entry in os.scandir(self.folder)}
        except OSError:
            return keys
        return [key for key in keys if f"{key}{SUFFIX}" not in there]

    @contextlib.contextmanager
    def building(self, on_wait: Callable[[], None] | None) -> Iterator[bool]:
        """Only one process at a time builds. A killed builder makes way at once.

        Args:
            on_wait: Called before this process waits for another builder. None: it does not wait.

        Yields:
            Whether this process may build now.
        """
        descriptor = os.open(self.folder / "building", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            free = flock(descriptor, exclusive=True, wait=False)
            if not free and on_wait is not None:
                on_wait()
                flock(descriptor, exclusive=True)
                free = True
            for left in self.folder.glob(f".*{SUFFIX}.*") if free else ():  # unfinished files of killed builders
                left.unlink(missing_ok=True)
            yield free
        finally:
            os.close(descriptor)
