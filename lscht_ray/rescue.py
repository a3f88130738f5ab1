"""What a trial leaves in the storage for its next start: where it is inside an epoch, and how many clips memory holds.

Ray itself keeps the checkpoints of finished epochs.
"""

from pathlib import Path

from lscht_ray import checkpoint
from lscht_ray.errors import InputError
from lscht_ray.storage import Storage

INSIDE, MEMORY = "inside", "clips_at_once.txt"


class Rescue:
    """The place of one trial in the storage."""

    def __init__(self, storage: Storage, trial_id: str) -> None:
        self.storage, self.place = storage, f"trials/{trial_id}"

    def keep(self, saved: Path, step: int) -> None:
        """Put a checkpoint from inside an epoch there; the one before goes once it is whole.

        Raises:
            OSError: There is no room.
        """
        self.storage.check_room(saved.stat().st_size)
        name = f"{step:09d}_{checkpoint.digest(saved)}.pt"
        before = self.storage.files(f"{self.place}/{INSIDE}")
        self.storage.put(saved, f"{self.place}/{INSIDE}/{name}")
        for old in before:
            if old != name:
                self.storage.delete_file(f"{self.place}/{INSIDE}/{old}")

    def newest(self, epochs: int, folder: Path) -> Path | None:
        """Fetch the newest whole checkpoint from inside the epoch after so many; None where there is none."""
        for name in reversed(self.storage.files(f"{self.place}/{INSIDE}")):
            target = folder / name
            self.storage.get_file(f"{self.place}/{INSIDE}/{name}", target)
            if checkpoint.digest(target) != target.stem.partition("_")[2]:
                continue  # it was cut off
            try:
                if checkpoint.load(target, checkpoint.FULL_KEYS)["epoch"] == epochs:
                    return target
            except InputError:
                continue
        return None

    def forget(self) -> None:
        """Remove what is there from inside epochs: the trial is at its end."""
        if self.storage.files(f"{self.place}/{INSIDE}"):
            self.storage.delete(f"{self.place}/{INSIDE}")

    def clips_at_once(self) -> int | None:
        """How many clips the memory holds, where it was found not to hold as many as were set."""
        text = self.storage.read_text(f"{self.place}/{MEMORY}")
        return int(text) if text is not None and text.isdecimal() else None

    def note_clips_at_once(self, count: int) -> None:
        """Write that down."""
        self.storage.write_text(f"{self.place}/{MEMORY}", str(count))
