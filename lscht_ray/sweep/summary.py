"""Writes summary.json while a sweep runs: seldom enough to cost next to nothing, however many trials there are."""

import time
from collections.abc import Callable
from pathlib import Path

from lscht_ray.artifacts import places
from lscht_ray.host.files import write_json
from lscht_ray.sweep.ledger import Ledger

SECONDS = 2.0
"""From one writing to the next, at least."""
SHARE = 0.02
"""Of the time that writing may take: a file of many trials is written less often."""


class Summary:
    """The summary of a sweep as a file that follows its trials.

    Args:
        ledger: What the sweep has found.
        folder: The sweep's.
        clock: Tells the time in seconds.
    """

    def __init__(self, ledger: Ledger, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.ledger, self.file, self.clock = ledger, folder / places.SUMMARY, clock
        self._due = float("-inf")
        self._old = False

    def changed(self) -> None:
        """A trial has ended: the file is to say so, now or soon."""
        self._old = True
        self.keep_up()

    def keep_up(self) -> None:
        """Write the file where it is old and that is due.

        Raises:
            OSError: It can't be written; it is tried again when it is due.
        """
        started = self.clock()
        if not self._old or started < self._due:
            return
        self._due = started + SECONDS
        write_json(self.file, self.ledger.summary())
        self._old = False
        ended = self.clock()
        self._due = ended + max(SECONDS, (ended - started) / SHARE)
