"""The fonts that pictures are labelled with: they must have every letter of the glosses, of whatever script."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

USUAL = "DejaVu Sans"
"""The font that matplotlib brings: Latin with all accents, Greek, Cyrillic, Arabic and more, but no Chinese."""
PLACEHOLDERS = "Last Resort"
"""How fonts are called that draw a box for every letter."""


def usual_file() -> Path:
    """The file of the usual font."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@lru_cache(maxsize=256)
def _letters(file: str) -> frozenset[int]:
    """The letters that a font has, by their numbers in Unicode; none where it can't be read."""
    try:
        return frozenset(FT2Font(file).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


def _installed() -> Iterator[tuple[str, str]]:
    """Every font of this machine: its name and its file."""
    for font in font_manager.fontManager.ttflist:
        if not font.name.startswith(PLACEHOLDERS):
            yield font.name, font.fname


def for_texts(texts: Iterable[str]) -> list[str]:
    """The names of fonts that have all letters of these texts, as far as there are such; the usual one comes first.

    matplotlib takes each letter from the first of them that has it.
    """
    wanted = {ord(letter) for text in texts for letter in text} - _letters(str(usual_file()))
    chosen = [USUAL]
    for name, file in _installed() if wanted else ():
        if wanted & _letters(file):
            wanted -= _letters(file)
            chosen.append(name)
        if not wanted:
            break
    return chosen


def for_text(text: str) -> tuple[Path, str]:
    """A font's file for a line of text, and the text as that font can write it.

    Where no font has all of its letters, it is the one that has most; the others are written by their numbers, as
    ``\\u4f60``: a box in their place would say nothing.
    """
    letters = {ord(letter) for letter in text}
    best = str(usual_file())
    for _, file in _installed() if letters - _letters(best) else ():
        if len(letters - _letters(file)) < len(letters - _letters(best)):
            best = file
        if letters <= _letters(best):
            break
    return Path(best), drawable(text, _letters(best))


def drawable(text: str, letters: frozenset[int] | None = None) -> str:
    """The text with letters that no font here has (or not those ``letters``) written by their numbers."""
    if text.isascii():  # which every font has: the others need not be opened
        return text
    known = _all_letters() if letters is None else letters
    return "".join(each if ord(each) in known or each.isspace() else f"\\u{ord(each):04x}" for each in text)


@lru_cache(maxsize=1)
def _all_letters() -> frozenset[int]:
    return frozenset[int]().union(*(_letters(file) for _, file in _installed()))
