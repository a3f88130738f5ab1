"""Reads a table, or the names of files, into rows by a column map. No video is opened."""

import os
import re
import unicodedata
from pathlib import Path

from lscht_ray.dataset._cells import Cells, read_cells
from lscht_ray.dataset.problems import Problem
from lscht_ray.dataset.rows import SPLIT_NAMES, Row, Table, renamed
from lscht_ray.errors import InputError
from lscht_ray.host.files import VIDEO_SUFFIXES, OutsideError, entries, inside, is_file, nfc
from lscht_ray.settings.columns import ColumnMap
from lscht_ray.video.span import Box, Span

ALIASES = {
    "path": ("path", "video", "video_path", "file", "filename", "filepath"),
    "label": ("label", "gloss", "class", "word", "sign"),
    "split": ("split", "subset", "set"),
    "signer": ("signer", "signer_id", "participant", "person"),
}
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")


def read_table(path: Path, videos: Path | None = None, columns: ColumnMap | None = None) -> Table:
    """Read the rows of a CSV, TSV, JSON or JSONL table, or of the files whose names a pattern fits.

    Args:
        path: The data folder, or the table.
        videos: Folder that the videos' paths start from; None: the data folder.
        columns: The column of each thing. What it leaves open is found by the usual names in the header.

    Raises:
        InputError: There is no table, or it lacks a column that is needed.
    """
    columns = columns or ColumnMap()
    folder = path if path.is_dir() else path.parent
    reader = _Reader(columns, folder, videos or folder)
    if columns.listed:
        reader.read_names()
    else:
        for split, file in _tables(path, columns).items():
            if is_file(file):
                reader.read_file(file, split)
            else:
                text = f"the table of the {split} split is not there"
                problem = Problem("missing_table", "warning", str(file), text, "its clips are not read")
                reader.problems.append(problem)
    return reader.table()


def find_tables(folder: Path) -> list[Path]:
    """The tables in a folder."""
    return [file for file in entries(folder) if file.suffix.lower() in TABLE_SUFFIXES and is_file(file)]


def says_clips(file: Path) -> bool:
    """Whether a table has columns with the usual names for a path and for a label."""
    try:
        _, cells = next(read_cells(file, True, "auto", []), ("", {}))
    except InputError:
        return False
    names = {name.lower() for name in cells}
    return all(names & set(ALIASES[role]) for role in ("path", "label"))


def _tables(path: Path, columns: ColumnMap) -> dict[str | None, Path]:
    """The tables by their split; None: a column of the table tells the split."""
    if path.is_file():
        return {None: path}
    if columns.files:
        named: dict[str | None, Path] = {split: path / name for split, name in columns.files.items()}
        if not any(map(is_file, named.values())):
            raise InputError(f"{path}: none of the tables {', '.join(columns.files.values())} is there")
        return named
    if columns.file:
        if not is_file(path / columns.file):
            raise InputError(f"{path}: the table {columns.file} is not there")
        return {None: path / columns.file}
    found = find_tables(path)
    if len(found) != 1:
        listed = ", ".join(file.name for file in found) or "none is there"
        raise InputError(f"{path}: name one manifest file ({listed}), as in --data {path / 'manifest.csv'}")
    return {None: found[0]}


class _Reader:
    """Collects rows and problems over all tables of a data set."""

    def __init__(self, columns: ColumnMap, folder: Path, root: Path) -> None:
        self.columns, self.folder, self.root = columns, folder, root
        self.rows: list[Row] = []
        self.seen: dict[tuple[Path, Span | None], tuple[Row, str]] = {}
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.raw: dict[str, str] = {}
        self.raw_signers: dict[str, str] = {}
        self.source = folder
        """The table that is being read, or the folder whose file names are."""
        self.names = self._gloss_names()

    def table(self) -> Table:
        found = {row.gloss for row in self.rows}
        glosses = [name for name in self.names.values() if name in found] if self.names else None
        labels = renamed("the gloss", self.raw, self.source)
        labels += renamed("the signer", self.raw_signers, self.source)
        return Table(self.rows, glosses, self.notes, self.problems + labels)

    def read_names(self) -> None:
        """Make a row of every video below the root whose relative path the pattern fits."""
        passed = []
        for place, subfolders, names in os.walk(self.root):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for name in sorted(names):
                file = Path(place) / name
                if file.suffix.lower() not in VIDEO_SUFFIXES:
                    continue
                relative = unicodedata.normalize("NFC", file.relative_to(self.root).as_posix())
                if re.search(self.columns.pattern or "", relative):
                    self._add({"path": relative}, str(file), "", None, file)
                else:
                    passed.append(relative)
        if passed:
            detail = f"{len(passed)} videos have names that the pattern doesn't fit, such as {passed[0]!r}"
            self.problems.append(Problem("not_annotated", "info", str(self.root), detail, "they are passed over"))

    def read_file(self, file: Path, split: str | None) -> None:
        self.source = file
        for where, cells in read_cells(file, self.columns.header, self.columns.delimiter, self.problems):
            self._add(cells, str(file), where, split)

    def _add(self, cells: Cells, file: str, where: str, split: str | None, video: Path | None = None) -> None:
        """Add one row, or a problem that names the line. ``video`` is the file, where it is known beforehand."""
        try:
            row = self._row({**cells, **({"split": split} if split else {})}, split, video)
        except OutsideError as error:
            self._complain(error.kind, file, where, str(error), "name a file inside the data folder, or give --videos")
            return
        except _LineError as error:
            self._complain(error.kind, file, where, str(error), "mend the line")
            return
        except InputError as error:
            if not self.rows:  # the whole table is like that
                raise
            self._complain("unparsable", file, where, str(error), "mend the line")
            return
        key = (row.video, row.span)
        if key not in self.seen:
            self.seen[key] = (row, where)
            self.rows.append(row)
            return
        other, there = self.seen[key]
        same = other.gloss == row.gloss
        kind = "duplicate_key" if same else "two_labels"
        text = f"{row.video.name} is there twice (also {there})"
        detail = text if same else f"{text}: as {other.gloss!r} and as {row.gloss!r}"
        self._complain(kind, file, where, detail, "the first one counts" if same else "keep one", not same)

    def _complain(self, kind: str, file: str, where: str, detail: str, action: str, error: bool = True) -> None:
        text = f"{where}: {detail}" if where else detail
        self.problems.append(Problem(kind, "error" if error else "warning", file, text, action))

    def _row(self, cells: Cells, split: str | None, video: Path | None) -> Row:
        columns = self.columns
        groups = self._groups(cells) if columns.pattern_on else {}
        cells = {**cells, **groups}
        name = self._value("path", cells) if not columns.listed else cells["path"]
        if columns.pattern and not columns.pattern_on:
            cells = {**cells, **_fit(columns.pattern, name or "")}
        label = self._value("label", cells)
        if not name or not label:
            raise _LineError("unparsable", "the path or the label is empty")
        gloss = self._gloss(label)
        where = self._split(cells, split)
        video = video or inside(self.root, name)
        return Row(video, gloss, where, self._signer(cells), self._span(cells), self._box(cells))

    def _signer(self, cells: Cells) -> str | None:
        written = self._value("signer", cells) or ""
        clean = nfc(written)
        if clean != written:
            self.raw_signers[written] = clean
        return clean or None

    def _groups(self, cells: Cells) -> Cells:
        return _fit(self.columns.pattern or "", _filled(self.columns.pattern_on or "", cells))

    def _value(self, role: str, cells: Cells) -> str | None:
        """The value of a row's path, label, split or signer: by the map, else by a usual name in the header."""
        source = getattr(self.columns, role)
        if source is not None:
            return _filled(source, cells)
        names = {name.lower(): name for name in cells}
        alias = next((names[alias] for alias in ALIASES.get(role, ()) if alias in names), None)
        if alias is None and role in ("path", "label"):
            raise InputError(
                f"{self.source}: no column for the {role} ({', '.join(ALIASES[role])}) among "
                f"{', '.join(map(repr, cells))}; say which it is with --columns.{role}"
            )
        return None if alias is None else cells[alias]

    def _gloss(self, label: str) -> str:
        if self.names:
            key = label.strip()
            if key not in self.names:
                raise _LineError("unparsable", f"the label {label!r} is not in {self.columns.gloss_file}")
            return self.names[key]
        clean = nfc(label)
        if not clean:
            raise _LineError("unparsable", "the path or the label is empty")
        if clean != label:
            self.raw[label] = clean
        return clean

    def _split(self, cells: Cells, split: str | None) -> str | None:
        if split is not None:
            return split
        text = self._value("split", cells)
        if text is None:
            return None
        names = SPLIT_NAMES | self.columns.split_names
        found = names.get(text.strip().lower())
        if found is None:
            raise _LineError("unknown_split", f"split {text!r} is none of train, val, test")
        return found

    def _span(self, cells: Cells) -> Span | None:
        columns = self.columns
        if columns.start is None:
            return None
        first = _number(_filled(columns.start, cells))
        last = None if columns.end is None else _number(_filled(columns.end, cells))
        last = None if last is None or last < 0 else last
        if columns.unit == "frame":
            first = None if first is None else first - columns.first_frame
            last = None if last is None else last - columns.first_frame + columns.end_included
        first = first or 0.0
        if first < 0 or (last is not None and last <= first):
            raise _LineError("unparsable", f"the range {_range_text(columns, cells)} holds nothing")
        return None if first == 0 and last is None else Span(first, last, columns.unit)

    def _box(self, cells: Cells) -> Box | None:
        if not self.columns.bbox:
            return None
        sides = [_number(_filled(name, cells)) for name in self.columns.bbox]
        if any(side is None for side in sides):
            return None
        left, top, right, bottom = (side for side in sides if side is not None)
        if left >= right or top >= bottom:
            raise _LineError("unparsable", f"the box {left:g}, {top:g}, {right:g}, {bottom:g} holds nothing")
        return Box(left, top, right, bottom, self.columns.bbox_unit)

    def _gloss_names(self) -> dict[str, str]:
        """The glosses by their numbers in the table, in the order of the numbers; empty where there is no such list."""
        if self.columns.gloss_file is None:
            return {}
        file = self.folder / self.columns.gloss_file
        if not file.is_file():
            self.notes.append(f"{file.name} is not there: glosses are called by their numbers")
            return {}
        number, name = self.columns.gloss_number, self.columns.gloss_name
        header = not (number.isdecimal() and name.isdecimal())
        pairs = [
            (_filled(number, cells), nfc(_filled(name, cells))) for _, cells in read_cells(file, header, "auto", [])
        ]
        twice = {gloss for _, gloss in pairs if sum(gloss == other for _, other in pairs) > 1}
        names = {key: f"{gloss} ({key})" if gloss in twice else gloss for key, gloss in pairs}
        return dict(sorted(names.items(), key=lambda pair: (len(pair[0]), pair[0])))


class _LineError(ValueError):
    """A line can't be used; ``kind`` is the kind of problem."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def _range_text(columns: ColumnMap, cells: Cells) -> str:
    """A range as the table writes it."""
    return " to ".join(_filled(name, cells) for name in (columns.start, columns.end) if name is not None)


def _fit(pattern: str, text: str) -> Cells:
    found = re.search(pattern, text)
    if found is None:
        raise _LineError("unparsable", f"{text!r} doesn't fit the pattern {pattern!r}")
    return {name: value for name, value in found.groupdict().items() if value is not None}


def _filled(source: str, cells: Cells) -> str:
    """The value of a column, or of a template such as ``{folder}/{name}.mp4``."""

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


def _number(text: str) -> float | None:
    if not text.strip():
        return None
    try:
        number = float(text)
    except ValueError:
        raise _LineError("unparsable", f"{text!r} is no number") from None
    if number - number != 0:
        raise _LineError("unparsable", f"{text!r} is no finite number")
    return number
