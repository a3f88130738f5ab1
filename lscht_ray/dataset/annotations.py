"""Reads a data set of any layout into samples and glosses. No video is opened."""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from lscht_ray.dataset import layouts
from lscht_ray.dataset._elan import read_elan
from lscht_ray.dataset._folders import read_folders
from lscht_ray.dataset._lists import read_lists
from lscht_ray.dataset._lookup import is_there_as_clip
from lscht_ray.dataset._tables import read_table
from lscht_ray.dataset._wlasl import read_wlasl
from lscht_ray.dataset.demo import CLIPS, DEMO, demo_data, demo_folder
from lscht_ray.dataset.finding import Found, find_layout, find_tables_below, unread
from lscht_ray.dataset.problems import ANNOTATION_ERRORS, Problem
from lscht_ray.dataset.rows import SPLITS, Row, Table
from lscht_ray.dataset.samples import Sample
from lscht_ray.dataset.splits import SplitPlan, divide
from lscht_ray.errors import InputError
from lscht_ray.host.console import EpochProgress
from lscht_ray.host.files import given_path
from lscht_ray.settings.columns import ColumnMap
from lscht_ray.settings.elan import ElanMap
from lscht_ray.shown import counted, shown, some

LINES_AT_ONCE = 5000
"""Lines of a table after which the progress moves on."""
SHOWN = 5
"""Problems that a message names at most."""


@dataclass(frozen=True)
class Annotations:
    """A data set as annotated.

    Attributes:
        root: The data folder, or the annotation file.
        layout: The layout as which it was read.
        glosses: In label order.
        samples: The annotated performances whose videos exist.
        missing: Videos that are annotated but do not exist.
        notes: Lines that the user should read once.
        problems: What is wrong with the annotations.
        excused: Those of the missing videos that the data set itself calls missing.
        folders: The folders of the videos.
        drawn: Whether the splits were drawn or come from a split file; False: they are as annotated.
    """

    root: Path
    layout: str
    glosses: tuple[str, ...]
    samples: tuple[Sample, ...]
    missing: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    excused: frozenset[Path] = frozenset()
    folders: tuple[Path, ...] = ()
    drawn: bool = False

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self.root if self.root.is_dir() else self.root.parent

    def rows(self) -> list[Row]:
        """The samples as annotated, each with the split that it is in."""
        return [sample.row() for sample in self.samples]

    def split(self, name: str) -> tuple[Sample, ...]:
        """The samples of one split."""
        return tuple(sample for sample in self.samples if sample.split == name)

    def summary(self) -> str:
        """One line: layout, glosses, clips per split, missing videos."""
        counts = Counter(sample.split for sample in self.samples)
        splits = ", ".join(f"{counts[name]} {name}" for name in SPLITS)
        gone = (
            f"; {counted(len(set(self.missing)), 'annotated video is', 'annotated videos are')} missing"
            if self.missing
            else ""
        )
        return f"{shown(self.root)}: {self.layout} layout, {counted(len(self.glosses), 'gloss')}, clips: {splits}{gone}"


def read(
    data: str | Path,
    *,
    layout: str = "auto",
    columns: ColumnMap | None = None,
    elan: ElanMap | None = None,
    videos: str | None = None,
    missing_threshold: float = 0.5,
    plan: SplitPlan | dict[str, Any] | None = None,
    strict: bool = True,
    on_row: Callable[[], object] = int,
) -> Annotations:
    """Read a data set.

    Args:
        data: A folder or an annotation file.
        layout: ``wlasl``, ``table``, ``folders``, ``lists``, ``elan``, a shipped or own column map, or ``auto`` to find
            out; then the data set may lie in a subfolder.
        columns: The column map of an own table.
        elan: Which annotations of .eaf files are signs.
        videos: Folder of the videos, where it is not beside the annotations.
        missing_threshold: Largest share of annotated videos that may be missing, 0 to 1.
        plan: How clips are divided into splits (a `SplitPlan` or its attributes).
        strict: Raise for wrong annotations and for too many missing videos; False: they become problems.
        on_row: Called after each line of a table.

    Raises:
        InputError: There is no such path, no layout fits, the annotations are wrong, or too many videos are missing.
    """
    path = given_path(str(data), "--data")
    folder = None if videos is None else given_path(videos, "--videos")
    if folder is not None and not folder.is_dir():
        raise InputError(f"--videos {videos}: no such folder")
    own = columns is not None and columns != ColumnMap()
    tier = elan is not None and elan != ElanMap()
    known = "table" if own else "elan" if tier else None
    if layout == "auto" and known is None:
        found = find_layout(path)
    elif own and columns is not None and path.is_dir() and not columns.listed and not columns.files:
        found = find_tables_below(path, columns)
    else:
        beside = unread(path) if own and columns is not None and columns.listed and path.is_dir() else ""
        found = Found(path, known or layout, beside)
    path, chosen = found.path, found.layout
    table = _read_layout(chosen, path, folder, columns if own else None, elan or ElanMap(), on_row)
    how = plan if isinstance(plan, SplitPlan) else SplitPlan(**(plan or {}))
    if how.sets_aside:
        table = replace(table, problems=[problem for problem in table.problems if problem.kind != "unknown_split"])
    wrong = [problem for problem in table.problems if problem.kind in ANNOTATION_ERRORS]
    if strict and wrong:
        lines = [problem.line() for problem in wrong[:SHOWN]]
        more = f"\n... and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise InputError("\n".join(lines) + more)
    if not table.rows:
        lines = [f"\n  {problem.line()}" for problem in table.problems[:SHOWN]]
        raise InputError(f"--data {data}: no clip is annotated there ({chosen} layout)" + "".join(lines))
    rows, notes = divide(table.rows, how, path if path.is_dir() else path.parent)
    missing = tuple(row.video for row in rows if not is_there_as_clip(row.video))
    gone = set(missing)
    if strict and (len(missing) == len(rows) or len(missing) > missing_threshold * len(rows)):
        first = next(row.video for row in table.rows if row.video in gone)
        raise InputError(
            f"--data {data}: the videos of {len(missing)} of {len(rows)} annotated clips are missing, the first is "
            f"{shown(first)}\n"
            f"  more than missing_threshold ({missing_threshold:g}) allows: give --videos FOLDER, or raise it"
        )
    glosses = table.glosses or sorted({*table.unfilled, *(row.gloss for row in rows)}, key=_number_or_text)
    return Annotations(
        path,
        chosen,
        tuple(glosses),
        _samples([row for row in rows if row.video not in gone], glosses),
        missing,
        tuple(shown(note) for note in (found.note, *table.notes, *notes) if note),
        tuple(table.problems),
        table.excused,
        table.folders or tuple(sorted({row.video.parent for row in rows})),
        drawn=bool(notes),
    )


def _samples(rows: list[Row], glosses: list[str]) -> tuple[Sample, ...]:
    labels = {gloss: label for label, gloss in enumerate(glosses)}
    return tuple(Sample(r.video, r.gloss, labels[r.gloss], r.split or "", r.signer, r.span, r.box) for r in rows)


def _read_layout(
    layout: str,
    path: Path,
    videos: Path | None,
    columns: ColumnMap | None,
    elan: ElanMap,
    on_row: Callable[[], object],
) -> Table:
    if layout == "wlasl":
        return read_wlasl(path, videos)
    if layout == "folders":
        if not path.is_dir():
            raise InputError(f"--data {path}: the layout folders needs a folder")
        return read_folders(path, videos)
    if layout == "lists":
        return read_lists(path, videos)
    if layout == "elan":
        return read_elan(path, videos, elan)
    return read_table(path, videos, columns if layout == "table" else layouts.load(layout), on_row)


def read_named(data: str, *, screen: Console, **settings: Any) -> Annotations:
    """As `read`. The data set ``demo`` is the embedded one, which is drawn on first use."""
    if data != DEMO:
        with EpochProgress(screen, "reading annotations: line", None) as lines:
            seen = itertools.count(1)

            def on_row() -> None:
                if next(seen) % LINES_AT_ONCE == 0:
                    lines.advance(LINES_AT_ONCE)

            return read(data, **settings, on_row=on_row)
    if not demo_folder().exists():
        screen.print("drawing the demo data set (once)")
    total = sum(sum(counts) for counts in CLIPS.values())
    with EpochProgress(screen, "drawing clips", total) as progress:
        return read(demo_data(on_clip=lambda done, total: progress.advance()), **settings)


def absent_split(annotations: Annotations) -> str:
    """Why the data can't be trained on for want of a split, and what to type; nothing where train and val are there."""
    counts = {split: len(annotations.split(split)) for split in SPLITS}
    if counts["train"] and counts["val"]:
        return ""
    there = ", ".join(f"{count} {split}" for split, count in counts.items() if count) or "none"
    split = "val" if counts["train"] else "train"
    head = f"there is no clip in the {split} split (clips: {there}); training needs train and val"
    if annotations.missing:
        gone = counted(len(set(annotations.missing)), "annotated video is", "annotated videos are")
        return f"{head}\n  {gone} missing: --videos names their folder"
    if annotations.drawn:
        return f"{head}\n  val is drawn with --val_fraction above 0, of glosses with two clips or more"
    if counts["train"]:
        known = all(sample.signer for sample in annotations.split("train"))
        whole = ", with --split_policy by_signer of whole signers" * known
        return f"{head}\n  --val_from_train 0.15 makes val of 15 % of the training clips{whole}; test stays as it is"
    return f"{head}\n  --split_policy stratified draws all three splits anew"


def one_gloss(annotations: Annotations) -> str:
    """Why data of one gloss are none."""
    name = annotations.glosses[0] if annotations.glosses else ""
    unused = "".join(f"\n  {line}" for line in [unread(annotations.folder)] if line and annotations.layout == "folders")
    return (
        f"{name!r} is the only gloss, so there is nothing to tell apart\n"
        "  name the folder whose subfolders are the glosses, or say where they stand with --columns.pattern or"
        f" --columns.label{unused}"
    )


def trainable(annotations: Annotations, untrained: str = "error") -> Annotations:
    """The data set as training needs it: every gloss has a training clip, and there are validation clips.

    Args:
        annotations: The data set.
        untrained: ``error``, or ``drop`` to leave glosses without a training clip out of every split.

    Raises:
        InputError: A split is empty, or a gloss has no training clip and ``untrained`` is ``error``.
    """
    reason = absent_split(annotations)
    if reason:
        raise InputError(f"{annotations.root}: {reason}")
    if len(annotations.glosses) < 2:
        raise InputError(f"{annotations.root}: {one_gloss(annotations)}")
    trained = {sample.gloss for sample in annotations.split("train")}
    untaught = [gloss for gloss in annotations.glosses if gloss not in trained]
    if not untaught:
        return annotations
    named = some(map(repr, untaught))
    if untrained != "drop":
        elsewhere = Counter(sample.split for sample in annotations.samples if sample.gloss in set(untaught))
        clips = ", ".join(f"{count} in {split}" for split, count in elsewhere.items()) or "none at all"
        empty = [
            f"\n  {shown(problem.path)}: {problem.detail}"
            for problem in annotations.problems
            if problem.kind == "empty_gloss"
        ]
        raise InputError(
            f"{annotations.root}: {len(untaught)} of {len(annotations.glosses)} glosses have no training clip: {named}"
            f" (clips: {clips}){''.join(empty[:SHOWN])}\n"
            "  add training clips, or leave these glosses out with --untrained_glosses drop"
        )
    kept = [gloss for gloss in annotations.glosses if gloss in trained]
    labels = {gloss: label for label, gloss in enumerate(kept)}
    samples = tuple(replace(s, label=labels[s.gloss]) for s in annotations.samples if s.gloss in labels)
    note = f"{counted(len(untaught), 'gloss is', 'glosses are')} left out, without a training clip: {named}"
    result = replace(annotations, glosses=tuple(kept), samples=samples, notes=(*annotations.notes, note))
    if not result.split("val"):
        raise InputError(f"{annotations.root}: no val clip has a gloss that is trained")
    return result


def _number_or_text(gloss: str) -> tuple[int, str]:
    return (int(gloss), gloss) if gloss.isdecimal() else (-1, gloss)
