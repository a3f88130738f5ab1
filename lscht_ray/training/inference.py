"""Evaluates the model of a checkpoint on clips, each once."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from rich.console import Console

from lscht_ray.artifacts import report
from lscht_ray.checking.usable import ClipSet
from lscht_ray.clips import loader, reader
from lscht_ray.clips.batch import Batch
from lscht_ray.clips.dataset import ClipDataset
from lscht_ray.clips.fill import Filled
from lscht_ray.clips.transforms import ClipFormat, EvaluationTransform
from lscht_ray.dataset.samples import Clip
from lscht_ray.errors import InputError, TrainingError
from lscht_ray.host import console
from lscht_ray.model import videomae
from lscht_ray.model.loss import Criterion
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training.device import Precision, autocast
from lscht_ray.training.metrics import Tally


def evaluate(
    content: dict[str, Any],
    clips: tuple[Clip, ...],
    *,
    batch_size: int,
    num_workers: int,
    device: torch.device,
    precision: Precision,
    screen: Console,
    filled: Filled,
) -> report.Evaluation:
    """Run the model of a checkpoint over clips, each once.

    Args:
        content: What `checkpoint.load` returned.
        clips: Their labels are those of the checkpoint.
        batch_size: Clips at a time.
        num_workers: Data worker processes.
        device: Where the model runs.
        precision: What it computes in.
        screen: Where progress is shown.
        filled: The cache of decoded clips.

    Raises:
        TrainingError: Not one clip could be read.
    """
    config = TrainConfig.model_validate(content["config"])
    wanted = clip_format(content)
    glosses = tuple(content["glosses"])
    network = videomae.rebuild(content["model_config"], content["model"]).to(device).eval()
    dataset = ClipDataset(
        clips,
        reader=reader.reader(config, wanted, filled.cache),
        sampling=reader.sampling(config, training=False),
        seed=config.seed,
    )
    batches = loader.build_loader(
        dataset,
        batch_size=batch_size,
        num_workers=num_workers,
        shuffle=False,
        device=device,
        batch_seconds=config.batch_seconds,
        cached=filled.complete,
    )
    present = EvaluationTransform(wanted)
    tally = Tally(len(glosses), device)
    criterion = Criterion(torch.ones(len(glosses)), 0.0).to(device)
    predictions: list[report.Prediction] = []
    unreadable: dict[str, str] = {}
    order = iter(clips)
    with torch.inference_mode(), console.EpochProgress(screen, "evaluating", len(batches)) as progress:
        for batch in batches:
            unreadable.update(batch.failures)
            moved = batch.to(device)
            with autocast(device, precision):
                logits = network(pixel_values=present(moved)).logits.float()
            tally.add(logits, moved.labels, moved.mask, *criterion(logits, moved.labels, moved.mask))
            predictions += _predictions(logits.cpu(), batch, order)
            progress.advance()
    if not predictions:
        raise TrainingError(f"not one of {len(clips)} clips could be read: {next(iter(unreadable.items()), '')}")
    metrics = {key: value for key, value in tally.result().items() if key != "criterion"}
    confusion = tally.confusion.cpu().numpy().round().astype("int64")
    return report.Evaluation(glosses, metrics, confusion, tuple(predictions), unreadable)


def clip_format(content: dict[str, Any]) -> ClipFormat:
    """The clip format of a checkpoint."""
    given = content["clip_format"]
    return ClipFormat(**{**given, "mean": tuple(given["mean"]), "std": tuple(given["std"])})


def _predictions(logits: torch.Tensor, batch: Batch, order: Iterator[Clip]) -> list[report.Prediction]:
    """The predictions of a batch, whose clips are the next ones in ``order``."""
    found = []
    rows = zip(batch.videos, batch.labels.tolist(), logits.softmax(dim=1).numpy(), batch.mask, strict=True)
    for video, label, probabilities, valid in rows:
        if not video:  # padding
            continue
        clip = next(order)
        assert str(clip.video) == video, (clip.video, video)
        if valid:
            span = clip.sample.span
            found.append(report.Prediction(video, label, probabilities, "" if span is None else span.text()))
    return found


def fitting_clips(clip_set: ClipSet, split: str, glosses: tuple[str, ...]) -> tuple[Clip, ...]:
    """The clips of a split, or of all, with the checkpoint's labels.

    Raises:
        InputError: The split is empty, or has glosses that the checkpoint was not trained on.
    """
    labels = {gloss: label for label, gloss in enumerate(glosses)}
    clips, root = clip_set.clips if split == "all" else clip_set.split(split), clip_set.annotations.root
    if not clips:
        there = Counter(clip.split for clip in clip_set.clips)
        listed = ", ".join(f"{count} {name}" for name, count in there.items())
        raise InputError(f"{root}: there is no clip in the {split} split ({listed}); --split all takes all clips")
    strange = sorted({clip.gloss for clip in clips} - labels.keys())
    if strange:
        raise InputError(
            f"the checkpoint was trained on {len(glosses)} glosses and does not know {len(strange)} of those in "
            f"{root} ({split}): {', '.join(repr(gloss) for gloss in strange[:5])}"
            f"{', ...' if len(strange) > 5 else ''}\n  evaluate it on the data set that it was trained for"
        )
    return tuple(replace(clip, sample=replace(clip.sample, label=labels[clip.gloss])) for clip in clips)
