"""Reads a data set of any layout into samples and glosses. No video is opened."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from lscht_ray.dataset import layouts
from lscht_ray.dataset._folders import holds_class_folders, read_folders
from lscht_ray.dataset._tables import TABLE_SUFFIXES, find_tables, read_table, says_clips
from lscht_ray.dataset._wlasl import find_wlasl, read_wlasl
from lscht_ray.dataset.demo import CLIPS, DEMO, demo_data, demo_folder
from lscht_ray.dataset.problems import ANNOTATION_ERRORS, Problem
from lscht_ray.dataset.rows import SPLITS, Row, Table
from lscht_ray.dataset.samples import Sample
from lscht_ray.dataset.splits import SplitPlan, divide
from lscht_ray.errors import InputError
from lscht_ray.host.console import EpochProgress
from lscht_ray.host.files import given_path, is_file, read_json
from lscht_ray.settings.columns import ColumnMap

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
        gone = f"; {len(self.missing)} annotated videos are missing" if self.missing else ""
        return f"{self.root}: {self.layout} layout, {len(self.glosses)} glosses, clips: {splits}{gone}"


def read(
    data: str | Path,
    *,
    layout: str = "auto",
    columns: ColumnMap | None = None,
    videos: str | None = None,
    missing_threshold: float = 0.5,
    plan: SplitPlan | dict[str, Any] | None = None,
    strict: bool = True,
) -> Annotations:
    """Read a data set.

    Args:
        data: A folder or an annotation file.
        layout: ``wlasl``, ``table``, ``folders``, a shipped or own column map, or ``auto`` to find out.
        columns: The column map of an own table.
        videos: Folder of the videos, where it is not beside the annotations.
        missing_threshold: Largest share of annotated videos that may be missing, 0 to 1.
        plan: How clips are divided into splits (a `SplitPlan` or its attributes).
        strict: Raise for wrong annotations and for too many missing videos; False: they become problems.

    Raises:
        InputError: There is no such path, no layout fits, the annotations are wrong, or too many videos are missing.
    """
    path = given_path(str(data), "--data")
    folder = None if videos is None else given_path(videos, "--videos")
    if folder is not None and not folder.is_dir():
        raise InputError(f"--videos {videos}: no such folder")
    own = columns is not None and columns != ColumnMap()
    chosen = layout if layout != "auto" else "table" if own else find_layout(path)
    table = _read_layout(chosen, path, folder, columns if own else None)
    wrong = [problem for problem in table.problems if problem.kind in ANNOTATION_ERRORS]
    if strict and wrong:
        lines = [f"{problem.path}: {problem.detail} ({problem.action})" for problem in wrong[:SHOWN]]
        more = f"\n... and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise InputError("\n".join(lines) + more)
    if not table.rows:
        lines = [f"\n  {problem.path}: {problem.detail} ({problem.action})" for problem in table.problems[:SHOWN]]
        raise InputError(f"--data {data}: no clip is annotated there ({chosen} layout)" + "".join(lines))
    how = plan if isinstance(plan, SplitPlan) else SplitPlan(**(plan or {}))
    rows, notes = divide(table.rows, how, path if path.is_dir() else path.parent)
    missing = tuple(row.video for row in rows if not is_file(row.video))
    if strict and (len(missing) == len(rows) or len(missing) > missing_threshold * len(rows)):
        raise InputError(
            f"--data {data}: {len(missing)} of {len(rows)} annotated videos are missing, the first is {missing[0]}\n"
            f"  more than missing_threshold ({missing_threshold:g}) allows: give --videos FOLDER, or raise it"
        )
    glosses = table.glosses or sorted({row.gloss for row in rows}, key=_number_or_text)
    gone = set(missing)
    return Annotations(
        path,
        chosen,
        tuple(glosses),
        _samples([row for row in rows if row.video not in gone], glosses),
        missing,
        (*table.notes, *notes),
        tuple(table.problems),
        table.excused,
        table.folders or tuple(sorted({row.video.parent for row in rows})),
        drawn=bool(notes),
    )


def _samples(rows: list[Row], glosses: list[str]) -> tuple[Sample, ...]:
    labels = {gloss: label for label, gloss in enumerate(glosses)}
    return tuple(Sample(r.video, r.gloss, labels[r.gloss], r.split or "", r.signer, r.span, r.box) for r in rows)


def _read_layout(layout: str, path: Path, videos: Path | None, columns: ColumnMap | None) -> Table:
    if layout == "wlasl":
        return read_wlasl(path, videos)
    if layout == "folders":
        if not path.is_dir():
            raise InputError(f"--data {path}: the layout folders needs a folder")
        return read_folders(path, videos)
    if layout == "table":
        return read_table(path, videos, columns)
    return read_table(path, videos, layouts.load(layout))


def read_named(data: str, *, screen: Console, **settings: Any) -> Annotations:
    """As `read`. The data set ``demo`` is the embedded one, which is drawn on first use."""
    if data != DEMO:
        return read(data, **settings)
    if not demo_folder().exists():
        screen.print("drawing the demo data set (once)")
    total = sum(sum(counts) for counts in CLIPS.values())
    with EpochProgress(screen, "drawing clips", total) as progress:
        return read(demo_data(on_clip=lambda done, total: progress.advance()), **settings)


def find_layout(path: Path) -> str:
    """Find the layout of a data set.

    Raises:
        InputError: It has none that is known; the message lists those.
    """
    if path.is_file():
        if path.suffix.lower() in TABLE_SUFFIXES:
            return "table"
        if path.suffix.lower() == ".json":
            return "wlasl" if _is_wlasl(path) else "table"
    else:
        known = "wlasl" if find_wlasl(path) else layouts.recognise(path)
        if known:
            return known
        tables = find_tables(path)
        if any(map(says_clips, tables)):
            return "table"
        if holds_class_folders(path):
            return "folders"
        if tables:
            return "table"
    raise InputError(
        f"--data {path}: no data set is recognised there. Allowed are\n"
        "  a WLASL folder (nslt_100.json or WLASL_v0.3.json, videos/) or one of its JSON files,\n"
        "  a table (.csv, .tsv, .json, .jsonl) with the columns path, label, split (or a folder that holds one),\n"
        "  a folder of class folders: gloss/clip.mp4 or train/gloss/clip.mp4;\n"
        f"  data sets with a map of their own: {', '.join(layouts.shipped())} (--layout NAME);\n"
        "  other tables and file names: say where things stand with --columns.path, --columns.pattern and so on;\n"
        "  --data demo is the embedded demo data set"
    )


def trainable(annotations: Annotations, untrained: str = "error") -> Annotations:
    """The data set as training needs it: every gloss has a training clip, and there are validation clips.

    Args:
        annotations: The data set.
        untrained: ``error``, or ``drop`` to leave glosses without a training clip out of every split.

    Raises:
        InputError: A split is empty, or a gloss has no training clip and ``untrained`` is ``error``.
    """
    trained = {sample.gloss for sample in annotations.split("train")}
    untaught = [gloss for gloss in annotations.glosses if gloss not in trained]
    for split in ("train", "val"):
        if not annotations.split(split):
            raise InputError(f"{annotations.root}: there is no clip in the {split} split; training needs train and val")
    if not untaught:
        return annotations
    shown = ", ".join(repr(gloss) for gloss in untaught[:5]) + (", ..." if len(untaught) > 5 else "")
    if untrained != "drop":
        elsewhere = Counter(sample.split for sample in annotations.samples if sample.gloss in set(untaught))
        clips = ", ".join(f"{count} in {split}" for split, count in elsewhere.items()) or "none at all"
        raise InputError(
            f"{annotations.root}: {len(untaught)} of {len(annotations.glosses)} glosses have no training clip: {shown}"
            f" (clips: {clips})\n  add training clips, or leave these glosses out with --untrained_glosses drop"
        )
    kept = [gloss for gloss in annotations.glosses if gloss in trained]
    labels = {gloss: label for label, gloss in enumerate(kept)}
    samples = tuple(replace(s, label=labels[s.gloss]) for s in annotations.samples if s.gloss in labels)
    note = f"{len(untaught)} glosses without a training clip are left out: {shown}"
    result = replace(annotations, glosses=tuple(kept), samples=samples, notes=(*annotations.notes, note))
    if not result.split("val"):
        raise InputError(f"{annotations.root}: no val clip has a gloss that is trained")
    return result


def _is_wlasl(path: Path) -> bool:
    """Whether a JSON file is one of WLASL's: a list of {gloss, instances}, or a map of {subset, action}."""
    content, _ = read_json(path)
    if not isinstance(content, list):
        return True
    return any(isinstance(item, dict) and "instances" in item for item in content) or not content


def _number_or_text(gloss: str) -> tuple[int, str]:
    return (int(gloss), gloss) if gloss.isdecimal() else (-1, gloss)
