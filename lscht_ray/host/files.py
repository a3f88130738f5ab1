"""Reads the user's files: with a size limit, in any Unicode form, never outside of their folder. Writes files whole."""

import codecs
import csv
import difflib
import json
import os
import re
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from lscht_ray.errors import InputError

MAX_TEXT_BYTES = 256 * 2**20
"""Largest annotation file that is read (WLASL_v0.3.json has 12 MB)."""

OWN_FOLDER = ".lscht_ray"
"""In a data folder: what was found out about its videos."""

_PROTOCOL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:")


class OutsideError(ValueError):
    """A path in an annotation that must not be opened.

    Attributes:
        kind: The kind of problem, as findings name it.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def nfc(text: str) -> str:
    """Return the text without outer blanks in Unicode form NFC; macOS writes file names in NFD."""
    return unicodedata.normalize("NFC", text.strip())


def no_text(name: str) -> bool:
    """Return whether a name is no UTF-8 text, as in old zips of Windows: Python keeps its bytes as surrogates."""
    return any("\ud800" <= letter <= "\udfff" for letter in name)


def slug(name: str) -> str:
    """Return a folder's name for any file system: ASCII letters, digits, `.`, `_` and `-`; ñ becomes n.

    The name never leads out of its parent. It is empty where no such character is left.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-._")[:80]


def is_file(path: Path) -> bool:
    """Return whether this is a file that may be looked at; False also for a name that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_there(path: Path) -> bool:
    """Return whether there is a file or folder of that name; False also for a name that none can have."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def given_path(text: str, flag: str) -> Path:
    """Return a path that the user gave, with all links resolved.

    Raises:
        InputError: It does not exist, or is neither a file nor a folder.
    """
    if text.startswith(("http://", "https://", "ftp://")):
        raise InputError(f"{flag} {text}: it is an address: download it, unpack it, and name the folder")
    try:
        path = Path(text).expanduser().resolve()
        exists = path.exists()
        usable = path.is_dir() or path.is_file()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{flag} {text}: {getattr(error, 'strerror', None) or error}") from None
    if not exists:
        above = next(parent for parent in path.parents if parent.exists())
        near = difflib.get_close_matches(path.name, _listable(above), n=1, cutoff=0.7) if above == path.parent else []
        hint = f": did you mean {above / near[0]}?" if near else ""
        if text.lower() == "demo" and flag.endswith("data"):
            hint = ": did you mean demo?"
        elif "*" in text:
            hint = ": name the folder, without *"
        raise InputError(f"{flag} {text}: no such file or folder{hint}")
    if not usable:
        raise InputError(f"{flag} {text}: it is neither a file nor a folder")
    return path


def _listable(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        return []


def entries(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted by name.

    Raises:
        InputError: It can't be listed.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder} can't be listed: {error.strerror}") from None


def listing(folder: Path) -> dict[str, Path]:
    """Return the files of a folder by their names in form NFC; nothing where there is no such folder.

    Raises:
        InputError: It can't be listed.
    """
    try:
        return _scan(folder, folder.stat().st_mtime_ns) if folder.is_dir() else {}
    except OSError as error:
        raise InputError(f"{folder} can't be listed: {error.strerror}") from None


@lru_cache(maxsize=256)
def _folded(folder: Path, mtime: int) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for name, path in _scan(folder, mtime).items():
        found.setdefault(name.casefold(), []).append(path)
    return found


@lru_cache(maxsize=256)
def _scan(folder: Path, mtime: int) -> dict[str, Path]:
    del mtime  # part of the cache's key only
    return {unicodedata.normalize("NFC", entry.name): Path(entry.path) for entry in os.scandir(folder)}


def on_disk(path: Path) -> Path:
    """Return the file of that name in whichever Unicode form it is stored; the path itself where there is none.

    Where only capital letters differ (clip.mov is clip.MOV), it is taken too, if there is only one: macOS and Windows,
    where tables are written, know no difference.
    """
    if is_file(path):
        return path
    name, there = unicodedata.normalize("NFC", path.name), listing(path.parent)
    if name in there or not there:
        return there.get(name, path)
    alike = _folded(path.parent, path.parent.stat().st_mtime_ns).get(name.casefold(), [])
    return alike[0] if len(alike) == 1 else path


def inside(root: Path, name: str) -> Path:
    """Return the file that an annotation names, which must lie in the data folder. Nothing is opened.

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


def read_text(path: Path, guessed: list[str] | None = None) -> str:
    """Read a text file in UTF-8, or in UTF-16 with its byte order mark.

    Args:
        path: The file.
        guessed: A list makes a file that is neither be read as Windows-1252, in which Excel saves CSV in western
            Europe and America; a line that says so, with some of its words, is added to it.

    Raises:
        InputError: It can't be read, is too large, or is in another encoding.
    """
    try:
        size = path.stat().st_size
        if size > MAX_TEXT_BYTES:
            raise InputError(f"{path} has {size / 2**20:.0f} MB, an annotation file at most {MAX_TEXT_BYTES >> 20} MB")
        text, is_guess = _decoded(path.read_bytes(), guess=guessed is not None)
        if guessed is None or not is_guess:
            return text
        words = ", ".join(map(repr, dict.fromkeys(re.findall(r"\w*[^\x00-\x7f]\w*", text[:100_000])[:3])))
        guessed.append(f"it is not UTF-8 and is read as Windows-1252 (as Excel saves CSV), as in {words}")
        return text
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8 (in Excel: CSV UTF-8) and try again"
        ) from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None


def read_head(path: Path, count: int) -> str:
    """Read the whole lines in the first bytes of a text file, in the encodings that `read_text` knows.

    Returns:
        Nothing where it can't be read, or holds zero bytes, as no text does.
    """
    try:
        with path.open("rb") as file:
            head = file.read(count)
    except OSError:
        return ""
    text, _ = _decoded(head, guess=True, whole=False)
    return "" if "\0" in text else text if len(head) < count else text[: text.rfind("\n") + 1]


def _decoded(content: bytes, *, guess: bool, whole: bool = True) -> tuple[str, bool]:
    """A text with line feeds at the ends of its lines, and whether its encoding is a guess.

    Args:
        content: Its bytes.
        guess: Whether it may be Windows-1252.
        whole: Whether these are all its bytes; else the last letter may be cut off, and what can't be read is replaced.

    Raises:
        UnicodeDecodeError: It is in another encoding.
    """
    errors, is_guess = "strict" if whole else "replace", False
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = codecs.getincrementaldecoder("utf-16")(errors).decode(content, whole)
    else:
        try:
            text = codecs.getincrementaldecoder("utf-8-sig")().decode(content, whole)
        except UnicodeDecodeError:
            if not guess:
                raise
            text, is_guess = content.decode("cp1252", errors), True
    return text.replace("\r\n", "\n").replace("\r", "\n"), is_guess


def noting(twice: list[str]) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    """Return a hook for `json.loads` that adds to the list each key that an object has more than once."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    twice.append(key)
                seen.add(key)
        return content

    return unique


def read_json(path: Path) -> tuple[Any, list[str]]:
    """Read a JSON file; return its content, and the keys that an object in it has twice (the last of which counts).

    Raises:
        InputError: It can't be read or is no JSON.
    """
    twice: list[str] = []
    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=noting(twice)), twice
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no valid JSON: {error}") from None


def cache_folder() -> Path:
    """Return where the package keeps what it can make again.

    That is LSCHT_RAY_CACHE, else lscht_ray in XDG_CACHE_HOME or ~/.cache.
    """
    own = os.environ.get("LSCHT_RAY_CACHE")
    root = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lscht_ray"
    return root.expanduser().resolve()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file to write; it takes the place of ``path`` at once when the block ends without an error."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


CsvLocale = Literal["en", "es"]
"""How numbers and cells are told apart in CSV: commas between cells and decimal points, or semicolons and commas."""


def write_csv(path: Path, rows: Iterable[Iterable[Any]], locale: CsvLocale = "en") -> None:
    """Write a CSV file that is never seen half written. A cell that is None is empty.

    It begins with UTF-8's byte order mark, without which Excel takes it for Windows-1252: ñ would become Ã±.
    """
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8-sig", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file, delimiter=";" if locale == "es" else ",")
        writer.writerows([_cell(value, locale) for value in row] for row in rows)


def _cell(value: Any, locale: CsvLocale) -> Any:
    return str(value).replace(".", ",") if locale == "es" and isinstance(value, float) else value


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file that is never seen half written."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file that is never seen half written."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # \udc80 is JSON's own way to say it
