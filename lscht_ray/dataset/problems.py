"""What is wrong with a data set, as readers and checks report it."""

from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Problem:
    """Something wrong with a data set.

    Attributes:
        kind: One word, the same for the same thing everywhere (`missing_file`, `look_alike`).
        severity: ``error``: mend it, or the clip is left out; ``warning``: look at it; ``info``: good to know.
        path: The file or folder that has the problem.
        detail: What was found there.
        action: What the user should do, or what is done about it.
    """

    kind: str
    severity: Severity
    path: str
    detail: str
    action: str

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


ANNOTATION_ERRORS = frozenset(
    ("unparsable", "path_outside", "not_a_local_file", "unknown_split", "two_labels", "name_not_text")
)
"""Kinds of problems in annotations with which training refuses to start."""
