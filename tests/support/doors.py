"""Calls the doors: in the test's process, or as a user does, in a process of their own."""

import io
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from lscht_ray.host import console

Door = Callable[..., subprocess.CompletedProcess[str]]
Background = Callable[..., subprocess.Popen[str]]

FAST = ("--model_name", "tiny", "--num_workers", "0", "--num_frames", "4", "--image_size", "24", "--batch_size", "4")
"""Flags that make a run of the tiny model quick."""
WAIT_SECONDS = 240.0
"""Longest wait for something that another process does, so that a hang fails; how long it took is never asserted."""


def call(name: str, *args: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Call a door's `main` in this process, in the folder ``cwd``; the result is what its own process would give.

    What the door and its child processes print is caught at the file descriptors. Whatever a door's process would take
    with it when it ends (working folder, streams, logging handlers) is restored. Doors that start Ray need `command`.
    """
    argv = [str(arg) for arg in args]
    main = import_module(f"lscht_ray.{name}").main
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with _in_folder(cwd), _fresh_logging(), _streams_to(out, err):
            try:
                code = console.door(lambda _: main(argv))
            except SystemExit as ended:  # as the interpreter takes it
                code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        said = [_read(file) for file in (out, err)]
    return subprocess.CompletedProcess([name, *argv], code, *said)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8")


@contextmanager
def _in_folder(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _fresh_logging() -> Iterator[None]:
    """Take pytest's handlers from the root logger, so that the door sets logging up as in a new process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@contextmanager
def _streams_to(*files: IO[bytes]) -> Iterator[None]:
    """Put new text streams and the file descriptors 1 and 2 on two files."""
    streams = sys.stdout, sys.stderr
    for stream in streams:
        stream.flush()
    kept = os.dup(1), os.dup(2)
    try:
        for number, file in enumerate(files, start=1):
            os.dup2(file.fileno(), number)
        sys.stdout, sys.stderr = (_text_stream(number) for number in (1, 2))
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
    finally:
        sys.stdout, sys.stderr = streams
        for saved, number in zip(kept, (1, 2), strict=True):
            os.dup2(saved, number)
            os.close(saved)


def _text_stream(number: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.FileIO(number, "w", closefd=False), "utf-8", line_buffering=True, write_through=True)


def command(name: str, *args: object, cwd: Path, timeout: float = 400) -> subprocess.CompletedProcess[str]:
    """Run `python -m lscht_ray.NAME ARGS` as a user does, in the folder ``cwd``."""
    line = [sys.executable, "-m", f"lscht_ray.{name}", *map(str, args)]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)


def until(process: subprocess.Popen[str], *parts: str) -> str:
    """Read what a process prints up to a line with one of these parts."""
    seen = ""
    assert process.stdout is not None
    for line in process.stdout:
        seen += line
        if any(part in line for part in parts):
            return seen
    raise AssertionError(f"none of {parts} ever came:\n{seen}")


def wait_for(what: Callable[[], Any], alive: Callable[[], object], said: Callable[[], str] = str) -> Any:
    """Wait until ``what`` gives something true, and return that.

    Args:
        what: Looks at a file or a process; a file that is not there yet, or is half written, counts as no.
        alive: Whether the process that is waited for still runs.
        said: What it printed, for the message of a failure.
    """
    began = time.monotonic()
    while True:
        going_on = alive()  # asked first: the last look is after its end
        try:
            seen = what()
        except (OSError, ValueError):
            seen = None
        if seen:
            return seen
        assert going_on, f"it ended before that:\n{said()}"
        assert time.monotonic() - began < WAIT_SECONDS, f"it never came:\n{said()}"
        time.sleep(0.02)


def refused(result: subprocess.CompletedProcess[str], *parts: str, code: int = 2) -> None:
    """Assert that the door ended with one clear message: this exit code, no traceback, and these words in it."""
    said = result.stderr + result.stdout
    assert result.returncode == code, said
    assert "Traceback" not in said, said
    assert "error:" in result.stderr
    for part in parts:
        assert part in said, f"{part!r} not in:\n{said}"


def run_folder(cwd: Path) -> Path:
    """Return the folder of the only run that was started in that folder."""
    (folder,) = (cwd / "models" / "checkpoints").iterdir()
    return folder
