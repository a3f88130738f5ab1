"""Checks that a resumed run has the settings and the data that it began with."""

import hashlib
from collections import Counter
from itertools import permutations
from pathlib import Path
from typing import Any

from lscht_ray.checking.usable import ClipSet
from lscht_ray.dataset.rows import SPLITS
from lscht_ray.errors import InputError
from lscht_ray.settings.train import NAMES_OR_PATHS, TrainConfig, with_new_fields

ELSEWHERE = frozenset(
    ("data", "videos", "model_name", "num_workers", "batch_seconds", "probe_seconds", "probe_memory_gb", "cache",
     "cache_dir", "cache_gb", "device", "gpu_hour_price", "checkpoint_every", "checkpoint_every_steps",
     "checkpoint_dir", "log_dir", "max_skipped_steps", "step_seconds", "run_name")
)  # fmt: skip
"""Settings that may change freely: they say where things are, or change no result."""


def _same(name: str, was: object, now: object) -> bool:
    """Whether a setting is what it was; earlier versions wrote paths relative to the working folder."""
    return was == now or (name in NAMES_OR_PATHS and str(Path(str(was)).expanduser().resolve()) == now)


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


def check(saved: dict[str, Any], config: TrainConfig, clip_set: ClipSet, source: str, *, override: bool) -> None:
    """Refuse to go on with other glosses, and, unless ``override`` is given, with other settings or clips.

    Raises:
        InputError: Something differs; the message says how it was and how it is.
    """
    if tuple(saved["glosses"]) != clip_set.glosses:
        gone, new = (sorted(set(a) - set(b))[:5] for a, b in permutations((saved["glosses"], clip_set.glosses)))
        raise InputError(
            f"{source}: its glosses are not those of {clip_set.annotations.root} (gone: {gone}; new: {new}): resume"
            " with the data it began with"
        )
    given = config.model_dump(mode="json")
    was = with_new_fields(config, saved["config"])
    differences = [
        f"  {name}: was {was[name]!r}, now {value!r}"
        for name, value in given.items()
        if name not in ELSEWHERE and name in was and not _same(name, was[name], value)
    ]
    before, now = saved.get("data"), fingerprint(clip_set)
    if before is not None and before != now:
        differences.append(f"  clips: were {before['clips']}, now {now['clips']} (or other files)")
    if differences and not override:
        raise InputError(
            "\n".join(
                [f"{source} began with other settings or data:", *differences, "  --override goes on all the same"]
            )
        )
