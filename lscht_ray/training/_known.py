"""Which clips a run was trained, validated and tested on, by their content, so that an evaluation can tell them."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lscht_ray.dataset.rows import SPLITS
from lscht_ray.dataset.samples import Clip


def _identity(clip: Clip) -> tuple[str, str]:
    """Of a clip's content, and of content and file name: hashes, so that a model that is passed on names no file."""
    content = hashlib.sha256(f"{clip.facts.sha256}/{clip.span}".encode()).hexdigest()[:16]
    name = hashlib.sha256(clip.video.name.encode(errors="surrogateescape")).hexdigest()[:8]
    return content, f"{content}-{name}"


def written(clips: Iterable[Clip]) -> dict[str, list[str]]:
    """What a checkpoint keeps: the clips of each split."""
    found: dict[str, list[str]] = {split: [] for split in SPLITS}
    for clip in clips:
        found[clip.split].append(_identity(clip)[1])
    return found


@dataclass(frozen=True)
class KnownClips:
    """The clips of a run.

    Attributes:
        by_split: What `written` gave.
    """

    by_split: Mapping[str, list[str]]
    _contents: dict[str, list[str]] = field(init=False, default_factory=dict)
    _names: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Make the lists ready for questions."""
        for split in SPLITS:
            for name in self.by_split.get(split, ()):
                self._names.setdefault(name, split)
                self._contents.setdefault(name.partition("-")[0], []).append(split)

    def __bool__(self) -> bool:
        """Whether the checkpoint says which clips its run had; an earlier version's does not."""
        return bool(self._names)

    def split_of(self, clip: Clip) -> str:
        """In which split of the run a clip was; empty: in none.

        Of equal clips in several splits the file's name decides, else that counts which was trained on.
        """
        content, named = _identity(clip)
        if named in self._names:
            return self._names[named]
        splits = self._contents.get(content, [])
        return min(splits, key=SPLITS.index) if splits else ""

    def seen_in_training(self, clip: Clip) -> bool:
        """Whether the run was trained on this clip, or on one with the same content."""
        return "train" in self._contents.get(_identity(clip)[0], ())

    def about(self, clips: Iterable[Clip], split: str) -> list[str]:
        """What a person has to know of clips that are evaluated as a split's."""
        clips = list(clips)
        if not self:
            return []
        where = Counter(self.split_of(clip) for clip in clips)
        new, lines = where.pop("", 0), []
        if new == len(clips):
            lines.append(f"these are other data than the run's: it knows none of the {len(clips)} clips")
        elif new:
            lines.append(f"{new} of the {len(clips)} clips are new: the run does not know them")
        elif (gone := len(self.by_split.get(split, ())) - len(clips)) > 0:
            lines.append(f"{gone} of the {gone + len(clips)} {split} clips of the run are not among these")
        if split not in ("train", "all") and (seen := sum(map(self.seen_in_training, clips))):
            lines.append(
                f"warning: the run was trained on {seen} of these {len(clips)} clips: the figures are better than they"
                " would be on new ones"
            )
        return lines
