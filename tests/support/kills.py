"""Ends a process by kill -9 at a named point: as it opens a file for writing, or as it renames one.

Python announces both as audit events, so the code under test needs no hooks and may be written in any way. A child that
is started by somebody else gets its point by the environment (`in_children`).
"""

import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

VARIABLE = "TEST_KILL_POINT"


@dataclass(frozen=True)
class KillPoint:
    """Where a process ends.

    Attributes:
        event: "open" (for writing) or "os.rename" (to that name; the file is whole by then, but not yet renamed).
        name: How the file's path must end, or, with a trailing "*", what it must contain.
        occurrence: Which of those events it is, from 1.
        whom: "self", "parent", or "both".
    """

    event: str
    name: str
    occurrence: int = 1
    whom: str = "self"


def install(point: KillPoint) -> None:
    """End this process (or its parent) at that point. It can't be undone: only for processes of a test's own."""
    seen = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        if event != point.event or not _is_meant(point, args):
            return
        seen += 1
        if seen == point.occurrence:
            if point.whom in ("parent", "both"):
                os.kill(os.getppid(), signal.SIGKILL)
            if point.whom in ("self", "both"):
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _is_meant(point: KillPoint, args: tuple[Any, ...]) -> bool:
    path = args[1] if point.event == "os.rename" else args[0]
    if not isinstance(path, str | bytes | os.PathLike) or (point.event == "open" and not _writes(args[1], args[2])):
        return False
    name = os.fsdecode(path)
    return point.name.removesuffix("*") in name if point.name.endswith("*") else name.endswith(point.name)


def _writes(mode: str | None, flags: int) -> bool:
    return any(letter in mode for letter in "wax+") if mode else bool(flags & (os.O_WRONLY | os.O_RDWR))


def in_children(point: KillPoint, folder: Path) -> dict[str, str]:
    """Return an environment in which every Python process ends at that point. A file for it is put into ``folder``."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text("from support import kills\nkills.install_from_environment()\n")
    places = [str(folder), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(place for place in places if place)
    return {**os.environ, "PYTHONPATH": path, VARIABLE: json.dumps(asdict(point))}


def install_from_environment() -> None:
    """Called as Python starts."""
    install(KillPoint(**json.loads(os.environ[VARIABLE])))
