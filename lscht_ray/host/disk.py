"""Room on disks: for decoded clips, made by evicting what nobody uses, and for checkpoints."""

import contextlib
import errno
import os
import shutil
import time
from pathlib import Path

from lscht_ray.errors import InputError
from lscht_ray.host.files import cache_folder

IN_USE = "in_use"
"""In each set: locked (shared) by who uses it; its time is when that began."""
NETWORK = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "ceph", "glusterfs", "beegfs", "afs", "9p", "orangefs",
     "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.gcsfuse", "fuse.juicefs", "fuse.rclone")
)  # fmt: skip
"""File systems on another machine: reading clips over a network is what the cache is to avoid."""
SHM = Path("/dev/shm")
RESERVE = 0.05
"""Share of a disk that the clip cache leaves free."""
MARGIN = 2**20
"""Bytes that a checkpoint leaves free, for the run's small files."""


def find_root(mode: str, given: str | None) -> Path:
    """The folder of all cached clips on this node.

    Args:
        mode: ``ram`` (a tmpfs) or anything else.
        given: The user's choice.

    Raises:
        InputError: It is on a network file system, can't be written, or there is no tmpfs.
    """
    if given is not None:
        root = Path(given).expanduser().resolve()
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


def file_system(path: Path, mounts: str | None = None) -> str:
    """The kind of file system that a path is on, as Linux names it; nothing where that isn't known.

    Args:
        path: It needn't exist.
        mounts: The text of /proc/self/mountinfo.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
        except OSError:
            return ""
    best, kind = -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(before.split()[4].replace("\\040", " "))
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split()[0]
    return kind


def make_room(root: Path, needed: int, limit: int | None, keep: Path) -> int:
    """Evict sets that nobody uses, the longest unused first, until so many bytes fit; how many bytes fit then.

    Args:
        root: The folder of all sets.
        needed: Bytes.
        limit: Bytes that all sets together may take; None: what the disk has, but for RESERVE of it.
        keep: The set that room is made for.
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
    """Whether a file of so many bytes fits.

    Raises:
        OSError: It doesn't.
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
    """Bytes in the files below a folder."""
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
    """Remove a set unless somebody uses it."""
    try:
        descriptor = os.open(folder / IN_USE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        return False
    try:
        if not flock(descriptor, exclusive=True, wait=False):
            return False
        gone = folder.with_name(f".{folder.name}.{os.getpid()}.{time.monotonic_ns()}")
        folder.rename(gone)  # at once for everybody
        shutil.rmtree(gone, ignore_errors=True)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def flock(descriptor: int, *, exclusive: bool, wait: bool = True) -> bool:
    """Lock an open file, for its readers or for its one writer; whether that was done. Freed when the process ends."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True
