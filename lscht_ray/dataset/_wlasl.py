"""Reads WLASL's annotations into rows: the list of glosses (v0.3), nslt maps, and the thesis' layout."""

import json
import shlex
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from lscht_ray.dataset._cells import duplicate_keys
from lscht_ray.dataset._entries import is_clip
from lscht_ray.dataset.problems import Problem
from lscht_ray.dataset.rows import SPLITS, Row, Table, renamed, split_called
from lscht_ray.errors import InputError
from lscht_ray.host.files import OutsideError, inside, listing, nfc, read_json, read_text
from lscht_ray.shown import counted, some
from lscht_ray.video.span import Box, Span

SHOWN = 60
"""Characters of an entry that can't be read that are shown."""
FPS = 25.0
"""WLASL numbers frames at this rate."""


def find_wlasl(folder: Path) -> list[Path]:
    """The annotation files that make a folder a WLASL folder: its nslt maps, else its v0.x list."""
    maps = sorted(folder.glob("nslt_*.json"))
    return maps or sorted(folder.glob("WLASL_v*.json"))


def read_wlasl(path: Path, videos: Path | None = None) -> Table:
    """Read WLASL's JSON: the list of glosses (v0.3) or an nslt map, with or without the thesis' split files.

    Videos are searched in ``videos/``, ``WLASL2000/`` and ``dataset/{train,val,test}/``.

    Raises:
        InputError: A file can't be read, or is none of WLASL's.
    """
    path = _annotation_file(path)
    root, problems, notes = path.parent, list[Problem](), list[str]()
    content = _load(path, problems)
    if isinstance(content, list):
        glosses, entries = _read_list(content, path, problems)
    elif isinstance(content, dict):
        glosses, entries = _read_map(content, path, problems)
    else:
        raise _foreign(path, content)
    entries = _with_thesis_splits(root, entries, problems, notes)
    folders = [videos] if videos else [root / "videos", root / "WLASL2000", root]
    folders += [] if videos else [root / "dataset" / split for split in SPLITS]
    where = _locate(folders)
    found = {key: _video(key, where, videos or root / "videos", problems) for key in entries}
    named = {key: video for key, video in found.items() if video is not None}
    rows = [Row(named[key], *entry) for key, entry in entries.items() if key in named]
    gone = _listed_as_missing(root, problems, notes, entries.keys())
    used = tuple(folder for folder in folders if folder.is_dir())
    return Table(rows, glosses, notes, problems, frozenset(named[key] for key in gone & named.keys()), used)


def _video(video_id: str, where: dict[str, Path], folder: Path, problems: list[Problem]) -> Path | None:
    """The file of an id, or the path where it is missing; None for an id that can't be a file's name."""
    if video_id in where:
        return where[video_id]
    if video_id.isalnum():
        return folder / f"{video_id}.mp4"
    try:
        if "/" in video_id or "\\" in video_id:
            raise OutsideError("path_outside", f"the video_id {video_id!r} leads out of {folder}")
        return inside(folder, f"{video_id}.mp4")
    except OutsideError as error:
        problems.append(Problem(error.kind, "error", str(folder), str(error), "an id is the name of a file in videos/"))
        return None


class _Entry(NamedTuple):
    """One annotated clip: a Row without its video."""

    gloss: str
    split: str
    signer: str | None
    span: Span | None
    box: Box | None


def _annotation_file(path: Path) -> Path:
    if path.is_file():
        return path
    found = find_wlasl(path)
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "nslt_*.json or WLASL_v*.json: none"
        example = shlex.quote(str(found[0] if found else path / "nslt_100.json"))
        raise InputError(f"{path}: name one annotation file ({names}), as in --data {example}")
    return found[0]


def _load(path: Path, problems: list[Problem]) -> Any:
    content, twice = read_json(path)
    problems += duplicate_keys(path, twice)
    return content


def _foreign(path: Path, content: Any) -> InputError:
    shown = json.dumps(content, ensure_ascii=False)[:SHOWN]
    return InputError(f"{path} is neither WLASL's list of glosses nor an nslt map: it holds {shown}")


def _unparsable(path: Path, where: str, error: Exception, value: Any, wanted: str) -> Problem:
    text = str(error) if isinstance(error, InputError) else f"it is {json.dumps(value, ensure_ascii=False)[:SHOWN]}"
    return Problem("unparsable", "error", str(path), f"{where}: {text}", f"it must be {wanted}")


def _read_list(content: list[Any], path: Path, problems: list[Problem]) -> tuple[list[str], dict[str, _Entry]]:
    """The glosses, each at the position of its class id, and the clips by video_id."""
    glosses, entries = list[str](), dict[str, _Entry]()
    for number, item in enumerate(content):
        try:
            gloss = nfc(item["gloss"])
            clips = list(item["instances"])
            if gloss != item["gloss"]:
                problems += renamed("the gloss", {item["gloss"]: gloss}, path)
        except (TypeError, KeyError, AttributeError) as error:
            problems.append(_unparsable(path, f"entry {number}", error, item, "{gloss, instances: [...]}"))
            gloss, clips = f"(entry {number})", []
        if gloss in glosses:
            detail = f"the gloss {gloss!r} is there twice, as class {glosses.index(gloss)} and {number}"
            gloss = f"{gloss} ({number})"
            problems.append(Problem("duplicate_key", "warning", str(path), detail, f"the second is called {gloss!r}"))
        glosses.append(gloss)
        for clip in clips:
            try:
                video_id, entry = str(clip["video_id"]), _entry(gloss, clip)
            except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
                problems.append(_unparsable(path, f"gloss {gloss!r}", error, clip, "{video_id, split, ...}"))
                continue
            if video_id in entries:
                problems.append(_twice(path, video_id, entries[video_id].gloss, gloss))
            else:
                entries[video_id] = entry
    return glosses, entries


def _entry(gloss: str, clip: dict[str, Any]) -> _Entry:
    signer = None if clip.get("signer_id") is None else str(clip["signer_id"])
    box = _box(clip.get("bbox"))
    return _Entry(gloss, _split(clip["split"]), signer, _span(clip.get("frame_start"), clip.get("frame_end")), box)


def _box(sides: Any) -> Box | None:
    """The box of left, top, right, bottom, in pixels of the raw video."""
    if not sides:
        return None
    left, top, right, bottom = map(float, sides)
    return Box(left, top, right, bottom) if left < right and top < bottom else None


def _span(start: Any, end: Any) -> Span | None:
    """The span of ``frame_start``, which counts from 1, and ``frame_end``, which is included; -1 means the end."""
    first, last = int(start or 1), int(-1 if end is None else end)
    if first <= 1 and last < 0:
        return None
    return Span(max(first - 1, 0), last if last >= 0 else None, fps=FPS, doubtful=True)


def _split(name: Any) -> str:
    split = split_called(str(name))
    if split is None:
        raise InputError(f"split {name!r} is none of train, val, test")
    return split


def _twice(path: Path, video_id: str, first: str, second: str) -> Problem:
    if first == second:
        detail, severity = f"video {video_id} is annotated twice as {first!r}", "warning"
    else:
        detail, severity = f"video {video_id} is annotated as {first!r} and as {second!r}", "error"
    kind = "duplicate_key" if first == second else "two_labels"
    return Problem(kind, "error" if severity == "error" else "warning", str(path), detail, "keep one of them")


def _read_map(content: dict[str, Any], path: Path, problems: list[Problem]) -> tuple[list[str], dict[str, _Entry]]:
    """Read an nslt map of video_id to subset and class. Names, signers and ranges come from the list beside it."""
    root = path.parent
    beside = sorted(root.glob("WLASL_v*.json"))[-1:]
    listed: dict[str, _Entry] = {}
    if beside:
        other = list[Problem]()  # dropped: they may be about clips that this map doesn't use
        content_beside = _load(beside[0], problems)
        if not isinstance(content_beside, list):
            raise _foreign(beside[0], content_beside)
        names, listed = _read_list(content_beside, beside[0], other)
    else:
        names = _class_names(root)
    entries, classes = {}, {}
    for key, value in content.items():
        try:
            label, span = int(value["action"][0]), (*value["action"][1:3], None, None)[:2]
            split = _split(value["subset"])
            raw = _span(*span) if span[0] not in (None, 1) else None
            if label >= len(names) > 0 or label < 0:
                raise InputError(f"class {label} has no name, there are {len(names)}")
        except (TypeError, KeyError, IndexError, AttributeError, ValueError, OverflowError) as error:
            problems.append(_unparsable(path, f"video {key!r}", error, value, "{subset, action: [class, start, end]}"))
            continue
        if not names:
            raise InputError(f"{path}: no gloss is known for class {label}: put WLASL_v0.3.json beside it")
        known = listed.get(key)
        classes[key] = label
        entries[key] = _Entry(names[label], split, *(known[2:] if known else (None, raw, None)))
    if content and not (entries or listed) and not any(key.isdecimal() for key in content):
        raise _foreign(path, content)
    unlisted = [key for key in entries if listed and key not in listed]
    if unlisted:
        ids = some(unlisted)
        detail = f"{counted(len(unlisted), 'id is', 'ids are')} not in {beside[0].name}: {ids}"
        problems.append(Problem("id_mismatch", "info", str(path), detail, "they are used; their signer is unknown"))
    return names[: max(classes.values(), default=-1) + 1], entries


def _class_names(root: Path) -> list[str]:
    """The glosses by class id, without WLASL's list: from the class list, else from gloss_to_id.json."""
    class_list, gloss_to_id = root / "wlasl_class_list.txt", root / "gloss_to_id.json"
    try:
        if class_list.is_file():
            pairs = [line.split("\t", 1) for line in read_text(class_list).splitlines() if "\t" in line]
            by_id = {int(label): nfc(gloss) for label, gloss in pairs}
        elif gloss_to_id.is_file():
            by_id = {int(label): nfc(gloss) for gloss, label in read_json(gloss_to_id)[0].items()}
        else:
            return []
        return [by_id[label] for label in range(len(by_id))]
    except (ValueError, KeyError, AttributeError, TypeError):
        file = class_list if class_list.is_file() else gloss_to_id
        raise InputError(f"{file}: the class ids must be 0, 1, 2, ... without a gap, each with its gloss") from None


def _with_thesis_splits(
    root: Path, entries: dict[str, _Entry], problems: list[Problem], notes: list[str]
) -> dict[str, _Entry]:
    """Take the splits from ``splits/<split>_split.txt`` where these exist (lines like ``train\\00623.mp4``)."""
    chosen: dict[str, str] = {}
    for split in SPLITS:
        file = root / "splits" / f"{split}_split.txt"
        if not file.is_file():
            continue
        lines = [line.strip().replace("\\", "/") for line in read_text(file).splitlines()]
        ids = [PurePosixPath(line).stem for line in lines if line]
        unknown = [video_id for video_id in ids if video_id not in entries]
        if unknown:
            detail = f"{counted(len(unknown), 'id has', 'ids have')} no annotation: {some(unknown)}"
            problems.append(Problem("id_mismatch", "warning", str(file), detail, "they are passed over"))
        for video_id in ids:
            if video_id in chosen:
                detail = f"video {video_id} is in the {chosen[video_id]} and in the {split} list"
                problems.append(Problem("duplicate_key", "warning", str(file), detail, "the last one counts"))
        chosen.update(dict.fromkeys(ids, split))
        _note_corrupt(root / f"corrupt_videos_{split}.txt", notes)
    if not chosen:
        return entries
    known = {key: entries[key]._replace(split=split) for key, split in chosen.items() if key in entries}
    notes.append(
        f"splits from splits/*_split.txt: {counted(len(known), 'clip')}, {len(chosen) - len(known)} without annotation"
    )
    left = [key for key in entries if key not in chosen]
    if left:
        detail = f"{len(left)} annotated ids are in none of the lists: {some(left)}"
        problems.append(Problem("id_mismatch", "info", str(root / "splits"), detail, "they are passed over"))
    return known


def _note_corrupt(file: Path, notes: list[str]) -> None:
    if file.is_file():
        count = sum(1 for line in read_text(file).splitlines() if line.strip())
        notes.append(f"{file.name} names {counted(count, 'video')}: whether they can be read is found out anew")


def _listed_as_missing(root: Path, problems: list[Problem], notes: list[str], ids: Any) -> set[str]:
    """The ids that missing.txt says could not be downloaded."""
    file = root / "missing.txt"
    if not file.is_file():
        return set()
    named = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    gone = {video_id for video_id in named if video_id in ids}
    notes.append(f"missing.txt names {len(gone)} of these clips")
    if len(gone) < len(named):
        others = [video_id for video_id in named if video_id not in gone]
        detail = f"{counted(len(others), 'id is', 'ids are')} not annotated here: {some(others)}"
        problems.append(Problem("id_mismatch", "info", str(file), detail, "nothing: they belong to other glosses"))
    return gone


def _locate(folders: list[Path]) -> dict[str, Path]:
    """Video files by their name without suffix. Of two with one name, that of the earlier folder is taken."""
    found: dict[str, Path] = {}
    for folder in folders:
        for name, path in sorted(listing(folder).items()):
            if is_clip(path):
                found.setdefault(Path(name).stem, path)
    return found
