"""The live view of a sweep in a terminal: which trials run, the best so far, what has been used, what is left."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lscht_ray.sweep.budget import Budget
from lscht_ray.sweep.ledger import Ledger
from lscht_ray.sweep.record import TrialRecord

SHOWN = 12
"""Running trials that are listed."""


@contextmanager
def live(ledger: Ledger, budget: Budget, screen: Console, num_trials: int, room: Callable[[], int]) -> Iterator[None]:
    """Within, a terminal shows the sweep below the lines that are printed; without a terminal nothing is added."""
    if not screen.is_terminal or screen.quiet:
        yield
        return
    view = View(ledger, budget, num_trials, room)
    # Ray prints to sys.stdout, which goes to its log: redirected by rich, it would come to the terminal.
    with Live(
        get_renderable=view.render,
        console=screen,
        refresh_per_second=1,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ):
        yield


class View:
    """Draws what the ledger knows.

    Args:
        ledger: The sweep's trials.
        budget: What has been used.
        num_trials: Trials in all.
        room: How many trials may run at a time now.
    """

    def __init__(self, ledger: Ledger, budget: Budget, num_trials: int, room: Callable[[], int]) -> None:
        self.ledger, self.budget, self.num_trials, self.room = ledger, budget, num_trials, room
        self.began = time.monotonic()

    def render(self) -> Group:
        """The view as it is now."""
        table = Table(
            "trial", "epoch", "next rung", self.ledger.metric, "best epoch", "seconds", box=None, header_style="bold"
        )
        best, running = self.ledger.leader(), [r for r in self.ledger.in_order() if r.status == "running"]
        for record in running[:SHOWN]:
            table.add_row(*self._row(record), style="green" if record is best else None)
        if best is not None and best not in running[:SHOWN]:
            table.add_row(*self._row(best), style="green")
        return Group(table, Text(self.line()))

    def line(self) -> str:
        """How far the sweep is, in one line."""
        counts = Counter(record.status for record in self.ledger.trials.values())
        states = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        return f"{states or 'starting'} of {self.num_trials}  |  {self.budget.describe()}  |  {self.left()}"

    def left(self) -> str:
        """About how long it will take, if each trial takes as long as those that have ended."""
        ended = self.ledger.ended()
        if not ended:
            return "time left: not known yet"
        each = sum(record.seconds for record in ended) / len(ended)
        open_trials = max(0, self.num_trials - len(ended))
        return f"about {open_trials * each / max(1, self.room()) / 60:.0f} min left"

    def _row(self, record: TrialRecord) -> tuple[str, str, str, str, str, str]:
        best = self.ledger.best_epoch(record)
        done = max(record.epochs, default=0)
        return (
            record.trial_id,
            f"{done}/{self.ledger.max_epochs}",
            next((str(rung) for rung in self.ledger.rungs if rung > done), ""),
            f"{best[self.ledger.metric]:.4f}" if best else "",
            str(best["epoch"]) if best else "",
            f"{record.seconds:.0f}",
        )
