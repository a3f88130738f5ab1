"""`python -m lscht_ray.evaluate CHECKPOINT --data PATH --split test`: what a trained model is worth on a split."""

import argparse
import sys
from contextlib import nullcontext, suppress
from pathlib import Path

from rich.console import Console

from lscht_ray.artifacts import checkpoint_file, places
from lscht_ray.dataset import demo, finding, layouts
from lscht_ray.errors import InputError
from lscht_ray.host import console, files, lock
from lscht_ray.settings import commandline
from lscht_ray.settings.evaluate import EvaluateConfig
from lscht_ray.settings.files import read_json
from lscht_ray.settings.train import TrainConfig, as_given
from lscht_ray.shown import counted
from lscht_ray.training import early

PLAIN = TrainConfig()
"""As nobody says how data are to be read."""


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="a run or sweep folder, best_model.pt, or another checkpoint")


def main(argv: list[str]) -> int:
    """Run the door."""
    request, flags = commandline.parse(
        EvaluateConfig,
        argv,
        prog="python -m lscht_ray.evaluate",
        usage="CHECKPOINT [--SETTING VALUE ...]",
        description=f"{__doc__}",
        extra=_flags,
    )
    path = places.find_model(flags.checkpoint)
    if request.data not in (None, demo.DEMO):
        _look_at(files.given_path(str(request.data), "--data"), request, path.parent / places.CONFIG)
    checkpoint_file.check(path)
    early.check_device(request.device)
    if request.layout is not None:
        layouts.check(request.layout)
    _check_output(request.output)
    screen = console.new_console()
    if note := _of_sweep(flags.checkpoint):
        screen.print(note)
    # Two at once into one folder would overwrite each other.
    with lock.held(request.output / places.LOCK) if request.output is not None else nullcontext():
        return _evaluate(path, request, screen)


def _evaluate(path: Path, request: EvaluateConfig, screen: Console) -> int:
    """Evaluate, print the figures and write them; the exit code."""
    from lscht_ray.artifacts import report
    from lscht_ray.training import evaluation

    result, about = evaluation.evaluate(path, request, screen)
    screen.print(report.text(result))
    folder = request.output or report.new_folder(path.parent, places.evaluation(request.split))
    try:
        written = report.write(result, folder, about, request.csv_locale)
    except OSError as error:
        if request.output is None:
            with suppress(OSError):
                folder.rmdir()  # it is new, and empty unless somebody else wrote there
        raise InputError(f"--output {folder}: can't be written: {error.strerror}") from None
    screen.print("written: " + ", ".join(file.name for file in written) + f"  in {folder}")
    return 0


def _of_sweep(folder: Path) -> str:
    """Which trial's model is evaluated, and whether the sweep is over, where it is a sweep's; nothing else."""
    if not (folder / places.SUMMARY).is_file() or not (folder / places.WINNER).is_dir():
        return ""
    found = read_json(folder / places.SUMMARY)
    trial = (found.get("best") or {}).get("trial_id", "a trial")
    undone = sum(each["status"] in ("running", "interrupted") for each in found.get("trials", []))
    unfinished = f" so far: {counted(undone, 'trial is', 'trials are')} unfinished" if undone else ""
    return f"the model of {trial}, the best of the sweep{unfinished}"


def _look_at(data: Path, request: EvaluateConfig, config: Path) -> None:
    """Refuse data of no layout before torch is imported, unless the run or the user says how they are to be read.

    Raises:
        InputError: There is no data set that is recognised.
    """
    try:
        run = TrainConfig.model_validate(as_given(read_json(config))) if config.is_file() else PLAIN
    except ValueError:  # the checkpoint itself says how
        return
    said = (request.layout or run.layout, request.columns, run.columns, run.elan)
    if said == (PLAIN.layout, PLAIN.columns, PLAIN.columns, PLAIN.elan):
        finding.find_layout(data)


def _check_output(folder: Path | None) -> None:
    """Refuse a folder for the results before anything is computed.

    Raises:
        InputError: It holds results, or can't be written.
    """
    if folder is None:
        return
    if folder.is_file():
        raise InputError(f"--output {folder}: it is a file: name a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(entry.name != places.LOCK for entry in folder.iterdir()):
            raise InputError(f"--output {folder}: it is there and not empty: name a new folder")
    except OSError as error:
        raise InputError(f"--output {folder}: can't be written: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(console.door(main))
