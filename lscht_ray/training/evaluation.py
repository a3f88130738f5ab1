"""Evaluates a checkpoint on a split of a data set, from the settings that it was trained with."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from lscht_ray.artifacts import checkpoint, places
from lscht_ray.artifacts.report import Evaluation
from lscht_ray.checking import survey
from lscht_ray.checking.usable import ClipSet
from lscht_ray.clips import fill
from lscht_ray.dataset import annotations
from lscht_ray.dataset.annotations import Annotations
from lscht_ray.dataset.demo import DEMO
from lscht_ray.dataset.rows import SPLITS
from lscht_ray.dataset.samples import Clip
from lscht_ray.dataset.splits import ForeignSplitError
from lscht_ray.errors import InputError
from lscht_ray.settings.columns import ColumnMap
from lscht_ray.settings.evaluate import EvaluateConfig
from lscht_ray.settings.train import TrainConfig
from lscht_ray.shown import counted, shown, some
from lscht_ray.training import inference
from lscht_ray.training._known import KnownClips
from lscht_ray.training.device import choose_device, choose_precision, settle

ALL = "all"
"""In place of a split: the clips of all."""
SPLITS_AND_OPEN = (*SPLITS, "")


def evaluate(path: Path, request: EvaluateConfig, screen: Console) -> tuple[Evaluation, dict[str, Any]]:
    """Evaluate a checkpoint.

    Args:
        path: The checkpoint's file.
        request: On which clips.
        screen: Where it prints what it does.

    Returns:
        The results, and what they are about: the checkpoint, its epoch, the data, and how many clips are left out.

    Raises:
        InputError: Checkpoint, data or device can't be used, or the glosses don't fit the data.
    """
    content = checkpoint.load(path)
    config = TrainConfig.model_validate(content["config"])
    known = KnownClips(content.get(checkpoint.KNOWN_CLIPS, {}))
    annotated = _of_split(_read(config, request, path, known, screen), request.split)
    if len(annotated.glosses) < 2:
        raise InputError(f"{annotated.root}: {annotations.one_gloss(annotated)}")
    looked_at = survey.trusted(annotated, config, screen, splits=SPLITS_AND_OPEN)
    usable = _with_splits(looked_at, known, request.split)
    clips = inference.fitting_clips(usable, request.split, tuple(content["glosses"]))
    about_clips = known.about(clips, request.split)
    for line in (*about_clips, _summary(annotated, clips, content["glosses"], request.split), *annotated.notes):
        screen.print(line)
    device = choose_device(request.device)
    precision = choose_precision(
        config.precision if device.type == "cuda" or config.precision == "bf16" else "auto", device
    )
    settle(device, precision)
    # One pass decodes each clip once: what is cached is used, nothing is added.
    short_side = inference.clip_format(content).decoded_short_side
    filled = fill.fill(annotated.root, clips, config, short_side, screen, build=False)
    result = inference.evaluate(
        content,
        clips,
        batch_size=request.batch_size,
        num_workers=request.num_workers,
        device=device,
        precision=precision,
        screen=screen,
        filled=filled,
    )
    left_out = {str(video): reason for video, reason in usable.left_out}
    about = {
        "checkpoint": str(path),
        "epoch": content["epoch"],
        "data": str(annotated.root),
        "split": request.split,
        "new_clips": sum(not known.split_of(clip) for clip in clips) if known else None,
        "training_clips": sum(map(known.seen_in_training, clips)) if known else None,
        "missing": len(annotated.missing),
        "left_out": len(usable.left_out),
    }
    return dataclasses.replace(result, unreadable={**left_out, **result.unreadable}), about


def _summary(annotated: Annotations, clips: Sequence[Clip], known: Sequence[str], split: str) -> str:
    """Two lines at most: the data set and how many clips of it are evaluated, and glosses that none of them shows."""
    there = {clip.gloss for clip in clips}
    of = f"{split} clip" if split != ALL else "clip"
    glosses = counted(len(there), "gloss")
    line = f"{shown(annotated.root)}: {annotated.layout} layout, {counted(len(clips), of)} of {glosses}"
    absent = [gloss for gloss in known if gloss not in there]
    if absent:
        line += f"\nof the model's {len(known)} glosses these have no clip here: {some(map(shown, absent))}"
    return line


def _read(config: TrainConfig, request: EvaluateConfig, path: Path, known: KnownClips, screen: Console) -> Annotations:
    """Read the annotations; the clips of another data set than the run's keep only the splits that are annotated.

    In the run's own data each clip is where it was: a split that was drawn is drawn again, or taken from the file that
    the run wrote.

    Raises:
        InputError: There is no such data set.
    """
    settings = config.data_settings()
    same = request.data is None or Path(request.data).expanduser().resolve() == Path(config.data).resolve()
    if request.data is not None:
        settings |= {"data": request.data, "videos": request.videos or (config.videos if same else None)}
    elif config.data != DEMO and not Path(config.data).is_absolute():
        raise InputError(f"{path}: it was trained on {config.data!r}, relative to some folder: say --data PATH")
    elif config.data != DEMO and not Path(config.data).exists():
        raise InputError(f"{path}: the data that it was trained on, {config.data}, are not there: say --data PATH")
    if request.layout is not None:
        settings |= {"layout": request.layout, "columns": None}
    if request.columns != ColumnMap():
        settings |= {"columns": request.columns}
    own_file = path.parent / places.SPLITS
    if request.split_file is not None:
        settings |= {"plan": {"file": request.split_file}}
    elif not same and known:
        settings |= {"plan": {"leave_open": True}}
    elif own_file.is_file():
        settings |= {"plan": {"file": str(own_file)}}
    try:
        return annotations.read_named(screen=screen, **settings)
    except ForeignSplitError:
        if request.split_file is not None:
            raise
        return annotations.read_named(screen=screen, **{**settings, "plan": {"leave_open": True}})


def _of_split(annotated: Annotations, split: str) -> Annotations:
    """The samples that are in a split, or may be."""
    samples = tuple(sample for sample in annotated.samples if split == ALL or sample.split in (split, ""))
    return dataclasses.replace(annotated, samples=samples)


def _with_splits(usable: ClipSet, known: KnownClips, split: str) -> ClipSet:
    """Give every clip without a split that of the clip with its content in the run; what is new is for the test.

    Only those of one split are kept.
    """

    def placed(clip: Clip) -> Clip:
        where = clip.split or known.split_of(clip) or "test"
        return dataclasses.replace(clip, sample=dataclasses.replace(clip.sample, split=where))

    clips = tuple(clip for clip in map(placed, usable.clips) if split in (ALL, clip.split))
    annotated = dataclasses.replace(usable.annotations, samples=tuple(clip.sample for clip in clips))
    return dataclasses.replace(usable, clips=clips, annotations=annotated)
