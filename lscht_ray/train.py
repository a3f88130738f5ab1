"""`python -m lscht_ray.train`: one run, without Ray. Builds the parts from a TrainConfig and runs the loop."""

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from rich.console import Console
from torch.utils.data import DataLoader

from lscht_ray import annotations, checkpoint, commandline, console, data, loop, model, recorder
from lscht_ray.config import METRIC_MODES, TrainConfig
from lscht_ray.device import choose_device, use_bf16
from lscht_ray.errors import InputError
from lscht_ray.loss import Criterion, class_weights
from lscht_ray.optim import WarmupCosine, build_optimizer
from lscht_ray.stopping import BestEpoch, EarlyStopping
from lscht_ray.transforms import ClipFormat, EvaluationTransform, TrainingTransform

PrepareModel = Callable[[torch.nn.Module], torch.nn.Module]
PrepareLoader = Callable[[DataLoader[Any]], DataLoader[Any]]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its folders, the metrics of each epoch, its best epoch, whether patience ended it."""

    folders: recorder.RunFolders
    history: list[dict[str, Any]]
    best_epoch: int
    early_stopped: bool


def _as_it_is(thing: Any) -> Any:
    return thing


def _nothing(metrics: dict[str, Any], saved: Path | None) -> None:
    del metrics, saved


def run(
    config: TrainConfig,
    folders: recorder.RunFolders,
    *,
    screen: Console,
    prepare_model: PrepareModel = _as_it_is,
    prepare_loader: PrepareLoader = _as_it_is,
    on_epoch_end: loop.OnEpochEnd = _nothing,
    resume_from: Path | None = None,
) -> Outcome:
    """Train once.

    Args:
        config: The settings.
        folders: Where it writes.
        screen: Where it says what it does.
        prepare_model: Wraps the model for several workers.
        prepare_loader: Wraps the loaders likewise; the samplers share the clips out already.
        on_epoch_end: Gets each epoch's metrics and, on rank 0, the path of the checkpoint just saved.
        resume_from: A full checkpoint to go on from.

    Raises:
        InputError: Settings, data, model or checkpoint can't be used.
        TrainingError: Training can't go on.
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    saved = checkpoint.load(resume_from, checkpoint.FULL_KEYS) if resume_from else None
    notes = recorder.Recorder(folders, enabled=rank == 0)
    _seed_everything(config.seed + rank)
    found = annotations.trainable(
        data.read_annotations(screen=screen, **config.data_settings()), config.untrained_glosses
    )
    for line in (found.summary(), *found.notes, data.describe_support(found.split("train"), found.glosses)):
        screen.print(line)
    if saved is not None and tuple(saved["glosses"]) != found.glosses:
        raise InputError(
            f"{resume_from}: its glosses are not those of {found.root}: resume with the data it began with"
        )
    parts, origin = _build(config, found, prepare_model, prepare_loader, rank, world)
    screen.print(f"{origin}; {parts.device}, {'bf16' if parts.bf16 else 'fp32'}")
    if saved is not None:
        loop.restore(parts, saved, rank)
        screen.print(f"resumed after epoch {len(parts.history)}")
    notes.start(config.model_dump(mode="json"), found.missing, parts.history, parts.schedule.steps_done)
    saver = checkpoint.Saver(folders.run, config.checkpoint_every)
    try:
        early = loop.fit(
            parts,
            max_epochs=config.max_epochs,
            recorder=notes,
            saver=saver,
            console=screen,
            on_epoch_end=on_epoch_end,
        )
    finally:
        notes.close()
    return Outcome(folders, parts.history, parts.best.epoch, early)


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _build(
    config: TrainConfig,
    found: annotations.Annotations,
    prepare_model: PrepareModel,
    prepare_loader: PrepareLoader,
    rank: int,
    world: int,
) -> tuple[loop.Training, str]:
    device = choose_device(config.device)
    built = model.build(
        config.model_name,
        found.glosses,
        num_frames=config.num_frames,
        image_size=config.image_size,
        seed=config.seed,
    )
    form = ClipFormat(built.model.config.image_size, built.mean, built.std)
    network = built.model.to(device)
    train_loader, val_loader = _loaders(config, found, form, device, rank, world)
    optimizer = build_optimizer(network, lr=config.lr, weight_decay=config.weight_decay)
    steps = min(len(train_loader), config.limit_batches or len(train_loader)) * config.max_epochs
    labels = [sample.label for sample in found.split("train")]
    weights = class_weights(labels, len(found.glosses)) if config.class_weighted else torch.ones(len(found.glosses))
    stopper = None
    if config.early_stopping:
        mode = METRIC_MODES[config.early_stopping_metric]
        stopper = EarlyStopping(mode, config.patience, config.min_delta)
    parts = loop.Training(
        model=prepare_model(network),
        network=network,
        optimizer=optimizer,
        schedule=WarmupCosine(
            optimizer, peak=config.lr, min_lr=config.min_lr, warmup_ratio=config.warmup_ratio, total_steps=steps
        ),
        criterion=Criterion(weights, config.label_smoothing).to(device),
        train_loader=prepare_loader(train_loader),
        val_loader=prepare_loader(val_loader),
        best=BestEpoch(METRIC_MODES[config.best_metric]),
        best_metric=config.best_metric,
        stopper=stopper,
        stop_metric=config.early_stopping_metric,
        num_classes=len(found.glosses),
        device=device,
        bf16=use_bf16(config.precision, device),
        gradient_clip=config.gradient_clip,
        limit_batches=config.limit_batches,
        constants={
            "format": checkpoint.FORMAT,
            "config": config.model_dump(mode="json"),
            "glosses": list(found.glosses),
            "model_config": network.config.to_dict(),
            "clip_format": {"image_size": form.image_size, "mean": list(form.mean), "std": list(form.std)},
        },
    )
    return parts, built.origin


def _loaders(
    config: TrainConfig,
    found: annotations.Annotations,
    form: ClipFormat,
    device: torch.device,
    rank: int,
    world: int,
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    augmented = TrainingTransform(
        form,
        crop_scale_min=config.crop_scale_min,
        flip_probability=config.flip_probability,
        brightness=config.brightness,
        contrast=config.contrast,
    )
    loaders = []
    for split, transform in (("train", augmented), ("val", EvaluationTransform(form))):
        dataset = data.ClipDataset(
            found.split(split),
            transform=transform,
            num_frames=config.num_frames,
            decoder=config.decoder,
            seed=config.seed,
        )
        loaders.append(
            data.build_loader(
                dataset,
                batch_size=config.batch_size,
                num_workers=config.num_workers,
                shuffle=split == "train",
                pin_memory=device.type == "cuda",
                rank=rank,
                world=world,
            )
        )
    return loaders[0], loaders[1]


def _resume_settings(folder: Path, argv: list[str]) -> tuple[TrainConfig, recorder.RunFolders]:
    others = [word for word in argv if word.startswith("--") and word.split("=")[0] != "--resume"]
    if others:
        raise InputError(f"--resume goes on with the settings of its run folder: leave out {' '.join(others)}")
    file = folder / recorder.CONFIG
    if not file.is_file():
        raise InputError(f"--resume {folder}: no run folder (it has no {recorder.CONFIG})")
    config = commandline.validate(TrainConfig, commandline.read_json(file), str(file))
    folder = folder.resolve()
    return config, recorder.RunFolders(folder, Path(config.log_dir).expanduser().resolve() / folder.name)


def main(argv: list[str]) -> int:
    """The door."""
    config, flags = commandline.parse(
        TrainConfig,
        argv,
        prog="python -m lscht_ray.train",
        description=f"{__doc__}",
        extra=lambda parser: parser.add_argument("--resume", type=str, help="go on with the run in this folder"),
    )
    screen = console.new_console()
    resume_from = None
    if flags.resume:
        config, folders = _resume_settings(Path(flags.resume), argv)
        resume_from = folders.run / checkpoint.LAST
    else:
        # A mistake in the data set ends here, before a run folder is made.
        found = data.read_annotations(screen=screen, **config.data_settings())
        annotations.trainable(found, config.untrained_glosses)
        folders = recorder.new_folders(config.checkpoint_dir, config.log_dir)
    screen.print(f"run folder {folders.run}\nTensorBoard: tensorboard --logdir {folders.logs.parent}")
    outcome = run(config, folders, screen=screen, resume_from=resume_from)
    best = outcome.history[outcome.best_epoch - 1]
    how = "stopped early" if outcome.early_stopped else "done"
    screen.print(
        f"{how} after {len(outcome.history)} epochs; best epoch {outcome.best_epoch}: "
        f"{config.best_metric} {best[config.best_metric]:.4f}\n"
        f"next: python -m lscht_ray.evaluate {folders.run} --data {config.data} --split test"
    )
    return 0


if __name__ == "__main__":
    sys.exit(console.door(main))
