"""Reads the lists of VideoMAE, Kinetics and mmaction2 into rows: a path, a blank, the number of a class; no header.

The name of a list tells its split. mmaction2's lists of raw frames have the number of frames between path and class;
UCF101's list of test clips has no classes: they are those that the folders have in the other lists.
"""

import re
from pathlib import Path

from lscht_ray.dataset._entries import visible
from lscht_ray.dataset._row_reader import RowReader
from lscht_ray.dataset._tables import by_split, split_in_name
from lscht_ray.dataset._values import LineError
from lscht_ray.dataset.rows import SPLITS, Table
from lscht_ray.errors import InputError
from lscht_ray.host.files import is_file, is_there, nfc, read_text
from lscht_ray.settings.columns import ColumnMap
from lscht_ray.video.recognise import VIDEO_SUFFIXES

LIST_SUFFIXES = (".csv", ".txt", ".list", ".lst")
LINE = re.compile(r"(?P<path>.*\S)[ ,;\t]+(?P<label>\d+)")
FRAMES_LINE = re.compile(r"(?P<path>.*\S)[ \t]+(?P<frames>\d+)[ \t]+(?P<label>\d+)")
NAMES = ("label_map*.txt", "classes.txt", "classInd.txt", "class_names.txt", "class_list.txt", "labels.txt")
"""Files that may hold the glosses, one a line: in the order of their numbers from 0, or each after its number."""
BARE_LINE = re.compile(r"(?P<path>.*\S)")
NUMBERED = re.compile(r"(\d+)[ \t,]+(.*\S)")
LOOKED_AT = 20
"""Lines by which a list is known."""


def find_lists(folder: Path) -> dict[str, Path]:
    """The lists in a folder by split; nothing where there are none.

    Raises:
        InputError: Two of them are of one split.
    """
    files = [file for file in visible(folder) if file.suffix.lower() in LIST_SUFFIXES and is_file(file)]
    lists = [file for file in files if _is_list(file)]
    for split in SPLITS:
        twins = [file.name for file in lists if split_in_name(file.name) == split]
        if len(twins) > 1:
            raise InputError(
                f"{folder}: {' and '.join(twins[:2])} are both lists of the {split} split: keep one of them there, or"
                " read the class folders with --layout folders"
            )
    return by_split(lists)


def read_lists(path: Path, videos: Path | None = None) -> Table:
    """Read the lists of a folder, or one list and those beside it.

    Raises:
        InputError: There are none.
    """
    folder = path if path.is_dir() else path.parent
    lists = find_lists(folder)
    if not lists:
        raise InputError(
            f"{path}: the layout lists needs train.csv or train.txt (and val, test)\n"
            "  with lines such as: videos/a.mp4 3"
        )
    reader = RowReader(ColumnMap(path="path", label="label"), folder, videos or folder)
    names = _gloss_names(folder, reader)
    reader.notes.append("lists: " + ", ".join(f"{file.name} is {split}" for split, file in lists.items()))
    classes: dict[str, str] = {}
    for split, file in sorted(lists.items(), key=lambda item: item[0] != "train"):
        reader.source = file
        lines = read_text(file).splitlines()
        pattern = _line_pattern([line.strip() for line in lines if line.strip()][:LOOKED_AT])
        for number, line in enumerate(lines, start=1):
            if line.strip():
                _add(reader, f"line {number}", pattern.fullmatch(line.strip()), split, names, classes)
    return reader.table()


def is_list(file: Path) -> bool:
    """Whether a file is such a list, and lies beside others that are."""
    return file in find_lists(file.parent).values()


def _add(
    reader: RowReader,
    where: str,
    found: "re.Match[str] | None",
    split: str,
    names: dict[int, str],
    classes: dict[str, str],
) -> None:
    """Add a line's clip. ``classes`` gets the class of each folder, and tells it where a line has none."""
    file = str(reader.source)
    path = found["path"].strip("\"'") if found else ""
    folder = path.replace("\\", "/").rpartition("/")[0]
    label = found.groupdict().get("label") if found else None
    label = classes.setdefault(folder, label) and label if label is not None else classes.get(folder)
    if label is None:
        reader.lines[reader.source] += 1
        text = "it is not: a path, a blank, the number of a class"
        reader.fail(LineError("unparsable", text, "lines are no list's"), file, where)
        return
    gloss = names.get(int(label), label)
    reader.add({"path": _place(reader.root, path, split), "label": gloss}, file, where, split)


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
    """What the lines look like: bare paths of videos; a number of frames in the middle; or a path and a class."""
    if lines and all(Path(line).suffix.lower() in VIDEO_SUFFIXES for line in lines):
        return BARE_LINE
    framed = [FRAMES_LINE.fullmatch(line) for line in lines]
    if lines and all(framed):
        return FRAMES_LINE
    return LINE


def _gloss_names(folder: Path, reader: RowReader) -> dict[int, str]:
    """The glosses by number, from the file beside the lists that has them; none where there is no such file."""
    for pattern in NAMES:
        for file in sorted(folder.glob(pattern)):
            lines = [line.strip() for line in read_text(file).splitlines() if line.strip()]
            numbered = [NUMBERED.fullmatch(line) for line in lines]
            names = {int(match[1]): nfc(match[2]) for match in numbered if match}
            if len(names) < len(lines):
                names = {number: nfc(line) for number, line in enumerate(lines)}
            if len(lines) == len(set(names.values())) > 1:
                reader.notes.append(f"the glosses are called as in {file.name}")
                return names
    reader.notes.append("glosses are called by their numbers (label_map.txt, a name a line, would name them)")
    return {}
