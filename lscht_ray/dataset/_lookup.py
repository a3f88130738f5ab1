"""Finds the video that a table's line names, as people's tables name them."""

import re
from functools import lru_cache
from pathlib import Path

from lscht_ray.dataset._entries import visible
from lscht_ray.dataset._values import LineError
from lscht_ray.host.files import inside, is_file, is_there, nfc, on_disk
from lscht_ray.video.recognise import VIDEO_SUFFIXES, is_clip_of_pictures, is_video


def find_video(root: Path, name: str, folders: tuple[str, ...]) -> tuple[Path, bool]:
    """The file that a line names, and whether its suffix or its folder had to be found.

    Args:
        root: The folder that names start from.
        name: As written; a suffix may be lacking where only one video is called so.
        folders: In root, where the file is looked for besides.

    Returns:
        The file, which may be missing: then it is the one that the name means from ``root``.

    Raises:
        OutsideError: The name leads out of the folder, or is no file's.
        LineError: It has no suffix, and several videos are called so.
    """
    foreign = _of_another_machine(root, name)
    if foreign is not None:
        return foreign, True
    video = inside(root, name)
    places = [video]
    if not is_there_as_clip(video) and not Path(name).is_absolute():
        places += [inside(root, f"{folder}/{name}") for folder in folders]
    for place in places:
        if is_there_as_clip(place):
            return place, False
    for place in places:
        called = _by_stem(place.parent, place.parent.stat().st_mtime_ns) if place.parent.is_dir() else {}
        found = called.get(nfc(place.name), [])
        once = place.with_suffix("")
        if not found and once.suffix.lower() in VIDEO_SUFFIXES:  # a template's {archivo}.mp4, and the cell has it too
            found = [file for file in [on_disk(once)] if is_there_as_clip(file)]
        if len(found) > 1:
            names = " or ".join(file.name for file in found[:2])
            cause = "names without suffix fit several videos"
            raise LineError("unparsable", f"{name!r} may be {names}", cause, "write the suffix")
        if found:
            return found[0], True
    return video, False


def _of_another_machine(root: Path, name: str) -> Path | None:
    """The clip below root that the longest end of an absolute path means that isn't here; None where there is none."""
    path = Path(name.strip().replace("\\", "/"))
    if not re.match("/|[A-Za-z]:/", str(path)) or ".." in path.parts or is_there(path):
        return None
    ends = (on_disk(root.joinpath(*path.parts[start:])) for start in range(1, len(path.parts)))
    found = next(filter(is_there_as_clip, ends), None)
    return None if found is None else inside(root, str(found))


def is_there_as_clip(path: Path) -> bool:
    """Whether a file is there, or a folder of pictures: one of something else may be called as a video is."""
    return is_file(path) or is_clip_of_pictures(path)


@lru_cache(maxsize=256)
def _by_stem(folder: Path, mtime: int) -> dict[str, list[Path]]:
    """The videos of a folder by their names without suffix."""
    del mtime  # part of the cache's key only
    found: dict[str, list[Path]] = {}
    for entry in visible(folder):
        if is_video(entry):
            found.setdefault(nfc(entry.stem), []).append(entry)
    return found
