"""One run: from settings and data to a trained model in a run folder, whoever launched it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from lscht_ray.artifacts import checkpoint, places, recorder
from lscht_ray.artifacts.recorder import RunFolders
from lscht_ray.checking.usable import ClipSet
from lscht_ray.clips.dataset import describe_support
from lscht_ray.dataset import splits
from lscht_ray.errors import TrainingError
from lscht_ray.host.interrupt import Interrupted, StopRequest
from lscht_ray.host.watchdog import Watchdog
from lscht_ray.model import videomae
from lscht_ray.model.positions import POSITION_GRID
from lscht_ray.settings.train import TrainConfig, as_used
from lscht_ray.shown import counted
from lscht_ray.training import _resuming, data, loop, state
from lscht_ray.training.build import Built, PrepareModel, build, description, seed_everything
from lscht_ray.training.metrics import rank_and_world
from lscht_ray.training.parts import Reporting

OnEpochEnd = Callable[[dict[str, Any], Path | None], None]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        folders: Where it wrote.
        history: The metrics of each epoch.
        best_epoch: From 1.
        early_stopped: Whether patience ended it.
        unsaved: Which of the best and the last checkpoint could not be written.
        tested: Whether the data set has clips in its test split.
        lost: The reason of each video that could not be read any more while the run went on.
    """

    folders: RunFolders
    history: list[dict[str, Any]]
    best_epoch: int
    early_stopped: bool
    unsaved: tuple[str, ...] = ()
    tested: bool = True
    lost: dict[str, str] = field(default_factory=dict)


def _unwrapped(network: Any) -> Any:
    return network


def _do_nothing(*arguments: object) -> None:
    del arguments


@dataclass(frozen=True)
class Hooks:
    """What a launcher has a run call; the defaults do nothing.

    Attributes:
        prepare_model: Wraps the model for several workers.
        on_resumed: Gets the metrics of the epochs before.
        on_epoch_end: Gets each epoch's metrics and, on rank 0, the path of the checkpoint just saved.
        on_saved_inside: Gets the path of a checkpoint from inside an epoch, and its step.
        on_hang: Gets the file with all threads' stacks, before the process ends.
        listen: The context that training runs in; what it gives may ask the run to stop, or to save.
        keep_weights: Whether the model's weights stay in this process's memory for its next run.
    """

    prepare_model: PrepareModel = _unwrapped
    on_resumed: Callable[[list[dict[str, Any]]], None] = _do_nothing
    on_epoch_end: OnEpochEnd = _do_nothing
    on_saved_inside: Callable[[Path, int], None] = _do_nothing
    on_hang: Callable[[Path], None] = _do_nothing
    listen: Callable[[], AbstractContextManager[StopRequest | None]] = nullcontext
    keep_weights: bool = False


def run(
    config: TrainConfig,
    folders: RunFolders,
    *,
    screen: Console,
    hooks: Hooks | None = None,
    resume_from: Path | None = None,
    clip_set: ClipSet | None = None,
    override: bool = False,
    most_at_once: int | None = None,
) -> Outcome:
    """Train once.

    Args:
        config: The settings.
        folders: Where it writes.
        screen: Where it says what it does.
        hooks: What is done besides.
        resume_from: A full checkpoint to go on from.
        clip_set: The data set, where `data.ready` was asked for it already.
        override: Resume with other settings or data than the run began with.
        most_at_once: Clips that may go through the model at a time, where there was no memory for more before.

    Raises:
        Interrupted: It was asked to stop, and has saved where it is.
        InputError: Settings, data, model or checkpoint can't be used.
        TrainingError: Training can't go on.
    """
    rank, _ = rank_and_world()
    hooks = hooks or Hooks()
    saved = checkpoint.load(resume_from, state.KEYS) if resume_from else None
    if saved is not None and config.batch_size == "auto":
        config = config.model_copy(update={"batch_size": saved["config"]["batch_size"]})
    seed_everything(config.seed + rank)
    clip_set = clip_set or _read(config, screen, saved, resume_from)
    support = describe_support(clip_set.split("train"), clip_set.glosses)
    for line in (clip_set.annotations.summary(), *clip_set.notes, support):
        screen.print(line)
    if saved is not None:
        _resuming.check(saved, config, clip_set, str(resume_from), override=override)
    built = build(
        config,
        clip_set,
        screen,
        prepare_model=hooks.prepare_model,
        most_at_once=most_at_once,
        keep_weights=hooks.keep_weights,
        stretch=saved is None or POSITION_GRID in saved["model_config"],  # as the run began
    )
    for line in description(built, config):
        screen.print(line)
    if saved is not None:
        _go_on(built.state, saved, hooks, screen, config.max_epochs)
    notes = recorder.Recorder(folders, screen, enabled=rank == 0)
    _start_recording(notes, config, clip_set, built)
    saver = checkpoint.Saver(folders.run, config.checkpoint_every, screen, hooks.on_saved_inside)
    watchdog = Watchdog(folders.run / places.STACKS, built.parts.reading, hooks.on_hang)
    try:
        with hooks.listen() as stop, watchdog, _ended_as_asked(stop, built.state):
            early = loop.fit(
                built.parts,
                built.state,
                Reporting(notes, screen, watchdog),
                max_epochs=config.max_epochs,
                saver=saver,
                on_epoch_end=hooks.on_epoch_end,
                save_every=config.checkpoint_every_steps,
                stop=stop,
            )
    finally:
        notes.close()
    return Outcome(
        folders,
        built.state.history,
        built.state.best.epoch,
        early,
        tuple(sorted(saver.unsaved & {places.BEST, places.LAST})),
        tested=bool(clip_set.annotations.split("test")),
        lost=notes.lost,
    )


@contextmanager
def _ended_as_asked(stop: StopRequest | None, train_state: state.TrainState) -> Iterator[None]:
    """Within, what fails after a signal was failed by it: a service manager sends it to the data workers, too.

    Raises:
        Interrupted: Something failed after a signal.
    """
    try:
        yield
    except TrainingError:
        if stop is None or stop.number is None:
            raise
        raise Interrupted(stop.number, train_state.schedule.steps_done, saved=False) from None


def _read(config: TrainConfig, screen: Console, saved: dict[str, Any] | None, source: Path | None) -> ClipSet:
    """Read the data set; other data than those of the run that goes on are refused before a video is opened."""
    accept = _do_nothing if saved is None else partial(_resuming.check_glosses, saved["glosses"], str(source))
    return data.ready(config, screen, accept=accept)


def _go_on(
    train_state: state.TrainState, saved: dict[str, Any], hooks: Hooks, screen: Console, max_epochs: int
) -> None:
    """Take up where the checkpoint left off."""
    train_state.load_state_dict(saved)
    within = f" and {counted(train_state.inside.steps, 'step')} of the next" if train_state.inside is not None else ""
    screen.print(f"resumed after epoch {train_state.epoch}{within}")
    if train_state.epoch >= max_epochs:
        screen.print(f"nothing is left to train of {counted(max_epochs, 'epoch')}: --max_epochs N --override adds some")
    hooks.on_resumed(train_state.history)


def _start_recording(notes: recorder.Recorder, config: TrainConfig, clip_set: ClipSet, built: Built) -> None:
    """Write what is known before the first step, the drawn splits included."""
    history, steps = built.state.history, built.state.schedule.steps_done
    settings = as_used(config, num_classes=len(clip_set.glosses), device=str(built.parts.device))
    notes.start(settings, clip_set.annotations.missing, clip_set.left_out, history, steps)
    if notes.enabled and clip_set.annotations.drawn:
        splits.write(clip_set.annotations.rows(), clip_set.annotations.folder, notes.folders.run / places.SPLITS)


def export(folder: Path, screen: Console) -> None:
    """Write the best epoch as transformers reads it, where there is one."""
    if not (folder / places.BEST).is_file():
        return
    try:
        videomae.export(checkpoint.load(folder / places.BEST), folder / places.EXPORT)
        checkpoint.list_hash(folder, f"{places.EXPORT}/model.safetensors")
    except OSError as error:
        screen.print(f"warning: {folder / places.EXPORT} can't be written: {error.strerror}")


def train_here(config: TrainConfig, screen: Console) -> Outcome:
    """Train in the calling process, without a cluster: a breakpoint anywhere in the loop or the data set works."""
    config = config.model_copy(update={"num_workers": 0})
    return run(config, recorder.new_folders(config.checkpoint_dir, config.log_dir), screen=screen)
