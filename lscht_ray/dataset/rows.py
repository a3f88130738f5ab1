"""What every reader returns: a row for each recorded performance, as its annotation states it."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lscht_ray.dataset.problems import Problem
from lscht_ray.host.files import nfc
from lscht_ray.video.span import Box, Span

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "entrenamiento"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "validación", "validacion"), "val"),
    **dict.fromkeys(("test", "testing", "prueba", "pruebas"), "test"),
}
"""What people call the splits, in small letters."""


def split_called(name: str) -> str | None:
    """The split that is called so, in whichever Unicode form; None: none is."""
    return SPLIT_NAMES.get(nfc(name).lower())


class Row(NamedTuple):
    """One recorded performance as its annotation states it.

    Attributes:
        video: The file, which may be missing.
        gloss: What is signed.
        split: train, val or test; None: the annotation names none.
        signer: Who signs; None: unknown.
        span: The part of the video; None: all of it.
        box: The part of the picture; None: all of it.
    """

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
        rows: The annotated performances.
        glosses: In label order; None: their sorted order is the label order.
        notes: Lines that the user should read once.
        problems: What is wrong with the annotations.
        excused: Videos that the data set itself calls missing.
        folders: The folders of the videos, to find those that are not annotated.
        unfilled: Glosses that have a place of their own and not one clip in it.
    """

    rows: list[Row]
    glosses: list[str] | None
    notes: list[str]
    problems: list[Problem] = field(default_factory=list)
    excused: frozenset[Path] = frozenset()
    folders: tuple[Path, ...] = ()
    unfilled: tuple[str, ...] = ()


def one_blank(name: str) -> str:
    """A name of a gloss or signer with one blank wherever there are several: nobody sees how many."""
    return re.sub(" {2,}", " ", name)


def renamed(kind: str, raw: dict[str, str], path: Path) -> list[Problem]:
    """The problems of names with blanks around them or in another Unicode form, by the name as written."""
    found = []
    for written, clean in raw.items():
        around = written != written.strip()
        blanks = around or "  " in written
        what = (
            "blanks around it"
            if around
            else "several blanks in a row"
            if blanks
            else "decomposed letters (Unicode NFD)"
        )
        found.append(
            Problem(
                "name_blanks" if blanks else "name_unicode",
                "warning" if blanks else "info",
                str(path),
                f"{kind} {written!r} has {what}",
                f"read as {clean!r}",
            )
        )
    return found
