"""Takes values out of a line's cells: by a column's name, a template, or the named groups of a pattern."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

from lscht_ray.dataset._cells import Cells
from lscht_ray.errors import InputError
from lscht_ray.host.deadline import deadline
from lscht_ray.host.files import nfc

Number = TypeVar("Number", int, str)
PATTERN_SECONDS = 5.0
"""Time limit for one search of `columns.pattern`."""


class LineError(ValueError):
    """A line can't be used.

    Args:
        kind: The kind of problem.
        reason: What is wrong with it.
        cause: What is wrong, without this line's values; nothing: every line has a cause of its own.
        action: What to do about it.
    """

    def __init__(self, kind: str, reason: str, cause: str = "", action: str = "mend the line") -> None:
        super().__init__(reason)
        self.kind, self.cause, self.action = kind, cause or reason, action


def told_apart(pairs: Sequence[tuple[Number, str]]) -> dict[Number, str]:
    """The glosses by their numbers; those that several numbers have are followed by their number."""
    counts = Counter(gloss for _, gloss in pairs)
    return {number: f"{gloss} ({number})" if counts[gloss] > 1 else gloss for number, gloss in pairs}


def search(pattern: str, text: str) -> "re.Match[str] | None":
    """Search the pattern in a path.

    Raises:
        InputError: It backtracks for ever.
    """
    try:
        with deadline(PATTERN_SECONDS):
            return re.search(pattern, text)
    except TimeoutError:
        raise InputError(
            f"--columns.pattern {pattern!r}: searching it in {text!r} takes longer than {PATTERN_SECONDS:g} s\n"
            "  a repetition within a repetition, such as (.+)+ or (\\w*)*, tries endlessly: write (.+)"
        ) from None


def with_groups(cells: Cells, pattern: str, text: str) -> Cells:
    """Cells, and the named groups of the pattern in a text; one that takes no part is empty, if no cell is called so.

    Raises:
        LineError: It doesn't fit.
    """
    found = search(pattern, unicodedata.normalize("NFC", text))
    if found is None:
        cause = f"the pattern {pattern!r} doesn't fit"
        raise LineError("unparsable", f"{text!r} doesn't fit the pattern {pattern!r}", cause, "mend the pattern")
    groups = found.groupdict()
    return dict.fromkeys(groups, "") | cells | {name: value for name, value in groups.items() if value is not None}


def filled(source: str, cells: Cells) -> str:
    """The value of a column, or of a template such as ``{folder}/{name}.mp4``.

    Raises:
        InputError: There is no such column.
    """

    def column(name: str) -> str:
        name = nfc(name)
        if name not in cells and name.isdecimal() and int(name) < len(cells):
            return list(cells.values())[int(name)]
        if name not in cells:
            raise InputError(f"no column {name!r} is there: allowed are {', '.join(map(repr, cells))}")
        return cells[name]

    if "{" in source:
        return re.sub(r"\{([^{}]+)\}", lambda found: column(found[1]).strip(), source)
    return column(source)
