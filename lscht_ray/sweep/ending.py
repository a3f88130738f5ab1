"""How a sweep ended: what is said last, the exit code, and what summary.json says of it."""

import shlex
import signal
from dataclasses import dataclass
from typing import Any

from lscht_ray.sweep.folder import Sweep
from lscht_ray.sweep.ledger import Ledger


@dataclass(frozen=True)
class Ending:
    """How a search ended.

    Attributes:
        interrupted: The number of the signal that ended it (Ctrl-C is SIGINT); 0: none did.
        reason: Which budget was used up, or why the study can't be written; empty: neither.
        cause: The one cause that every trial failed for; empty where there is none.
        again: Whether Tune must be started again, since a trial was ended for its memory.
        lost: What became of the Ray cluster; empty where it is there.
    """

    interrupted: int = 0
    reason: str = ""
    cause: str = ""
    again: bool = False
    lost: str = ""

    def lines(self, sweep: Sweep) -> list[str]:
        """What is said last."""
        unfinished = f"go on with: python -m lscht_ray.tune --resume {shlex.quote(str(sweep.folder))}"
        if self.cause:
            return [f"error: every trial failed for one cause, so the sweep was stopped: {self.cause}"]
        if self.reason:
            return [f"the sweep has ended: {self.reason}; {unfinished}"]
        if self.lost:
            return [f"error: {self.lost}; {unfinished}"]
        return [unfinished] if self.interrupted else []

    def exit_code(self, *, found_best: bool) -> int:
        """The exit code of the sweep: 0, 130 after Ctrl-C (128 and a signal's number), else 1."""
        if self.interrupted:
            return 128 + self.interrupted
        return 0 if found_best and not self.cause and not self.lost else 1

    def _signal(self) -> str:
        if not self.interrupted:
            return ""
        return "Ctrl-C" if self.interrupted == signal.SIGINT else signal.Signals(self.interrupted).name

    def figures(self, sweep: Sweep, ledger: Ledger) -> dict[str, Any]:
        """What summary.json says of it."""
        price = sweep.config.train.gpu_hour_price
        cost = {"cost": round(ledger.gpu_hours * price, 2)} if price is not None else {}
        return {**cost, "ended_by": self.reason or self.cause or self.lost or self._signal()}
