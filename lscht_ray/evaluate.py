"""`python -m lscht_ray.evaluate CHECKPOINT --data PATH --split test`: what a trained model is worth on a split."""

import argparse
import sys
from contextlib import suppress
from pathlib import Path

from lscht_ray.artifacts import places
from lscht_ray.errors import InputError
from lscht_ray.host import console
from lscht_ray.settings import commandline


def _parser() -> argparse.ArgumentParser:
    parser = commandline.Parser(prog="python -m lscht_ray.evaluate", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="a run or sweep folder, best_model.pt, or another checkpoint")
    parser.add_argument("--data", default=None, help="data set (default: the one it was trained on)")
    parser.add_argument(
        "--split", choices=("train", "val", "test", "all"), default="test", help="which clips (default: test)"
    )
    parser.add_argument("--output", type=Path, help="a new folder (default: evaluation_SPLIT beside the checkpoint)")
    parser.add_argument("--videos", default=None, help="folder of the videos, where not beside the annotations")
    parser.add_argument("--layout", default=None, help="layout of --data, where it is not that of the training data")
    parser.add_argument(
        "--split_file", default=None, help="CSV of path and split (default: for the run's own data its splits.csv)"
    )
    parser.add_argument("--batch_size", type=int, default=16, help="clips at a time (default: 16)")
    parser.add_argument("--num_workers", type=int, default=2, help="data worker processes (default: 2)")
    parser.add_argument("--device", default="auto", help="auto, cpu, mps, cuda or cuda:N")
    return parser


def main(argv: list[str]) -> int:
    """Run the door."""
    flags = _parser().parse_args(argv)
    if flags.batch_size < 1 or flags.num_workers < 0:
        raise InputError("--batch_size must be 1 or more, --num_workers 0 or more")
    from lscht_ray.artifacts import checkpoint, report
    from lscht_ray.training import evaluation

    if flags.output is not None and any((flags.output / name).exists() for name in places.EVALUATION_FILES):
        raise InputError(f"--output {flags.output}: it holds an evaluation already: name another folder")
    screen = console.new_console()
    path = checkpoint.find(flags.checkpoint)
    request = evaluation.Request(
        split=flags.split,
        data=flags.data,
        videos=flags.videos,
        layout=flags.layout,
        split_file=flags.split_file,
        batch_size=flags.batch_size,
        num_workers=flags.num_workers,
        device=flags.device,
    )
    result, about = evaluation.evaluate(path, request, screen)
    folder = flags.output or report.new_folder(path.parent, places.evaluation(flags.split))
    try:
        files = report.write(result, folder, about)
    except OSError as error:
        if flags.output is None:
            with suppress(OSError):
                folder.rmdir()  # it is new, and empty unless somebody else wrote there
        raise InputError(f"--output {folder}: can't be written: {error.strerror}") from None
    screen.print(report.text(result))
    screen.print("written: " + ", ".join(file.name for file in files) + f"  in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(console.door(main))
