"""Writes and reads checkpoints atomically; knows every key inside them.

A full checkpoint (``last_checkpoint.pt``, ``checkpoint_epoch_N.pt``) has the keys of `FULL_KEYS` and is all that
resuming needs. ``best_model.pt`` has those of `MODEL_KEYS`: the weights and what inference needs.
"""

import hashlib
import json
import os
import pickle
import random
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lscht_ray.errors import InputError
from lscht_ray.files import write_json

FORMAT = 1
MODEL_KEYS = ("format", "model", "model_config", "clip_format", "glosses", "config", "epoch", "metrics")
FULL_KEYS = (*MODEL_KEYS, "optimizer", "schedule", "early_stopping", "best", "rng", "step", "history")
LAST, BEST, EPOCH = "last_checkpoint.pt", "best_model.pt", "checkpoint_epoch_"
HASHES = "checkpoints.json"
"""SHA-256 of each checkpoint by its name."""


def save(content: dict[str, Any], path: Path) -> str:
    """Write a checkpoint so that ``path`` is always whole: the old one, or the new one; its SHA-256."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        written = digest(temporary)
        temporary.replace(path)
        return written
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path, keys: tuple[str, ...] = MODEL_KEYS) -> dict[str, Any]:
    """Read a checkpoint; tensors come to the CPU, and no code in the file is ever run.

    Raises:
        InputError: There is none, it is damaged, or it lacks one of ``keys``.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such checkpoint") from None
    except (OSError, RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path} is no checkpoint, or it is damaged: {reason}") from None
    absent = [key for key in keys if not isinstance(content, dict) or key not in content]
    if absent:
        raise InputError(f"{path} is no checkpoint of lscht_ray: it lacks {', '.join(absent)}")
    if content["format"] != FORMAT:
        raise InputError(f"{path} has format {content['format']}, this version reads format {FORMAT}")
    return dict(content)


def model_part(full: dict[str, Any]) -> dict[str, Any]:
    """What ``best_model.pt`` holds of a full checkpoint."""
    return {key: full[key] for key in MODEL_KEYS}


def find(path: Path) -> Path:
    """The model file that a user means: the file itself, or the best (else the last) model of a run folder.

    Raises:
        InputError: There is none.
    """
    if path.is_dir():
        for name in (BEST, LAST):
            if (path / name).is_file():
                return path / name
        raise InputError(f"{path}: neither {BEST} nor {LAST} is in that folder")
    if not path.is_file():
        raise InputError(f"{path}: there is no such checkpoint or run folder")
    return path


def digest(path: Path) -> str:
    """SHA-256 of a file: torch loads one with a flipped bit without a word."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def newest(folder: Path) -> tuple[Path, list[str]]:
    """The newest whole full checkpoint of a run folder, and why newer ones can't be used.

    Whole is what has the hash in the folder's list of them; of what is not in that list, what can be read.

    Raises:
        InputError: There is none.
    """
    hashes = read_hashes(folder)
    kept = sorted(folder.glob(f"{EPOCH}*.pt"), key=lambda path: int(path.stem.removeprefix(EPOCH)), reverse=True)
    complaints: list[str] = []
    for path in (folder / LAST, *kept):
        try:
            if path.name not in hashes or not path.is_file():
                load(path, FULL_KEYS)
            elif digest(path) != hashes[path.name]:
                raise InputError(f"{path} is damaged: it is not what was written (SHA-256)")
            return path, complaints
        except InputError as error:
            complaints.append(str(error))
        except OSError as error:
            complaints.append(f"{path} can't be read: {error.strerror}")
    raise InputError("\n".join([f"{folder}: there is no whole checkpoint to go on from", *complaints]))


def read_hashes(folder: Path) -> dict[str, str]:
    """What `Saver` wrote down of each file; nothing where that is damaged."""
    try:
        content = json.loads((folder / HASHES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


class Saver:
    """Keeps the checkpoints of one run folder: the last, the best, and every Nth; and their hashes."""

    def __init__(self, folder: Path, every: int) -> None:
        self.folder, self.every = folder, every
        self.hashes = read_hashes(folder)
        for left in (
            *folder.glob(".*.pt.*"),
            *folder.glob(f".{HASHES}.*"),
        ):  # of a process that was killed while it wrote
            left.unlink(missing_ok=True)

    def save_inside(self, content: dict[str, Any]) -> Path:
        """Save the state inside an epoch, as the last."""
        return self._keep(content, LAST)

    def save(self, content: dict[str, Any], *, improved: bool) -> Path:
        """Save an epoch's full checkpoint under each name that is due; the path of the last."""
        epoch = int(content["epoch"])
        if improved:
            self._keep(model_part(content), BEST)
        if self.every and epoch % self.every == 0:
            self._keep(content, f"{EPOCH}{epoch}.pt")
        return self._keep(content, LAST)

    def _keep(self, content: dict[str, Any], name: str) -> Path:
        """Save under a name. Between its file and its hash a kill would leave a whole file called damaged: so the old
        hash goes first."""
        if self.hashes.pop(name, None) is not None:
            self._write_hashes()
        path = self.folder / name
        self.hashes[name] = save(content, path)
        self._write_hashes()
        return path

    def _write_hashes(self) -> None:
        write_json(self.folder / HASHES, self.hashes)


def rng_state() -> dict[str, Any]:
    """The state of every random generator of this process, in types that load without running code."""
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
