"""Checks that a resumed run has the settings and the data that it began with."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

from lscht_ray.checking.usable import ClipSet
from lscht_ray.dataset.annotations import Annotations
from lscht_ray.dataset.rows import SPLITS
from lscht_ray.errors import InputError
from lscht_ray.settings.train import TrainConfig, other_settings
from lscht_ray.shown import some


def fingerprint(clip_set: ClipSet) -> dict[str, Any]:
    """What stands for a data set in a checkpoint: its clips per split, and a hash over their files and labels."""
    rows = sorted(
        f"{clip.split}/{clip.gloss}/{clip.video.name}/{clip.span}/{clip.facts.sha256}"
        for clip in clip_set.clips
        if clip.split in ("train", "val")
    )
    digest = hashlib.sha256("\n".join(rows).encode(errors="surrogateescape")).hexdigest()[:16]
    counts = Counter(clip.split for clip in clip_set.clips)
    return {"hash": digest, "clips": {split: counts[split] for split in SPLITS}}


def check_glosses(known: Iterable[str], source: str, annotations: Annotations) -> None:
    """Refuse to go on where a gloss that the model knows is not in the data set; its videos need not be opened.

    Raises:
        InputError: There is such a gloss.
    """
    gone = sorted(set(known) - set(annotations.glosses))
    if gone:
        new = some(sorted(set(annotations.glosses) - set(known))) or "none"
        raise InputError(
            f"{source}: its glosses are not those of {annotations.root} (gone: {some(gone)}; new: {new}): resume with"
            " the data it began with"
        )


def check(saved: dict[str, Any], config: TrainConfig, clip_set: ClipSet, source: str, *, override: bool) -> None:
    """Refuse to go on with other glosses, and, unless ``override`` is given, with other settings or clips.

    Raises:
        InputError: Something differs; the message says how it was and how it is.
    """
    check_glosses(saved["glosses"], source, clip_set.annotations)
    if tuple(saved["glosses"]) != clip_set.glosses:
        new = some(sorted(set(clip_set.glosses) - set(saved["glosses"])))
        how = f"has glosses that it does not know ({new})" if new else "numbers its glosses otherwise"
        raise InputError(f"{source}: {clip_set.annotations.root} {how}: resume with the data it began with")
    differences = other_settings(config, saved["config"])
    before, now = saved.get("data"), fingerprint(clip_set)
    if before is not None and before != now:
        differences.append(f"  clips: were {before['clips']}, now {now['clips']} (or other files)")
    if differences and not override:
        raise InputError(
            "\n".join(
                [f"{source} began with other settings or data:", *differences, "  --override goes on all the same"]
            )
        )
