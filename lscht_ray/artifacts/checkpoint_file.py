"""Whether a file can be one of our checkpoints, found out without torch, which takes seconds to import."""

import zipfile
import zlib
from pathlib import Path

from lscht_ray.artifacts import places
from lscht_ray.errors import InputError

MODEL_KEYS = ("format", "model", "model_config", "clip_format", "glosses", "config", "epoch", "metrics")
"""What every checkpoint of ours holds."""
LARGEST = 64 * 2**20
"""Bytes of the names and small values in a checkpoint that are looked through at most."""


def check(path: Path) -> None:
    """Refuse what can't be a checkpoint of ours: a zip file whose ``data.pkl`` names each of `MODEL_KEYS`.

    That is how torch.save writes since 1.6 (torch.serialization's documentation). Nothing in the file is run; whether
    it is whole is for `checkpoint.load` to say.

    Raises:
        InputError: There is no such file, it can't be read, it is another kind of file, or it lacks one of the keys.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            pickled = [entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")]
            if len(pickled) != 1:
                raise damaged(path)
            if pickled[0].file_size > LARGEST:
                return
            names = archive.read(pickled[0])
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such checkpoint") from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error):
        raise damaged(path) from None
    absent = [key for key in MODEL_KEYS if key.encode() not in names]
    if absent:
        raise foreign(path, absent)


def damaged(path: Path) -> InputError:
    """Return what is said of a file that is none, or no whole one."""
    return InputError(f"{path} is no checkpoint, or it is damaged: name a run's folder, or its {places.BEST}")


def foreign(path: Path, absent: list[str]) -> InputError:
    """Return what is said of a file of torch that is none of ours."""
    return InputError(f"{path} is no checkpoint of lscht_ray: it lacks {', '.join(absent)}")
