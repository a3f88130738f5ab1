"""Proposes column maps for clips whose gloss stands deeper in their paths, or in their names."""

import re
import shlex
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lscht_ray.dataset._entries import MAX_WALKED, clips_below
from lscht_ray.dataset.rows import split_called
from lscht_ray.shown import counted

SHOWN = 2
"""Proposals that are shown."""
MOST_FIT = 0.8
"""Share of the clips that a proposed pattern must fit."""
SEPARATORS = (" - ", "_", "-", " ", ".")
LABEL, SIGNER, ANY = "(?P<label>{})", "(?P<signer>{})", "{}"


@dataclass(frozen=True)
class Proposal:
    """A pattern that seems to say where gloss and signer stand.

    Attributes:
        pattern: For `columns.pattern`.
        glosses: How many result.
        signers: How many result; 0: the pattern tells none.
        fits: Clips that it fits.
        examples: Paths, and the gloss and the signer (or nothing) that it finds in each.
    """

    pattern: str
    glosses: int
    signers: int
    fits: int
    examples: tuple[tuple[str, str, str], ...]

    def lines(self, folder: Path, clips: int) -> list[str]:
        """The proposal in words, and as a command."""
        people = f", {counted(self.signers, 'signer')}" if self.signers else ""
        rest = f", {counted(clips - self.fits, 'clip')} don't fit" if self.fits < clips else ""
        shown = "; ".join(
            f"{path} is {gloss!r}" + (f" by {signer!r}" if signer else "") for path, gloss, signer in self.examples
        )
        command = f"python -m lscht_ray.check {shlex.quote(str(folder))} --columns.pattern {shlex.quote(self.pattern)}"
        return [f"  {counted(self.glosses, 'gloss')}{people}{rest}: {shown}", f"    {command}"]


def propose(folder: Path) -> tuple[list[Proposal], int]:
    """The patterns that fit the clips below a folder, the likeliest first, and the number of clips."""
    paths = [
        unicodedata.normalize("NFC", clip.relative_to(folder).as_posix())
        for clip in islice(clips_below(folder), MAX_WALKED)
    ]
    scored = []
    for place, pattern in enumerate(dict.fromkeys(_patterns(paths))):
        proposal = _tried(pattern, paths)
        if proposal is not None:
            scored.append((*_likeliness(proposal), -place, proposal))
    scored.sort(key=lambda item: item[:-1], reverse=True)
    chosen: list[Proposal] = []
    for words, *_, proposal in scored:
        if words < scored[0][0]:  # glosses that end in a number, where there are others
            break
        if all(proposal.examples[0][1] != other.examples[0][1] for other in chosen):  # another idea of the gloss
            chosen.append(proposal)
    return chosen[:SHOWN], len(paths)


def _likeliness(proposal: Proposal) -> tuple[bool, bool, bool, float]:
    words = not any(re.search(r"(^|\W|_)\d+\W*$", gloss) for _, gloss, _ in proposal.examples)
    people = proposal.signers > 0 and not all(re.fullmatch(r"\W*\d+\W*", signer) for _, _, signer in proposal.examples)
    return words, people, proposal.glosses >= proposal.signers, round(proposal.fits, -1)


def _tried(pattern: str, paths: list[str]) -> Proposal | None:
    """What a pattern makes of the paths; None where that can't be glosses, or the signers none."""
    found = [(path, match) for path in paths if (match := re.search(pattern, path))]
    if not paths or len(found) < MOST_FIT * len(paths):
        return None
    labels = Counter(match["label"].strip() for _, match in found)
    if len(labels) < 2 or len(found) < 2 * len(labels):
        return None
    signers = Counter[str]()
    if "(?P<signer>" in pattern:
        signers = Counter(match["signer"] for _, match in found)
        glosses_of = defaultdict[str, set[str]](set)
        for _, match in found:
            glosses_of[match["signer"]].add(match["label"])
        pairs = sum(map(len, glosses_of.values()))
        if len(signers) < 2 or pairs <= 1.2 * len(labels) or pairs <= 1.2 * len(signers):  # nobody signs two, or alone
            return None
    first = found[0][1]["label"].strip()
    shown = [found[0], next(pair for pair in reversed(found) if pair[1]["label"].strip() != first)]
    examples = tuple(
        (path, match["label"].strip(), match["signer"].strip() if signers else "") for path, match in shown
    )
    return Proposal(pattern, len(labels), len(signers), len(found), examples)


def _patterns(paths: list[str]) -> Iterator[str]:
    yield from _of_folders(paths)
    yield from _of_names(paths)


def _of_folders(paths: list[str]) -> Iterator[str]:
    """Patterns for each folder level as the gloss, with and without another as the signer."""
    depths = Counter(path.count("/") for path in paths)
    depth = depths.most_common(1)[0][0] if depths else 0
    levels = [{path.split("/")[level] for path in paths if path.count("/") == depth} for level in range(depth)]
    splits = [all(map(split_called, names)) for names in levels]
    groups = ["(?P<split>[^/]+)" if is_split else "[^/]+" for is_split in splits]
    free = [level for level in range(depth) if not splits[level]]
    for label in reversed(free):
        numbered = all(re.match(r"\d+[.)_ -]+\S", name) for name in levels[label])
        for signer in (*(level for level in free if level != label), None):
            parts = list(groups)
            parts[label] = r"\d+[.)_ -]+(?P<label>[^/]+)" if numbered else "(?P<label>[^/]+)"
            if signer is not None:
                parts[signer] = "(?P<signer>[^/]+)"
            yield "^" + "/".join([*parts, "[^/]+$"])


def _of_names(paths: list[str]) -> Iterator[str]:
    """Patterns for names whose parts are set apart: gloss_signer_number and the like."""
    for mark in SEPARATORS:
        sep = re.escape(mark) if mark == "." else mark
        inner = "\\-" if "-" in mark else mark
        part = f"[^/{inner}]+"
        end = rf"{sep}{part}\.\w+$" if mark == "." else rf"{sep}[^/{inner}.]+(\.\w+)?$"
        yield rf"(?P<label>[^/]+){sep}(?P<signer>{part}){end}"
        yield rf"(^|/)(?P<signer>{part}){sep}(?P<label>[^/]+){end}"
        yield rf"(^|/)(?P<label>{part}){sep}(?P<signer>[^/]+){end}"
        yield rf"(?P<label>[^/]+){sep}(?P<signer>[^/{inner}.]+)\.\w+$"
        yield rf"(^|/)(?P<signer>{part}){sep}(?P<label>[^/.]+)\.\w+$"
        yield rf"(?P<label>[^/]+){end}"
    yield r"(?P<label>[^/\d]+?)[ _-]*\(?\d+\)?(\.\w+)?$"
