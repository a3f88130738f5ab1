"""What is wrong with a data set, as readers and checks report it."""

from dataclasses import asdict, dataclass
from typing import Literal

from lscht_ray.shown import shown

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Problem:
    """Something wrong with a data set. What it says of names can be shown as it stands; `path` can't.

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

    def __post_init__(self) -> None:
        for name in ("detail", "action"):
            object.__setattr__(self, name, shown(getattr(self, name)))

    def line(self) -> str:
        """Where it is, what was found and what to do, in one line."""
        return f"{shown(self.path)}: {self.detail} ({self.action})"

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


ANNOTATION_ERRORS = frozenset(
    ("unparsable", "path_outside", "not_a_local_file", "unknown_split", "two_labels", "name_not_text")
)
"""Kinds of problems in annotations with which training refuses to start."""
