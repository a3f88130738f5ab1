"""Ends a sweep whose budget is used up, or whose trials all fail."""

import re
import time

from lscht_ray.settings.sweep import BudgetConfig
from lscht_ray.shown import counted
from lscht_ray.sweep.ledger import Ledger

SAME_FAILURES = 3
"""Trials that must fail for one cause before the sweep is given up."""
UNFIT = 10
"""So many must fail where their settings are the cause: others may do."""


class Budget:
    """Decides when a sweep ends before its trials do.

    Args:
        limits: The settings.
        price: Of a GPU hour, where it is known.
        ledger: What has been done.
    """

    def __init__(self, limits: BudgetConfig, price: float | None, ledger: Ledger) -> None:
        self.limits, self.price, self.ledger = limits, price, ledger
        self.began = time.monotonic()
        self.earlier = set(ledger.trials)
        self._hope = False

    def used_up(self) -> str | None:
        """The limit that has been reached, in words; None where there is none."""
        limits = self.limits
        if limits.hours is not None and self.hours >= limits.hours:
            return f"budget.hours {limits.hours:g}: {self.hours:.3g} hours have passed"
        spent = self.ledger.gpu_hours
        if limits.gpu_hours is not None and spent >= limits.gpu_hours:
            return f"budget.gpu_hours {limits.gpu_hours:g}: {spent:.3g} GPU hours have been used"
        if limits.money is not None and self.money is not None and self.money >= limits.money:
            return f"budget.money {limits.money:g}: {self.money:.2f} have been spent"
        most = limits.trials_without_improvement
        if most is not None and (without := self.ledger.since_improvement()) >= most:
            last = counted(without, "trial was", "trials were")
            return f"budget.trials_without_improvement {most}: the last {last} not better than the best"
        return None

    @property
    def hours(self) -> float:
        """Hours since this start of the sweep."""
        return (time.monotonic() - self.began) / 3600

    @property
    def money(self) -> float | None:
        """What the GPU hours have cost; None where their price is not known."""
        return None if self.price is None else self.ledger.gpu_hours * self.price

    def hopeless(self) -> str | None:
        """The one cause for which every trial of this start has failed; None where another trial may still succeed."""
        if self._hope:
            return None
        ended = [record for record in self.ledger.ended() if record.trial_id not in self.earlier]
        self._hope = any(record.status not in ("failed", "unfit") for record in ended)
        needed = UNFIT if any(record.status == "unfit" for record in ended) else SAME_FAILURES
        if self._hope or len(ended) < needed:
            return None
        causes = {re.sub(r"[0-9a-fx.:/_-]+", "#", record.error) for record in ended[:needed]}
        return ended[0].error if len(causes) == 1 else None

    def describe(self) -> str:
        """What has been used, and the limit of it where there is one."""
        limits, parts = self.limits, []
        if limits.hours is not None:
            parts.append(f"{self.hours:.3g} of {limits.hours:g} hours")
        parts.append(f"{self.ledger.gpu_hours:.3g}{_of(limits.gpu_hours)} GPU hours")
        if self.money is not None:
            parts.append(f"{self.money:.2f}{_of(limits.money)} spent")
        if limits.trials_without_improvement is not None:
            without = self.ledger.since_improvement()
            parts.append(f"{without} of {counted(limits.trials_without_improvement, 'trial')} without improvement")
        return ", ".join(parts)


def _of(limit: float | None) -> str:
    return "" if limit is None else f" of {limit:g}"
