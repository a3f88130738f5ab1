"""Ends a run that hangs; prints what it was doing, and writes down where every thread is."""

import contextlib
import faulthandler
import os
import threading
from collections.abc import Callable
from pathlib import Path

TICK = 0.5
"""Seconds between two looks."""
WRITE_SECONDS = 30.0
"""Time for writing the stacks."""


class Watchdog:
    """Ends the process when something takes longer than its limit.

    A thread counts the time in its own looks and not by the clock: a process that was stopped (by SIGSTOP, or on a
    suspended laptop) did not hang meanwhile.

    Args:
        file: Where the stacks of all threads are written.
        reading: Returns the videos that are being read, for the message.
        on_hang: Gets that file before the process ends.
    """

    def __init__(
        self, file: Path, reading: Callable[[], list[str]], on_hang: Callable[[Path], None] = lambda path: None
    ) -> None:
        self.file, self.reading, self.on_hang = file, reading, on_hang
        self._doing, self._seconds, self._left = "", 0.0, 0.0
        self._written: Path | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Watchdog":
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def begin(self, doing: str, seconds: float) -> None:
        """Watch what begins now instead of what was watched before; it may take that many seconds."""
        self._doing, self._seconds, self._left = doing, seconds, seconds

    def _watch(self) -> None:
        while not self._over.wait(TICK):
            if not self._seconds:
                continue
            self._left -= TICK
            if self._left < 0:
                self._end()

    def _end(self) -> None:
        reading = "".join(f"\n  it was reading {video}" for video in self.reading())
        text = f"error: {self._doing} took more than {self._seconds:g} s: the run hangs and is ended{reading}\n"
        os.write(2, text.encode(errors="backslashreplace"))  # not print, whose lock may be what hangs
        writer = threading.Thread(target=self._write_stacks, name="stacks", daemon=True)
        writer.start()
        writer.join(WRITE_SECONDS)  # the disk may be what hangs
        if self._written is None:
            faulthandler.dump_traceback(2, all_threads=True)
        else:
            os.write(2, f"  where each thread was: {self._written}\n".encode(errors="backslashreplace"))
        os._exit(1)

    def _write_stacks(self) -> None:
        with contextlib.suppress(OSError):
            with self.file.open("w", encoding="utf-8") as stacks:
                faulthandler.dump_traceback(stacks, all_threads=True)
            self._written = self.file
            self.on_hang(self.file)
