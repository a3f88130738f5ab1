"""Data set layouts -> rows: WLASL JSON, a CSV/TSV manifest, class folders. No video is opened.

To add a layout: write a function that returns `Table`, and name it in `annotations.READERS`.
"""

import csv
import json
import os
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from lscht_ray.errors import InputError

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".3gp", ".gif", ".swf")
)
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
COLUMNS = {
    "path": ("path", "video", "video_path", "file", "filename", "filepath"),
    "label": ("label", "gloss", "class", "word", "sign"),
    "split": ("split", "subset", "set"),
    "signer": ("signer", "signer_id", "participant", "person"),
}
MANIFEST_SUFFIXES = (".csv", ".tsv")


class Row(NamedTuple):
    """One recorded performance as its annotation states it; a split of None is still to be drawn."""

    video: Path
    gloss: str
    split: str | None
    signer: str | None


@dataclass(frozen=True)
class Table:
    """What a reader found: rows, the glosses in label order (None: sort them), and what it wants to say."""

    rows: list[Row]
    glosses: list[str] | None
    notes: list[str]


def nfc(text: str) -> str:
    """Text without outer blanks in Unicode form NFC; macOS writes file names in NFD."""
    return unicodedata.normalize("NFC", text.strip())


def _listing(folder: Path) -> dict[str, Path]:
    """The files of a folder by NFC name; empty where there is no such folder."""
    try:
        return _scan(folder, folder.stat().st_mtime_ns) if folder.is_dir() else {}
    except OSError as error:
        raise InputError(f"{folder} can't be listed: {error.strerror}") from None


@lru_cache(maxsize=256)
def _scan(folder: Path, mtime: int) -> dict[str, Path]:
    del mtime  # part of the cache's key only
    return {unicodedata.normalize("NFC", entry.name): Path(entry.path) for entry in os.scandir(folder)}


def on_disk(path: Path) -> Path:
    """The file of that name in whichever Unicode form it is stored; the path itself where there is none."""
    return _listing(path.parent).get(unicodedata.normalize("NFC", path.name), path)


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without byte order mark.

    Raises:
        InputError: It can't be read or is in another encoding.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8 and try again") from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path} is no valid JSON: {error}") from None


# ---------------------------------------------------------------- WLASL


def find_wlasl(folder: Path) -> list[Path]:
    """The annotation files that make a folder a WLASL folder: its nslt maps, else its v0.x list."""
    maps = sorted(folder.glob("nslt_*.json"))
    return maps or sorted(folder.glob("WLASL_v*.json"))


def read_wlasl(path: Path, videos: Path | None = None) -> Table:
    """WLASL's JSON: the list of glosses (v0.3) or an nslt map, with or without the split files of the thesis' layout.

    Videos are looked for in ``videos/``, ``WLASL2000/`` and ``dataset/{train,val,test}/``. Frame ranges are not
    applied: the clips in circulation are already trimmed (79 of 205 ranged WLASL-100 clips start beyond their end).
    """
    if path.is_dir():
        found = find_wlasl(path)
        if len(found) != 1:
            names = ", ".join(file.name for file in found) or "nslt_*.json or WLASL_v*.json: none"
            raise InputError(f"{path}: name one annotation file ({names}), as in --data {path / 'nslt_100.json'}")
        path = found[0]
    root, content = path.parent, _read_json(path)
    notes: list[str] = []
    if isinstance(content, list):
        glosses, listed = _wlasl_list(content, path)
        entries = {video_id: (clip.gloss, clip.split) for video_id, clip in listed.items()}
    else:
        beside = sorted(root.glob("WLASL_v*.json"))[-1:]
        classes, listed = _wlasl_list(_read_json(beside[0]), beside[0]) if beside else (_class_names(root), {})
        entries, glosses = _nslt_entries(content, path, classes)
        unlisted = sum(video_id not in listed for video_id in entries) if listed else 0
        if unlisted:
            notes.append(f"{unlisted} ids of {path.name} are not in {beside[0].name} (their signer is unknown)")
    entries, folders = _thesis_splits(root, entries, notes)
    where = _locate([videos] if videos else [root / "videos", root / "WLASL2000", root, *folders])
    rows = []
    for video_id, (gloss, split) in entries.items():
        video = where.get(video_id, (videos or root / "videos") / f"{video_id}.mp4")
        signer = listed[video_id].signer if video_id in listed else None
        rows.append(Row(video, gloss, split, signer))
    ranged = sum(video_id in listed and listed[video_id].ranged for video_id in entries)
    if ranged:
        notes.append(f"{ranged} clips are annotated with a frame range: the whole clip is used, as WLASL's are trimmed")
    missing_file = root / "missing.txt"
    if missing_file.is_file():
        gone = sum(line.strip() in entries for line in read_text(missing_file).splitlines())
        notes.append(f"missing.txt names {gone} of these clips")
    return Table(rows, glosses, notes)


class _Listed(NamedTuple):
    """One clip of the WLASL list."""

    gloss: str
    split: str
    signer: str | None
    ranged: bool


def _wlasl_list(content: Any, path: Path) -> tuple[list[str], dict[str, _Listed]]:
    """The glosses in order, a gloss's class id being its position; and the clips by video_id."""
    clips = {}
    try:
        glosses = [nfc(item["gloss"]) for item in content]
        for gloss, item in zip(glosses, content, strict=True):
            for clip in item["instances"]:
                ranged = clip.get("frame_start", 1) != 1 or clip.get("frame_end", -1) != -1
                signer = None if clip.get("signer_id") is None else str(clip["signer_id"])
                clips[str(clip["video_id"])] = _Listed(gloss, _split_name(clip["split"], str(path)), signer, ranged)
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is no WLASL list of {{gloss, instances: [{{video_id, split}}]}}: {error!r}") from None
    return glosses, clips


def _nslt_entries(content: Any, path: Path, names: list[str]) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """video_id -> gloss and split; and the glosses in the order of their class ids."""
    try:
        classes = {str(key): int(value["action"][0]) for key, value in content.items()}
        splits = {str(key): str(value["subset"]) for key, value in content.items()}
    except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
        raise InputError(f"{path} is no nslt map {{video_id: {{subset, action: [class, ...]}}}}: {error!r}") from None
    glosses = names[: max(classes.values(), default=-1) + 1]
    nameless = sorted(label for label in set(classes.values()) if not 0 <= label < len(glosses))
    if nameless:
        raise InputError(f"{path}: no gloss is known for class {nameless[0]}: put WLASL_v0.3.json beside it")
    return {key: (glosses[label], _split_name(splits[key], str(path))) for key, label in classes.items()}, glosses


def _class_names(root: Path) -> list[str]:
    """Glosses by class id where there is no WLASL list: from the class list, else from gloss_to_id.json."""
    class_list, gloss_to_id = root / "wlasl_class_list.txt", root / "gloss_to_id.json"
    try:
        if class_list.is_file():
            pairs = [line.split("\t", 1) for line in read_text(class_list).splitlines() if "\t" in line]
            by_id = {int(label): nfc(gloss) for label, gloss in pairs}
        elif gloss_to_id.is_file():
            by_id = {int(label): nfc(gloss) for gloss, label in _read_json(gloss_to_id).items()}
        else:
            return []
        return [by_id[label] for label in range(len(by_id))]
    except (ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{root}: the class ids of the gloss list must be 0, 1, 2, ...: {error!r}") from None


def _thesis_splits(
    root: Path, entries: dict[str, tuple[str, str]], notes: list[str]
) -> tuple[dict[str, tuple[str, str]], list[Path]]:
    """Splits from ``splits/<split>_split.txt`` where they exist (lines like ``train\\00623.mp4``), and its folders."""
    chosen: dict[str, str] = {}
    for split in ("train", "val", "test"):
        file = root / "splits" / f"{split}_split.txt"
        if file.is_file():
            lines = (line.strip().replace("\\", "/") for line in read_text(file).splitlines())
            chosen.update({PurePosixPath(line).stem: split for line in lines if line})
    folders = [root / "dataset" / split for split in ("train", "val", "test")]
    if not chosen:
        return entries, folders
    unknown = len(chosen.keys() - entries.keys())
    notes.append(f"splits from splits/*_split.txt: {len(chosen) - unknown} clips, {unknown} without annotation")
    return {key: (entries[key][0], split) for key, split in chosen.items() if key in entries}, folders


def _locate(folders: list[Path]) -> dict[str, Path]:
    """Video files by stem; earlier folders win."""
    found: dict[str, Path] = {}
    for folder in folders:
        for name, path in sorted(_listing(folder).items()):
            if path.suffix.lower() in VIDEO_SUFFIXES:
                found.setdefault(Path(name).stem, path)
    return found


# ---------------------------------------------------------------- manifest


def read_table(path: Path, videos: Path | None = None) -> Table:
    """A CSV or TSV manifest with a header: path, label, and optionally split and signer, in any order."""
    if path.is_dir():
        found = [file for file in sorted(path.iterdir()) if file.suffix.lower() in MANIFEST_SUFFIXES]
        if len(found) != 1:
            listed = ", ".join(file.name for file in found) or "none is there"
            raise InputError(f"{path}: name one manifest file ({listed}), as in --data {path / 'manifest.csv'}")
        path = found[0]
    lines = read_text(path).splitlines()
    header = lines[0] if lines else ""
    delimiter = max("\t;,", key=header.count)
    names = [name.strip().lower() for name in header.split(delimiter)]
    index = {role: next((names.index(a) for a in aliases if a in names), None) for role, aliases in COLUMNS.items()}
    for role in ("path", "label"):
        if index[role] is None:
            allowed = ", ".join(COLUMNS[role])
            raise InputError(f"{path}, line 1: no column for the {role} ({allowed}) in the header {header!r}")
    root, rows = videos or path.parent, []
    for number, cells in enumerate(csv.reader(lines[1:], delimiter=delimiter), start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(names):
            raise InputError(f"{path}, line {number}: {len(cells)} cells where the header has {len(names)}")
        row = {role: cells[column].strip() if column is not None else "" for role, column in index.items()}
        if not row["path"] or not row["label"]:
            raise InputError(f"{path}, line {number}: the path or the label is empty")
        split = _split_name(row["split"], f"{path}, line {number}") if index["split"] is not None else None
        video = on_disk(root / row["path"].replace("\\", "/"))
        rows.append(Row(video, nfc(row["label"]), split, row["signer"] or None))
    return Table(rows, None, [])


def _split_name(name: str, where: str) -> str:
    split = SPLIT_NAMES.get(str(name).strip().lower())
    if split is None:
        raise InputError(f"{where}: split {name!r} is none of train, val, test")
    return split


# ---------------------------------------------------------------- folders


def read_folders(path: Path, videos: Path | None = None) -> Table:
    """Class folders: ``split/gloss/*`` or ``gloss/*`` (then a split is drawn)."""
    root = videos or path
    tops = [entry for entry in sorted(root.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
    split_tops = {entry: SPLIT_NAMES[entry.name.lower()] for entry in tops if entry.name.lower() in SPLIT_NAMES}
    rows, ignored = [], 0
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
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() in VIDEO_SUFFIXES:
                rows.append(Row(file, nfc(folder.name), split, None))
            else:
                ignored += 1
    notes = [f"{ignored} files that are no videos are passed over"] if ignored else []
    if left_out:
        notes.append(f"folders beside the splits are passed over: {', '.join(left_out)}")
    return Table(rows, None, notes)
