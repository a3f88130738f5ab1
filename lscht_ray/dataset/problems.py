"""One thing that is wrong with a data set: what, how bad, where, and what to do about it."""

from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Problem:
    """Something wrong with a data set.

    Attributes:
        kind: What it is, one word for the same thing everywhere (`missing_file`, `look_alike`).
        severity: ``error``: must be mended or is left out; ``warning``: look at it; ``info``: good to know.
        path: The file it is about (or the folder).
        detail: What was found there.
        action: What to do, or what is done about it.
    """

    kind: str
    severity: Severity
    path: str
    detail: str
    action: str

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


ANNOTATION_ERRORS = frozenset(("unparsable", "path_outside", "not_a_local_file", "unknown_split", "two_labels"))
"""Kinds that a reader finds and that training refuses to start with."""
