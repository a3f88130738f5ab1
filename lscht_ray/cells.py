"""A table file -> its rows: CSV, TSV, JSON, JSONL. Lines that can't be parsed are named and passed over."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lscht_ray.errors import InputError
from lscht_ray.files import read_json, read_text
from lscht_ray.problems import Problem

Cells = dict[str, str]
"""A row's values by column."""


def read_cells(file: Path, header: bool, delimiter: str, problems: list[Problem]) -> Iterator[tuple[str, Cells]]:
    """Each row of a table as `line N` and its cells by column.

    Args:
        file: The table; its suffix says what it is.
        header: Whether the first line of a CSV or TSV names the columns; else they are 0, 1, 2, ...
        delimiter: Of a CSV or TSV; ``auto`` takes whichever of tab, semicolon, comma, bar the first line has most of.
        problems: Gets what can't be parsed.

    Raises:
        InputError: The file can't be read, or is no table at all.
    """
    suffix = file.suffix.lower()
    if suffix == ".json":
        yield from _json_cells(file, problems)
    elif suffix in (".jsonl", ".ndjson"):
        yield from _jsonl_cells(file, problems)
    else:
        yield from _csv_cells(file, header, delimiter, problems)


def _unparsable(file: Path, where: str, detail: str) -> Problem:
    return Problem("unparsable", "error", str(file), f"{where}: {detail}", "mend the line")


def _csv_cells(file: Path, header: bool, delimiter: str, problems: list[Problem]) -> Iterator[tuple[str, Cells]]:
    text = read_text(file)
    first = text.split("\n", 1)[0]
    chosen = max("\t;,|", key=first.count) if delimiter == "auto" else delimiter
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=chosen)
    names: list[str] | None = None
    try:
        for cells in reader:
            where = f"line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if names is None:
                names = [name.strip() for name in cells] if header else list(map(str, range(len(cells))))
                if header:
                    continue
            if len(cells) != len(names):
                problems.append(_unparsable(file, where, f"{len(cells)} cells where the header has {len(names)}"))
                continue
            yield where, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        problems.append(_unparsable(file, f"line {reader.line_num}", str(error)))
    if names is None:
        raise InputError(f"{file} is empty: it has no header and no column for a path")


def _json_cells(file: Path, problems: list[Problem]) -> Iterator[tuple[str, Cells]]:
    content, _ = read_json(file)
    if not isinstance(content, list):
        raise InputError(f"{file} holds no list of rows [{{...}}, ...]")
    for number, item in enumerate(content):
        if isinstance(item, dict):
            yield f"entry {number}", _flat(item)
        else:
            problems.append(_unparsable(file, f"entry {number}", "no object {column: value}"))


def _jsonl_cells(file: Path, problems: list[Problem]) -> Iterator[tuple[str, Cells]]:
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            problems.append(_unparsable(file, f"line {number}", f"no valid JSON ({error})"))
            continue
        if isinstance(item, dict):
            yield f"line {number}", _flat(item)
        else:
            problems.append(_unparsable(file, f"line {number}", "no object {column: value}"))


def _flat(item: dict[str, Any]) -> Cells:
    """Values as text; the items of a list as NAME.0, NAME.1, ..."""
    cells: Cells = {}
    for name, value in item.items():
        if isinstance(value, list):
            cells |= {f"{name}.{index}": str(part) for index, part in enumerate(value)}
        cells[name] = "" if value is None else str(value)
    return cells
