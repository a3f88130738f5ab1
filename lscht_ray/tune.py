"""`python -m lscht_ray.tune`: a sweep of trials with Ray Tune and Optuna, from a YAML file to the best model."""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from lscht_ray.artifacts import places
from lscht_ray.cluster import surroundings
from lscht_ray.dataset import demo
from lscht_ray.errors import InputError
from lscht_ray.host import console, files, interrupt, lock
from lscht_ray.host.environment import environment
from lscht_ray.model import hub, weights
from lscht_ray.settings import commandline, complaints
from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.settings.train import TrainConfig
from lscht_ray.sweep import firsts
from lscht_ray.sweep import folder as sweep_folder
from lscht_ray.training import early


def main(argv: list[str]) -> int:
    """The door; what is said of a flag of `train` is said of the sweep's flag for it."""
    config, flags = commandline.parse(
        SweepConfig,
        commandline.with_own_settings(argv, places.SWEEP, "sweep"),
        prog="python -m lscht_ray.tune",
        description=f"{__doc__} Without --config it runs the embedded demo (tune_configs/demo.yaml).",
        default_config=commandline.shipped_configs() / "demo.yaml",
        extra=_flags,
    )
    try:
        return _search(config, flags)
    except InputError as error:
        error.args = (complaints.in_flags_of_a_sweep(str(error), TrainConfig.model_fields),)
        raise


def _search(config: SweepConfig, flags: argparse.Namespace) -> int:
    """Search with these settings; the exit code."""
    screen = console.new_console()
    sweep = sweep_folder.with_absolute_paths(config)
    _refuse(sweep, flags)
    asked = hub.environment(sweep.train.model_name) if surroundings.trains_here(sweep.resources) else {}
    with environment(asked):
        return _run(sweep, flags, screen)


def _run(sweep: SweepConfig, flags: argparse.Namespace, screen: Console) -> int:
    """Run the sweep, or what was asked for in its place; the exit code."""
    from lscht_ray.clips import fill
    from lscht_ray.training import data

    decoded = fill.decodes(sweep.train)
    keep = not flags.plan and not data.DECODING & sweep.search_space.keys()
    clip_set = data.ready(sweep.train, screen, keep=keep)  # a mistake in the data set ends here, and not in every trial
    data.check_metrics((sweep.metric,), clip_set)
    screen.print(clip_set.annotations.summary())
    if flags.plan:
        from lscht_ray.sweep import plan

        left = None
        if flags.resume:
            left = plan.left_in(Path(flags.resume).expanduser(), sweep.num_trials + (flags.extend or 0))
        plan.plan_sweep(sweep, clip_set, screen, left)
        return 0
    if flags.debug:
        from lscht_ray.training.run import train_here

        outcome = train_here(sweep.trial_config(sweep.first_point()), screen)
        screen.print(f"debug run done: {outcome.folders.run}")
        return 0
    folder = Path(flags.resume).expanduser().resolve() if flags.resume else None
    folder, place = sweep_folder.new_folder(sweep) if folder is None else (folder, sweep_folder.place_of(folder))
    if note := interrupt.over_ssh():
        screen.print(note)
    with lock.held(folder / places.LOCK):
        tested = bool(clip_set.annotations.split("test"))
        num_trials = sweep_folder.settle(sweep, folder, place, flags.extend, new=not flags.resume)
        settled = sweep_folder.Sweep(sweep, folder, place, num_trials, tested)
        with environment(surroundings.variables(settled.config.resources)):
            from lscht_ray.cluster import driver

            return driver.run(settled, screen, quiet=flags.quiet, decoded=decoded)


def _refuse(sweep: SweepConfig, flags: argparse.Namespace) -> None:
    """End here with what can't be used.

    Raises:
        InputError: What that is.
    """
    if (sweep.train.lora_rank or "lora_rank" in sweep.search_space) and find_spec("peft") is None:
        raise InputError('lora_rank needs peft on every node: pip install "lscht_ray[lora]"')
    if not flags.plan and not flags.debug:
        surroundings.check(sweep.resources)
    if flags.resume:
        return
    if flags.extend is not None:
        raise InputError("--extend N adds trials to a sweep: name its folder with --resume FOLDER")
    if vain := sweep.in_vain():
        raise InputError("\n".join(vain))
    early.check(sweep.train, here=surroundings.trains_here(sweep.resources))
    if sweep.train.data != demo.DEMO:
        files.given_path(sweep.train.data, "--train.data")
    models = sweep.search_space.get("model_name")
    for name in models.values() if models is not None else [sweep.train.model_name]:
        weights.check(name)
    firsts.points(sweep)
    list(firsts.warm_start(sweep.warm_start, sweep.metric) if sweep.warm_start else ())


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--resume", type=str, help="go on with the sweep in this folder, however it ended")
    parser.add_argument("--extend", type=int, help="with --resume: so many trials more")
    parser.add_argument("--quiet", action="store_true", help="say nothing while it runs")
    parser.add_argument(
        "--debug", action="store_true", help="run only the first trial, in this process and without a cluster"
    )
    parser.add_argument("--plan", action="store_true", help="say what the sweep will do and cost, and end")


if __name__ == "__main__":
    sys.exit(console.door(main))
