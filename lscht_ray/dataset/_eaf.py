"""Reads one of ELAN's .eaf files: the annotations of its tiers with their times, its people and its linked videos.

The format is described by the Max Planck Institute (The Language Archive, "EAF annotation format").
"""

import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote
from xml.etree import ElementTree

from pympi.Elan import Eaf  # type: ignore[import-untyped]  # it has no types

from lscht_ray.errors import InputError
from lscht_ray.host.files import MAX_TEXT_BYTES, nfc
from lscht_ray.video.recognise import is_video

SCHEMA = "{http://www.w3.org/2001/XMLSchema-instance}noNamespaceSchemaLocation"
"""An attribute of the document without which pympi reads none."""


class Annotation(NamedTuple):
    """An annotation that has a time of its own.

    Attributes:
        start: Where it starts, in milliseconds of the annotations' time.
        end: Where it ends.
        text: What is annotated, in Unicode form NFC without outer blanks; it may be empty.
    """

    start: int
    end: int
    text: str


class Tier(NamedTuple):
    """A tier of a session.

    Attributes:
        annotations: Those with a time of their own, in the order of time.
        untimed: The texts of the others: parts of an annotation on another tier, whose time they share.
        participant: Who signs on it: its participant, or that of the tier that it refers to; or nothing.
    """

    annotations: list[Annotation]
    untimed: list[str]
    participant: str


class Media(NamedTuple):
    """A linked video.

    Attributes:
        places: Where the file says that it is: relative to it, and on its writer's machine; what it doesn't say is
            left out.
        origin: Milliseconds in it at which the annotations' time begins.
    """

    places: tuple[str, ...]
    origin: int


class Session(NamedTuple):
    """What an .eaf file says.

    Attributes:
        file: The file.
        tiers: Its tiers by name, in their order.
        vocabularies: The entries of its controlled vocabularies by name; of each entry the texts in all languages.
        videos: The linked videos, in their order.
    """

    file: Path
    tiers: dict[str, Tier]
    vocabularies: dict[str, list[list[str]]]
    videos: list[Media]


def read_session(file: Path) -> Session:
    """Read an .eaf file.

    Raises:
        InputError: It can't be read, or contradicts itself.
    """
    try:
        if file.stat().st_size > MAX_TEXT_BYTES:
            raise InputError(f"{file} is larger than an annotation file can be ({MAX_TEXT_BYTES >> 20} MB)")
        content = _parsed(file)
        unit = content.header.get("TIME_UNITS", "milliseconds")
        if unit != "milliseconds":
            raise ValueError(f"its TIME_UNITS are {unit!r}: only milliseconds can be read")
        return Session(
            file,
            {name: _tier(content, name) for name in content.tiers},
            {
                name: list(map(_texts, entries.values()))
                for name, (_, entries, _) in content.controlled_vocabularies.items()
            },
            [_media(media) for media in content.media_descriptors if _is_video(media)],
        )
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{file} can't be read: {error.strerror}") from None
    except Exception as error:  # pympi raises Exception itself, KeyError, IndexError, ValueError
        reason = str(error) if type(error) in (Exception, ValueError) else f"{type(error).__name__} {error}"
        raise InputError(f"{file} is no ELAN file that can be read: {reason}") from None


def _parsed(file: Path) -> Any:
    with warnings.catch_warnings(action="ignore"):  # of versions that pympi doesn't know: they are read alike
        try:
            return Eaf(str(file))
        except KeyError as error:
            if error.args != (SCHEMA,):
                raise
        tree = ElementTree.parse(file)
        tree.getroot().set(SCHEMA, "")
        with tempfile.NamedTemporaryFile(suffix=".eaf") as copy:
            tree.write(copy.name, encoding="utf-8")
            return Eaf(copy.name)


def _tier(content: Any, name: str) -> Tier:
    """A tier's annotations. Those that refer to another have its time, where it has no other part on this tier."""
    aligned, referring, _, _ = content.tiers[name]
    parts = Counter(parent for parent, *_ in referring.values())
    found = [(_times(content, own), own[2], True) for own in aligned.values()]
    for parent, text, *_ in referring.values():
        found.append((_times(content, _aligned(content, parent)), text, parts[parent] == 1))
    timed, untimed = [], []
    for (start, end), text, alone in found:
        if alone and start is not None and end is not None:
            timed.append(Annotation(start, end, nfc(text or "")))
        else:
            untimed.append(nfc(text or ""))
    return Tier(sorted(timed), untimed, _participant(content, name))


def _aligned(content: Any, reference: str) -> tuple[str, ...]:
    """The annotation with times of its own to which a reference leads at last.

    Raises:
        ValueError: It leads nowhere.
    """
    seen = set[str]()
    while reference not in seen and reference in content.annotations:
        seen.add(reference)
        aligned, referring, _, _ = content.tiers[content.annotations[reference]]
        if reference in aligned:
            found: tuple[str, ...] = aligned[reference]
            return found
        reference = referring[reference][0]
    raise ValueError(f"an annotation refers to {reference!r}, which " + ("refers to it" if seen else "is not there"))


def _times(content: Any, annotation: tuple[str, ...]) -> tuple[int | None, int | None]:
    """Start and end of an annotation; None where it has none, as inner limits of a subdivision."""
    start, end = (content.timeslots[slot] for slot in annotation[:2])
    return start, end


def _participant(content: Any, tier: str) -> str:
    seen = set[str]()
    while tier in content.tiers and tier not in seen:
        seen.add(tier)
        attributes = content.tiers[tier][2]
        if attributes.get("PARTICIPANT"):
            return str(attributes["PARTICIPANT"])
        tier = attributes.get("PARENT_REF") or ""
    return ""


def _texts(entry: tuple[Any, Any]) -> list[str]:
    """The texts of a vocabulary's entry, one a language."""
    return [nfc(text) for text, *_ in entry[0] if text and text.strip()]


def _media(media: dict[str, str]) -> Media:
    origin = media.get("TIME_ORIGIN") or "0"
    try:
        shift = int(origin)
    except ValueError:
        raise ValueError(f"the TIME_ORIGIN of a video is {origin!r}, not a whole number of milliseconds") from None
    places = (_local(media.get(name) or "") for name in ("RELATIVE_MEDIA_URL", "MEDIA_URL"))
    return Media(tuple(filter(None, places)), shift)


def _is_video(media: dict[str, str]) -> bool:
    mime = media.get("MIME_TYPE") or ""
    name = _local(media.get("RELATIVE_MEDIA_URL") or media.get("MEDIA_URL") or "")
    return bool(name) and (mime.startswith("video") or (not mime.startswith("audio") and is_video(Path(name))))


def _local(url: str) -> str:
    """The path that ELAN writes as a URL, with slashes of one kind."""
    return unquote(url.removeprefix("file:")).replace("\\", "/")
