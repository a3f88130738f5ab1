"""Room on disks, for checkpoints and for the clip cache, which evicts sets that nobody uses; file systems; locks."""

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from lscht_ray.errors import InputError
from lscht_ray.host.files import cache_folder

IN_USE = "in_use"
"""A file in each set. Who uses the set holds a shared lock on it; its time of change is when that began."""
NETWORK = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "ceph", "glusterfs", "beegfs", "afs", "9p", "orangefs",
     "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.gcsfuse", "fuse.juicefs", "fuse.rclone")
)  # fmt: skip
"""File systems on another machine: the cache is there to avoid reading clips over a network."""
SHM = Path("/dev/shm")
"""The file system in memory that all processes of a Linux machine share."""
RESERVE = 0.05
"""Share of a disk that the clip cache leaves free, from 0 to 1."""
MARGIN = 2**20
"""Bytes that a checkpoint leaves free, for the run's small files."""


def find_root(mode: str, chosen: str | None) -> Path:
    """Return the folder of all cached clips on this node; it exists afterwards.

    Args:
        mode: The setting `cache`; ``ram`` is a file system in memory.
        chosen: The folder that the user chose.

    Raises:
        InputError: The folder is on a network file system or can't be written, or this machine has no file system in
            memory.
    """
    if chosen is not None:
        root = Path(chosen).expanduser().resolve()
    elif mode == "ram":
        if not SHM.is_dir():
            raise InputError(f"cache ram: there is no {SHM} here; use cache disk, or cache_dir with a RAM disk")
        root = SHM / f"lscht_ray-{os.getuid()}"
    else:
        root = cache_folder() / "clips"
    kind = file_system(root)
    if kind in NETWORK:
        raise InputError(f"cache_dir {root} is on another machine ({kind}): give --cache_dir a folder on a local disk")
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"cache_dir {root} can't be written: {error.strerror}") from None
    return root


def file_system(path: Path, mounts: Iterable[tuple[str, str]] | None = None) -> str:
    """Return the kind of file system that a path is on, as the system names it; empty where that is unknown.

    Args:
        path: An absolute path; it need not exist.
        mounts: Where each file system is mounted, and its kind, in the order of mounting; None: those of this machine.
    """
    if mounts is None:
        try:
            mounts = [(mount.mountpoint, mount.fstype) for mount in psutil.disk_partitions(all=True)]
        except OSError:
            return ""
    best, kind = -1, ""
    for point, name in mounts:
        depth = len(Path(point).parts)
        if depth >= best and path.is_relative_to(point):  # of two at one place the later one is seen
            best, kind = depth, name
    return kind


def make_room(root: Path, needed: int, limit: int | None, keep: Path) -> int:
    """Evict sets that nobody uses, the longest unused first, until enough bytes fit.

    Args:
        root: The folder of all sets.
        needed: Bytes that are to fit.
        limit: Bytes that all sets together may take; None: what the disk has, but for RESERVE of it.
        keep: The set that room is made for.

    Returns:
        How many bytes fit now; fewer than ``needed`` where the other sets are in use.
    """
    room = _room(root, limit)
    unused = sorted((path for path in root.iterdir() if path.is_dir() and path != keep), key=_last_used)
    for folder in unused:
        if room >= needed:
            break
        if _evict(folder):
            room = _room(root, limit)
    return room


def check_room(folder: Path, needed: int) -> None:
    """Check that a file of that size fits.

    Args:
        folder: Where it is to be written.
        needed: Its size in bytes.

    Raises:
        OSError: It does not fit.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + MARGIN:
        sizes = f"{needed / 2**20:.0f} MiB are needed, {free / 2**20:.0f} MiB are free"
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({sizes})")


def _room(root: Path, limit: int | None) -> int:
    usage = shutil.disk_usage(root)
    free = int(usage.free - RESERVE * usage.total)
    return free if limit is None else min(free, limit - size_of(root))


def size_of(folder: Path) -> int:
    """Return how many bytes the files below a folder take on the disk."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(place, name)).st_blocks * 512  # noqa: PTH118, PTH116 - many files
    return total


def _last_used(folder: Path) -> float:
    try:
        return (folder / IN_USE).stat().st_mtime
    except OSError:
        return 0.0


def _evict(folder: Path) -> bool:
    """Remove a set unless a process uses it; return whether it was removed."""
    try:
        descriptor = os.open(folder / IN_USE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        return False
    try:
        if not flock(descriptor, exclusive=True, wait=False):
            return False
        evicted = folder.with_name(f".{folder.name}.{os.getpid()}.{time.monotonic_ns()}")
        folder.rename(evicted)  # so that no other process finds half a set
        shutil.rmtree(evicted, ignore_errors=True)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def flock(descriptor: int, *, exclusive: bool, wait: bool = True) -> bool:
    """Lock an open file until it is closed or the process ends; return whether it is locked.

    Args:
        descriptor: Of the open file.
        exclusive: Whether for its one writer; else for one of its readers.
        wait: Whether to wait until nobody else's lock is in the way.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True
