"""Which sweeps of this user run on this machine, so that they share it fairly."""

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lscht_ray.host import lock
from lscht_ray.host.cpus import usable_cpus
from lscht_ray.host.files import write_json


def _folder() -> Path:
    """Where each of them has a file; of this machine, and of this user alone."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"lscht_ray_sweeps_{user}"


@contextmanager
def announced() -> Iterator[int]:
    """Let other sweeps know of this one for as long as the block lasts. Where that can't be written, they don't.

    Yields its place among them: the lowest number, from 0, that no other has.
    """
    file = _folder() / str(os.getpid())
    taken = {owner.get("place") for owner in _others()}
    place = next(number for number in itertools.count() if number not in taken)
    with suppress(OSError):
        file.parent.mkdir(mode=0o700, exist_ok=True)
        write_json(file, lock.identity() | {"place": place})
    try:
        yield place
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)


def others() -> list[int]:
    """The process ids of the other sweeps that use this machine's CPUs and GPUs."""
    return sorted(int(owner["process"]) for owner in _others())


def _others() -> list[dict[str, Any]]:
    found = []
    with suppress(OSError):
        for file in _folder().iterdir():
            owner = lock.read(file)
            if owner is None or not file.name.isdecimal() or owner.get("process") == os.getpid():
                continue
            if lock.is_dead(owner):
                file.unlink(missing_ok=True)
            else:
                found.append(owner)
    return found


def fair_share(cpus: int | None = None) -> int:
    """How many CPUs of this machine are for one sweep: as many as for each of the others, at least one.

    Args:
        cpus: How many there are; None: those that this process may use.
    """
    return max(1, (usable_cpus() if cpus is None else cpus) // (1 + len(others())))


def fair_gpus(gpus: float) -> float:
    """How many of this machine's GPUs are for one sweep: whole ones, as `fair_share`; the only one is for all."""
    return max(1.0, gpus // (1 + len(others()))) if gpus >= 1 else gpus


def visible_gpus(place: int, gpus: int) -> dict[str, str]:
    """The environment in which a sweep's Ray gives its GPUs away in another order than that of the others here.

    Ray takes the first that is free. The sweep at place 0 begins with the first GPU, the others in the middle, at a
    quarter, at three quarters (van der Corput's sequence in base 2): with their fair shares they don't meet.

    Args:
        place: What `announced` yields.
        gpus: How many there are; CUDA_VISIBLE_DEVICES may name them.
    """
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name] or list(
        map(str, range(gpus))
    )
    if not place or len(names) < 2:
        return {}
    first = int(len(names) * int(f"{place:b}"[::-1], 2) / 2 ** place.bit_length())
    return {"CUDA_VISIBLE_DEVICES": ",".join(names[first:] + names[:first])}
