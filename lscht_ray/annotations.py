"""A data set -> its list of Sample and its glosses, whatever its layout. No video is opened."""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from lscht_ray.console import EpochProgress
from lscht_ray.errors import InputError
from lscht_ray.readers import (
    MANIFEST_SUFFIXES,
    SPLIT_NAMES,
    VIDEO_SUFFIXES,
    Row,
    Table,
    find_wlasl,
    read_folders,
    read_table,
    read_wlasl,
)
from lscht_ray.synthetic import CLIPS, DEMO, demo_data, demo_folder

READERS: dict[str, Callable[[Path, Path | None], Table]] = {
    "wlasl": read_wlasl,
    "table": read_table,
    "folders": read_folders,
}
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Sample:
    """One recorded performance: the video file, its gloss and integer label, its split, its signer where known."""

    video: Path
    gloss: str
    label: int
    split: str
    signer: str | None = None


@dataclass(frozen=True)
class Annotations:
    """A data set as annotated. ``missing`` are videos that are annotated but not on disk; they are no samples."""

    root: Path
    layout: str
    glosses: tuple[str, ...]
    samples: tuple[Sample, ...]
    missing: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    def split(self, name: str) -> tuple[Sample, ...]:
        """The samples of one split."""
        return tuple(sample for sample in self.samples if sample.split == name)

    def summary(self) -> str:
        """One line: the layout found, clips per split, glosses, missing videos."""
        counts = Counter(sample.split for sample in self.samples)
        splits = ", ".join(f"{counts[name]} {name}" for name in SPLITS)
        gone = f"; {len(self.missing)} annotated videos are missing" if self.missing else ""
        return f"{self.root}: {self.layout} layout, {len(self.glosses)} glosses, clips: {splits}{gone}"


def read(
    data: str | Path,
    *,
    layout: str = "auto",
    videos: str | None = None,
    missing_threshold: float = 0.5,
    fractions: tuple[float, float] = (0.15, 0.15),
    seed: int = 42,
) -> Annotations:
    """Read a data set.

    Args:
        data: A folder or an annotation file.
        layout: ``wlasl``, ``table``, ``folders``, or ``auto`` to find out.
        videos: Folder of the videos where it is not beside the annotations.
        missing_threshold: Largest share of annotated videos that may be missing.
        fractions: Shares of val and test, drawn per gloss, where the data set comes without splits.
        seed: Seed of that draw.

    Raises:
        InputError: There is no such path, no layout fits, the annotations are wrong, or too many videos are missing.
    """
    path = Path(data).expanduser()
    if not path.exists():
        raise InputError(f"--data {data}: no such file or folder")
    path = path.resolve()
    chosen = find_layout(path) if layout == "auto" else layout
    if chosen == "folders" and not path.is_dir():
        raise InputError(f"--data {data}: the layout folders needs a folder")
    folder = None
    if videos is not None:
        folder = Path(videos).expanduser().resolve()
        if not folder.is_dir():
            raise InputError(f"--videos {videos}: no such folder")
    table = READERS[chosen](path, folder)
    rows, notes = _drawn_splits(table.rows, fractions, seed)
    present = [row for row in rows if row.video.is_file()]
    missing = tuple(row.video for row in rows if not row.video.is_file())
    if not rows:
        raise InputError(f"--data {data}: no clip is annotated there ({chosen} layout)")
    if not present or len(missing) > missing_threshold * len(rows):
        raise InputError(
            f"--data {data}: {len(missing)} of {len(rows)} annotated videos are missing, the first is {missing[0]}\n"
            f"  more than missing_threshold ({missing_threshold:g}) allows: give --videos FOLDER, or raise it"
        )
    glosses = table.glosses or sorted({row.gloss for row in rows}, key=_number_or_text)
    labels = {gloss: label for label, gloss in enumerate(glosses)}
    samples = (Sample(row.video, row.gloss, labels[row.gloss], row.split or "", row.signer) for row in present)
    return Annotations(path, chosen, tuple(glosses), tuple(samples), missing, (*table.notes, *notes))


def read_named(data: str, *, screen: Console, **settings: Any) -> Annotations:
    """As `read`; ``demo`` is the embedded demo data set, drawn where it isn't there yet."""
    if data != DEMO:
        return read(data, **settings)
    if not demo_folder().exists():
        screen.print("drawing the demo data set (once)")
    total = sum(sum(counts) for counts in CLIPS.values())
    with EpochProgress(screen, "drawing clips", total) as progress:
        return read(demo_data(on_clip=lambda done, total: progress.advance()), **settings)


def find_layout(path: Path) -> str:
    """Which reader fits a path.

    Raises:
        InputError: None does; the message lists what would.
    """
    if path.is_file():
        kinds = {".json": "wlasl", **dict.fromkeys(MANIFEST_SUFFIXES, "table")}
        if path.suffix.lower() in kinds:
            return kinds[path.suffix.lower()]
    else:
        if find_wlasl(path):
            return "wlasl"
        if any(file.suffix.lower() in MANIFEST_SUFFIXES for file in path.iterdir()):
            return "table"
        if _holds_class_folders(path):
            return "folders"
    raise InputError(
        f"--data {path}: no data set is recognised there. Allowed are\n"
        "  a WLASL folder (nslt_100.json or WLASL_v0.3.json, videos/) or one of its JSON files,\n"
        "  a .csv or .tsv manifest with the columns path, label, split (or a folder that holds one),\n"
        "  a folder of class folders: gloss/clip.mp4 or train/gloss/clip.mp4;\n"
        "  --data demo is the embedded demo data set"
    )


def trainable(annotations: Annotations, untrained: str = "error") -> Annotations:
    """The data set as training needs it: every gloss has a training clip, and there is something to validate on.

    Args:
        annotations: What `read` returned.
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


def _holds_class_folders(path: Path) -> bool:
    for entry in path.iterdir():
        if entry.is_dir():
            inside = list(entry.iterdir())
            if any(file.suffix.lower() in VIDEO_SUFFIXES for file in inside):
                return True
            if entry.name.lower() in SPLIT_NAMES and any(item.is_dir() for item in inside):
                return True
    return False


def _number_or_text(gloss: str) -> tuple[int, str]:
    return (int(gloss), gloss) if gloss.isdecimal() else (-1, gloss)


def _drawn_splits(rows: list[Row], fractions: tuple[float, float], seed: int) -> tuple[list[Row], list[str]]:
    """Rows with a split each: drawn per gloss where the data set names none, so that every gloss keeps its share."""
    if all(row.split is not None for row in rows):
        return rows, []
    rng = random.Random(seed)
    by_gloss: dict[str, list[Row]] = {}
    for row in sorted(rows):
        by_gloss.setdefault(row.gloss, []).append(row)
    drawn = [row for group in by_gloss.values() for row in _draw_gloss(group, fractions, rng)]
    shares = f"{fractions[0]:g} val, {fractions[1]:g} test"
    return drawn, [
        f"no splits are given: drawn per gloss with seed {seed} ({shares}); signers may be in several splits"
    ]


def _draw_gloss(group: list[Row], fractions: tuple[float, float], rng: random.Random) -> Iterable[Row]:
    """At least one clip for train, then for val, then for test; the rest by the fractions."""
    rng.shuffle(group)
    count = len(group)
    val = min(max(round(fractions[0] * count), 1 if fractions[0] else 0), count - 1)
    test = min(max(round(fractions[1] * count), 1 if fractions[1] else 0), count - 1 - val)
    splits = ["val"] * val + ["test"] * test + ["train"] * (count - val - test)
    return [row._replace(split=split) for row, split in zip(group, splits, strict=True)]
