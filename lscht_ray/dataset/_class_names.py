"""Finds the glosses of the numbers that lists have for classes, in the file beside them that names these."""

import re
from pathlib import Path
from typing import NamedTuple

from lscht_ray.dataset._values import LineError, told_apart
from lscht_ray.errors import InputError
from lscht_ray.host.files import nfc, read_text

NAMES = ("label_map*.txt", "classes.txt", "classInd.txt", "class_names.txt", "class_list.txt", "labels.txt")
"""Files that may hold the glosses, one a line: in the order of their numbers from 0, or each after its number."""
NUMBERED = re.compile(r"(?P<number>\d{1,9})(?:[ \t,;]+|[:.)] *)(?P<name>.*\S)")
NUMBER_LAST = re.compile(r"(?P<name>.*\S)[ \t,;:]+(?P<number>\d{1,9})")
SHIFTS = (0, 1, -1)
"""What may have to be added to a list's number to get that of the names: one may count from 0, the other from 1."""


class Names(NamedTuple):
    """The glosses by number: from the file beside the lists that has them, if there is one.

    Attributes:
        file: The file's name; nothing where there is none.
        glosses: The glosses by their numbers in it.
        shift: What is added to a number of the lists.
    """

    file: str
    glosses: dict[int, str]
    shift: int

    def gloss(self, label: str) -> str:
        """The gloss of a class.

        Raises:
            LineError: The names lack its number.
        """
        if label == "-1":
            raise LineError("unparsable", "class -1 is none: the clip is not labelled", "clips are not labelled (-1)")
        if not self.file or not label.isdecimal():
            return label
        number = int(label) + self.shift
        if number not in self.glosses:
            least, most = min(self.glosses) - self.shift, max(self.glosses) - self.shift
            reason = f"there is no class {label} in {self.file}, which names {least} to {most}"
            raise LineError("unparsable", reason, action="mend the line, or that file")
        return self.glosses[number]


def find_names(folder: Path, classes: dict[str, set[str]], notes: list[str]) -> Names:
    """The glosses by number, from the file beside the lists that has them.

    Raises:
        InputError: Its lines are neither glosses, one a line, nor all numbered.
    """
    labels = set[str]().union(*classes.values())
    used = {int(label) for label in labels if label.isdecimal()}
    file = next((file for pattern in NAMES for file in sorted(folder.glob(pattern))), None)
    if not used or file is None:
        if len(used) == len(labels):
            notes.append("glosses are called by their numbers (label_map.txt, a name a line, would name them)")
        return Names("", {}, 0)
    glosses, numbered = _by_number(file)
    glosses = told_apart(list(glosses.items()))
    fitting = [shift for shift in SHIFTS if {label + shift for label in used} <= glosses.keys()] or [0]

    def agreeing(shift: int) -> int:
        """Folders that are called as the gloss of their only class."""
        named = ((Path(name).name, filter(str.isdecimal, labels)) for name, labels in classes.items())
        return sum({folder} == {glosses.get(int(label) + shift) for label in labels} for folder, labels in named)

    shift = fitting[0] if numbered else max(fitting, key=agreeing)
    if numbered and shift and list(glosses) != sorted(glosses):  # names that begin with a number, not numbered ones
        raise InputError(_unclear(file))
    example = min(used)
    notes.append(f"the glosses are called as in {file.name}: class {example} is {glosses.get(example + shift)!r}")
    return Names(file.name, glosses, shift)


def _by_number(file: Path) -> tuple[dict[int, str], bool]:
    """The glosses of a file of names by their numbers, and whether these stand in it.

    Raises:
        InputError: Some lines are numbered and others not, or a number is there twice, or a line is empty.
    """
    lines = [line.strip() for line in read_text(file, []).rstrip().split("\n")]
    for pattern in (NUMBERED, NUMBER_LAST):
        found = [pattern.fullmatch(line) for line in lines]
        if found[0] is None and len(found) > 2 and all(found[1:]):  # a header
            found = found[1:]
        glosses = {int(match["number"]): nfc(match["name"]) for match in found if match}
        variants = pattern is NUMBER_LAST and len(set(glosses.values())) < len(found)  # banco 1, banco 2
        if len(glosses) == len(found) and not variants:
            return glosses, True
        if pattern is NUMBERED and sum(map(bool, found)) > len(found) / 2:
            raise InputError(_unclear(file))
    if not all(lines) or any("{" in line for line in lines):
        raise InputError(_unclear(file))
    return {number: nfc(line) for number, line in enumerate(lines)}, False


def _unclear(file: Path) -> str:
    return (
        f"{file}: it would name the classes, but its lines are neither glosses, one a line in the order of their"
        " numbers from 0, nor all glosses with a number of their own, as in: 0 hola"
    )
