"""`python -m lscht_ray.evaluate CHECKPOINT --data PATH --split test`: what a trained model is worth on a split."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from lscht_ray import annotations, checkpoint, commandline, console, data, model, report
from lscht_ray.batch import Batch
from lscht_ray.config import TrainConfig
from lscht_ray.device import choose_device, use_bf16
from lscht_ray.errors import InputError, TrainingError
from lscht_ray.loss import Criterion
from lscht_ray.metrics import Tally
from lscht_ray.transforms import ClipFormat, EvaluationTransform


def evaluate(
    content: dict[str, Any],
    samples: tuple[annotations.Sample, ...],
    *,
    batch_size: int,
    num_workers: int,
    device: torch.device,
    bf16: bool,
    screen: Console,
) -> report.Evaluation:
    """Run the model of a checkpoint over clips, each once.

    Args:
        content: What `checkpoint.load` returned.
        samples: The clips; their labels are those of the checkpoint.
        batch_size: Clips at a time.
        num_workers: Data worker processes.
        device: Where the model runs.
        bf16: Whether it computes in bf16.
        screen: Where progress is shown.

    Raises:
        TrainingError: Not one clip could be read.
    """
    config = TrainConfig.model_validate(content["config"])
    form = ClipFormat(**{**content["clip_format"], **{k: tuple(content["clip_format"][k]) for k in ("mean", "std")}})
    glosses = tuple(content["glosses"])
    network = model.rebuild(content["model_config"], content["model"]).to(device).eval()
    dataset = data.ClipDataset(
        samples,
        transform=EvaluationTransform(form),
        num_frames=config.num_frames,
        decoder=config.decoder,
        seed=config.seed,
    )
    loader = data.build_loader(
        dataset, batch_size=batch_size, num_workers=num_workers, shuffle=False, pin_memory=device.type == "cuda"
    )
    tally = Tally(len(glosses), device)
    criterion = Criterion(torch.ones(len(glosses)), 0.0).to(device)
    predictions: list[report.Prediction] = []
    unreadable: dict[str, str] = {}
    with torch.inference_mode(), console.EpochProgress(screen, "evaluating", len(loader)) as progress:
        for batch in loader:
            unreadable.update(batch.failures)
            moved = batch.to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                logits = network(pixel_values=moved.pixel_values).logits.float()
            tally.add(logits, moved.labels, moved.mask, *criterion(logits, moved.labels, moved.mask))
            predictions += _predictions(logits.cpu(), batch)
            progress.advance()
    if not predictions:
        raise TrainingError(f"not one of {len(samples)} clips could be read: {next(iter(unreadable.items()), '')}")
    metrics = {key: value for key, value in tally.result().items() if key != "criterion"}
    confusion = tally.confusion.cpu().numpy().round().astype("int64")
    return report.Evaluation(glosses, metrics, confusion, tuple(predictions), unreadable)


def _predictions(logits: torch.Tensor, batch: Batch) -> list[report.Prediction]:
    probabilities, predicted = logits.softmax(dim=1).max(dim=1)
    rows = zip(batch.videos, batch.labels.tolist(), predicted.tolist(), probabilities.tolist(), batch.mask, strict=True)
    return [report.Prediction(video, label, said, p) for video, label, said, p, valid in rows if valid]


def fitting_samples(
    found: annotations.Annotations, split: str, glosses: tuple[str, ...]
) -> tuple[annotations.Sample, ...]:
    """The clips of a split with the checkpoint's labels.

    Raises:
        InputError: The split is empty, or has glosses that the checkpoint was not trained on.
    """
    labels = {gloss: label for label, gloss in enumerate(glosses)}
    samples = found.split(split)
    if not samples:
        raise InputError(f"{found.root}: there is no clip in the {split} split")
    strange = sorted({sample.gloss for sample in samples} - labels.keys())
    if strange:
        raise InputError(
            f"the checkpoint was trained on {len(glosses)} glosses and does not know {len(strange)} of those in "
            f"{found.root} ({split}): {', '.join(repr(gloss) for gloss in strange[:5])}"
            f"{', ...' if len(strange) > 5 else ''}\n  evaluate it on the data set that it was trained for"
        )
    return tuple(replace(sample, label=labels[sample.gloss]) for sample in samples)


def _parser() -> argparse.ArgumentParser:
    parser = commandline.Parser(prog="python -m lscht_ray.evaluate", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="best_model.pt, another checkpoint, or a run folder")
    parser.add_argument("--data", default=None, help="data set (default: the one it was trained on)")
    parser.add_argument("--split", choices=annotations.SPLITS, default="test", help="which clips (default: test)")
    parser.add_argument("--output", type=Path, help="folder (default: evaluation_SPLIT beside the checkpoint)")
    parser.add_argument("--videos", default=None, help="folder of the videos, where not beside the annotations")
    parser.add_argument("--batch_size", type=int, default=16, help="clips at a time (default: 16)")
    parser.add_argument("--num_workers", type=int, default=2, help="data worker processes (default: 2)")
    parser.add_argument("--device", default="auto", help="auto, cpu, mps, cuda or cuda:N")
    return parser


def main(argv: list[str]) -> int:
    """The door."""
    flags = _parser().parse_args(argv)
    if flags.batch_size < 1 or flags.num_workers < 0:
        raise InputError("--batch_size must be 1 or more, --num_workers 0 or more")
    screen = console.new_console()
    path = checkpoint.find(flags.checkpoint)
    content = checkpoint.load(path)
    config = TrainConfig.model_validate(content["config"])
    settings = config.data_settings()
    if flags.data is not None:
        settings |= {"data": flags.data, "videos": flags.videos, "layout": "auto"}
    found = data.read_annotations(screen=screen, **settings)
    screen.print(found.summary())
    device = choose_device(flags.device)
    result = evaluate(
        content,
        fitting_samples(found, flags.split, tuple(content["glosses"])),
        batch_size=flags.batch_size,
        num_workers=flags.num_workers,
        device=device,
        bf16=use_bf16(config.precision, device),
        screen=screen,
    )
    folder = flags.output or path.parent / f"evaluation_{flags.split}"
    about = {
        "checkpoint": str(path),
        "epoch": content["epoch"],
        "data": str(found.root),
        "split": flags.split,
        "missing": len(found.missing),
    }
    try:
        files = report.write(result, folder, about)
    except OSError as error:
        raise InputError(f"--output {folder}: can't be written: {error.strerror}") from None
    screen.print(report.text(result))
    screen.print("written: " + ", ".join(file.name for file in files) + f"  in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(console.door(main))
