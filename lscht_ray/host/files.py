"""The user's files: read with a size limit, found in any Unicode form, never outside of their folder."""

import csv
import json
import os
import re
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any

from lscht_ray.errors import InputError

MAX_TEXT_BYTES = 256 * 2**20
"""Annotation files beyond this are refused unread (WLASL_v0.3.json has 12 MB)."""

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".3gp", ".gif", ".swf")
)
OWN_FOLDER = ".lscht_ray"
"""What is found out about a data set is kept in this folder of it."""

_PROTOCOL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:")


class OutsideError(ValueError):
    """A path in an annotation that must not be opened; ``kind`` is the problem's."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def nfc(text: str) -> str:
    """Text without outer blanks in Unicode form NFC; macOS writes file names in NFD."""
    return unicodedata.normalize("NFC", text.strip())


def slug(name: str) -> str:
    """A name as a folder of any file system may have it: ASCII letters, digits, `.`, `_` and `-`; ñ becomes n.

    It never leads out of its parent, and is empty where nothing of the name is left.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-._")[:80]


def is_file(path: Path) -> bool:
    """Whether there is such a file that may be looked at; False too for a name that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def given_path(text: str, flag: str) -> Path:
    """A path that the user gave, which exists, with all links resolved.

    Raises:
        InputError: It doesn't, or is neither a file nor a folder.
    """
    try:
        path = Path(text).expanduser().resolve()
        there = path.exists()
        usable = path.is_dir() or path.is_file()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{flag} {text}: {getattr(error, 'strerror', None) or error}") from None
    if not there:
        raise InputError(f"{flag} {text}: no such file or folder")
    if not usable:
        raise InputError(f"{flag} {text}: it is neither a file nor a folder")
    return path


def entries(folder: Path) -> list[Path]:
    """What is in a folder, sorted by name.

    Raises:
        InputError: It can't be listed.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder} can't be listed: {error.strerror}") from None


def listing(folder: Path) -> dict[str, Path]:
    """The files of a folder by NFC name; empty where there is no such folder.

    Raises:
        InputError: It can't be listed.
    """
    try:
        return _scan(folder, folder.stat().st_mtime_ns) if folder.is_dir() else {}
    except OSError as error:
        raise InputError(f"{folder} can't be listed: {error.strerror}") from None


@lru_cache(maxsize=256)
def _scan(folder: Path, mtime: int) -> dict[str, Path]:
    del mtime  # part of the cache's key only
    return {unicodedata.normalize("NFC", entry.name): Path(entry.path) for entry in os.scandir(folder)}


def on_disk(path: Path) -> Path:
    """The file of that name in whichever Unicode form it is stored; the path itself where there is none."""
    if is_file(path):
        return path
    return listing(path.parent).get(unicodedata.normalize("NFC", path.name), path)


def inside(root: Path, name: str) -> Path:
    """The file that an annotation names, which must lie in the data folder. Nothing is opened.

    Args:
        root: The data folder.
        name: A relative path, with slashes of either kind, or an absolute one.

    Raises:
        OutsideError: It is a URL, names one of FFmpeg's pseudo-protocols, or leads out of the folder.
    """
    if "\0" in name:
        raise OutsideError("not_a_local_file", f"{name!r} holds a zero byte")
    path = Path(os.path.normpath(root / name.strip().replace("\\", "/")))
    if "://" in name or (_PROTOCOL.match(name) and not is_file(path)):
        raise OutsideError("not_a_local_file", f"{name!r} is no file: URLs and protocols are never opened")
    if Path(name).is_absolute() and not path.is_relative_to(root):
        path = Path(os.path.realpath(path.parent)) / path.name  # the data folder may have been named by a link
    if not path.is_relative_to(root):
        raise OutsideError("path_outside", f"{name!r} leads out of {root}")
    return on_disk(path)


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without byte order mark.

    Raises:
        InputError: It can't be read, is too large, or is in another encoding.
    """
    try:
        size = path.stat().st_size
        if size > MAX_TEXT_BYTES:
            raise InputError(f"{path} has {size / 2**20:.0f} MB, an annotation file at most {MAX_TEXT_BYTES >> 20} MB")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8 and try again") from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None


def read_json(path: Path) -> tuple[Any, list[str]]:
    """A JSON file's content, and the keys that it has twice (of which the last counts) where it is an object.

    Raises:
        InputError: It can't be read or is no JSON.
    """
    twice: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            seen: set[str] = set()
            twice.extend(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        return content

    text = read_text(path)
    try:
        if text.lstrip().startswith("{"):
            return json.loads(text, object_pairs_hook=unique), twice
        return json.loads(text), twice
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no valid JSON: {error}") from None


def cache_folder() -> Path:
    """Where the package keeps what it can make again: LSCHT_RAY_CACHE, else lscht_ray in XDG_CACHE_HOME or ~/.cache."""
    given = os.environ.get("LSCHT_RAY_CACHE")
    root = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lscht_ray"
    return root.expanduser().resolve()


def write_csv(path: Path, rows: list[tuple[str, ...]]) -> None:
    """Write a CSV file so that it is always whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            csv.writer(file).writerows(rows)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that the file is always whole."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text so that the file is always whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # \udc80 is JSON's own way to say it
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
