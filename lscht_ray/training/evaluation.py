"""Evaluates a checkpoint on a split of a data set, from the settings that it was trained with."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from lscht_ray.artifacts import checkpoint, places
from lscht_ray.artifacts.report import Evaluation
from lscht_ray.checking import survey
from lscht_ray.clips import fill
from lscht_ray.dataset import annotations
from lscht_ray.dataset.annotations import Annotations
from lscht_ray.dataset.splits import ForeignSplitError
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training import inference
from lscht_ray.training.device import choose_device, choose_precision, settle


@dataclass(frozen=True)
class Request:
    """What is to be evaluated, and how; None: as in training.

    Attributes:
        split: train, val or test.
        data: The data set.
        videos: The folder of the videos.
        layout: The layout of ``data``.
        split_file: CSV of path and split.
        batch_size: Clips at a time.
        num_workers: Data worker processes.
        device: As the setting of that name.
    """

    split: str
    data: str | None = None
    videos: str | None = None
    layout: str | None = None
    split_file: str | None = None
    batch_size: int = 16
    num_workers: int = 2
    device: str = "auto"


def evaluate(path: Path, request: Request, screen: Console) -> tuple[Evaluation, dict[str, Any]]:
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
    annotated = _read(_data_settings(config, request, path), request, screen)
    for line in (annotated.summary(), *annotated.notes):
        screen.print(line)
    usable = survey.trusted(annotated, config, screen, splits=(request.split,))
    device = choose_device(request.device)
    precision = choose_precision(
        config.precision if device.type == "cuda" or config.precision == "bf16" else "auto", device
    )
    settle(device, precision)
    clips = inference.fitting_clips(usable, request.split, tuple(content["glosses"]))
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
        "missing": len(annotated.missing),
        "left_out": len(usable.left_out),
    }
    return dataclasses.replace(result, unreadable={**left_out, **result.unreadable}), about


def _data_settings(config: TrainConfig, request: Request, path: Path) -> dict[str, Any]:
    """Return the data settings of the training, changed as requested; no clip changes its split.

    A split that was drawn is drawn again, or taken from the file that the run wrote.
    """
    settings = config.data_settings()
    if request.data is not None:
        same = Path(request.data).resolve() == Path(config.data).resolve()
        settings |= {"data": request.data, "videos": request.videos or (config.videos if same else None)}
    if request.layout is not None:
        settings |= {"layout": request.layout, "columns": None}
    written = path.parent / places.SPLITS
    split_file = request.split_file or (str(written) if written.is_file() else None)
    return settings | ({"plan": {"file": split_file}} if split_file else {})


def _read(settings: dict[str, Any], request: Request, screen: Console) -> Annotations:
    """Read the annotations; the run's split file does not count where it is that of another data set."""
    try:
        return annotations.read_named(screen=screen, **settings)
    except ForeignSplitError:
        if request.split_file is not None:
            raise
        return annotations.read_named(screen=screen, **{**settings, "plan": None})
