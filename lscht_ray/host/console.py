"""What a person sees: progress bars on a terminal, plain lines elsewhere; and how a door ends."""

import contextlib
import errno
import io
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lscht_ray.errors import InputError
from lscht_ray.host import interrupt, layout
from lscht_ray.shown import ShownFormatter, lines_shown, shown

OF_THE_MACHINE = (errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EROFS, errno.EIO, errno.ESTALE, errno.EDQUOT)
"""Errors of files that are the machine's, not the program's: a right that is missing, a disk that is full."""
UNLIMITED = 10_000
"""Letters in a line of a file."""
PLAIN_SECONDS = 10.0
"""Seconds between two lines of progress where there is no terminal."""


class ShownConsole(Console):
    """Prints texts as `shown.lines_shown` has them, so that no name of a file can steer the terminal.

    In a terminal long lines break between words; elsewhere they stay whole.
    """

    def print(self, *objects: Any, **settings: Any) -> None:
        """As rich's."""
        super().print(*(self._shown(each) if isinstance(each, str) else each for each in objects), **settings)

    def _shown(self, text: str) -> str:
        return layout.fitted(lines_shown(text), self.width) if self.is_terminal else lines_shown(text)


def new_console(file: TextIO | None = None) -> Console:
    """Return a console on that file (default: standard output); without a terminal it wraps nothing.

    A notebook's cell looks like a terminal and is none: a bar would become a line for each of its steps.
    """
    terminal = (file or sys.stdout).isatty() and not in_notebook()
    return ShownConsole(
        file=file,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
        width=None if terminal else UNLIMITED,
        force_terminal=None if terminal else False,
    )


def in_notebook() -> bool:
    """Whether this process was started in a cell of a notebook (`!python -m ...`), on Colab and Kaggle too.

    ``JPY_PARENT_PID`` is set by Jupyter for its kernels, and so for what these start.
    """
    return any(name in os.environ for name in ("JPY_PARENT_PID", "COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"))


def quiet_console() -> Console:
    """Return a console that shows nothing."""
    return Console(quiet=True)


class EpochProgress:
    """Shows the progress of one pass over a loader, with figures that change: a bar, or a line now and then.

    Args:
        console: Where it is shown.
        label: What is being done.
        total: Batches of the pass; None: not known.
    """

    def __init__(self, console: Console, label: str, total: int | None) -> None:
        self.console, self.label, self.total = console, label, total
        self.done, self.last_line = 0, time.monotonic()
        self.bar: Progress | None = None
        self.task = TaskID(0)

    def __enter__(self) -> "EpochProgress":
        if self.console.is_terminal and not self.console.quiet:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, TextColumn("{task.fields[figures]}"), console=self.console, transient=True)
            self.bar.start()
            self.task = self.bar.add_task(self.label, total=self.total, figures="")
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def skip(self, count: int) -> None:
        """Count batches that were done before."""
        self.done += count
        if self.bar is not None:
            self.bar.update(self.task, advance=count)

    def show(self, **figures: float) -> None:
        """Show how far the batch under way is, by figures that change."""
        text = "  ".join(f"{name} {value:g}" for name, value in figures.items())
        if self.bar is not None:
            self.bar.update(self.task, figures=text)
        else:
            self._plain_line(text)

    def advance(self, count: int = 1, /, **figures: float) -> None:
        """Count one batch, or so many; show the figures beside it."""
        self.done += count
        text = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        if self.bar is not None:
            self.bar.update(self.task, advance=count, figures=text)
        else:
            self._plain_line(text)

    def _plain_line(self, text: str) -> None:
        """Print a line where the last one is some time ago."""
        if time.monotonic() - self.last_line >= PLAIN_SECONDS:
            self.last_line = time.monotonic()
            of = "" if self.total is None else f"/{self.total}"
            self.console.print(f"{self.label}  {self.done}{of}  {text}".rstrip())


def short(value: Any) -> str:
    """Return a setting's value as text, floats with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_table(screen: Console, title: str, columns: list[str], rows: list[list[str]], *, keep: int = 1) -> None:
    """Print a table: as wide as it is, or in a terminal with as many of its columns as fit (`layout.table`)."""
    width = screen.width if screen.is_terminal else UNLIMITED
    made, dropped = layout.table(title, columns, rows, width=width, keep=keep)
    screen.print(made, width=width)
    if dropped:
        screen.print(f"(the terminal is too narrow for: {', '.join(dropped)})")


@contextmanager
def chatter_to(path: Path) -> Iterator[Console]:
    """Send what this process and its children print within the block to a file; yield a console on the real output.

    It replaces the file descriptors, so that it also catches what libraries in C++ print.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    originals = os.dup(1), os.dup(2)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        with os.fdopen(os.dup(originals[0]), "w", encoding="utf-8", errors="replace") as real:
            yield new_console(real)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for saved, descriptor in zip(originals, (1, 2), strict=True):
            os.dup2(saved, descriptor)
            os.close(saved)
        os.close(log)


def door(main: Callable[[list[str]], int]) -> int:
    """Run a door's main on the command line and return its exit code; only a bug ends with a traceback."""
    handler = logging.StreamHandler()
    handler.setFormatter(ShownFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may be no text at all
    try:
        with interrupt.raised():
            return main(sys.argv[1:])
    except InputError as error:
        new_console(sys.stderr).print(f"error: {error}")
        return error.exit_code
    except BrokenPipeError:  # as of `--help all | head`: who reads has seen enough
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + getattr(signal, "SIGPIPE", 13)
    except OSError as error:
        if error.errno not in OF_THE_MACHINE or error.filename is None:
            raise
        new_console(sys.stderr).print(f"error: {shown(error.filename)}: {error.strerror}")
        return InputError.exit_code
    except MemoryError as error:
        print(f"error: out of memory: {error}; lower batch_size, accumulation or num_workers", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        number = stopped.number if isinstance(stopped, interrupt.Ended) else signal.SIGINT
        by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
        text = f"stopped{by}: type the same again to start anew; what was looked at and decoded is kept"
        new_console(sys.stderr).print(text)
        return 128 + number
