"""`python -m lscht_ray.evaluate CHECKPOINT --data PATH --split test`: what a trained model is worth on a split."""

import argparse
import dataclasses
import sys
from pathlib import Path

from lscht_ray.artifacts import places
from lscht_ray.errors import InputError
from lscht_ray.host import console
from lscht_ray.settings import commandline
from lscht_ray.settings.train import TrainConfig


def _parser() -> argparse.ArgumentParser:
    parser = commandline.Parser(prog="python -m lscht_ray.evaluate", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="best_model.pt, another checkpoint, or a run folder")
    parser.add_argument("--data", default=None, help="data set (default: the one it was trained on)")
    parser.add_argument("--split", choices=("train", "val", "test"), default="test", help="which clips (default: test)")
    parser.add_argument("--output", type=Path, help="folder (default: evaluation_SPLIT beside the checkpoint)")
    parser.add_argument("--videos", default=None, help="folder of the videos, where not beside the annotations")
    parser.add_argument("--layout", default=None, help="layout of --data, where it is not that of the training data")
    parser.add_argument("--split_file", default=None, help="CSV of path and split (default: the run's splits.csv)")
    parser.add_argument("--batch_size", type=int, default=16, help="clips at a time (default: 16)")
    parser.add_argument("--num_workers", type=int, default=2, help="data worker processes (default: 2)")
    parser.add_argument("--device", default="auto", help="auto, cpu, mps, cuda or cuda:N")
    return parser


def _same(flags: argparse.Namespace, config: TrainConfig) -> bool:
    return Path(flags.data).resolve() == Path(config.data).resolve()


def main(argv: list[str]) -> int:
    """The door."""
    flags = _parser().parse_args(argv)
    if flags.batch_size < 1 or flags.num_workers < 0:
        raise InputError("--batch_size must be 1 or more, --num_workers 0 or more")
    from lscht_ray.artifacts import checkpoint
    from lscht_ray.checking import survey
    from lscht_ray.dataset import annotations
    from lscht_ray.dataset.splits import ForeignSplitError

    screen = console.new_console()
    path = checkpoint.find(flags.checkpoint)
    content = checkpoint.load(path)
    config = TrainConfig.model_validate(content["config"])
    settings = config.data_settings()
    if flags.data is not None:
        settings |= {"data": flags.data, "videos": flags.videos or (config.videos if _same(flags, config) else None)}
    if flags.layout is not None:
        settings |= {"layout": flags.layout, "columns": None}
    # What was drawn for training is drawn again, or taken from where the run wrote it down: no clip changes its split.
    drawn = flags.split_file or (path.parent / places.SPLITS if (path.parent / places.SPLITS).is_file() else None)
    if drawn is not None:
        settings["plan"] = {"file": str(drawn)}
    try:
        annotated = annotations.read_named(screen=screen, **settings)
    except ForeignSplitError:
        if flags.split_file is not None:
            raise
        annotated = annotations.read_named(screen=screen, **{**settings, "plan": None})  # another data set altogether
    for line in (annotated.summary(), *annotated.notes):
        screen.print(line)
    found = survey.trusted(annotated, config, screen, splits=(flags.split,))

    from lscht_ray.artifacts import report
    from lscht_ray.clips import fill
    from lscht_ray.training import inference
    from lscht_ray.training.device import choose_device, choose_precision, settle

    device = choose_device(flags.device)
    precision = choose_precision(
        config.precision if device.type == "cuda" or config.precision == "bf16" else "auto", device
    )
    settle(device, precision)
    clips = inference.fitting_clips(found, flags.split, tuple(content["glosses"]))
    # One pass decodes each clip once: what is cached is used, nothing is added.
    short_side = inference.clip_format(content).decoded_short_side
    filled = fill.fill(annotated.root, clips, config, short_side, screen, build=False)
    result = inference.evaluate(
        content,
        clips,
        batch_size=flags.batch_size,
        num_workers=flags.num_workers,
        device=device,
        precision=precision,
        screen=screen,
        filled=filled,
    )
    left_out = {str(video): reason for video, reason in found.left_out}
    result = dataclasses.replace(result, unreadable={**left_out, **result.unreadable})
    folder = flags.output or path.parent / places.evaluation(flags.split)
    about = {
        "checkpoint": str(path),
        "epoch": content["epoch"],
        "data": str(annotated.root),
        "split": flags.split,
        "missing": len(annotated.missing),
        "left_out": len(found.left_out),
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
