"""Reads numbers and times as people's tools write them: 0,50 (Excel in es, de, fr), 00:00:00.500 (ELAN), 500 ms."""

import math
import re
from typing import Literal

Unit = Literal["frame", "second", "millisecond"]
PLAIN = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE)
"""A number whose point or comma, if there is one, is decimal."""
GROUPED = tuple(
    re.compile(rf"(?P<whole>[+-]?[1-9]\d{{0,2}}(?:{mark}\d{{3}})+)(?:{decimal}(?P<part>\d*))?")
    for mark, decimal in (("[.]", ","), (",", "[.]"), ("[ \u00a0\u2009\u202f']", "[.,]"))
)
"""A number with a mark before each three digits: 1.234,5 or 1,234.5 or 1 234,5."""
CLOCK = re.compile(r"(?:(\d+):(?=[0-5]?\d:))?(\d{1,2}):([0-5]?\d(?:[.,]\d+)?)")
"""[hours:]minutes:seconds; of 60 minutes and more only without hours."""
FRAMES_CLOCK = re.compile(r"\d+:\d{1,2}:\d{1,2}[:;]\d{1,2}")
THOUSANDS = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")
"""What means a thousand and more in one country and a small number with decimals in another."""
LONGEST = 64
"""Letters that a number or time has at most."""
WITH_UNIT = re.compile(r"(.*\d)\s*(ms|s|sec|seg)\.?")


class UnreadableNumberError(ValueError):
    """A cell holds no number of the kind that is expected there.

    Attributes:
        reason: What is wrong with it, in words.
        cause: What is wrong, without the value: the same for all cells that fail in the same way.
        action: What to do about it.
    """

    def __init__(self, reason: str, cause: str, action: str) -> None:
        super().__init__(reason)
        self.reason, self.cause, self.action = reason, cause, action


def number(text: str) -> float | None:
    """Read a number with a decimal point or a decimal comma; None where the cell is empty.

    A point or comma is decimal, where it does not stand before each three digits of a number that has both, or two.

    Raises:
        UnreadableNumberError: It is no finite number.
    """
    plain = text.strip()
    if not plain:
        return None
    if len(plain) > LONGEST:
        raise UnreadableNumberError(f"{plain[:20]!r}... is no number", "there is no number", "mend the line")
    value: float | None = None
    if PLAIN.fullmatch(plain):
        value = float(plain.replace(",", "."))
    elif grouped := next(filter(None, (pattern.fullmatch(plain) for pattern in GROUPED)), None):
        value = float(re.sub(r"[^\d+-]", "", grouped["whole"]) + "." + (grouped["part"] or "0"))
    elif plain.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        value = math.inf
    if value is None or not math.isfinite(value):
        what = "number" if value is None else "finite number"
        raise UnreadableNumberError(f"{text!r} is no {what}", f"there is no {what}", "mend the line")
    return value


def moment(text: str, unit: Unit) -> float | None:
    """Read where a clip starts or ends: a frame's number, else seconds; None where the cell is empty.

    Times on a clock (`00:00:00.500`, `1:23`) and with a unit (`500 ms`) are read whether the column is in seconds or in
    milliseconds.

    Raises:
        UnreadableNumberError: It is neither, or a time where frames are expected.
    """
    plain = text.strip()
    if len(plain) > LONGEST:
        return number(plain)
    if FRAMES_CLOCK.fullmatch(plain):
        reason = f"{text!r} is hours:minutes:seconds:frames, which depends on the frame rate"
        raise UnreadableNumberError(reason, "times are written with frames", "export the times in seconds")
    bare = plain.rstrip(".").removesuffix("ms").rstrip()
    thousands = THOUSANDS.fullmatch(bare) is not None
    if thousands and (unit == "millisecond" or bare != plain):
        reason = f"{text!r} may be a thousand and more, or a small number with decimals"
        raise UnreadableNumberError(reason, "a mark stands before three digits", "write it without that mark")
    seconds = _with_unit(plain)
    if seconds is None:
        value = number(text)
        if value is None or unit == "second":
            return value
        if unit == "millisecond":
            return value / 1000
        if value == int(value) and not thousands:
            return value
    if unit == "frame":
        cause = "times stand where frames are counted (columns.unit is frame)"
        action = "say --columns.unit second, or millisecond"
        what = "a time, or more than a thousand" if thousands else "a time, not the number of a frame"
        raise UnreadableNumberError(f"{text!r} is {what}", cause, action)
    return seconds


def _with_unit(text: str) -> float | None:
    """The seconds of a time that is written on a clock or with its unit; None where it is neither."""
    clock = CLOCK.fullmatch(text)
    if clock is not None:
        hours, minutes, seconds = clock.groups()
        return 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds.replace(",", "."))
    named = WITH_UNIT.fullmatch(text)
    if named is None:
        return None
    value = number(named[1])
    return None if value is None else value / 1000 if named[2] == "ms" else value


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


START_NAMES = _words("start begin onset from inicio comienzo desde start_time begin_time onset_time t0 tc_in in")
END_NAMES = _words("end stop offset to fin final hasta end_time offset_time t1 tc_out out")


def time_columns(names: list[str]) -> tuple[str, str] | None:
    """The two columns of a table that seem to say where a clip starts and ends; None where there are none."""
    plain = {name: re.split(r" - |\(|\[", name.lower())[0].strip().replace(" ", "_") for name in names}
    start = next((name for name in names if plain[name] in START_NAMES), None)
    end = next((name for name in names if plain[name] in END_NAMES), None)
    return None if start is None or end is None else (start, end)


def likely_unit(name: str, texts: list[str]) -> Unit | None:
    """The unit of a column of times, by its name and its values; None where they don't tell."""
    lower = name.lower()
    if "frame" in lower or "fotograma" in lower:
        return "frame"
    if "msec" in lower or re.search(r"\bms\b|mili", lower):
        return "millisecond"
    if any(":" in text or re.search(r"\d[.,]\d", text) for text in texts):
        return "second"
    return None
