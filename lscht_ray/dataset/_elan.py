"""Reads ELAN's .eaf files into rows: each annotation of a tier is a sign in the linked video. No video is opened."""

import fnmatch
import os
import re
import shlex
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from pympi.Elan import Eaf  # type: ignore[import-untyped]  # it has no types

from lscht_ray.dataset._entries import subfolders, visible
from lscht_ray.dataset._row_reader import RowReader
from lscht_ray.dataset.problems import Problem
from lscht_ray.dataset.rows import Table
from lscht_ray.errors import InputError
from lscht_ray.host.files import MAX_TEXT_BYTES, OutsideError, inside, nfc, on_disk
from lscht_ray.settings.columns import ColumnMap
from lscht_ray.settings.elan import ElanMap
from lscht_ray.video.recognise import is_hidden, is_video

SHOWN = 4
"""Glosses and values that a message names at most."""
COLUMNS = ColumnMap(path="path", label="label", signer="signer", start="start", end="end", unit="millisecond")


@dataclass(frozen=True)
class Session:
    """One .eaf file.

    Attributes:
        file: The file.
        content: What pympi reads of it.
    """

    file: Path
    content: Any

    def annotations(self, tier: str) -> list[tuple[int, int, str]]:
        """Start and end in milliseconds, and text, of the annotations of a tier; of those that refer to others, too."""
        found = self.content.get_annotation_data_for_tier(tier)
        return sorted((item[0], item[1], item[2]) for item in found if None not in item[:2])

    def participant(self, tier: str) -> str:
        """Who signs on a tier: its participant, or that of the tier that it refers to; or nothing."""
        attributes = self.content.tiers[tier][2]
        while not attributes.get("PARTICIPANT") and attributes.get("PARENT_REF") in self.content.tiers:
            attributes = self.content.tiers[attributes["PARENT_REF"]][2]
        return str(attributes.get("PARTICIPANT") or "")


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
    sessions = [Session(file, _parsed(file)) for file in files]
    chosen = _tiers(path, sessions, settings)
    reader = RowReader(COLUMNS, folder, videos or folder)
    entries = _vocabulary(path, sessions, settings)
    strange, empty = Counter[str](), 0
    for session in sessions:
        reader.source = session.file
        for tier in [tier for tier in session.content.tiers if tier in chosen]:
            video, shift = _video(session, settings.media, folder, videos or folder)
            for start, end, text in session.annotations(tier):
                gloss = nfc(text or "")
                if not gloss:
                    empty += 1
                elif entries and gloss not in entries:
                    strange[gloss] += 1
                else:
                    begin, stop = start + shift, end + shift
                    cells = {
                        "path": str(video),
                        "label": entries.get(gloss, gloss),
                        "signer": session.participant(tier),
                        "start": str(begin),
                        "end": str(stop),
                    }
                    reader.add(cells, str(session.file), f"tier {tier!r} at {_clock(start)}", None, video)
    left = [tier for tier, texts in _counts(sessions).items() if texts and tier not in chosen]
    others = f"; not from {_some([repr(tier) for tier in left])}" if left else ""
    reader.notes.append(f"{len(sessions)} ELAN files, signs from {_some([repr(tier) for tier in chosen])}{others}")
    if empty:
        reader.notes.append(f"{empty} annotations are empty and are passed over")
    if strange:
        listed = _some([f"{gloss!r} ({count})" for gloss, count in strange.most_common()])
        detail = f"{strange.total()} annotations are not in the vocabulary {settings.vocabulary!r}: {listed}"
        reader.notes.append(f"{detail}; they are passed over")
        reader.problems.append(Problem("not_in_vocabulary", "warning", str(path), detail, "they are passed over"))
    table = reader.table()
    if not entries:
        return table
    used = {row.gloss for row in table.rows}
    return Table(table.rows, [gloss for gloss in dict.fromkeys(entries.values()) if gloss in used], *_rest(table))


def _rest(table: Table) -> tuple[list[str], list[Problem]]:
    return table.notes, table.problems


def _eaf_files(folder: Path) -> Iterator[Path]:
    for place, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not is_hidden(name))
        yield from (
            Path(place) / name for name in sorted(names) if name.lower().endswith(".eaf") and not is_hidden(name)
        )


def _parsed(file: Path) -> Any:
    try:
        if file.stat().st_size > MAX_TEXT_BYTES:
            raise InputError(f"{file} is larger than an annotation file can be ({MAX_TEXT_BYTES >> 20} MB)")
        with warnings.catch_warnings(action="ignore"):  # of versions that pympi doesn't know: they are read alike
            return Eaf(str(file))
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{file} can't be read: {error.strerror}") from None
    except Exception as error:  # pympi raises Exception itself, KeyError, IndexError, ValueError
        reason = str(error) if type(error) is Exception else f"{type(error).__name__} {error}"
        raise InputError(f"{file} is no ELAN file that can be read: {reason}") from None


def _tiers(path: Path, sessions: list[Session], settings: ElanMap) -> list[str]:
    """The tiers that are meant.

    Raises:
        InputError: None fits, or none is named and there are several; the message lists all.
    """
    counts = _counts(sessions)
    names = [tier for tier, texts in counts.items() if texts]
    if settings.tier is None and len(names) == 1:
        return names
    if settings.tier is not None:
        wanted = nfc(settings.tier)
        fitting = [tier for tier in counts if nfc(tier) == wanted] or [
            tier for tier in counts if fnmatch.fnmatchcase(nfc(tier), wanted)
        ]
        if fitting:
            return fitting
        head = f"--elan.tier {settings.tier}: no tier of that name in {path}. There are"
    else:
        head = f"{path}: say which tier's annotations are the signs, one of"
    lines = []
    for tier in names:
        texts = counts[tier]
        people = sorted({session.participant(tier) for session in sessions if tier in session.content.tiers} - {""})
        who = f", signed by {_some(people)}" if people else ""
        values = _some([repr(text) for text, _ in texts.most_common()])
        lines.append(
            f"  --elan.tier {shlex.quote(tier)}: {texts.total()} annotations, {len(texts)} different{who}: {values}"
        )
    for tiers, count in Counter(together for tier in names if (together := _of_one_kind(tier)) != tier).items():
        if count > 1:
            total = sum(counts[tier].total() for tier in names if _of_one_kind(tier) == tiers)
            lines.append(f"  --elan.tier {shlex.quote(tiers)}: these {count} tiers together, {total} annotations")
    raise InputError("\n".join([head, *(lines or ["  no tier with annotations"])]))


def _counts(sessions: list[Session]) -> dict[str, Counter[str]]:
    """The texts of each tier, and how often each is there."""
    counts: dict[str, Counter[str]] = {}
    for session in sessions:
        for tier in session.content.tiers:
            counts.setdefault(tier, Counter()).update(nfc(text) for *_, text in session.annotations(tier) if nfc(text))
    return counts


def _of_one_kind(tier: str) -> str:
    """The pattern of the tiers of all signers, where a tier is called as `Glosa_ana` or `Glosa Ana`; else its name."""
    mark = re.search("(?<=.)[@_ -]", tier)
    return f"{tier[: mark.end()]}*" if mark else tier


def _vocabulary(path: Path, sessions: list[Session], settings: ElanMap) -> dict[str, str]:
    """The glosses by each of their entries' values; nothing where no vocabulary is named.

    Raises:
        InputError: None has that name.
    """
    if settings.vocabulary is None:
        return {}
    known: dict[str, int] = {}
    values: dict[str, str] = {}
    for session in sessions:
        for name, (_, entries, _) in session.content.controlled_vocabularies.items():
            known[name] = len(entries)
            if nfc(name) == nfc(settings.vocabulary):
                for texts, _ in entries.values():
                    written = [nfc(text) for text, *_ in texts if text and text.strip()]
                    values |= {text: written[0] for text in written if text not in values}
    if not values:
        listed = ", ".join(f"{name!r} ({count} entries)" for name, count in known.items()) or "none"
        raise InputError(
            f"--elan.vocabulary {settings.vocabulary}: {path} has no controlled vocabulary of that name with entries"
            f" in it. There are: {listed}\n  an external one (.ecv) is not read: leave --elan.vocabulary out"
        )
    return values


def _video(session: Session, number: int, folder: Path, videos: Path) -> tuple[Path, int]:
    """A session's video, which may be missing, and the milliseconds in it at which its annotations begin.

    Raises:
        InputError: The file links fewer videos.
    """
    linked = [media for media in session.content.media_descriptors if _is_video(media)]
    if not linked:
        twins = [on_disk(session.file.with_suffix(end)) for end in (".mp4", ".mov", ".mpg", ".mts", ".avi", ".webm")]
        return next((twin for twin in twins if twin.is_file()), twins[0]), 0
    if number > len(linked):
        raise InputError(f"{session.file} links {len(linked)} videos: --elan.media {number} is none of them")
    media = linked[number - 1]
    places = [_local(str(media.get(name) or "")) for name in ("RELATIVE_MEDIA_URL", "MEDIA_URL")]
    names = [PurePosixPath(place).name for place in places if place]
    beside = [session.file.parent / place for place in places[:1] if place and not PurePosixPath(place).is_absolute()]
    beside += [place / name for name in names for place in (session.file.parent, videos, folder / "videos", folder)]
    found = next((file for file in map(on_disk, beside) if file.is_file() and _is_inside(file, folder, videos)), None)
    return found or session.file.parent / names[0], int(media.get("TIME_ORIGIN") or 0)


def _is_inside(file: Path, folder: Path, videos: Path) -> bool:
    """Whether a file lies in the data folder or in that of the videos: no other is ever opened."""
    for root in (folder, videos):
        try:
            inside(root, str(file))
            return True
        except OutsideError:
            continue
    return False


def _is_video(media: dict[str, Any]) -> bool:
    mime = str(media.get("MIME_TYPE") or "")
    name = _local(str(media.get("RELATIVE_MEDIA_URL") or media.get("MEDIA_URL") or ""))
    return bool(name) and (mime.startswith("video") or (not mime.startswith("audio") and is_video(Path(name))))


def _local(url: str) -> str:
    """The path that ELAN writes as a URL, with slashes of one kind."""
    return unquote(url.removeprefix("file:")).replace("\\", "/")


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:03}"


def _some(items: list[str]) -> str:
    return ", ".join(items[:SHOWN]) + (", ..." if len(items) > SHOWN else "")
