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

from lscht_ray.dataset._class_names import find_names
from lscht_ray.dataset._entries import visible
from lscht_ray.dataset._folders import class_folders
from lscht_ray.dataset._lookup import find_video
from lscht_ray.dataset._row_reader import RowReader
from lscht_ray.dataset._tables import by_split, split_in_name
from lscht_ray.dataset._values import LineError
from lscht_ray.dataset.problems import Problem
from lscht_ray.dataset.rows import SPLIT_NAMES, Table
from lscht_ray.errors import InputError
from lscht_ray.host.files import OutsideError, is_file, is_there, nfc, read_head, read_text
from lscht_ray.settings.columns import ColumnMap
from lscht_ray.shown import counted
from lscht_ray.video.recognise import VIDEO_SUFFIXES

LIST_SUFFIXES = (".csv", ".txt", ".list", ".lst")
LINE = re.compile(r"(?P<path>.*\S)[ ,;\t]+(?P<label>\d{1,9})")
FRAMES_LINE = re.compile(r"(?P<path>.*\S)[ \t]+(?P<frames>[1-9]\d*)[ \t]+(?P<label>\d{1,9})")
_VIDEO = rf"(?P<path>\S.*?(?:{'|'.join(map(re.escape, sorted(VIDEO_SUFFIXES)))}))"
BARE_VIDEO = re.compile(_VIDEO, re.IGNORECASE)
NAMED_LINE = re.compile(_VIDEO + r"[ ,;\t]+(?P<label>(?!\d+[ \t])[^,;\t]*[^,;\t ])", re.IGNORECASE)
"""A video and its gloss, in place of the number of a class."""
LOOKED_AT, MOST_FIT = 20, 0.8
"""Lines by which a list is known, and the share of them that must be a list's."""
HEAD_BYTES, LONGEST = 1 << 16, 4096
"""Bytes that these lines are looked for in, and letters that a line has at most."""


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
    what = f"name the set of lists that is meant{advice}" if advice else "keep one of them there"
    other = "--videos FOLDER says where their videos are, if they are not there"
    if class_folders(folder):
        other = "--layout folders reads the class folders in their place"
    raise InputError(f"{folder}: {' and '.join(twins)} are both lists of the {twice} split: {what}\n  {other}")


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
    read = {split: _lines(file, reader) for split, file in sorted(lists.items(), key=lambda item: item[0] != "train")}
    classes = defaultdict[str, set[str]](set)
    for line in itertools.chain.from_iterable(read.values()):
        if line.label is not None:
            classes[line.folder].add(line.label)
    names = find_names(folder, classes, reader.notes)
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
    there = f"has {counted(len(known), 'class')}" if known else "has no class"
    raise LineError(
        "unparsable",
        f"it has no class, and {folder}/ {there} in the other lists",
        "lines have no class, and their folders not one in the other lists",
        "write a blank and the number of the class after each path",
    )


def _lines(file: Path, reader: RowReader) -> list[Line]:
    """The lines of a list that say something."""
    guessed: list[str] = []
    written = _written(read_text(file, guessed))
    for line in guessed:
        reader.notes.append(f"{file.name}: {line}")
        action = "save it as UTF-8 if a letter is wrong"
        reader.problems.append(Problem("encoding", "warning", str(file), line, action))
    pattern = _line_pattern([text for _, text in written[:LOOKED_AT]])
    lines = []
    for number, text in written:
        found = pattern.fullmatch(text) if len(text) <= LONGEST else None
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


def _written(text: str) -> list[tuple[int, str]]:
    """The lines that are neither empty nor a comment, with their numbers."""
    lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), start=1))
    return [(number, line) for number, line in lines if line and not line.startswith("# ")]


def _is_list(file: Path) -> bool:
    """Whether the first lines of a file are those of a list, and name a video or something that is there.

    A line may be wrong, but not the first, which may be a table's header.
    """
    lines = [text for _, text in _written(read_head(file, HEAD_BYTES))[:LOOKED_AT]]
    if not lines or max(map(len, lines)) > LONGEST:
        return False
    pattern = _line_pattern(lines)
    found = [pattern.fullmatch(line) for line in lines]
    paths = [Path(match["path"].strip("\"'")) for match in found if match]
    if not found[0] or len(paths) < MOST_FIT * len(lines):
        return False
    if len(paths[0].parts) == 1 and paths[0].suffix.lower() not in VIDEO_SUFFIXES:
        return False
    if all(path.suffix.lower() in VIDEO_SUFFIXES for path in paths):
        return True
    place = _place(file.parent, str(paths[0]), split_in_name(file.name) or "")
    try:
        return is_there(find_video(file.parent, place, ())[0])
    except (OutsideError, LineError):
        return False


def _line_pattern(lines: list[str]) -> "re.Pattern[str]":
    """What most lines look like: bare paths of videos; a number of frames in the middle; a path, a class or gloss."""
    for kind in (BARE_VIDEO, FRAMES_LINE, LINE, NAMED_LINE):
        if sum(len(line) <= LONGEST and kind.fullmatch(line) is not None for line in lines) >= MOST_FIT * len(lines):
            return kind
    return LINE


def _without_split(name: str) -> str:
    """A list's name without the word that tells its split: it is the same for the lists that belong together."""
    parts = re.split(r"([\W\d_]+)", nfc(name).lower().rpartition(".")[0])
    return "".join(part for part in parts if part.removesuffix("list") not in SPLIT_NAMES)
