"""Turns ELAN's .eaf files into rows: each annotation of a tier is a sign in the linked video. No video is opened."""

import fnmatch
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from lscht_ray.dataset._eaf import Session, read_session
from lscht_ray.dataset._entries import subfolders, visible
from lscht_ray.dataset._row_reader import RowReader
from lscht_ray.dataset.problems import Problem
from lscht_ray.dataset.rows import Table
from lscht_ray.errors import InputError
from lscht_ray.host.files import OutsideError, inside, nfc, on_disk
from lscht_ray.settings.columns import ColumnMap
from lscht_ray.settings.elan import ElanMap
from lscht_ray.shown import counted, shown, some
from lscht_ray.video.recognise import is_hidden

SHOWN = 4
"""Glosses and values that a message names at most."""
COLUMNS = ColumnMap(path="path", label="label", signer="signer", start="start", end="end", unit="millisecond")


def find_sessions(folder: Path) -> list[Path]:
    """The .eaf files in a folder and in its subfolders."""
    places = [folder, *subfolders(folder)]
    return [file for place in places for file in visible(place) if file.suffix.lower() == ".eaf" and file.is_file()]


def read_elan(path: Path, videos: Path | None, settings: ElanMap) -> Table:
    """Read the signs of all .eaf files below a folder, or of one.

    Args:
        path: The folder or the file.
        videos: Folder in which linked videos are looked for besides; None: the data folder.
        settings: Which annotations are signs.

    Raises:
        InputError: A file is no ELAN file, or the tier or the vocabulary is not there or has to be chosen; the message
            lists them.
    """
    folder = path if path.is_dir() else path.parent
    files = [path] if path.is_file() else list(_eaf_files(path))
    if not files:
        raise InputError(f"{path}: the layout elan needs .eaf files, and there are none")
    sessions = [read_session(file) for file in files]
    texts = _texts(sessions)
    chosen = _tiers(path, sessions, texts, settings.tier)
    entries = _vocabulary(path, sessions, settings.vocabulary)
    reader = RowReader(COLUMNS, folder, videos or folder)
    strange, untimed, empty = Counter[str](), list[str](), 0
    for session in sessions:
        reader.source = session.file
        for name, tier in session.tiers.items():
            if name not in chosen:
                continue
            untimed += tier.untimed
            video, shift = _video(session, settings.media, folder, videos or folder)
            for start, end, text in tier.annotations:
                if not text:
                    empty += 1
                elif entries and text not in entries:
                    strange[text] += 1
                else:
                    cells = {
                        "path": str(video),
                        "label": entries.get(text, text),
                        "signer": tier.participant,
                        "start": str(start + shift),
                        "end": str(end + shift),
                    }
                    reader.add(cells, str(session.file), f"tier {name!r} at {_clock(start)}", None, video)
    left = [repr(tier) for tier, found in texts.items() if found and tier not in chosen]
    others = f"; not from {some(left, SHOWN)}" if left else ""
    reader.notes.append(f"{len(sessions)} ELAN files, signs from {some(map(repr, chosen), SHOWN)}{others}")
    if empty:
        reader.notes.append(f"{counted(empty, 'annotation is', 'annotations are')} empty and passed over")
    if strange:
        listed = some((f"{text!r} ({count})" for text, count in strange.most_common()), SHOWN)
        are = counted(strange.total(), "annotation is", "annotations are")
        detail = f"{are} not in the vocabulary {settings.vocabulary!r}: {listed}"
        _pass_over(reader, "not_in_vocabulary", path, detail)
    if untimed:
        listed = some(map(repr, untimed), SHOWN)
        parts = counted(len(untimed), "annotation is a part", "annotations are parts")
        detail = f"{parts} of another without a time of its own: {listed}"
        _pass_over(reader, "no_own_time", path, detail)
    table = reader.table()
    if not entries:
        return table
    used = {row.gloss for row in table.rows}
    return replace(table, glosses=[gloss for gloss in dict.fromkeys(entries.values()) if gloss in used])


def _pass_over(reader: RowReader, kind: str, path: Path, detail: str) -> None:
    """Say that annotations are passed over, to who trains and to who checks."""
    reader.notes.append(f"{detail}; they are passed over")
    reader.problems.append(Problem(kind, "warning", str(path), detail, "they are passed over"))


def _eaf_files(folder: Path) -> Iterator[Path]:
    for place, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not is_hidden(name))
        yield from (
            Path(place) / name for name in sorted(names) if name.lower().endswith(".eaf") and not is_hidden(name)
        )


def _texts(sessions: list[Session]) -> dict[str, Counter[str]]:
    """The texts of each tier, and how often each is there."""
    texts: dict[str, Counter[str]] = {}
    for session in sessions:
        for name, tier in session.tiers.items():
            found = texts.setdefault(name, Counter())
            found.update(text for *_, text in tier.annotations if text)
    return texts


def _tiers(path: Path, sessions: list[Session], texts: dict[str, Counter[str]], wanted: str | None) -> list[str]:
    """The tiers that are meant.

    Raises:
        InputError: None fits, or none is named and there are several; the message lists all.
    """
    names = [tier for tier, found in texts.items() if found]
    if wanted is None and len(names) == 1:
        return names
    head = f"{path}: say which tier's annotations are the signs, one of"
    if wanted is not None:
        equal = [tier for tier in texts if nfc(tier) == nfc(wanted)]
        names_wanted = [nfc(name) for name in (wanted, *wanted.split(","))]
        fitting = equal or [tier for tier in texts if any(fnmatch.fnmatchcase(nfc(tier), n) for n in names_wanted)]
        if fitting:
            return fitting
        head = f"--elan.tier {wanted}: no tier of that name in {path}. There are"
    lines = []
    for tier in names:
        people = sorted({session.tiers[tier].participant for session in sessions if tier in session.tiers} - {""})
        who = f", signed by {some(people, SHOWN)}" if people else ""
        values = some((repr(text) for text, _ in texts[tier].most_common()), SHOWN)
        counts = f"{counted(texts[tier].total(), 'annotation')}, {len(texts[tier])} different{who}: {values}"
        lines.append(f"  --elan.tier {shown(shlex.quote(tier))}: {counts}")
    for kind, count in Counter(map(_of_one_kind, names)).items():
        if count > 1:
            total = sum(texts[tier].total() for tier in names if _of_one_kind(tier) == kind)
            lines.append(
                f"  --elan.tier {shlex.quote(kind)}: these {count} tiers together, {counted(total, 'annotation')}"
            )
    raise InputError("\n".join([head, *(lines or ["  no tier with annotations"])]))


def _of_one_kind(tier: str) -> str:
    """The pattern of the tiers of all signers, where a tier is called as `Glosa_ana` or `Glosa Ana`; else its name."""
    mark = re.search("(?<=.)[@_ -]", tier)
    return f"{tier[: mark.end()]}*" if mark else tier


def _vocabulary(path: Path, sessions: list[Session], wanted: str | None) -> dict[str, str]:
    """The glosses by each of their entries' values; nothing where no vocabulary is named.

    Raises:
        InputError: None has that name.
    """
    if wanted is None:
        return {}
    known: dict[str, int] = {}
    values: dict[str, str] = {}
    for session in sessions:
        for name, entries in session.vocabularies.items():
            known[name] = len(entries)
            for texts in entries if nfc(name) == nfc(wanted) else []:
                values |= {text: texts[0] for text in texts if text not in values}
    if not values:
        listed = ", ".join(f"{name!r} ({count} entries)" for name, count in known.items()) or "none"
        raise InputError(
            f"--elan.vocabulary {wanted}: {path} has no controlled vocabulary of that name with entries"
            f" in it. There are: {listed}\n  an external one (.ecv) is not read: leave --elan.vocabulary out"
        )
    return values


def _video(session: Session, number: int, folder: Path, videos: Path) -> tuple[Path, int]:
    """A session's video, which may be missing, and the milliseconds in it at which its annotations begin.

    Raises:
        InputError: The file links fewer videos.
    """
    if not session.videos:
        twins = [on_disk(session.file.with_suffix(end)) for end in (".mp4", ".mov", ".mpg", ".mts", ".avi", ".webm")]
        return next((twin for twin in twins if twin.is_file()), twins[0]), 0
    if number > len(session.videos):
        raise InputError(
            f"{session.file} links {counted(len(session.videos), 'video')}: --elan.media {number} is none of them"
        )
    media = session.videos[number - 1]
    places = [session.file.parent / place for place in media.places[:1] if not PurePosixPath(place).is_absolute()]
    names = [PurePosixPath(place).name for place in media.places]
    places += [place / name for name in names for place in (session.file.parent, videos, folder / "videos", folder)]
    found = next((file for file in map(on_disk, places) if file.is_file() and _is_inside(file, folder, videos)), None)
    return found or session.file.parent / names[0], media.origin


def _is_inside(file: Path, folder: Path, videos: Path) -> bool:
    """Whether a file lies in the data folder or in that of the videos: no other is ever opened."""
    for root in (folder, videos):
        try:
            inside(root, str(file))
            return True
        except OutsideError:
            continue
    return False


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:03}"
