"""One writer per run folder: a file that names who writes there."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lscht_ray.errors import InputError

LOCK = ".lock"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Within, nobody else writes in the folder. What a process that is dead left behind is taken over.

    Raises:
        InputError: Somebody else writes there, or it can't be told from here whether he still lives.
    """
    path = folder / LOCK
    own = {"host": socket.gethostname(), "process": os.getpid(), "began": _began(os.getpid())}
    while not _create(path, own):
        owner = _read(path)
        if owner is None or not _dead(owner):
            raise InputError(_refusal(folder, path, owner))
        # Two may find the same dead owner: who renames its file first may go on.
        grave = path.with_name(f"{LOCK}.{os.getpid()}")
        try:
            path.rename(grave)
        except FileNotFoundError:
            continue
        grave.unlink(missing_ok=True)
    try:
        yield
    finally:
        if _read(path) == own:
            path.unlink(missing_ok=True)


def _create(path: Path, content: dict[str, Any]) -> bool:
    """Write the file, unless it is there."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(content))
    except FileExistsError:
        return False
    except OSError as error:
        raise InputError(f"{path.parent} can't be written: {error.strerror}") from None
    return True


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _began(process: int) -> str:
    """When a process began, so that another one of the same number is told from it; nothing where that isn't known."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _dead(owner: dict[str, Any]) -> bool:
    if owner.get("host") != socket.gethostname() or not isinstance(owner.get("process"), int):
        return False
    try:
        os.kill(owner["process"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return _began(owner["process"]) != owner.get("began")


def _refusal(folder: Path, path: Path, owner: dict[str, Any] | None) -> str:
    who = f"process {owner.get('process')} on {owner.get('host')}" if owner else "another process"
    return f"{folder}: {who} writes there; end it first. If it is gone for good, remove {path}"
