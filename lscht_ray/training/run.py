"""One run: from settings and data to a trained model in a run folder, whoever launched it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from lscht_ray.artifacts import checkpoint, recorder
from lscht_ray.artifacts.recorder import RunFolders
from lscht_ray.checking import survey
from lscht_ray.clips.dataset import describe_support
from lscht_ray.dataset import splits
from lscht_ray.dataset.annotations import Annotations
from lscht_ray.host.interrupt import StopRequest
from lscht_ray.host.watchdog import Watchdog
from lscht_ray.model import videomae
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training import _resuming, loop
from lscht_ray.training.build import PrepareModel, build, describe_batch, seed_everything
from lscht_ray.training.metrics import rank_and_world

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
    """

    folders: RunFolders
    history: list[dict[str, Any]]
    best_epoch: int
    early_stopped: bool
    unsaved: tuple[str, ...] = ()


def _as_it_is(thing: Any) -> Any:
    return thing


def _nothing(*given: object) -> None:
    del given


@dataclass(frozen=True)
class Hooks:
    """What a launcher has a run do besides.

    Attributes:
        prepare_model: Wraps the model for several workers.
        on_resumed: Gets the metrics of the epochs before.
        on_epoch_end: Gets each epoch's metrics and, on rank 0, the path of the checkpoint just saved.
        on_saved_inside: Gets the path of a checkpoint from inside an epoch, and its step.
        on_hang: Gets the file with all threads' stacks, before the process ends.
        listen: The context that training runs in; what it gives may ask the run to stop, or to save.
        keep_weights: Whether the model's weights stay in this process's memory for its next run.
    """

    prepare_model: PrepareModel = _as_it_is
    on_resumed: Callable[[list[dict[str, Any]]], None] = _nothing
    on_epoch_end: OnEpochEnd = _nothing
    on_saved_inside: Callable[[Path, int], None] = _nothing
    on_hang: Callable[[Path], None] = _nothing
    listen: Callable[[], AbstractContextManager[StopRequest | None]] = nullcontext
    keep_weights: bool = False


def run(
    config: TrainConfig,
    folders: RunFolders,
    *,
    screen: Console,
    hooks: Hooks | None = None,
    resume_from: Path | None = None,
    found: Annotations | None = None,
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
        found: The data set, where `survey.ready` was asked for it already.
        override: Resume with other settings or data than the run began with.
        most_at_once: Clips that may go through the model at a time, where there was no memory for more before.

    Raises:
        Interrupted: It was asked to stop, and has saved where it is.
        InputError: Settings, data, model or checkpoint can't be used.
        TrainingError: Training can't go on.
    """
    rank, world = rank_and_world()
    saved = checkpoint.load(resume_from, checkpoint.FULL_KEYS) if resume_from else None
    if saved is not None and config.batch_size == "auto":
        config = config.model_copy(update={"batch_size": saved["config"]["batch_size"]})
    hooks = hooks or Hooks()
    notes = recorder.Recorder(folders, screen, enabled=rank == 0)
    seed_everything(config.seed + rank)
    found = found or survey.ready(config, screen)
    for line in (found.summary(), *found.notes, describe_support(found.split("train"), found.glosses)):
        screen.print(line)
    if saved is not None:
        _resuming.check(saved, config, found, str(resume_from), override=override)
    parts, origin = build(config, found, hooks.prepare_model, rank, world, screen, keep_weights=hooks.keep_weights)
    screen.print(f"{origin}; {parts.device}, {parts.precision}")
    screen.print(describe_batch(parts, config, world))
    if saved is not None:
        loop.restore(parts, saved, rank)
        within = f" and {parts.inside.steps} steps of the next" if parts.inside is not None else ""
        screen.print(f"resumed after epoch {len(parts.history)}{within}")
        hooks.on_resumed(parts.history)
    if most_at_once is not None:
        parts.micro.size = min(parts.micro.size, most_at_once)
    notes.start(config.model_dump(mode="json"), found.missing, found.left_out, parts.history, parts.schedule.steps_done)
    if notes.enabled and found.drawn:
        splits.write(found.rows(), found.folder, folders.run / recorder.SPLITS)
    saver = checkpoint.Saver(folders.run, config.checkpoint_every, screen, hooks.on_saved_inside)
    loaders = (parts.train_loader, parts.val_loader)
    parts.watchdog = Watchdog(
        folders.run, lambda: [video for each in loaders for video in each.dataset.reading()], hooks.on_hang
    )
    try:
        with hooks.listen() as stop, parts.watchdog:
            early = loop.fit(
                parts,
                max_epochs=config.max_epochs,
                recorder=notes,
                saver=saver,
                console=screen,
                on_epoch_end=hooks.on_epoch_end,
                save_every=config.checkpoint_every_steps,
                stop=stop,
            )
    finally:
        notes.close()
    return Outcome(
        folders,
        parts.history,
        parts.best.epoch,
        early,
        tuple(sorted(saver.unsaved & {checkpoint.BEST, checkpoint.LAST})),
    )


def export(folder: Path, screen: Console) -> None:
    """Write the best epoch as transformers reads it, where there is one."""
    if not (folder / checkpoint.BEST).is_file():
        return
    try:
        videomae.export(checkpoint.load(folder / checkpoint.BEST), folder / videomae.EXPORT)
        checkpoint.list_hash(folder, f"{videomae.EXPORT}/model.safetensors")
    except OSError as error:
        screen.print(f"warning: {folder / videomae.EXPORT} can't be written: {error.strerror}")


def train_here(config: TrainConfig, screen: Console) -> Outcome:
    """Train in the calling process, without a cluster: a breakpoint anywhere in the loop or the data set works."""
    config = config.model_copy(update={"num_workers": 0})
    return run(config, recorder.new_folders(config.checkpoint_dir, config.log_dir), screen=screen)
