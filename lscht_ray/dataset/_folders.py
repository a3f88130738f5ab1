"""Reads class folders into rows: ``split/gloss/clip`` or ``gloss/clip``. No video is opened."""

import os
from pathlib import Path

from lscht_ray.dataset.problems import Problem
from lscht_ray.dataset.rows import SPLIT_NAMES, Row, Table, renamed
from lscht_ray.host.files import VIDEO_SUFFIXES, entries, nfc


def holds_class_folders(path: Path) -> bool:
    """Whether a folder holds class folders with videos, or split folders."""
    for entry in entries(path):
        if entry.is_dir() and not entry.name.startswith(".") and os.access(entry, os.R_OK | os.X_OK):
            inside = entries(entry)
            if any(file.suffix.lower() in VIDEO_SUFFIXES for file in inside):
                return True
            if entry.name.lower() in SPLIT_NAMES and any(item.is_dir() for item in inside):
                return True
    return False


def read_folders(path: Path, videos: Path | None = None) -> Table:
    """Read the clips of class folders. Without split folders the rows have no split yet."""
    root = videos or path
    tops = [entry for entry in entries(root) if entry.is_dir() and not entry.name.startswith(".")]
    split_tops = {entry: SPLIT_NAMES[entry.name.lower()] for entry in tops if entry.name.lower() in SPLIT_NAMES}
    rows, ignored = [], 0
    raw: dict[str, str] = {}
    glosses: list[tuple[str | None, Path]]
    if split_tops:
        glosses = [(split, gloss) for top, split in split_tops.items() for gloss in entries(top)]
        left_out = [entry.name for entry in tops if entry not in split_tops]
    else:
        glosses, left_out = [(None, entry) for entry in tops], []
    closed = []
    for split, folder in glosses:
        if not folder.is_dir():
            ignored += 1
            continue
        if not os.access(folder, os.R_OK | os.X_OK):
            closed.append(Problem("no_access", "warning", str(folder), "the folder can't be read", "it is passed over"))
            continue
        gloss = nfc(folder.name)
        if gloss != folder.name:
            raw[folder.name] = gloss
        for file in entries(folder):
            if file.suffix.lower() in VIDEO_SUFFIXES:
                rows.append(Row(file, gloss, split, None))
            else:
                ignored += 1
    notes = [f"{ignored} files that are no videos are passed over"] if ignored else []
    if left_out:
        notes.append(f"folders beside the splits are passed over: {', '.join(left_out)}")
    return Table(rows, None, notes, closed + renamed("the gloss folder", raw, root))
