"""Reads the lists of VideoMAE, Kinetics and mmaction2 into rows: a path, a blank, a class or gloss; no header.

The name of a list tells its split. mmaction2's lists of raw frames have the number of frames between path and class;
UCF101's list of test clips has no classes: they are those that the folders have in the other lists.
"""

import itertools
import re
import shlex
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

from lscht_ray.dataset._entries import visible
from lscht_ray.dataset._row_reader import RowReader
from lscht_ray.dataset._tables import by_split, split_in_name
from lscht_ray.dataset._values import LineError
from lscht_ray.dataset.rows import SPLIT_NAMES, Table
from lscht_ray.errors import InputError
from lscht_ray.host.files import is_file, is_there, nfc, read_text
from lscht_ray.settings.columns import ColumnMap
from lscht_ray.video.recognise import VIDEO_SUFFIXES

LIST_SUFFIXES = (".csv", ".txt", ".list", ".lst")
LINE = re.compile(r"(?P<path>.*\S)[ ,;\t]+(?P<label>\d+)")
FRAMES_LINE = re.compile(r"(?P<path>.*\S)[ \t]+(?P<frames>\d+)[ \t]+(?P<label>\d+)")
BARE_LINE = re.compile(r"(?P<path>.*\S)")
NAMED_LINE = re.compile(
    rf"(?P<path>.*?(?:{'|'.join(map(re.escape, sorted(VIDEO_SUFFIXES)))}))"
    r"[ ,;\t]+(?P<label>(?!\d+[ \t])[^,;\t]*[^,;\t ])",
    re.IGNORECASE,
)
"""A video and its gloss, in place of the number of a class."""
NAMES = ("label_map*.txt", "classes.txt", "classInd.txt", "class_names.txt", "class_list.txt", "labels.txt")
"""Files that may hold the glosses, one a line: in the order of their numbers from 0, or each after its number."""
NUMBERED = re.compile(r"(\d+)[ \t,]+(.*\S)")
LOOKED_AT = 20
"""Lines by which a list is known."""
SHIFTS = (0, 1, -1)
"""What may have to be added to a list's number to get that of the names: one may count from 0, the other from 1."""


class Line(NamedTuple):
    """A line of a list.

    Attributes:
        where: Which line it is, in words.
        path: The clip as written; nothing where the line is no list's.
        label: The number of its class, or its gloss; None where the line has none.
    """

    where: str
    path: str
    label: str | None

    @property
    def folder(self) -> str:
        """The clip's folder as written."""
        return self.path.replace("\\", "/").rpartition("/")[0]


class Names(NamedTuple):
    """The glosses by number: from the file beside the lists that has them, if there is one.

    Attributes:
        file: The file's name; nothing where there is none.
        glosses: The glosses by their numbers in it.
        shift: What is added to a number of the lists.
    """

    file: str
    glosses: dict[int, str]
    shift: int

    def gloss(self, label: str) -> str:
        """The gloss of a class.

        Raises:
            LineError: The names lack its number.
        """
        if not self.file or not label.isdecimal():
            return label
        number = int(label) + self.shift
        if number not in self.glosses:
            least, most = min(self.glosses) - self.shift, max(self.glosses) - self.shift
            reason = f"there is no class {label} in {self.file}, which names {least} to {most}"
            raise LineError("unparsable", reason, action="mend the line, or that file")
        return self.glosses[number]


def find_lists(folder: Path, named: Path | None = None) -> dict[str, Path]:
    """The lists in a folder by split; nothing where there are none.

    Args:
        folder: The folder.
        named: One of them, where the user named one: of several sets, such as `trainlist01.txt` and `testlist01.txt`,
            `trainlist02.txt` and so on, it tells which is meant.

    Raises:
        InputError: There are several sets, and none is named.
    """
    files = [file for file in visible(folder) if file.suffix.lower() in LIST_SUFFIXES and is_file(file)]
    lists = [file for file in files if _is_list(file)]
    splits = Counter(split for file in lists if (split := split_in_name(file.name)))
    twice = next((split for split, count in splits.items() if count > 1), None)
    if twice is None:
        return by_split(lists)
    sets = defaultdict[str, list[Path]](list)
    for file in lists:
        sets[_without_split(file.name)].append(file)
    if named in lists:
        return by_split(sets[_without_split(named.name)])
    trained = [found["train"] for files in sets.values() if (found := by_split(files))]
    twins = [file.name for file in lists if split_in_name(file.name) == twice][:2]
    advice = "".join(f"\n  --data {shlex.quote(str(file))}" for file in trained)
    raise InputError(
        f"{folder}: {' and '.join(twins)} are both lists of the {twice} split: "
        + (f"name the set of lists that is meant{advice}\n  or" if advice else "keep one of them there, or")
        + " read the class folders with --layout folders"
    )


def read_lists(path: Path, videos: Path | None = None) -> Table:
    """Read the lists of a folder, or one list and those beside it.

    Raises:
        InputError: There are none.
    """
    folder = path if path.is_dir() else path.parent
    lists = find_lists(folder, path)
    if not lists:
        raise InputError(
            f"{path}: the layout lists needs train.csv or train.txt (and val, test)\n"
            "  with lines such as: videos/a.mp4 3"
        )
    reader = RowReader(ColumnMap(path="path", label="label"), folder, videos or folder)
    read = {split: _lines(file) for split, file in sorted(lists.items(), key=lambda item: item[0] != "train")}
    classes = defaultdict[str, set[str]](set)
    for line in itertools.chain.from_iterable(read.values()):
        if line.label is not None:
            classes[line.folder].add(line.label)
    names = _names(folder, set().union(*classes.values()), reader.notes)
    reader.notes.append("lists: " + ", ".join(f"{file.name} is {split}" for split, file in lists.items()))
    for split, lines in read.items():
        reader.source = lists[split]
        for line in lines:
            try:
                cells = {"path": _place(reader.root, line.path, split), "label": names.gloss(_class(line, classes))}
            except LineError as error:
                reader.lines[reader.source] += 1
                reader.fail(error, str(reader.source), line.where)
            else:
                reader.add(cells, str(reader.source), line.where, split)
    return reader.table()


def is_list(file: Path) -> bool:
    """Whether a file is such a list, and one of those that are read with it is of the training clips."""
    return file in find_lists(file.parent, file).values()


def _class(line: Line, classes: dict[str, set[str]]) -> str:
    """The class of a line, or, where it has none, the only one that its folder has in the other lists.

    Raises:
        LineError: The line is no list's, or has no class and its folder has none, or several.
    """
    if not line.path:
        raise LineError(
            "unparsable", "it is not: a path, a blank, the number of a class (or a gloss)", "lines are no list's"
        )
    if line.label is not None:
        return line.label
    known, folder = classes.get(line.folder, set()), line.folder or "."
    if len(known) == 1:
        return next(iter(known))
    there = f"has {len(known)} classes" if known else "has no class"
    raise LineError(
        "unparsable",
        f"it has no class, and {folder}/ {there} in the other lists",
        "lines have no class, and their folders not one in the other lists",
        "write a blank and the number of the class after each path",
    )


def _lines(file: Path) -> list[Line]:
    """The lines of a list that are not empty."""
    written = [(number, line.strip()) for number, line in enumerate(read_text(file).split("\n"), start=1)]
    written = [(number, line) for number, line in written if line]
    pattern = _line_pattern([line for _, line in written[:LOOKED_AT]])
    lines = []
    for number, text in written:
        found = pattern.fullmatch(text)
        path = found["path"].strip("\"'") if found else ""
        label = found.groupdict().get("label") if found else None
        lines.append(Line(f"line {number}", path, str(int(label)) if label and label.isdecimal() else label))
    return lines


def _place(root: Path, name: str, split: str) -> str:
    """The path as written, or below the folders that mmaction2 keeps videos in, whichever is there."""
    if Path(name).is_absolute() or is_there(root / name):
        return name
    for folder in ("videos", split, f"videos_{split}", f"rawframes_{split}", "rawframes"):
        if is_there(root / folder / name):
            return f"{folder}/{name}"
    return name


def _is_list(file: Path) -> bool:
    """Whether the first lines of a file are those of a list, and name a video or something that is there."""
    try:
        with file.open(encoding="utf-8-sig") as opened:
            lines = [line.strip() for line, _ in zip(opened, range(LOOKED_AT), strict=False)]
    except (OSError, ValueError):
        return False
    lines = [line for line in lines if line]
    pattern = _line_pattern(lines)
    found = [pattern.fullmatch(line) for line in lines]
    if not lines or not all(found):
        return False
    paths = [Path(match["path"].strip("\"'")) for match in found if match]
    if len(paths[0].parts) == 1 and paths[0].suffix.lower() not in VIDEO_SUFFIXES:
        return False
    return all(path.suffix.lower() in VIDEO_SUFFIXES for path in paths) or is_there(
        file.parent / _place(file.parent, str(paths[0]), split_in_name(file.name) or "")
    )


def _line_pattern(lines: list[str]) -> "re.Pattern[str]":
    """What the lines look like: bare paths of videos; a number of frames in the middle; a path and a class or gloss."""
    if lines and all(Path(line).suffix.lower() in VIDEO_SUFFIXES for line in lines):
        return BARE_LINE
    return next((kind for kind in (FRAMES_LINE, LINE, NAMED_LINE) if all(map(kind.fullmatch, lines))), LINE)


def _without_split(name: str) -> str:
    """A list's name without the word that tells its split: it is the same for the lists that belong together."""
    parts = re.split(r"([^a-z]+)", name.lower().rpartition(".")[0])
    return "".join(part for part in parts if part.removesuffix("list") not in SPLIT_NAMES)


def _names(folder: Path, labels: set[str], notes: list[str]) -> Names:
    """The glosses by number, from the file beside the lists that has them."""
    used = {int(label) for label in labels if label.isdecimal()}
    if labels and not used:
        return Names("", {}, 0)
    file = next((file for pattern in NAMES for file in sorted(folder.glob(pattern))), None)
    lines = [line.strip() for line in read_text(file).split("\n") if line.strip()] if file else []
    if file is None or not lines:
        notes.append("glosses are called by their numbers (label_map.txt, a name a line, would name them)")
        return Names("", {}, 0)
    numbered = [NUMBERED.fullmatch(line) for line in lines]
    glosses = {int(match[1]): nfc(match[2]) for match in numbered if match}
    if len(glosses) < len(lines):
        glosses = {number: nfc(line) for number, line in enumerate(lines)}
    counts = Counter(glosses.values())
    glosses = {number: f"{name} ({number})" if counts[name] > 1 else name for number, name in glosses.items()}
    shift = next((shift for shift in SHIFTS if {label + shift for label in used} <= glosses.keys()), 0)
    first = f": its first, {next(iter(glosses.values()))!r}, is class {min(glosses) - shift} of the lists" * bool(shift)
    notes.append(f"the glosses are called as in {file.name}{first}")
    return Names(file.name, glosses, shift)
