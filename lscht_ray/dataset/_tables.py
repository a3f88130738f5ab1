"""Reads tables, or the names of files, into rows by a column map. No video is opened."""

import glob
import re
import shlex
import unicodedata
from collections.abc import Callable
from pathlib import Path

from lscht_ray.dataset._cells import read_cells
from lscht_ray.dataset._entries import clips_below, visible
from lscht_ray.dataset._row_reader import ALIASES, RowReader
from lscht_ray.dataset._values import search
from lscht_ray.dataset.problems import Problem
from lscht_ray.dataset.reports import is_report
from lscht_ray.dataset.rows import SPLIT_NAMES, Table
from lscht_ray.errors import InputError
from lscht_ray.host.files import is_file, nfc, on_disk
from lscht_ray.settings.columns import ColumnMap
from lscht_ray.shown import counted
from lscht_ray.video.recognise import is_hidden

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
SplitTable = tuple[str | None, Path]


def read_table(
    path: Path, videos: Path | None = None, columns: ColumnMap | None = None, on_row: Callable[[], object] = int
) -> Table:
    """Read the rows of CSV, TSV, JSON or JSONL tables, or of the files whose names a pattern fits.

    Args:
        path: The data folder, or the table.
        videos: Folder that the videos' paths start from; None: the data folder.
        columns: The column of each thing. What it leaves open is found by the usual names in the header.
        on_row: Called after each line.

    Raises:
        InputError: There is no table, or it lacks a column that is needed.
    """
    columns = columns or ColumnMap()
    folder = path if path.is_dir() else path.parent
    reader = RowReader(columns, folder, videos or folder, on_row)
    if columns.listed:
        _read_names(reader)
    else:
        for split, file in _tables(path, columns, reader.notes):
            if is_file(file):
                reader.read_file(file, split)
            else:
                text = f"the table of the {split} split is not there"
                problem = Problem("missing_table", "warning", str(file), text, "its clips are not read")
                reader.problems.append(problem)
    return reader.table()


def find_tables(folder: Path) -> list[Path]:
    """The tables in a folder; of several not those that a check wrote."""
    found = [file for file in visible(folder) if file.suffix.lower() in TABLE_SUFFIXES and is_file(file)]
    if len(found) > 1:
        found = [file for file in found if not is_report(file, "facts", "json")] or found
    return found


def says_clips(file: Path) -> bool:
    """Whether a table has columns with the usual names for a path and for a label."""
    try:
        _, cells = next(read_cells(file, True, "auto", []), ("", {}))
    except InputError:
        return False
    names = {name.lower() for name in cells}
    return all(names & set(ALIASES[role]) for role in ("path", "label"))


def split_in_name(name: str) -> str | None:
    """The split that a file's name tells, as in `train.csv` or `wlasl_val_list.txt`; None: none, or several."""
    parts = re.split(r"[\W\d_]+", nfc(name).lower().rpartition(".")[0])
    found = {SPLIT_NAMES[word] for part in parts for word in (part, part.removesuffix("list")) if word in SPLIT_NAMES}
    return found.pop() if len(found) == 1 else None


def by_split(files: list[Path]) -> dict[str, Path]:
    """The files whose names tell a split; nothing where there is no train, or two of one split."""
    found: dict[str, Path] = {}
    for file in files:
        split = split_in_name(file.name)
        if split in found:
            return {}
        if split is not None:
            found[split] = file
    return found if "train" in found else {}


def _read_names(reader: RowReader) -> None:
    """Make a row of every clip below the root whose relative path the pattern fits."""
    root, pattern, passed = reader.root, reader.columns.pattern or "", []
    for file in clips_below(root):
        relative = unicodedata.normalize("NFC", file.relative_to(root).as_posix())
        if search(pattern, relative):
            reader.add({"path": relative}, str(file), "", None, file)
        else:
            passed.append(relative)
    if passed:
        detail = f"the pattern doesn't fit the names of {counted(len(passed), 'video')}, such as {passed[0]!r}"
        reader.problems.append(Problem("not_annotated", "info", str(root), detail, "they are passed over"))


def _named(path: Path, columns: ColumnMap) -> list[SplitTable]:
    """The tables of `columns.files`: of several names the first that is there, and all files that it fits."""
    named: list[SplitTable] = []
    for split, names in columns.files.items():
        parts = [part for part in names.split(", ") if part.strip("./ ")]
        fitting = (_fitting(path, part) for part in parts)
        named += [(split, file) for file in next(filter(None, fitting), [path / part for part in parts[:1]])]
    if not any(is_file(file) for _, file in named):
        raise InputError(f"{path}: none of the tables {', '.join(columns.files.values())} is there")
    return named


def _fitting(folder: Path, name: str) -> list[Path]:
    """The files that a name means: one, in whichever Unicode form, or all that one with * or ? fits."""
    file = on_disk(folder / name)
    if is_file(file):
        return [file]
    forms = {unicodedata.normalize(form, name) for form in ("NFC", "NFD")}
    found = (each for form in forms for each in glob.glob(form, root_dir=folder))  # noqa: PTH207  # takes absolute ones
    fitting = (folder / each for each in found)
    return sorted(file for file in fitting if is_file(file) and not is_hidden(file.name))


def _tables(path: Path, columns: ColumnMap, notes: list[str]) -> list[SplitTable]:
    """The tables, each with its split; None: a column of the table tells the split."""
    if path.is_file():
        return [(None, path)]
    if columns.files:
        return _named(path, columns)
    if columns.file:
        if not is_file(path / columns.file):
            raise InputError(f"{path}: the table {columns.file} is not there")
        return [(None, path / columns.file)]
    found = find_tables(path)
    splits = by_split(found)
    if len(splits) > 1:
        listed = ", ".join(f"{file.name} is {split}" for split, file in splits.items())
        others = [file.name for file in found if file not in splits.values()]
        notes.append(f"the tables are splits: {listed}" + f"; not read: {', '.join(others)}" * bool(others))
        return list(splits.items())
    if len(found) != 1:
        listed = ", ".join(file.name for file in found) or "none is there"
        example = shlex.quote(str(found[0] if found else path / "manifest.csv"))
        raise InputError(f"{path}: name one table ({listed}), as in --data {example}")
    return [(None, found[0])]
