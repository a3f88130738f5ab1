"""Counts the faults that tests provoke; conftest prints the counts when the tests are done."""

from collections import Counter
from typing import ClassVar


class Faults:
    """Counts the faults that tests provoke, and after how many of them everything was as it should be."""

    provoked: ClassVar[Counter[str]] = Counter()
    survived: ClassVar[Counter[str]] = Counter()

    def provoke(self, name: str, times: int = 1) -> None:
        self.provoked[name] += times

    def survive(self, name: str, times: int = 1) -> None:
        self.survived[name] += times
