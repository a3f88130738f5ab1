"""Reads class folders into rows: ``split/gloss/clip`` or ``gloss/clip``. No video is opened."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lscht_ray.dataset._entries import clips_below, is_clip, subfolders, visible
from lscht_ray.dataset.problems import Problem
from lscht_ray.dataset.rows import Row, Table, one_blank, renamed, split_called
from lscht_ray.host.files import nfc, no_text
from lscht_ray.shown import counted, some
from lscht_ray.video.recognise import is_clip_of_pictures, is_picture, is_video

NAMED = 4
"""Folders or kinds of files that a message names at most."""


def class_folders(path: Path) -> list[Path]:
    """The folders in a data set, or in its split folders, that hold clips themselves: of one gloss each."""
    tops = subfolders(path)
    splits = _split_folders(tops)
    glosses = [gloss for top in splits for gloss in subfolders(top)] if splits else tops
    return list(filter(_holds_clips, glosses))


def read_folders(path: Path, videos: Path | None = None) -> Table:
    """Read the clips of class folders. Without split folders the rows have no split yet.

    A clip is a video, or a folder of pictures. A gloss without any clip stays a gloss (`Table.unfilled`). Folders that
    are called as splits are splits, unless they are class folders like those beside them.
    """
    root = videos or path
    tops = [entry for entry in visible(root) if entry.is_dir()]
    split_tops = _split_folders(tops)
    glosses: list[tuple[str | None, Path]] = [(None, entry) for entry in tops]
    found = _Found()
    for place in (root, *split_tops):
        found.look_for_loose(place)
    if split_tops:
        inner = [(split, entry) for top, split in split_tops.items() for entry in visible(top)]
        glosses = [(split, entry) for split, entry in inner if entry.is_dir()]
        found.others.update(_kind(entry) for _, entry in inner if entry.is_file() and not is_video(entry))
        left_out = [entry.name for entry in tops if entry not in split_tops]
        if left_out:
            found.notes.append(f"folders beside the splits are passed over: {', '.join(left_out)}")
    for split, folder in glosses:
        found.add(folder, split)
    return found.table(root)


def _split_folders(tops: list[Path]) -> dict[Path, str]:
    """Those of the folders that are splits, by their names, and which.

    A set of signs may have one that is called `test`: it is a class folder where others hold clips, unless there are
    class folders in `train`, or in two splits.
    """
    called = {top: split for top in tops if (split := split_called(top.name))}
    divided = {
        split for top, split in called.items() if any(_holds_clips(inner) for inner in visible(top) if inner.is_dir())
    }
    others = any(_holds_clips(top) for top in tops if top not in called)
    return called if "train" in divided or len(divided) > 1 or not others else {}


def _holds_clips(folder: Path) -> bool:
    """Whether clips lie in a folder itself; False where it can't be listed."""
    return os.access(folder, os.R_OK | os.X_OK) and any(map(is_clip, visible(folder)))


@dataclass
class _Found:
    """Collects what is in the class folders."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    """Files that are no clips, by their suffix."""
    empty: list[tuple[str, Path, str]] = field(default_factory=list)
    """Gloss, folder, and what is in it in place of clips."""
    raw: dict[str, str] = field(default_factory=dict)

    def look_for_loose(self, folder: Path) -> None:
        """Note the files that lie beside class folders: videos there have no gloss."""
        videos = [entry for entry in visible(folder) if entry.is_file() and is_video(entry)]
        if videos:
            detail = f"{_count(len(videos), 'video')} beside the gloss folders: {_some(videos)}"
            self._warn("no_gloss_folder", folder, detail, "passed over; move them into the folder of their gloss")

    def add(self, folder: Path, split: str | None) -> None:
        """Add the clips of one class folder."""
        if not os.access(folder, os.R_OK | os.X_OK):
            text = "the folder can't be read"
            self.problems.append(Problem("no_access", "warning", str(folder), text, "it is passed over"))
            return
        gloss = one_blank(nfc(folder.name))
        videos, pictured, inner, others = list[Path](), list[Path](), list[Path](), Counter[str]()
        for entry in visible(folder):
            if entry.is_dir():
                (pictured if is_clip_of_pictures(entry) else inner).append(entry)
            elif is_video(entry):
                videos.append(entry)
            else:
                others[_kind(entry)] += 1
        clips = videos or pictured
        deeper = [entry for entry in inner if next(clips_below(entry), None) is not None]
        idle = [entry for entry in inner if entry not in deeper]
        if videos:
            idle = [entry for entry in idle if any(is_picture(found.name) for found in visible(entry))]
        if not clips and not deeper and not others and inner and not any(map(any, map(visible, idle))):
            self.notes.append(f"{folder.name}/ holds only folders without clips: it is passed over")
            return
        if no_text(gloss):
            detail = f"the gloss folder {folder.name!r} is no UTF-8 text (an old zip of Windows?)"
            self.problems.append(Problem("name_not_text", "error", str(folder), detail, "rename it"))
        if gloss != folder.name:
            self.raw[folder.name] = gloss
        self.rows += [Row(clip, gloss, split, None) for clip in clips]
        self.others += others
        if not clips:
            self.empty.append((gloss, folder, _listed(others, inner)))
            return
        action = "move them up, or say with --columns.pattern where the gloss stands in a path"
        self._pass_over("subfolders", folder, deeper, "with clips", action)
        action = "a clip that is made of pictures has two or more, as .jpg, .png and the like"
        self._pass_over("no_pictures", folder, idle, "without a clip", action)
        if videos:
            action = "if they are clips, make videos of them"
            self._pass_over("pictures_beside_videos", folder, pictured, "of pictures beside videos", action)

    def _pass_over(self, kind: str, folder: Path, inner: list[Path], what: str, action: str) -> None:
        """Warn of folders in a class folder that are passed over."""
        if inner:
            detail = f"{_count(len(inner), 'subfolder')} {what} passed over: {_some(inner)}"
            self._warn(kind, folder, detail, action, f"{folder.name}/: ")

    def _warn(self, kind: str, folder: Path, detail: str, action: str, where: str = "") -> None:
        """Tell who checks, and who trains."""
        self.problems.append(Problem(kind, "warning", str(folder), detail, action))
        self.notes.append(f"{where}{detail} ({action})")

    def table(self, root: Path) -> Table:
        filled = {row.gloss for row in self.rows}
        for gloss, folder, inside in self.empty:
            action = "add clips, or leave the folder out with --untrained_glosses drop"
            problem = Problem("empty_gloss", "error", str(folder), f"the gloss {gloss!r} has no clip: {inside}", action)
            self.problems.append(problem if gloss not in filled else _milder(problem))
        if self.others:
            listed = some((f"{count} {kind}" for kind, count in self.others.most_common()), NAMED)
            self.notes.append(
                counted(self.others.total(), "file that is no video is", "files that are no videos are")
                + f" passed over: {listed}"
            )
        unfilled = tuple(gloss for gloss in dict.fromkeys(gloss for gloss, _, _ in self.empty) if gloss not in filled)
        problems = self.problems + renamed("the gloss folder", self.raw, root)
        return Table(self.rows, None, self.notes, problems, unfilled=unfilled)


def _milder(problem: Problem) -> Problem:
    """A folder without clips whose gloss has some elsewhere."""
    return Problem(problem.kind, "warning", problem.path, "there is no clip of its gloss in this folder", "add clips")


def _listed(others: Counter[str], inner: list[Path]) -> str:
    """What is in a class folder in place of clips."""
    parts = [_count(count, f"{kind} file") for kind, count in others.most_common(NAMED)]
    parts += [f"{_count(len(inner), 'subfolder')} ({_some(inner)})"] if inner else []
    return f"passed over are {', '.join(parts)}" if parts else "the folder is empty"


def _kind(path: Path) -> str:
    return path.suffix or "suffixless"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("s" if number > 1 else "")


def _some(folders: Iterable[Path]) -> str:
    return some((folder.name for folder in folders), NAMED)
