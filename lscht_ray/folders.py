"""Class folders -> rows: ``split/gloss/clip`` or ``gloss/clip``. No video is opened."""

from pathlib import Path

from lscht_ray.files import VIDEO_SUFFIXES, nfc
from lscht_ray.rows import SPLIT_NAMES, Row, Table, renamed


def holds_class_folders(path: Path) -> bool:
    """Whether a folder looks like that."""
    for entry in path.iterdir():
        if entry.is_dir() and not entry.name.startswith("."):
            inside = list(entry.iterdir())
            if any(file.suffix.lower() in VIDEO_SUFFIXES for file in inside):
                return True
            if entry.name.lower() in SPLIT_NAMES and any(item.is_dir() for item in inside):
                return True
    return False


def read_folders(path: Path, videos: Path | None = None) -> Table:
    """The clips of class folders; without split folders a split is still to be drawn."""
    root = videos or path
    tops = [entry for entry in sorted(root.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
    split_tops = {entry: SPLIT_NAMES[entry.name.lower()] for entry in tops if entry.name.lower() in SPLIT_NAMES}
    rows, ignored = [], 0
    raw: dict[str, str] = {}
    glosses: list[tuple[str | None, Path]]
    if split_tops:
        glosses = [(split, gloss) for top, split in split_tops.items() for gloss in sorted(top.iterdir())]
        left_out = [entry.name for entry in tops if entry not in split_tops]
    else:
        glosses, left_out = [(None, entry) for entry in tops], []
    for split, folder in glosses:
        if not folder.is_dir():
            ignored += 1
            continue
        gloss = nfc(folder.name)
        if gloss != folder.name:
            raw[folder.name] = gloss
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() in VIDEO_SUFFIXES:
                rows.append(Row(file, gloss, split, None))
            else:
                ignored += 1
    notes = [f"{ignored} files that are no videos are passed over"] if ignored else []
    if left_out:
        notes.append(f"folders beside the splits are passed over: {', '.join(left_out)}")
    return Table(rows, None, notes, renamed("the gloss folder", raw, root))
