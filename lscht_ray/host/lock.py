"""One writer per folder: a file in it names the process that writes there."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from lscht_ray.errors import InputError


@contextmanager
def held(file: Path) -> Iterator[None]:
    """Keep every other process from writing in the file's folder. The lock of a dead process is taken over.

    Args:
        file: The lock file; it exists as long as the lock is held.

    Raises:
        InputError: Another process writes there, or one on another host does, of which nobody here can tell whether it
            is alive.
    """
    own = identity()
    while not _create(file, own):
        owner = read(file)
        if owner is None or not is_dead(owner):
            raise InputError(_refusal(file, owner))
        # Two processes may find the same dead owner: the one that renames its file first may go on.
        grave = file.with_name(f"{file.name}.{os.getpid()}")
        try:
            file.rename(grave)
        except FileNotFoundError:
            continue
        grave.unlink(missing_ok=True)
    try:
        yield
    finally:
        if read(file) == own:
            file.unlink(missing_ok=True)


def _create(file: Path, owner: dict[str, Any]) -> bool:
    """Create the lock file; False where it exists."""
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(json.dumps(owner))
    except FileExistsError:
        return False
    except OSError as error:
        raise InputError(f"{file.parent} can't be written: {error.strerror}") from None
    return True


def identity() -> dict[str, Any]:
    """What tells this process from every other one."""
    return {"host": socket.gethostname(), "process": os.getpid(), "began": _began(os.getpid())}


def read(file: Path) -> dict[str, Any] | None:
    """The identity of the process that wrote a file; None where it holds none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _began(process: int) -> str:
    """When a process began, so that a later process with the same number is told from it; empty where it is unknown.

    On Linux these are clock ticks since the machine's start. psutil's time is that plus the machine's start by the
    clock, so it would change whenever the clock is set.
    """
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    try:
        return str(psutil.Process(process).create_time())
    except psutil.Error:
        return ""


def is_dead(owner: dict[str, Any]) -> bool:
    """Whether such an identity is that of a process of this host that has ended."""
    process = owner.get("process")
    if owner.get("host") != socket.gethostname() or not isinstance(process, int):
        return False
    if not psutil.pid_exists(process):
        return True
    return bool(owner.get("began")) and _began(process) != owner["began"]


def _refusal(file: Path, owner: dict[str, Any] | None) -> str:
    who = f"process {owner.get('process')} on {owner.get('host')}" if owner else "another process"
    return f"{file.parent}: {who} writes there; end it first. If it is gone for good, remove {file}"
