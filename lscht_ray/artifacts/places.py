"""The name of every file and folder in a run folder and in a sweep folder, as README describes them."""

import difflib
import itertools
import shlex
from pathlib import Path

from lscht_ray.errors import InputError
from lscht_ray.shown import counted

# ---------------------------------------------------------------- a run folder
CONFIG = "config.json"
"""Every setting of the run."""
METRICS = "metrics.jsonl"
"""One line of figures per epoch."""
BEST = "best_model.pt"
"""The weights of the best epoch, and what inference needs."""
EXPORT = "best_model"
"""Folder: the best epoch as transformers' `from_pretrained` reads it."""
LAST = "last_checkpoint.pt"
"""All that resuming needs, as of the last save."""
EPOCH = "checkpoint_epoch_"
"""How the names of the checkpoints that are kept begin: files in a run folder, folders in a trial's."""
HASHES = "checkpoints.json"
"""The SHA-256 of each checkpoint by its name."""
SPLITS = "splits.csv"
"""Which clip is in which split, where the split was drawn."""
MISSING = "missing_videos.txt"
"""Annotated videos that are not on disk."""
UNREADABLE = "unreadable_videos.txt"
"""Videos that were left out, each with the reason."""
STACKS = "stacks.txt"
"""Where every thread was when a run that hung was ended."""
LOCK = ".lock"
"""Which process writes in the folder; also in a sweep folder."""

# ---------------------------------------------------------------- an evaluation's folder, beside the checkpoint
EVALUATION = "evaluation_"
"""How the folder's name begins; the split follows."""
EVALUATION_METRICS = "metrics.json"
"""Accuracies, loss, the worst classes and the most confused pairs."""
PER_CLASS = "per_class.csv"
"""One line per gloss."""
PREDICTIONS = "predictions.csv"
"""One line per clip: the most probable glosses."""
PROBABILITIES = "probabilities.npz"
"""Of every gloss for each clip, as numpy reads it."""
CONFUSION = "confusion_matrix.csv"
"""True glosses by predicted ones."""
CONFUSION_PICTURE = "confusion_matrix.png"
"""The same as a picture."""
EVALUATION_FILES = (EVALUATION_METRICS, PER_CLASS, PREDICTIONS, PROBABILITIES, CONFUSION, CONFUSION_PICTURE)
"""Everything that an evaluation writes."""

# ---------------------------------------------------------------- a sweep folder
SWEEP = "sweep.json"
"""The resolved settings of the sweep."""
SUMMARY = "summary.json"
"""What the sweep has found: every trial, and the best."""
STUDY = "study.db"
"""The Optuna study, a SQLite database."""
RAY_LOG = "ray.log"
"""What Ray and other libraries print."""
PLACE = "place.txt"
"""Where the trials are, for all nodes: this folder or a URI."""
DRIVER = "driver.txt"
"""The id of the driver whose orders count."""
WINNER = "best"
"""Folder: config.json, best_model.pt and best_model/ of the best trial's best epoch."""
TRIALS = "trials"
"""Folder: a folder per trial, with a run folder's small files and the trial's checkpoints."""
LOGS = "runs"
"""Folder: TensorBoard's events, a folder per trial."""
TUNE = "tune"
"""Folder: Ray Tune's own files, while the sweep runs and its trials are in a shared storage."""

# ---------------------------------------------------------------- a trial's folder in TRIALS
STARTED = "started.txt"
"""Which driver's worker has started, as which process of which host."""
INSIDE = "inside"
"""Folder: the checkpoint from inside an epoch."""
CLIPS_AT_ONCE = "clips_at_once.txt"
"""How many clips go through the model at a time, where the memory holds no more."""
UNFIT = "unfit.txt"
"""Why the trial can't be trained with its settings, on whatever machine."""
RAY_CHECKPOINTS = "checkpoint_manager_snapshot.json"
"""Ray Train's own list of the trial's checkpoints."""


def epoch_checkpoint(epoch: int) -> str:
    """The file of a run's checkpoint of that epoch."""
    return f"{EPOCH}{epoch}.pt"


def epoch_folder(epoch: int, attempt: str) -> str:
    """The folder of a trial's checkpoint of that epoch; ``attempt`` tells the starts of the trial apart."""
    return f"{EPOCH}{epoch:04d}_{attempt}"


def epoch_of(name: str) -> int | None:
    """The epoch in the name of a checkpoint's file or folder; None for other names."""
    number = name.removeprefix(EPOCH).removesuffix(".pt").split("_")[0]
    return int(number) if name.startswith(EPOCH) and number.isdecimal() else None


def evaluation(split: str) -> str:
    """The folder of an evaluation on that split."""
    return f"{EVALUATION}{split}"


def trial_id(number: int) -> str:
    """The name of a sweep's trial of that number, from 1, in the order of their proposal."""
    return f"trial_{number:05d}"


def trial_number(name: str) -> int:
    """The number in a trial's name."""
    return int(name.rpartition("_")[2])


def trial(trial_id: str) -> str:
    """A trial's folder in the sweep's storage."""
    return f"{TRIALS}/{trial_id}"


def trial_logs(trial_id: str) -> str:
    """The folder of a trial's TensorBoard events in the sweep's storage."""
    return f"{LOGS}/{trial_id}"


def make_numbered(*folders: Path) -> tuple[Path, ...]:
    """Make new folders, all with the same number after their names where one of these is taken.

    Several processes may do so at once: none gets what another has made.

    Raises:
        OSError: One can't be made.
    """
    for number in itertools.count(1):
        made: list[Path] = []
        try:
            for folder in folders:
                numbered = folder.with_name(f"{folder.name}_{number}") if number > 1 else folder
                numbered.mkdir()
                made.append(numbered)
        except OSError as error:
            for folder in made:
                folder.rmdir()
            if not isinstance(error, FileExistsError):
                raise
            continue
        return tuple(made)
    raise AssertionError("numbers never end")


def find_model(path: Path) -> Path:
    """Return the model file that a user means: the file itself, the best (else the last) model of a run, or a sweep's.

    Raises:
        InputError: There is no such file.
    """
    if path.is_dir():
        for name in (BEST, LAST, f"{WINNER}/{BEST}"):
            if (path / name).is_file():
                return path / name
        if (path / SWEEP).is_file():
            raise InputError(f"{path}: that sweep has no best model yet ({WINNER}/{BEST})")
        if path.name == EXPORT and (path.parent / BEST).is_file():
            raise InputError(f"{path}: it is the copy for transformers: name the run's folder, {path.parent}")
        inside = sorted(file.parent.name for file in path.glob(f"*/{BEST}"))
        if inside:
            named = shlex.quote(str(path / inside[-1]))
            raise InputError(f"{path}: it holds {counted(len(inside), 'run')}: name one, as in {named}")
        raise InputError(f"{path}: it is no run folder: neither {BEST} nor {LAST} is in it")
    if not path.is_file():
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.7)
        hint = f": did you mean {shlex.quote(str(path.parent / near[0]))}?" if near else ""
        raise InputError(f"{path}: there is no such checkpoint or run folder{hint}")
    return path
