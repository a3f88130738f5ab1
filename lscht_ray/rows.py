"""What every reader returns: one row per recorded performance, as its annotation states it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from lscht_ray.problems import Problem

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class Span(NamedTuple):
    """Part of a video: 0-based and half-open, in frames or in seconds from its first frame; an end of None is its end.

    ``fps`` is the rate at which frames are numbered, where the annotation says so: a video of another rate is then cut
    by time. A ``doubtful`` span is left alone where the video seems to be cut to it already (WLASL).
    """

    start: float
    end: float | None
    unit: Literal["frame", "second"] = "frame"
    fps: float | None = None
    doubtful: bool = False


class Box(NamedTuple):
    """Where the signer is in the picture: half-open, in pixels of the upright picture or in shares of it."""

    left: float
    top: float
    right: float
    bottom: float
    unit: Literal["pixel", "share"] = "pixel"


class Row(NamedTuple):
    """One recorded performance as its annotation states it; a split of None is still to be drawn."""

    video: Path
    gloss: str
    split: str | None
    signer: str | None
    span: Span | None = None
    box: Box | None = None


@dataclass(frozen=True)
class Table:
    """What a reader found.

    Attributes:
        rows: The clips.
        glosses: In label order; None: sort them.
        notes: Lines that the user should read once.
        problems: What is wrong with the annotations.
        excused: Videos that the data set itself calls missing.
        folders: Where the videos are, to see which of them nobody annotated.
    """

    rows: list[Row]
    glosses: list[str] | None
    notes: list[str]
    problems: list[Problem] = field(default_factory=list)
    excused: frozenset[Path] = frozenset()
    folders: tuple[Path, ...] = ()


def renamed(kind: str, raw: dict[str, str], path: Path) -> list[Problem]:
    """The problems of names that are read otherwise than written: blanks around them, or another Unicode form."""
    found = []
    for written, clean in raw.items():
        blanks = written != written.strip()
        found.append(
            Problem(
                "name_blanks" if blanks else "name_unicode",
                "warning" if blanks else "info",
                str(path),
                f"{kind} {written!r} has " + ("blanks around it" if blanks else "decomposed letters (Unicode NFD)"),
                f"read as {clean!r}",
            )
        )
    return found
