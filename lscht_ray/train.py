"""`python -m lscht_ray.train`: one run, without Ray. Builds the parts from a TrainConfig and runs the loop."""

import argparse
import contextlib
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from lscht_ray.artifacts import places
from lscht_ray.dataset import demo
from lscht_ray.errors import InputError, TrainingError, UnfitSettingsError
from lscht_ray.host import console, files, lock
from lscht_ray.host.environment import environment
from lscht_ray.settings import commandline
from lscht_ray.settings.train import TrainConfig, absolute
from lscht_ray.shown import counted, shown

if TYPE_CHECKING:
    from lscht_ray.artifacts.recorder import RunFolders
    from lscht_ray.training.run import Outcome


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--resume", type=str, help="go on with the run in this folder, with its settings")
    parser.add_argument(
        "--override", action="store_true", help="resume although settings or data are not those the run began with"
    )
    parser.add_argument("--plan", action="store_true", help="say what the run will do and cost, and end")


def main(argv: list[str]) -> int:
    """Run the door."""
    config, flags = commandline.parse(
        TrainConfig,
        commandline.with_own_settings(argv, places.CONFIG, "run"),
        prog="python -m lscht_ray.train",
        description=f"{__doc__}",
        extra=_flags,
    )
    config, screen = absolute(config), console.new_console()
    from lscht_ray.training import early

    if flags.resume:
        if not flags.override:
            early.check_resuming(config, Path(flags.resume).expanduser().resolve())
        return _go_on(config, flags, screen)
    if flags.override:
        raise InputError("--override goes with --resume RUN_FOLDER")
    # A mistake in the settings, the model or the data ends here, without a run folder.
    from lscht_ray.model import hub, weights

    early.check(config)
    if config.data != demo.DEMO:
        files.given_path(config.data, "--data")
    try:
        weights.check(config.model_name)
        asked = hub.environment(config.model_name)
    except InputError as error:
        raise early.with_the_datas(config, error) from None
    with environment(asked):
        return _begin(config, flags, screen)


def _go_on(config: TrainConfig, flags: argparse.Namespace, screen: Console) -> int:
    """Go on with a run; the exit code."""
    from lscht_ray.artifacts.recorder import RunFolders

    run_folder = Path(flags.resume).expanduser().resolve()
    folders = RunFolders(run_folder, Path(config.log_dir).expanduser().resolve() / run_folder.name)
    with lock.held(folders.run / places.LOCK):
        newest = _newest_checkpoint(run_folder, screen)
        return _train(config, folders, screen, resume_from=newest, override=flags.override)


def _begin(config: TrainConfig, flags: argparse.Namespace, screen: Console) -> int:
    """Train in a new run folder; the exit code."""
    from lscht_ray.artifacts import recorder
    from lscht_ray.training import data

    clip_set = data.ready(config, screen, keep=not flags.plan)
    if flags.plan:
        from lscht_ray.training import plan

        plan.plan_run(config, clip_set, screen)
        return 0
    from lscht_ray.training import cpu_cost

    if said := cpu_cost.warning(config, len(clip_set.split("train")), len(clip_set.split("val"))):
        screen.print(said)
    from lscht_ray.model import videomae

    videomae.input_of(config.model_name)
    folders = recorder.new_folders(config.checkpoint_dir, config.log_dir, config.run_name)
    try:
        with lock.held(folders.run / places.LOCK):
            return _train(config, folders, screen, clip_set=clip_set)
    finally:
        for folder in folders:
            with contextlib.suppress(OSError):
                folder.rmdir()  # it is empty where the run could not begin


def _train(config: TrainConfig, folders: "RunFolders", screen: Console, **how: Any) -> int:
    """Train in these folders, and say how it ended; the exit code. ``how``: as for `training.run`."""
    from lscht_ray.host import interrupt

    screen.print(f"run folder {folders.run}\nTensorBoard: tensorboard --logdir {shlex.quote(str(folders.logs.parent))}")
    if note := interrupt.over_ssh():
        screen.print(note)
    again = f"go on with: python -m lscht_ray.train --resume {shlex.quote(str(folders.run))}"
    try:
        from lscht_ray.training import run as training

        hooks = training.Hooks(listen=interrupt.listening)
        outcome = training.run(config, folders, screen=screen, hooks=hooks, **how)
        training.export(folders.run, screen)
    except interrupt.Interrupted as stopped:
        resumable = (folders.run / places.LAST).is_file()
        screen.print(f"{stopped}; {again}" if resumable else f"{stopped}; nothing is there yet to go on from")
        return stopped.exit_code
    except UnfitSettingsError:
        raise
    except TrainingError as error:
        if not (folders.run / places.LAST).is_file():
            raise
        raise TrainingError(f"{error}\n  {again}") from None
    return _conclude(outcome, config, screen)


def _newest_checkpoint(run_folder: Path, screen: Console) -> Path:
    """Return the checkpoint to go on from; print which newer ones are damaged."""
    from lscht_ray.artifacts import checkpoint

    newest, damaged = checkpoint.newest(run_folder)
    for complaint in damaged:
        screen.print(f"warning: {complaint}")
    if damaged:
        screen.print(f"going on from {newest}")
    return newest


def _conclude(outcome: "Outcome", config: TrainConfig, screen: Console) -> int:
    """Print how the run ended and what to do next; return the exit code."""
    folder, data = shlex.quote(str(outcome.folders.run)), shlex.quote(config.data)
    from lscht_ray.artifacts import figures

    best, metric = outcome.history[outcome.best_epoch - 1], config.best_metric
    how = "stopped early" if outcome.early_stopped else "done"
    reached = figures.accuracy(best, metric)
    value = f"{best[metric]:.4f}" if reached is None else reached.text()
    screen.print(
        f"{how} after {counted(len(outcome.history), 'epoch')}; best epoch {outcome.best_epoch}: {metric} {value}"
    )
    for warning in _warnings(outcome, metric):
        screen.print(warning)
    screen.print(
        f"next: python -m lscht_ray.evaluate {folder} --data {data} --split {'test' if outcome.tested else 'val'}"
    )
    if outcome.unsaved:
        screen.print(
            f"warning: {', '.join(outcome.unsaved)} in {outcome.folders.run} is missing or from an earlier epoch: it "
            f"could not be written. Make room, and train what is lost again with --resume {folder}"
        )
        return 1
    return 0


def _warnings(outcome: "Outcome", metric: str) -> Iterator[str]:
    """What speaks against the figures of a run."""
    from lscht_ray.artifacts import figures

    yield from figures.doubts(outcome.history, outcome.best_epoch, metric)
    if outcome.lost:
        named = "".join(f"\n  {shown(video)}: {shown(reason)}" for video, reason in list(outcome.lost.items())[:5])
        file = outcome.folders.run / places.UNREADABLE
        lost = counted(len(outcome.lost), "video was", "videos were")
        yield f"warning: {lost} lost while the run went on (all are in {file}):{named}"


if __name__ == "__main__":
    sys.exit(console.door(main))
