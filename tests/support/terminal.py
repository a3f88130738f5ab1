"""A real terminal for a door: what a person sees there, line by line, as a terminal emulator draws it."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

import pyte

LINES = 400
"""So many that nothing scrolls away."""


@dataclass
class Session:
    """A door in a terminal.

    Attributes:
        process: The door's.
        master: The terminal's other end.
        columns: How wide it is.
        raw: Everything that came.
    """

    process: "subprocess.Popen[bytes]"
    master: int
    columns: int
    raw: bytes = b""

    def read(self, seconds: float = 0.2) -> bool:
        """Take what comes within that time; whether the door may still print."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return self.process.poll() is None
        try:
            came = os.read(self.master, 65536)
        except OSError:  # the other end is closed
            return False
        self.raw += came
        return bool(came)

    def wait(self, seconds: float = 240.0) -> int:
        """Read to the end; the exit code."""
        until = time.monotonic() + seconds
        while self.read() and time.monotonic() < until:
            pass
        return self.process.wait(timeout=30)

    def hang_up(self) -> None:
        """Close the terminal, as when ssh drops: the door gets SIGHUP, and can't print any more."""
        os.close(self.master)

    def shown(self, raw: bytes | None = None) -> list[str]:
        """The lines that stand in the terminal, without blanks at their ends; those of a part of what came."""
        screen = pyte.Screen(self.columns, LINES)
        pyte.ByteStream(screen).feed(self.raw if raw is None else raw)
        lines = [line.rstrip() for line in screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines


def start(name: str, *args: object, cwd: Path, columns: int, **environment: str) -> Session:
    """Start `python -m lscht_ray.NAME ARGS` in a terminal of its own, which is its controlling one."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-m", f"lscht_ray.{name}", *map(str, args)],
        cwd=cwd,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        preexec_fn=own_terminal,
        env={**os.environ, "TERM": "xterm-256color", **environment},
    )
    os.close(slave)
    return Session(process, master, columns)
