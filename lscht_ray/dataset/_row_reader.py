"""Makes a row of the cells of a table's line, or of a file's name, by a column map; collects what is wrong."""

import itertools
import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from lscht_ray.dataset._cells import Cells, read_cells
from lscht_ray.dataset._lookup import find_video, is_there_as_clip
from lscht_ray.dataset._times import UnreadableNumberError, likely_unit, moment, number, time_columns
from lscht_ray.dataset._values import LineError, filled, told_apart, with_groups
from lscht_ray.dataset.problems import Problem
from lscht_ray.dataset.rows import Row, Table, one_blank, renamed, split_called
from lscht_ray.errors import InputError
from lscht_ray.host.files import OutsideError, nfc, no_text
from lscht_ray.settings.columns import ColumnMap
from lscht_ray.video.span import Box, Span

ALIASES = {
    "path": ("path", "video", "video_path", "file", "filename", "filepath", "archivo", "fichero", "ruta", "vídeo"),
    "label": ("label", "gloss", "class", "word", "sign", "glosa", "seña", "palabra", "etiqueta"),
    "split": ("split", "subset", "set", "partición", "particion"),
    "signer": ("signer", "signer_id", "participant", "person", "persona", "signante", "señante", "participante"),
}
"""The usual names of columns; those of Spanish tables too."""
MEANINGS = {"path": "the video", "label": "the gloss", "split": "the split", "signer": "the signer"}
LOOKED_AT = 20
"""Lines of a table by which the unit of times is told."""
TOTALS = frozenset(("total", "totales", "totals", "subtotal", "suma", "sum", "gesamt", "totaux"))
"""What sheets call their last line."""
TO_THE_END = re.compile(r"-1([.,]0*)?")
"""What WLASL, and tables made like it, write for the end of a clip that ends where its video does."""


class RowReader:
    """Collects rows and problems over all tables of a data set.

    Args:
        columns: The column of each thing.
        folder: The data folder.
        root: The folder that the videos' paths start from.
        on_row: Called after each line.
    """

    def __init__(self, columns: ColumnMap, folder: Path, root: Path, on_row: Callable[[], object] = int) -> None:
        self.columns, self.folder, self.root, self.on_row = columns, folder, root, on_row
        self.rows: list[Row] = []
        self.seen: dict[tuple[Path, Span | None], tuple[Row, str, str]] = {}
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.raw: dict[str, str] = {}
        self.raw_signers: dict[str, str] = {}
        self.source = folder
        """The table that is being read, or the folder whose file names are."""
        self.videos: dict[tuple[str, str | None], Path] = {}
        """The file of each name and split: many signs may stand in one recording."""
        self.names = self._gloss_names()
        self.completed: list[tuple[str, str]] = []
        """Names of videos without suffix, and those that they have."""
        self.doubt: LineError | None = None
        """What is wrong with the line that is being read, though it names a clip."""
        self.lines = Counter[Path]()
        """Lines of each table."""
        self.failed: dict[Path, list[tuple[str, str, LineError]]] = {}
        """Of each table: where the lines are that can't be used, in which file, and why."""

    def table(self) -> Table:
        """Everything that was read."""
        for source, failed in self.failed.items():
            self._report(source, failed)
        if self.completed:
            written, name = self.completed[0]
            self.notes.append(f"names of files are completed: {written!r} is {name!r}, and so on")
        found = {row.gloss for row in self.rows}
        glosses = [name for name in self.names.values() if name in found] if self.names else None
        labels = renamed("the gloss", self.raw, self.source)
        labels += renamed("the signer", self.raw_signers, self.source)
        return Table(self.rows, glosses, self.notes, self.problems + labels)

    def read_file(self, file: Path, split: str | None) -> None:
        """Read a table whose clips are all in that split; None: a column tells it."""
        self.source, given = file, self.columns
        lines = read_cells(file, given.header, given.delimiter, self.problems)
        first = list(itertools.islice(lines, LOOKED_AT))
        self.columns = self._with_times(file, [cells for _, cells in first])
        for where, cells in itertools.chain(first, lines):
            self.add(cells, str(file), where, split)
        self.notes += [
            f"{file.name}: {each.detail}"
            for each in self.problems
            if each.kind == "encoding" and each.path == str(file)
        ]
        self._say_what_was_understood(file, list(first[0][1]) if first else [])
        self.columns = given

    def add(self, cells: Cells, file: str, where: str, split: str | None, video: Path | None = None) -> None:
        """Add one row, or a problem that names the line. ``video`` is the file, where it is known beforehand."""
        self.lines[self.source] += 1
        self.doubt = None
        self.on_row()
        try:
            row = self._row({**cells, **({"split": split} if split else {})}, split, video)
        except OutsideError as error:
            action = "name a file inside the data folder, or give --videos"
            cause = {"path_outside": "paths lead out of the data folder"}.get(error.kind, "paths are no local files")
            self.fail(LineError(error.kind, str(error), cause, action), file, where)
            return
        except UnreadableNumberError as error:
            self.fail(LineError("unparsable", error.reason, error.cause, error.action), file, where)
            return
        except LineError as error:
            self.fail(error, file, where)
            return
        except InputError as error:
            if not self.rows:  # the whole table is like that
                raise
            self.fail(LineError("unparsable", str(error)), file, where)
            return
        if self.doubt is not None:
            self.fail(self.doubt, file, where)
        if row.gloss.casefold().strip(" :.") in TOTALS and not is_there_as_clip(row.video):
            detail = f"{where}: {row.gloss!r} names no video that is there: is it a total?"
            self.problems.append(Problem("not_a_clip", "warning", file, detail, "it is passed over: delete the line"))
            return
        if row.video.name.startswith("._"):  # macOS puts such a file beside each on a disk that is not its own
            self.problems.append(Problem("not_a_clip", "info", str(row.video), "macOS's own file", "it is passed over"))
            return
        key = (row.video, row.span)
        if key not in self.seen:
            self.seen[key] = (row, where, file)
            self.rows.append(row)
            return
        other, there, source = self.seen[key]
        there = there if source == file else f"{Path(source).name}: {there}".removesuffix(": ")
        same = other.gloss == row.gloss
        kind = "duplicate_key" if same else "two_labels"
        text = f"{row.video.name} is there twice (also {there})"
        detail = text if same else f"{text}: as {other.gloss!r} and as {row.gloss!r}"
        action = "the first one counts" if same else "keep one"
        detail = f"{where}: {detail}" if where else detail
        self.problems.append(Problem(kind, "warning" if same else "error", file, detail, action))

    def fail(self, error: LineError, file: str, where: str) -> None:
        """Note that a line can't be used, and why."""
        self.failed.setdefault(self.source, []).append((file, where, error))

    def _report(self, source: Path, failed: list[tuple[str, str, LineError]]) -> None:
        """Make problems of lines that can't be used: one where all lines of a table have the same cause."""
        causes = {(error.kind, error.cause) for _, _, error in failed}
        if len(failed) == self.lines[source] > 1 and len(causes) == 1:
            file, where, error = failed[0]
            detail = f"all {len(failed)} lines: {error.cause}, as in {where or Path(file).name}: {error}"
            self.problems.append(Problem(error.kind, "error", str(source), detail, error.action))
            return
        for file, where, error in failed:
            detail = f"{where}: {error}" if where else str(error)
            self.problems.append(Problem(error.kind, "error", file, detail, error.action))

    def _with_times(self, file: Path, lines: list[Cells]) -> ColumnMap:
        """The column map with the columns of a table that say where clips start and end, if their unit is plain.

        Where it is not, it is said that they are not used: each clip is its whole video.
        """
        found = time_columns(list(lines[0])) if lines and self.columns.start is None else None
        if found is None:
            return self.columns
        start, end = found
        unit = likely_unit(f"{start} {end}", [cells.get(name, "") for cells in lines for name in found])
        if unit in ("second", "millisecond"):
            return self.columns.model_copy(update={"start": start, "end": end, "unit": unit})
        ask = f"--columns.start {shlex.quote(start)} --columns.end {shlex.quote(end)} --columns.unit {unit or 'second'}"
        text = f"the columns {start!r} and {end!r} look like times and are not used: each clip is its whole video"
        action = f"if they are times (the unit may be second, millisecond or frame), add {ask}"
        self.problems.append(Problem("unused_times", "warning", str(file), text, action))
        self.notes.append(f"{file.name}: {text}; {action}")
        return self.columns

    def _say_what_was_understood(self, file: Path, header: list[str]) -> None:
        """Name the columns that were found by names which are not our own."""
        used = {role: self._column(role, header) for role in ALIASES}
        words = [f"{MEANINGS[role]} {name!r}" for role, name in used.items() if name is not None]
        timed = self.columns.start is not None and self.columns.start in header
        if timed:
            end = f" to {self.columns.end!r}" if self.columns.end else ""
            words.append(f"from {self.columns.start!r}{end} in {self.columns.unit}s")
        if timed or any(name not in (None, role) for role, name in used.items()):
            whole = " (whole videos with --frame_ranges ignore)" if timed else ""
            self.notes.append(f"{file.name} is read so: {', '.join(words)}{whole}")

    def _row(self, cells: Cells, split: str | None, video: Path | None) -> Row:
        columns = self.columns
        if columns.pattern and columns.pattern_on:
            cells = with_groups(cells, columns.pattern, filled(columns.pattern_on, cells))
        name = self._value("path", cells) if not columns.listed else cells["path"]
        if columns.pattern and not columns.pattern_on:
            cells = with_groups(cells, columns.pattern, name or "")
        label = self._value("label", cells)
        if "\n" in (name or "") + (label or ""):
            cause = "the path or the label holds a line break: is there a quotation mark too many?"
            raise LineError("unparsable", cause)
        if not name or not label or not label.strip():
            raise LineError("unparsable", "the label is empty" if name else "the path is empty")
        gloss = self._gloss(label)
        where = self._split(cells, split)
        if video is None:
            video = self.videos.get((name, where)) or self.videos.setdefault((name, where), self._video(name, where))
        return Row(video, gloss, where, self._signer(cells), self._span(cells), self._box(cells))

    def _video(self, name: str, split: str | None) -> Path:
        """The file that a line names: from the root, in the split's folder, in videos/, or beside the table."""
        folders = [split or "", "videos"]
        if self.source.is_file() and self.source.parent.is_relative_to(self.root):
            folders.append(self.source.parent.relative_to(self.root).as_posix())
        video, completed = find_video(self.root, name, tuple(filter(None, folders)))
        self.completed += [(name, video.relative_to(self.root).as_posix())] * completed
        return video

    def _signer(self, cells: Cells) -> str | None:
        written = self._value("signer", cells) or ""
        clean = one_blank(nfc(written))
        if clean != written:
            self.raw_signers[written] = clean
        if no_text(clean):
            raise LineError("name_not_text", f"the signer {clean!r} is no UTF-8 text", action="rename it")
        return clean or None

    def _value(self, role: str, cells: Cells) -> str | None:
        """The value of a row's path, label, split or signer: by the map, else by a usual name in the header."""
        source = getattr(self.columns, role)
        if source is not None:
            return filled(source, cells) if source else None
        alias = self._column(role, cells)
        if alias is None and role in ("path", "label"):
            raise InputError(
                f"{self.source}: no column for the {role} ({', '.join(ALIASES[role])}) among "
                f"{', '.join(map(repr, cells))}; say which it is with --columns.{role}"
                + ("; is it another delimiter (--columns.delimiter)?" if len(cells) == 1 else "")
            )
        return None if alias is None else cells[alias]

    def _column(self, role: str, header: Iterable[str]) -> str | None:
        """The column that has a usual name for a role; None: there is none, or the column map says it otherwise."""
        if getattr(self.columns, role) is not None:
            return None
        names = {name.lower(): name for name in header}
        return next((names[alias] for alias in ALIASES.get(role, ()) if alias in names), None)

    def _gloss(self, label: str) -> str:
        if self.names:
            key = label.strip()
            if key not in self.names:
                raise LineError("unparsable", f"the label {label!r} is not in {self.columns.gloss_file}")
            return self.names[key]
        clean = one_blank(nfc(label))
        if no_text(clean):
            raise LineError("name_not_text", f"the gloss {clean!r} is no UTF-8 text", action="rename it")
        if clean != label:
            self.raw[label] = clean
        return clean

    def _split(self, cells: Cells, split: str | None) -> str | None:
        """The split; None: it is still to be drawn."""
        if split is not None:
            return split
        text = self._value("split", cells)
        if text is None or not text.strip():
            return None
        found = self.columns.split_names.get(text.strip().lower()) or split_called(text)
        if found is None:
            cause, meaning = "splits are none of train, val, test", shlex.quote(json.dumps({text.strip(): "train"}))
            action = f"mend the line, or say what it means: --columns.split_names {meaning}"
            self.doubt = LineError("unknown_split", f"split {text!r} is none of train, val, test", cause, action)
        return found

    def _span(self, cells: Cells) -> Span | None:
        columns = self.columns
        if columns.start is None:
            return None
        first = moment(filled(columns.start, cells), columns.unit)
        end = "" if columns.end is None else filled(columns.end, cells)
        last = None if TO_THE_END.fullmatch(end.strip()) else moment(end, columns.unit)
        if columns.unit == "frame":
            first = None if first is None else first - columns.first_frame
            last = None if last is None else last - columns.first_frame + columns.end_included
        first = first or 0.0
        if first < 0 or (last is not None and last <= first):
            raise LineError("unparsable", f"the range {_range_text(columns, cells)} holds nothing")
        unit: Literal["frame", "second"] = "frame" if columns.unit == "frame" else "second"
        return None if first == 0 and last is None else Span(first, last, unit, doubtful=columns.may_be_cut)

    def _box(self, cells: Cells) -> Box | None:
        if not self.columns.bbox:
            return None
        sides = [number(filled(name, cells)) for name in self.columns.bbox]
        if any(side is None for side in sides):
            return None
        left, top, right, bottom = (side for side in sides if side is not None)
        if left >= right or top >= bottom:
            raise LineError("unparsable", f"the box {left:g}, {top:g}, {right:g}, {bottom:g} holds nothing")
        return Box(left, top, right, bottom, self.columns.bbox_unit)

    def _gloss_names(self) -> dict[str, str]:
        """The glosses by their numbers in the table, in the order of the numbers; empty where there is no such list."""
        if self.columns.gloss_file is None:
            return {}
        file = self.folder / self.columns.gloss_file
        if not file.is_file():
            self.notes.append(f"{file.name} is not there: glosses are called by their numbers")
            return {}
        key, name = self.columns.gloss_number, self.columns.gloss_name
        header = not (key.isdecimal() and name.isdecimal())
        pairs = [(filled(key, cells), nfc(filled(name, cells))) for _, cells in read_cells(file, header, "auto", [])]
        return dict(sorted(told_apart(pairs).items(), key=lambda pair: (len(pair[0]), pair[0])))


def _range_text(columns: ColumnMap, cells: Cells) -> str:
    """A range as the table writes it."""
    return " to ".join(filled(name, cells) for name in (columns.start, columns.end) if name is not None)
