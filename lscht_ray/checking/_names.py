"""Finds names of files, glosses and signers that are odd, or that another system can't tell apart."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from lscht_ray.dataset.annotations import Annotations
from lscht_ray.dataset.problems import Problem
from lscht_ray.shown import oddity, shown, some
from lscht_ray.video.recognise import is_hidden


def odd_names(annotated: Annotations) -> Iterator[Problem]:
    """Find names that differ for a computer but not for a person, or on one system but not on another."""

    def nfc(name: str) -> str:
        return unicodedata.normalize("NFC", name)

    for group in _twins(annotated.glosses, str.casefold):
        yield Problem(
            "name_case_twins", "warning", str(annotated.root), f"glosses {some(map(repr, group))}", "one gloss?"
        )
    signers = list(dict.fromkeys(sample.signer for sample in annotated.samples if sample.signer))
    for group in _twins(signers, _bare):
        detail, action = f"signers {some(map(repr, group))}", "one person? by_signer takes them for several"
        yield Problem("name_case_twins", "warning", str(annotated.root), detail, action)
    for group in _twins(dict.fromkeys(map(str.casefold, annotated.glosses)), _bare):
        action = "one gloss? They differ in accents alone"
        yield Problem("name_accent_twins", "info", str(annotated.root), f"glosses {some(map(repr, group))}", action)
    for name in dict.fromkeys([*annotated.glosses, *(sample.signer or "" for sample in annotated.samples)]):
        yield from _odd_name(name, annotated.root)
    places = {sample.video.parent for sample in annotated.samples} | {
        sample.video.parent.parent for sample in annotated.samples
    }
    for place in sorted(place for place in places if place.is_relative_to(annotated.folder)):
        try:
            names = sorted(entry.name for entry in os.scandir(place) if not is_hidden(entry.name))
        except OSError:
            continue
        for name in names:
            yield from _odd_name(name, place / name)
        for group in _twins(names, nfc):
            action = "rename one: macOS writes decomposed letters (NFD), and they are taken for the same name"
            yield Problem("name_unicode_twins", "warning", str(place), some(map(ascii, group)), action)
        for group in _twins(dict.fromkeys(map(nfc, names)), str.casefold):
            action = "rename one: macOS and Windows take them for the same name"
            yield Problem("name_case_twins", "warning", str(place), some(map(repr, group)), action)
        for name in names:
            stem = name.rpartition(".")[0] or name
            if name != name.strip() or stem != stem.strip():
                yield Problem(
                    "name_blanks", "warning", str(place / name), f"{name!r} has blanks around it", "rename it"
                )


def _bare(name: str) -> str:
    """A name without accents, blanks and capital letters."""
    letters = (letter for letter in unicodedata.normalize("NFD", name) if not unicodedata.combining(letter))
    return "".join(letters).casefold().replace(" ", "")


def _odd_name(name: str, place: Path) -> Iterator[Problem]:
    kind, words = oddity(name)
    if kind:
        yield Problem(kind, "warning", str(place), f"'{shown(name)}' {words}", "rename it")


def _twins(names: Iterable[str], form: Callable[[str], str]) -> list[list[str]]:
    groups = defaultdict[str, list[str]](list)
    for name in names:
        groups[form(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]
