"""What every reader returns: one row per recorded performance, as its annotation states it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lscht_ray.dataset.problems import Problem
from lscht_ray.video.span import Box, Span

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


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
