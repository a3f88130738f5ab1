"""What lies in a folder of clips, without what a system put there."""

import os
from collections.abc import Iterator
from pathlib import Path

from lscht_ray.host.files import entries
from lscht_ray.video.recognise import is_clip_of_pictures, is_hidden, is_video

MAX_WALKED = 50_000
"""Files that are looked through at most where only an idea of a folder is wanted."""


def visible(folder: Path) -> list[Path]:
    """What is in a folder, sorted by name, without names that `is_hidden`.

    Raises:
        InputError: It can't be listed.
    """
    return [entry for entry in entries(folder) if not is_hidden(entry.name)]


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder that can be listed."""
    return [entry for entry in visible(folder) if entry.is_dir() and os.access(entry, os.R_OK | os.X_OK)]


def is_clip(path: Path) -> bool:
    """Whether this is a video, or a folder that is a clip made of pictures."""
    return is_video(path) or is_clip_of_pictures(path)


def clips_below(folder: Path) -> Iterator[Path]:
    """Every clip at any depth below a folder, in order: videos, and folders of pictures."""
    for place, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not is_hidden(name))
        pictured = [name for name in inner if is_clip_of_pictures(Path(place) / name)]
        yield from (Path(place) / name for name in pictured)
        inner[:] = [name for name in inner if name not in set(pictured)]
        yield from (path for name in sorted(names) if is_video(path := Path(place) / name))
