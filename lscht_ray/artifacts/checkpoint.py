"""Writes and reads checkpoints atomically.

Every checkpoint has the keys of `MODEL_KEYS`: the weights and what inference needs; ``best_model.pt`` has no others. A
full checkpoint (``last_checkpoint.pt``, ``checkpoint_epoch_N.pt``) also holds what resuming needs, under keys that
`training.state` alone knows.
"""

import hashlib
import json
import os
import pickle
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from lscht_ray.artifacts import checkpoint_file, places
from lscht_ray.artifacts.checkpoint_file import MODEL_KEYS
from lscht_ray.errors import InputError
from lscht_ray.host import disk
from lscht_ray.host.files import replacing, write_json

FORMAT = 1
KNOWN_CLIPS = "known_clips"
DATA_KEYS = ("data", KNOWN_CLIPS)
"""What newer checkpoints have besides: which clips the run used."""


def save(content: dict[str, Any], path: Path) -> str:
    """Write a checkpoint so that ``path`` is always a whole one, the old or the new; return its SHA-256."""
    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        return digest(temporary)


def load(path: Path, keys: tuple[str, ...] = MODEL_KEYS) -> dict[str, Any]:
    """Read a checkpoint to the CPU. No code in the file is ever run.

    Args:
        path: The file; its folder may list its hash.
        keys: What it must hold.

    Raises:
        InputError: There is no such file, it is damaged, or it lacks one of the keys.
    """
    try:
        _check_hash(path, read_hashes(path.parent))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how a file was pickled that is none of ours
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such checkpoint") from None
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}") from None
    except (RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError):
        raise checkpoint_file.damaged(path) from None  # torch's own words advise to run the code in the file
    absent = [key for key in keys if not isinstance(content, dict) or key not in content]
    if absent:
        raise checkpoint_file.foreign(path, absent)
    if content["format"] != FORMAT:
        raise InputError(f"{path} has format {content['format']}, this version reads format {FORMAT}")
    return dict(content)


def model_part(full: dict[str, Any]) -> dict[str, Any]:
    """Return what ``best_model.pt`` holds of a full checkpoint."""
    return {key: full[key] for key in (*MODEL_KEYS, *DATA_KEYS) if key in full}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file. torch loads a file with a flipped bit without complaint."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_hash(path: Path, hashes: dict[str, str]) -> None:
    if path.name in hashes and digest(path) != hashes[path.name]:
        raise InputError(f"{path} is damaged: it is not what was written (SHA-256)")


def verify(path: Path) -> None:
    """Check that a full checkpoint is whole: by its hash where its folder lists it, else by reading it.

    Args:
        path: The file.

    Raises:
        InputError: It is damaged.
        OSError: It can't be read.
    """
    hashes = read_hashes(path.parent)
    if path.name in hashes and path.is_file():
        _check_hash(path, hashes)
    else:
        load(path)


def newest(folder: Path) -> tuple[Path, list[str]]:
    """Return the newest whole full checkpoint of a run folder, and a complaint about each newer one.

    Raises:
        InputError: No checkpoint is whole.
    """
    kept = sorted(folder.glob(f"{places.EPOCH}*.pt"), key=lambda path: places.epoch_of(path.name) or 0, reverse=True)
    complaints: list[str] = []
    for path in (folder / places.LAST, *kept):
        try:
            verify(path)
            return path, complaints
        except InputError as error:
            complaints.append(str(error))
        except OSError as error:
            complaints.append(f"{path} can't be read: {error.strerror}")
    raise InputError("\n".join([f"{folder}: there is no whole checkpoint to go on from", *complaints]))


def read_hashes(folder: Path) -> dict[str, str]:
    """Return the hashes that `Saver` wrote, by file name; none where that file is missing or damaged."""
    try:
        content = json.loads((folder / places.HASHES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def list_hash(folder: Path, name: str) -> None:
    """Add a file to the folder's list of hashes."""
    write_json(folder / places.HASHES, read_hashes(folder) | {name: digest(folder / name)})


class Saver:
    """Keeps the checkpoints of one run folder (the last, the best, and every Nth) and their hashes.

    A checkpoint that can't be written leaves the one before it as it is; that is printed once.

    Args:
        folder: The run folder.
        every: Keep the checkpoint of each epoch that this divides; 0: of none.
        console: Where a failure is printed.
        on_saved_inside: Gets the path of what `save_inside` saved, and the step of the run.

    Attributes:
        unsaved: Names of the checkpoints whose newest content is not on the disk.
    """

    def __init__(
        self,
        folder: Path,
        every: int,
        console: Console,
        on_saved_inside: Callable[[Path, int], None] = lambda path, step: None,
    ) -> None:
        self.folder, self.every, self.console, self.on_saved_inside = folder, every, console, on_saved_inside
        self.hashes = read_hashes(folder)
        self.unsaved: set[str] = set()
        for temporary in folder.glob(f".*.{'[0-9a-f]' * 32}"):  # left by a process that was killed as it wrote
            temporary.unlink(missing_ok=True)

    def save_inside(self, content: dict[str, Any]) -> Path | None:
        """Save the state inside an epoch as the last checkpoint; return its path, or None where that fails."""
        saved = self._keep(content, places.LAST)
        if saved is not None:
            self.on_saved_inside(saved, int(content["step"]))
        return saved

    def save(self, content: dict[str, Any], *, improved: bool) -> Path | None:
        """Save an epoch's checkpoint under each name that is due; return the last one's path, None where that fails."""
        epoch = int(content["epoch"])
        if improved:
            self._keep(model_part(content), places.BEST)
        saved = self._keep(content, places.LAST)
        if self.every and epoch % self.every == 0:
            self._keep(content, places.epoch_checkpoint(epoch))
        return saved

    def _keep(self, content: dict[str, Any], name: str) -> Path | None:
        path = self.folder / name
        try:
            disk.check_room(self.folder, _bytes(content))
            # The old hash goes first: after a kill between file and hash, a whole file would be called damaged.
            if self.hashes.pop(name, None) is not None:
                self._write_hashes()
            self.hashes[name] = save(content, path)
            self._write_hashes()
        except OSError as error:
            if not self.unsaved:
                self.console.print(
                    f"warning: {path} can't be written: {error.strerror}; training goes on, and what was saved before"
                    " stays as it is"
                )
            self.unsaved.add(name)
            return None
        self.unsaved.discard(name)
        return path

    def _write_hashes(self) -> None:
        write_json(self.folder / places.HASHES, self.hashes)


def _bytes(content: Any) -> int:
    """Return about how many bytes a file with this content has."""
    if isinstance(content, torch.Tensor):
        return content.numel() * content.element_size()
    if isinstance(content, dict):
        return sum(_bytes(value) for value in content.values()) + 64 * len(content)
    if isinstance(content, list | tuple):
        return sum(_bytes(value) for value in content) + 16 * len(content)
    return len(content) if isinstance(content, str) else 0


def rng_state() -> dict[str, Any]:
    """Return the state of every random generator of this process, in types that load without running code."""
    version, keys, gauss = random.getstate()
    name, numbers, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(keys), gauss],
        "numpy": [str(name), np.asarray(numbers).tolist(), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_rng_state(state: dict[str, Any]) -> None:
    """Put every random generator back to a saved state."""
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))
    name, numbers, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(numbers, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
