"""What a trial that starts again finds in the storage: its checkpoints, how many clips its memory holds, and whether it
is worth starting at all.

Ray puts the checkpoints of finished epochs there. They are found by their folders' names, since Ray's own list of them
is cut off where a disk is full or a process is killed while it writes.
"""

import json
from pathlib import Path

from lscht_ray.artifacts import checkpoint, places
from lscht_ray.artifacts.storage import Storage
from lscht_ray.errors import InputError


def checkpoints(storage: Storage, trial_id: str) -> dict[str, int]:
    """A trial's checkpoint folders and their epochs, the newest last."""
    found = ((name, places.epoch_of(name)) for name in storage.folders(places.trial(trial_id)))
    return dict(sorted(((name, epoch) for name, epoch in found if epoch is not None), key=lambda pair: pair[1]))


class Rescue:
    """The place of one trial in the storage."""

    def __init__(self, storage: Storage, trial_id: str) -> None:
        self.storage, self.trial_id, self.place = storage, trial_id, places.trial(trial_id)

    def keep(self, saved: Path, step: int) -> None:
        """Store a checkpoint from inside an epoch, and remove the one before once the new one is whole.

        Raises:
            OSError: There is no room.
        """
        self.storage.check_room(saved.stat().st_size)
        name = f"{step:09d}_{checkpoint.digest(saved)}.pt"
        before = self.storage.files(f"{self.place}/{places.INSIDE}")
        self.storage.put(saved, f"{self.place}/{places.INSIDE}/{name}")
        for old in before:
            if old != name:
                self.storage.delete_file(f"{self.place}/{places.INSIDE}/{old}")

    def newest(self, folder: Path) -> Path | None:
        """The newest whole checkpoint, also from inside an epoch; None where there is none.

        Args:
            folder: Where copies may be put.
        """
        epochs, found = 0, None
        for name, epoch in reversed(checkpoints(self.storage, self.trial_id).items()):
            path = self.storage.fetched(f"{self.place}/{name}", folder) / places.LAST
            try:
                checkpoint.verify(path)
            except (InputError, OSError):
                continue
            epochs, found = epoch, path
            break
        return self._inside(epochs, folder) or found

    def _inside(self, epochs: int, folder: Path) -> Path | None:
        for name in reversed(self.storage.files(f"{self.place}/{places.INSIDE}")):
            target = folder / name
            self.storage.get_file(f"{self.place}/{places.INSIDE}/{name}", target)
            if checkpoint.digest(target) != target.stem.partition("_")[2]:
                continue  # it was cut off
            try:
                if checkpoint.load(target)["epoch"] == epochs:
                    return target
            except InputError:
                continue
        return None

    def keep_epoch(self, folder: Path, name: str, best: int) -> None:
        """Store the checkpoint folder of a finished epoch; of the older ones only that of the best epoch stays.

        Raises:
            OSError: There is no room.
        """
        # The hash comes first: a folder with a checkpoint must have its hash.
        for file in sorted(folder.iterdir(), key=lambda file: file.name == places.LAST):
            self.storage.put(file, f"{self.place}/{name}/{file.name}")
        for old, epoch in checkpoints(self.storage, self.trial_id).items():
            if old != name and epoch != best:
                self.storage.delete(f"{self.place}/{old}")

    def forget(self) -> None:
        """Remove the checkpoints from inside epochs: the trial has ended."""
        if self.storage.files(f"{self.place}/{places.INSIDE}"):
            self.storage.delete(f"{self.place}/{places.INSIDE}")

    def mend(self) -> None:
        """Remove Ray's list of checkpoints where it is damaged: with it the trial could never start again."""
        text = self.storage.read_text(f"{self.place}/{places.RAY_CHECKPOINTS}")
        try:
            json.loads(text if text is not None else "{}")
        except ValueError:
            self.storage.delete_file(f"{self.place}/{places.RAY_CHECKPOINTS}")

    def unfit(self) -> str:
        """Why the trial can't be trained with its settings; empty where nothing is known against them."""
        return self.storage.read_text(f"{self.place}/{places.UNFIT}") or ""

    def give_up(self, reason: str) -> None:
        """Note that the trial can't be trained with its settings, so that nobody starts it again."""
        self.storage.write_text(f"{self.place}/{places.UNFIT}", reason)

    def clips_at_once(self) -> int | None:
        """How many clips may go through the model at a time, where the memory did not hold as many as were set."""
        text = self.storage.read_text(f"{self.place}/{places.CLIPS_AT_ONCE}")
        return int(text) if text is not None and text.isdecimal() else None

    def halve(self, count: int) -> int:
        """Note that the memory does not hold ``count`` clips at a time; how many the next start is to take."""
        half = (count + 1) // 2
        self.storage.write_text(f"{self.place}/{places.CLIPS_AT_ONCE}", str(half))
        return half
