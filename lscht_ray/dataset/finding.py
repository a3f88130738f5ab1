"""Finds the layout of a data set, also a folder further down, and proposes a column map where it knows none."""

import shlex
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from lscht_ray.dataset import layouts
from lscht_ray.dataset._cells import NO_TABLE, SHEETS, read_cells
from lscht_ray.dataset._elan import find_sessions
from lscht_ray.dataset._entries import subfolders, visible
from lscht_ray.dataset._folders import class_folders
from lscht_ray.dataset._lists import LIST_SUFFIXES, find_lists, is_list
from lscht_ray.dataset._no_data import annotated_above, of_results, why_not
from lscht_ray.dataset._proposals import Proposal, propose
from lscht_ray.dataset._tables import TABLE_SUFFIXES, find_tables, says_clips, split_in_name
from lscht_ray.dataset._wlasl import find_wlasl
from lscht_ray.errors import InputError
from lscht_ray.host.files import is_file, read_json
from lscht_ray.settings.columns import ColumnMap
from lscht_ray.shown import counted, some
from lscht_ray.video.recognise import is_clip_of_pictures

DEEPEST = 3
"""Folders that are gone down at most to find a data set: zips are unpacked into a folder of their own name."""
MAX_COLUMNS = 8
"""Columns of a table that isn't read that are named."""
OTHER_TABLES = (*SHEETS, ".json", ".xml", ".db", ".sqlite")
"""What may hold annotations too, and is not read unless it is named."""


class Found(NamedTuple):
    """Where a data set is, and as what it can be read.

    Attributes:
        path: The folder or file.
        layout: The layout's name.
        note: A line for the user where it is not where they said; or nothing.
    """

    path: Path
    layout: str
    note: str = ""


def find_layout(path: Path) -> Found:
    """Find the layout of a data set.

    Raises:
        InputError: It has none that is known. The message proposes patterns that would read it, or lists the layouts.
    """
    if path.is_file():
        layout = _of_file(path)
        if layout:
            return Found(path, layout)
        raise InputError(_unknown(path))
    if results := of_results(path):
        raise InputError(f"--data {path}: {results}")
    found = _below(path, DEEPEST)
    if found is not None and found.layout == "folders" and len(class_folders(found.path)) == 1:
        _refuse_one_gloss(found.path)
    if found is None:
        raise InputError(_unknown(path))
    notes = [_elsewhere(path, found.path)]
    if found.layout in ("folders", "lists"):
        lists = set(find_lists(found.path).values()) if found.layout == "lists" else ()
        notes += [unread(place, lists) for place in dict.fromkeys((path, found.path))]
    return found._replace(note="; ".join(filter(None, notes)))


def find_tables_below(path: Path, columns: ColumnMap) -> Found:
    """The folder with the tables of a column map: this one, or the only one in it that has them."""
    place = path
    for _ in range(DEEPEST):
        if _has_tables(place, columns):
            return Found(place, "table", _elsewhere(path, place))
        inner = subfolders(place)
        holding = [folder for folder in inner if _has_tables(folder, columns)]
        if len(holding) != 1 and len(inner) != 1:
            break
        place = (holding if len(holding) == 1 else inner)[0]
    return Found(place, "table", _elsewhere(path, place)) if _has_tables(place, columns) else Found(path, "table")


def _elsewhere(given: Path, found: Path) -> str:
    """The line for the user where a data set lies below the folder that they named."""
    return "" if found == given else f"the data set was found in {found.relative_to(given)}/"


def unread(folder: Path, read: Collection[Path] = ()) -> str:
    """The line for the user on tables and lists in a folder that are not read; nothing where there are none."""
    files = [file for file in visible(folder) if file not in read and file.is_file() and _may_annotate(file)]
    if not files:
        return ""
    hints = [f"not read: {some(file.name for file in files)}"]
    if any(file.suffix.lower() in SHEETS for file in files):
        hints.append("save a sheet as CSV (in Excel: CSV UTF-8) to have it read")
    tables = [file for file in files if file.suffix.lower() in TABLE_SUFFIXES]
    if not read and tables:
        columns = "--columns.path and --columns.label name a table's columns"
        hints.append(f"{columns}, with --columns.header false by their numbers, 0, 1 and so on")
        hints += [f"{tables[0].name} has {header}" for header in [_header(tables[0])] if header]
    return "; ".join(hints)


def _header(file: Path) -> str:
    """The first columns of a table; nothing where it can't be read."""
    try:
        _, cells = next(read_cells(file, True, "auto", []))
    except (InputError, StopIteration):
        return ""
    return some(map(repr, cells), MAX_COLUMNS)


def _may_annotate(file: Path) -> bool:
    """Whether a file may hold annotations by its name."""
    suffix = file.suffix.lower()
    return suffix in (*TABLE_SUFFIXES, *OTHER_TABLES) or (
        suffix in LIST_SUFFIXES and split_in_name(file.name) is not None
    )


def _has_tables(folder: Path, columns: ColumnMap) -> bool:
    if columns.file:
        return is_file(folder / columns.file)
    return bool(find_tables(folder))


def _of_file(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix == ".eaf":
        return "elan"
    if suffix == ".json":
        return "wlasl" if _is_wlasl(path) else "table"
    if is_list(path):
        return "lists"
    return "table" if suffix in TABLE_SUFFIXES else None


def _of_folder(path: Path) -> str | None:
    """The layout of a folder by its annotations; None: there are none that are known."""
    known = "wlasl" if find_wlasl(path) else layouts.recognise(path)
    if known:
        return known
    if find_sessions(path):
        return "elan"
    if find_lists(path):
        return "lists"
    return "table" if any(map(says_clips, find_tables(path))) else None


def _below(path: Path, deepest: int) -> Found | None:
    """The data set in a folder, or in one of its subfolders where only one of them holds one."""
    layout = _of_folder(path)
    if layout is None and (classes := class_folders(path)) and not all(map(_of_folder, classes)):
        layout = "folders"
    if layout is None and find_tables(path):
        layout = "table"
    if layout is not None:
        return Found(path, layout)
    inner = subfolders(path)
    if len(inner) == 1 and deepest:
        return _below(inner[0], deepest - 1)
    annotated = [(folder, layout) for folder in inner if (layout := _of_folder(folder))]
    if len(annotated) > 1:
        listed = "\n".join(f"  --data {shlex.quote(str(folder))}  ({layout})" for folder, layout in annotated)
        whole = "\nor read its folders as glosses with --layout folders" if class_folders(path) else ""
        raise InputError(f"--data {path}: it holds several data sets; name one:\n{listed}{whole}")
    return Found(*annotated[0]) if annotated else None


def _refuse_one_gloss(path: Path) -> None:
    """Refuse one folder of clips whose names tell more than one gloss: it is no class folder."""
    (folder,) = class_folders(path)
    proposals, clips = propose(path)
    if proposals:
        raise InputError(
            f"--data {path}: the only folder with clips is {folder.name}/, which would be the only gloss. Their names"
            f" may tell more:\n{_proposed(path, proposals, clips)}"
        )


def _unknown(path: Path) -> str:
    head = f"--data {path}: no data set is recognised there"
    above = annotated_above(path) if path.is_dir() else ""
    if above:
        return f"{head}: {above}"
    proposals, clips = propose(path) if path.is_dir() else ([], 0)
    if proposals:
        said = _proposed(path, proposals, clips)
        return f"{head}. Its {counted(clips, 'clip')} can be read by their paths, if this is what these mean:\n{said}"
    sheets = [file.name for file in (visible(path) if path.is_dir() else [path]) if file.suffix.lower() in SHEETS]
    if sheets:
        return f"{head}: {sheets[0]} {NO_TABLE}"
    pictured = next(filter(is_clip_of_pictures, subfolders(path) if path.is_dir() else []), None)
    if pictured:
        example = f"{pictured.name}/clip1/00001.jpg"
        return f"{head}: {pictured.name}/ holds pictures itself: each clip needs a folder of its own, as in {example}"
    reason = why_not(path)
    if reason:
        return f"{head}: {reason}"
    return (
        f"{head}. Allowed are\n"
        "  a WLASL folder (nslt_100.json or WLASL_v0.3.json, videos/) or one of its JSON files,\n"
        "  a table (.csv, .tsv, .json, .jsonl) with the columns path, label, split (or a folder that holds one),\n"
        "  a folder of class folders: gloss/clip.mp4 or train/gloss/clip.mp4 (a clip may be a folder of pictures),\n"
        "  lists without header, train.csv or train.txt: videos/a.mp4 3\n"
        "  ELAN's .eaf files with their videos;\n"
        f"  data sets with a map of their own: {', '.join(layouts.shipped())} (--layout NAME);\n"
        "  other tables and file names: say where things stand with --columns.path, --columns.pattern and so on;\n"
        "  --data demo is the embedded demo data set"
    )


def _proposed(path: Path, proposals: list[Proposal], clips: int) -> str:
    """The proposals, and the tables that may say more than names do."""
    lines = [line for proposal in proposals for line in proposal.lines(path, clips)]
    return "\n".join([*(f"  {line}" for line in [unread(path)] if line), *lines])


def _is_wlasl(path: Path) -> bool:
    """Whether a JSON file is one of WLASL's: a list of {gloss, instances}, or a map of {subset, action}."""
    content, _ = read_json(path)
    if not isinstance(content, list):
        return True
    return any(isinstance(item, dict) and "instances" in item for item in content) or not content
