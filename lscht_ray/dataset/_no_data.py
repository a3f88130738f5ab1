"""Why there is no data set at a path, in one sentence, where that is plain: what it is, and what is meant probably."""

import itertools
import os
import shlex
from collections import Counter
from pathlib import Path

from lscht_ray.dataset._entries import MAX_WALKED, clips_below, is_clip, subfolders, visible
from lscht_ray.dataset.rows import split_called
from lscht_ray.errors import InputError
from lscht_ray.host.files import is_file, read_text
from lscht_ray.video.recognise import is_clip_of_pictures, is_video

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".rar", ".7z", ".bz2", ".xz")
RUN_FILES, SWEEP_FILES = ("config.json", "metrics.jsonl"), ("sweep.json", "study.db")
ANNOTATIONS = (".csv", ".tsv", ".json", ".jsonl")
LOOKED_FOR = 20
"""Clips that are looked for in a table above."""
NAMED = 4
"""Kinds of files that a sentence names at most."""


def why_not(path: Path) -> str:
    """The sentence; nothing where a list of all layouts says more."""
    return _of_file(path) if path.is_file() else _of_folder(path)


def _of_file(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in ARCHIVES:
        return "it is an archive: unpack it, and name the folder"
    if is_video(path):
        folder = path.parent.parent
        return f"it is a single video: name the folder that holds all glosses, as in --data {_quoted(folder)}"
    return (
        f"a data set is a folder, or a table of its clips (.csv, .tsv, .json, .jsonl), not a {suffix} file"
        if suffix
        else "a data set is a folder, or a table of its clips (.csv, .tsv, .json, .jsonl)"
    )


def _of_folder(path: Path) -> str:
    inside = visible(path)
    if not inside:
        return "the folder is empty"
    if any(map(is_clip, inside)):
        return _of_one_folder(path)
    if split_called(path.name) or any(map(split_called, (entry.name for entry in inside))):
        above = annotated_above(path)
        if above:
            return above
    if not _holds_any_clip(path):
        kinds = Counter(entry.suffix.lower() or entry.name for entry in inside if entry.is_file())
        listed = ", ".join(kind for kind, _ in kinds.most_common(NAMED))
        return "there is no video in it" + (f", only {listed}" if listed else "")
    return ""


def annotated_above(path: Path) -> str:
    """The sentence where a table or list of clips lies in the folder above, or, above a split's, further up."""
    # Splits have a folder of their own at times: dataset/train beside the lists.
    clips = [clip.stem for clip in itertools.islice(clips_below(path), LOOKED_FOR)]
    for folder in list(path.parents)[: 2 if split_called(path.name) else 1]:
        if os.access(folder, os.R_OK | os.X_OK):
            tables = [entry for entry in visible(folder) if entry.suffix.lower() in ANNOTATIONS and entry.is_file()]
            found = next((table.name for table in tables if _names_any(table, clips)), "")
            if found:
                where = "the folder above" if folder == path.parent else "a folder further up"
                return f"the annotations are in {where} ({found}): --data {_quoted(folder)}"
    return ""


def _names_any(table: Path, clips: list[str]) -> bool:
    """Whether a table names one of these clips."""
    try:
        text = read_text(table, [])
    except InputError:
        return False
    return any(clip in text for clip in clips)


def of_results(path: Path) -> str:
    """The sentence about a folder of results; nothing where it is none."""
    for files, kind in ((RUN_FILES, "run"), (SWEEP_FILES, "sweep")):
        if all(is_file(path / file) for file in files):
            return f"it is a {kind}'s folder, not the folder of clips"
    return ""


def _of_one_folder(path: Path) -> str:
    """What clips that lie in the folder itself may be."""
    beside = [folder for folder in _siblings(path) if folder != path]
    if above := annotated_above(path):
        return above
    if any(any(map(is_clip, itertools.islice(visible(folder), 50))) for folder in beside[:20]):
        return f"its clips are those of one gloss ({path.name!r}): name the folder above, --data {_quoted(path.parent)}"
    return "nothing says what its clips show: put those of each gloss into a folder of its own, as in casa/1.mp4"


def _siblings(path: Path) -> list[Path]:
    return subfolders(path.parent) if os.access(path.parent, os.R_OK | os.X_OK) else []


def _holds_any_clip(path: Path) -> bool:
    seen = 0
    for place, _, files in os.walk(path):
        if is_clip_of_pictures(Path(place)):
            return True
        for name in files:
            seen += 1
            if seen > MAX_WALKED or is_video(Path(place) / name):
                return True
    return False


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
