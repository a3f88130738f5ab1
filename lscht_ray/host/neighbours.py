"""Which sweeps of this user run on this machine, so that they share it fairly."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lscht_ray.host import lock
from lscht_ray.host.cpus import usable_cpus
from lscht_ray.host.files import write_json


def _folder() -> Path:
    """Where each of them has a file; of this machine, and of this user alone."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"lscht_ray_sweeps_{user}"


@contextmanager
def announced() -> Iterator[None]:
    """Let other sweeps know of this one for as long as the block lasts. Where that can't be written, they don't."""
    file = _folder() / str(os.getpid())
    with suppress(OSError):
        file.parent.mkdir(mode=0o700, exist_ok=True)
        write_json(file, lock.identity())
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)


def others() -> list[int]:
    """The process ids of the other sweeps that use this machine's CPUs."""
    found = []
    with suppress(OSError):
        for file in _folder().iterdir():
            owner = lock.read(file)
            if owner is None or not file.name.isdecimal() or owner.get("process") == os.getpid():
                continue
            if lock.is_dead(owner):
                file.unlink(missing_ok=True)
            else:
                found.append(int(owner["process"]))
    return sorted(found)


def fair_share(cpus: int | None = None) -> int:
    """How many CPUs of this machine are for one sweep: as many as for each of the others, at least one.

    Args:
        cpus: How many there are; None: those that this process may use.
    """
    return max(1, (usable_cpus() if cpus is None else cpus) // (1 + len(others())))
