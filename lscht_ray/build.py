"""Builds the parts of a run from a TrainConfig: model, loaders, optimizer, schedule, criterion, stopping."""

import dataclasses
import random
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console

from lscht_ray import annotations, checkpoint, clips, data, fill, loader, loop, model
from lscht_ray.batch import Loader
from lscht_ray.config import METRIC_MODES, TrainConfig
from lscht_ray.device import choose_device, use_bf16
from lscht_ray.loss import Criterion, class_weights
from lscht_ray.optim import WarmupCosine, build_optimizer
from lscht_ray.stopping import BestEpoch, EarlyStopping
from lscht_ray.transforms import ClipFormat, EvaluationTransform, TrainingTransform

PrepareModel = Callable[[torch.nn.Module], torch.nn.Module]
PrepareLoader = Callable[[Loader], Loader]


def build(
    config: TrainConfig,
    found: annotations.Annotations,
    prepare_model: PrepareModel,
    prepare_loader: PrepareLoader,
    rank: int,
    world: int,
    screen: Console,
) -> tuple[loop.Training, str]:
    """The parts of a run, and one line about where the model's weights come from.

    Args:
        config: The settings.
        found: The data set, `annotations.trainable`.
        prepare_model: Wraps the model for several workers.
        prepare_loader: Wraps the loaders likewise.
        rank: This worker.
        world: How many there are.
        screen: Where the clip cache says what it does.

    Raises:
        InputError: The model, the device or a setting can't be used.
    """
    device = choose_device(config.device)
    built = model.build(
        config.model_name,
        found.glosses,
        num_frames=config.num_frames,
        image_size=config.image_size,
        seed=config.seed,
    )
    form = ClipFormat(built.model.config.image_size, built.mean, built.std, config.short_side, config.pixel_format)
    network = built.model.to(device)
    used = dataclasses.replace(found, samples=found.split("train") + found.split("val"))
    filled = fill.fill(used, config, form.decoded_short_side, screen)
    train_loader, val_loader = _loaders(config, filled, form, device, rank, world)
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
        augment=TrainingTransform(form, clips.augmentation(config)),
        present=EvaluationTransform(form),
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
            "clip_format": dataclasses.asdict(form),
        },
    )
    return parts, built.origin


def _loaders(
    config: TrainConfig, filled: fill.Filled, form: ClipFormat, device: torch.device, rank: int, world: int
) -> tuple[Loader, Loader]:
    loaders = []
    for split in ("train", "val"):
        dataset = data.ClipDataset(
            filled.found.split(split),
            reader=clips.reader(config, form, filled.clips),
            sampling=clips.sampling(config, training=split == "train"),
            seed=config.seed,
            augmentation=clips.augmentation(config) if split == "train" else None,
        )
        loaders.append(
            loader.build_loader(
                dataset,
                batch_size=config.batch_size,
                num_workers=config.num_workers,
                shuffle=split == "train",
                device=device,
                rank=rank,
                world=world,
                batch_seconds=config.batch_seconds,
                cached=filled.complete,
                on_device=config.cache == "device",
            )
        )
    return loaders[0], loaders[1]


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
