"""The facts of every video of a data set, kept beside it so that each video is looked at once."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from lscht_ray.errors import InputError
from lscht_ray.host.disk import flock
from lscht_ray.host.files import OWN_FOLDER, cache_folder
from lscht_ray.video.facts import VERSION, Facts
from lscht_ray.video.recognise import stamp

FILE = "facts.jsonl"


class Inventory:
    """Facts by video, a line of JSON each. Lines are appended as facts come; of two lines on a video the later counts.

    The file is in the data folder, or in the cache folder where the data folder can't be written. A video whose size or
    time has changed since is unknown again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = _writable(folder)
        self.facts: dict[str, Facts] = {}
        self._load()

    def get(self, video: Path) -> Facts | None:
        """The facts of a video as it is now; None where it is unknown, has changed, or is gone."""
        facts = self.facts.get(self._key(video))
        if facts is None:
            return None
        try:
            now = stamp(video)
        except OSError:
            return None
        return facts if (facts.size, facts.mtime_ns) == now else None

    @contextlib.contextmanager
    def writing(self, on_wait: Callable[[], object] = int) -> Iterator["Writer"]:
        """Add facts. Another process that wants to add to the same inventory waits, and then finds these.

        ``on_wait`` is called where this process has to wait.
        """
        try:
            file = self.path.open("a+", encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise InputError(f"{self.path} can't be written: {error.strerror}") from None
        with file:
            if not flock(file.fileno(), exclusive=True, wait=False):
                on_wait()
                flock(file.fileno(), exclusive=True)
            self._load()
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(file.tell() - 1)
                if file.read() != "\n":  # a process was killed while it wrote this line
                    file.write("\n")
            yield Writer(self, file)

    def _load(self) -> None:
        try:
            lines = self.path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        except OSError:
            return
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                content = json.loads(line)
                if content["version"] == VERSION:
                    self.facts[content["path"]] = Facts.from_dict(content)

    def _key(self, video: Path) -> str:
        return video.relative_to(self.folder).as_posix() if video.is_relative_to(self.folder) else str(video)


class Writer:
    """Adds facts to an inventory that is locked for it."""

    def __init__(self, inventory: Inventory, file: TextIO) -> None:
        self.inventory, self.file = inventory, file

    def add(self, video: Path, facts: Facts) -> None:
        """Put a video's facts on record, at once on disk too."""
        key = self.inventory._key(video)
        self.inventory.facts[key] = facts
        content: dict[str, Any] = {"version": VERSION, "path": key, **facts.as_dict()}
        self.file.write(json.dumps(content) + "\n")
        self.file.flush()


def _writable(folder: Path) -> Path:
    """The inventory's file: beside the data, else in the cache folder.

    Raises:
        InputError: Neither can be written.
    """
    beside = folder / OWN_FOLDER
    away = cache_folder() / "facts" / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    sealed = folder.stat().st_mode & 0o222 == 0  # nobody may write there; root could, but must not
    for place in (away,) if sealed else (beside, away):
        try:
            place.mkdir(parents=True, exist_ok=True)
            with (place / FILE).open("a"):
                return place / FILE
        except OSError:
            continue
    raise InputError(f"neither {beside} nor {away} can be written: set LSCHT_RAY_CACHE to a folder that can")
