"""Files that a check wrote: these alone may be written over, and none of them is a table of clips."""

from pathlib import Path

READ = 4096
"""Bytes of a file by which it is told."""
MARK = "contact sheet of lscht_ray"
"""Stands in the pictures that a check makes."""
MARKS = {
    "html": (b"<!doctype html>", b"<title>Data check of "),
    "json": (b'"layout": ', b'"num_classes": '),
    "facts": (b"path", b"mtime_ns", b"sha256"),
    "contact_sheet": (MARK.encode(),),
}
"""What stands at the beginning of each kind of file."""


def is_report(file: Path, *kinds: str) -> bool:
    """Whether a file is one of ours of these kinds (keys of `MARKS`), by its beginning."""
    try:
        with file.open("rb") as opened:
            head = opened.read(READ)
    except OSError:
        return False
    return any(all(mark in head for mark in MARKS[kind]) for kind in kinds)
