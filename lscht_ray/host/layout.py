"""Fits lines and tables into a terminal: lines break between words, tables leave columns out."""

import re
import textwrap
from collections.abc import Sequence

from rich.cells import cell_len
from rich.table import Table

from lscht_ray.shown import shown

COMMAND = re.compile(r"(?:^|(?<=\s))(?:python -m |tensorboard --|pip install |optuna-dashboard |ray start|ray up)")
"""How commands begin that are there to be copied: a line break inside would break them."""
LONGEST = 40
"""Letters of a cell that stay in one line."""


def fitted(text: str, width: int) -> str:
    """Break lines that are longer than ``width`` between words; commands and long paths stay whole."""
    return "\n".join(part for line in text.split("\n") for part in _broken(line, width))


def _broken(line: str, width: int) -> list[str]:
    if cell_len(line) <= width:
        return [line]
    command = COMMAND.search(line)
    if command is not None:
        before, rest = line[: command.start()].rstrip(), line[command.start() :]
        if not before:
            return [line]
        return [*_broken(before, width), f"{_indent(line)}  {rest}"]
    further = f"{_indent(line)}  "
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
    )


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, width: int, keep: int = 1
) -> tuple[Table, list[str]]:
    """A table that is at most so wide, and the columns that it has no room for: the last ones go first.

    Args:
        title: What stands above it.
        columns: Their heads; the most important come first.
        rows: Their cells.
        width: Of the terminal, in letters.
        keep: So many columns are there in any case.
    """
    cells = [[shown(cell) for cell in row] for row in rows]
    heads = list(columns)
    widths = [_width(head, [row[number] for row in cells]) for number, head in enumerate(heads)]
    if sum(widths) + 3 * len(widths) + 1 > width:
        heads = [head.replace(" ", "\n") for head in columns]
        widths = [_width(head, [row[number] for row in cells]) for number, head in enumerate(heads)]
    used = len(heads)
    while used > keep and sum(widths[:used]) + 3 * used + 1 > width:
        used -= 1
    made = Table(title=title, title_justify="left")
    for head, least in zip(heads[:used], widths, strict=False):
        made.add_column(head, overflow="fold", min_width=least)
    for row in cells:
        made.add_row(*row[:used])
    return made, list(columns[used:])


def _width(head: str, cells: list[str]) -> int:
    """How wide a column is, in letters."""
    return min(LONGEST, max(cell_len(part) for part in (*head.split("\n"), *cells)))
