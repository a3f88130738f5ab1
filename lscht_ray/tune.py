"""`python -m lscht_ray.tune`: a sweep of trials with Ray Tune and Optuna, from a YAML file to the best model."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from lscht_ray.artifacts import places, recorder
from lscht_ray.errors import InputError
from lscht_ray.host import console, lock
from lscht_ray.host.files import slug, write_json
from lscht_ray.settings import commandline
from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.settings.train import TrainConfig
from lscht_ray.sweep import firsts

if TYPE_CHECKING:
    from lscht_ray.dataset.annotations import Annotations

FREE = frozenset(("num_trials", "budget", "resources", "max_failures", "trial_runner", "storage_path", "start_from"))
"""Settings that a sweep may go on with changed."""


def main(argv: list[str]) -> int:
    """The door."""
    sweep, flags = commandline.parse(
        SweepConfig,
        commandline.with_own_settings(argv, places.SWEEP, "sweep"),
        prog="python -m lscht_ray.tune",
        description=f"{__doc__} Without --config it runs the embedded demo (tune_configs/demo.yaml).",
        default_config=commandline.shipped_configs() / "demo.yaml",
        extra=_flags,
    )
    resumed = Path(flags.resume).expanduser().resolve() if flags.resume else None
    screen = console.new_console()
    if (sweep.train.lora_rank or "lora_rank" in sweep.search_space) and find_spec("peft") is None:
        raise InputError('lora_rank needs peft on every node: pip install "lscht_ray[lora]"')
    sweep = sweep.model_copy(update={"train": _absolute(sweep.train)})
    if sweep.warm_start is not None:
        sweep = sweep.model_copy(update={"warm_start": str(Path(sweep.warm_start).expanduser().resolve())})
    if resumed is None:  # what can't be used ends here
        firsts.points(sweep)
        list(firsts.warm_start(sweep.warm_start, sweep.metric) if sweep.warm_start else ())
    if flags.extend is not None and resumed is None:
        raise InputError("--extend N adds trials to a sweep: name its folder with --resume FOLDER")
    found = _look_at_data(sweep.train, screen)
    if flags.plan:
        from lscht_ray.sweep import plan

        plan.plan_sweep(sweep, found, screen)
        return 0
    if flags.debug:
        from lscht_ray.training.run import train_here

        outcome = train_here(sweep.trial_config(sweep.first_point()), screen)
        screen.print(f"debug run done: {outcome.folders.run}")
        return 0
    folder, place = _sweep_folder(sweep) if resumed is None else (resumed, _place_of(resumed))
    with lock.held(folder / places.LOCK):
        num_trials = _settled(sweep, folder, place, flags.extend, new=resumed is None)
        from lscht_ray.cluster.driver import Sweep, run

        return run(Sweep(sweep, folder, place, num_trials), screen, quiet=flags.quiet)


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--resume", type=str, help="go on with the sweep in this folder, however it ended")
    parser.add_argument("--extend", type=int, help="with --resume: so many trials more")
    parser.add_argument("--quiet", action="store_true", help="say nothing while it runs")
    parser.add_argument(
        "--debug", action="store_true", help="run only the first trial, in this process and without a cluster"
    )
    parser.add_argument("--plan", action="store_true", help="say what the sweep will do and cost, and end")


def _settled(sweep: SweepConfig, folder: Path, place: str, extend: int | None, *, new: bool) -> int:
    """Write the sweep's settings down, or compare them with those that it began with; how many trials it has in all.

    Raises:
        InputError: What differs.
    """
    if extend is not None and extend < 1:
        raise InputError(f"--extend {extend}: how many trials more? 1 or more")
    given = sweep.model_dump(mode="json")
    if new:
        (folder / places.PLACE).write_text(place, encoding="utf-8")
    else:
        before, now = _leaves(commandline.read_json(folder / places.SWEEP)), _leaves(given)
        different = [
            f"  {name}: was {before[name]!r}, now {value!r}"
            for name, value in now.items()
            if name not in FREE and name in before and before[name] != value
        ]
        if different:
            raise InputError("\n".join([f"--resume {folder}: the sweep began with other settings:", *different]))
        given["num_trials"] += extend or 0
    write_json(folder / places.SWEEP, given)
    return int(given["num_trials"])


def _leaves(values: dict[str, Any]) -> dict[str, Any]:
    """The settings, those of `train` each for itself."""
    train = values.get("train", {})
    return {name: value for name, value in values.items() if name != "train"} | {
        f"train.{name}": value for name, value in train.items()
    }


def _absolute(config: TrainConfig) -> TrainConfig:
    """The same settings with absolute paths: workers run in other folders."""
    update: dict[str, Any] = {}
    for name in ("videos", "checkpoint_dir", "log_dir", "cache_dir"):
        value = getattr(config, name)
        update[name] = str(Path(value).expanduser().resolve()) if value is not None else None
    for name in ("data", "model_name", "layout", "split_file"):
        path = Path(getattr(config, name) or "").expanduser()
        if not getattr(config, name) or (name == "layout" and not path.is_file()):
            continue
        if path.exists():
            update[name] = str(path.resolve())
    return config.model_copy(update=update)


def _look_at_data(config: TrainConfig, screen: Console) -> Annotations:
    """Look at the data set, so that a mistake in it ends here and not in every trial."""
    from lscht_ray.checking.survey import ready

    found = ready(config, screen)
    screen.print(found.summary())
    return found


def _sweep_folder(sweep: SweepConfig) -> tuple[Path, str]:
    """A new local folder for the sweep, and its place for all nodes: the same, or below the given URI."""
    name, storage_path = slug(sweep.train.run_name) or "sweep", sweep.storage_path
    if "://" in storage_path:
        folder = recorder.new_folder(Path("models/checkpoints"), name)
        return folder, f"{storage_path.rstrip('/')}/{folder.name}"
    folder = recorder.new_folder(Path(storage_path), name)
    return folder, str(folder)


def _place_of(folder: Path) -> str:
    """Where a sweep's trials are: in its folder, which may have been moved, or at the URI that it began with."""
    written = folder / places.PLACE
    place = written.read_text(encoding="utf-8").strip() if written.is_file() else ""
    return place if "://" in place else str(folder)


if __name__ == "__main__":
    sys.exit(console.door(main))
