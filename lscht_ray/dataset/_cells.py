"""Reads the rows of a table file: CSV, TSV, JSON, JSONL. Lines that can't be parsed become problems."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lscht_ray.dataset.problems import Problem
from lscht_ray.errors import InputError
from lscht_ray.host.files import nfc, noting, read_json, read_text
from lscht_ray.shown import counted

SHEETS = (".xlsx", ".xls", ".ods", ".numbers")
"""What spreadsheets are called that are no tables of text."""
NO_TABLE = "can't be read: save it as CSV (in Excel: File, Save as, CSV UTF-8)"
Cells = dict[str, str]
"""A row's values by column."""


def read_cells(file: Path, header: bool, delimiter: str, problems: list[Problem]) -> Iterator[tuple[str, Cells]]:
    """Yield each row of a table: where it is (`line N`), and its cells by column.

    Args:
        file: The table. Its suffix tells the format.
        header: Whether the first line of a CSV or TSV names the columns; else they are 0, 1, 2, ...
        delimiter: Of a CSV or TSV; ``auto`` takes the most frequent in the first line of tab, semicolon, comma, bar.
        problems: The list to which lines that can't be parsed are added.

    Raises:
        InputError: The file can't be read, or is no table.
    """
    suffix = file.suffix.lower()
    if suffix in SHEETS:
        raise InputError(f"{file} {NO_TABLE}")
    if suffix == ".json":
        yield from _json_cells(file, problems)
    elif suffix in (".jsonl", ".ndjson"):
        yield from _jsonl_cells(file, problems)
    else:
        yield from _csv_cells(file, header, delimiter, problems)


def _unparsable(file: Path, where: str, detail: str) -> Problem:
    return Problem("unparsable", "error", str(file), f"{where}: {detail}", "mend the line")


def _csv_cells(file: Path, header: bool, delimiter: str, problems: list[Problem]) -> Iterator[tuple[str, Cells]]:
    guessed: list[str] = []
    text = read_text(file, guessed)
    action = "save it as UTF-8 (in Excel: CSV UTF-8) if a letter is wrong"
    problems += [Problem("encoding", "warning", str(file), line, action) for line in guessed]
    first, _, rest = text.partition("\n")
    said = re.fullmatch(r"\"?sep=(.)\"?", first.strip())  # Excel's own line on the delimiter
    if said:
        text, delimiter = rest, said[1] if delimiter == "auto" else delimiter
        first = rest.split("\n", 1)[0]
    chosen = max("\t;,|", key=first.count) if delimiter == "auto" else delimiter
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=chosen)
    names: list[str] | None = None
    end = skipped = int(said is not None)
    try:
        for cells in reader:
            begin, end = end + 1, reader.line_num + skipped
            where = f"line {end}" if begin == end else f"lines {begin} to {end}"
            if not any(cell.strip() for cell in cells):
                continue
            if names is None:
                names = [nfc(name) for name in cells] if header else list(map(str, range(len(cells))))
                if header:
                    twice = sorted({name for name in names if names.count(name) > 1})
                    text = f"{where}: the column {', '.join(map(repr, twice))} is there twice"
                    problems += [Problem("duplicate_key", "warning", str(file), text, "the last one counts")] * bool(
                        twice
                    )
                    continue
            if len(cells) != len(names):
                quote = "; is there a quotation mark too many?" if begin != end else ""
                problems.append(
                    _unparsable(file, where, f"{counted(len(cells), 'cell')} where the header has {len(names)}{quote}")
                )
                continue
            yield where, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        problems.append(_unparsable(file, f"line {reader.line_num}", f"{error}: nothing after line {end} is read"))
    if names is None:
        raise InputError(f"{file} is empty: it has no header and no column for a path")


def _json_cells(file: Path, problems: list[Problem]) -> Iterator[tuple[str, Cells]]:
    content, twice = read_json(file)
    problems += duplicate_keys(file, twice)
    if not isinstance(content, list):
        raise InputError(f"{file} holds no list of rows [{{...}}, ...]")
    for number, item in enumerate(content):
        if isinstance(item, dict):
            yield f"entry {number}", _flat(item)
        else:
            problems.append(_unparsable(file, f"entry {number}", "no object {column: value}"))


def _jsonl_cells(file: Path, problems: list[Problem]) -> Iterator[tuple[str, Cells]]:
    twice: list[str] = []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line, object_pairs_hook=noting(twice))
        except (ValueError, RecursionError) as error:
            problems.append(_unparsable(file, f"line {number}", f"no valid JSON ({error})"))
            continue
        if isinstance(item, dict):
            yield f"line {number}", _flat(item)
        else:
            problems.append(_unparsable(file, f"line {number}", "no object {column: value}"))
    problems += duplicate_keys(file, twice)


def duplicate_keys(file: Path, twice: list[str]) -> list[Problem]:
    """A problem for each key that objects in a JSON file have twice."""
    return [
        Problem("duplicate_key", "warning", str(file), f"the key {key!r} is there twice", "the last one counts")
        for key in dict.fromkeys(twice)
    ]


def _flat(item: dict[str, Any]) -> Cells:
    """Turn values into text, and the items of a list into columns NAME.0, NAME.1, ..."""
    cells: Cells = {}
    for name, value in item.items():
        if isinstance(value, list):
            cells |= {f"{nfc(name)}.{index}": str(part) for index, part in enumerate(value)}
        cells[nfc(name)] = "" if value is None else str(value)
    return cells
