"""Names and messages as they may be shown: what could steer a terminal, or forge a line, is written out."""

import logging
import re
import unicodedata
from collections.abc import Iterable

BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Change the direction of the text after them, so that a name reads otherwise than it is (Unicode, UAX 9)."""
STEERING = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Unicode's categories of control characters, of surrogates (bytes that are no UTF-8) and of line breaks."""


def shown(name: object) -> str:
    r"""A name of a file, gloss or signer in one line: control characters, line breaks and the like as \x1b, \n, ..."""
    text = str(name)
    return text if text.isprintable() else "".join(_escaped(each) if _steers(each) else each for each in text)


def lines_shown(text: str) -> str:
    """A message of several lines, as `shown`, but for its line breaks and tabs."""
    return "".join(part if part in ("\n", "\t") else shown(part) for part in re.split("([\n\t])", text))


def some(names: Iterable[object], most: int = 5) -> str:
    """The first names in one line, with dots where there are more."""
    listed = list(map(str, names))
    return ", ".join(listed[:most]) + ", ..." * (len(listed) > most)


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number and what it counts: 1 clip, 2 clips; 1 gloss, 2 glosses; 1 video is, 2 videos are."""
    many = many or f"{one}{'es' if one.endswith('s') else 's'}"
    return f"{number} {one if number == 1 else many}"


def oddity(name: str) -> tuple[str, str]:
    """What is odd about a name: the kind of problem, and what it is in words; both empty where nothing is."""
    if any(unicodedata.category(letter) == "Cs" for letter in name):
        return "name_not_text", "is no UTF-8 text (an old zip of Windows?)"
    for kind, words, categories in (
        ("name_control", "holds control characters", STEERING),
        ("name_invisible", "holds invisible characters", {"Cf"}),
        ("name_blanks", "holds blanks that are no spaces", {"Zs"}),
    ):
        odd = dict.fromkeys(letter for letter in name if letter != " " and unicodedata.category(letter) in categories)
        if odd:
            return kind, f"{words} ({', '.join(f'U+{ord(letter):04X}' for letter in odd)})"
    return "", ""


class ShownFormatter(logging.Formatter):
    """Writes log messages as `lines_shown` has them."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        return lines_shown(super().format(record))


def _steers(letter: str) -> bool:
    return not letter.isprintable() and (letter in BIDI or unicodedata.category(letter) in STEERING)


def _escaped(letter: str) -> str:
    return repr(letter)[1:-1]
