"""Builds the parts of a run from a TrainConfig: model, loaders, optimizer, schedule, criterion, stopping."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from lscht_ray import annotations, checkpoint, data, loop, model
from lscht_ray.config import METRIC_MODES, TrainConfig
from lscht_ray.device import choose_device, use_bf16
from lscht_ray.loss import Criterion, class_weights
from lscht_ray.optim import WarmupCosine, build_optimizer
from lscht_ray.stopping import BestEpoch, EarlyStopping
from lscht_ray.transforms import ClipFormat, EvaluationTransform, TrainingTransform

PrepareModel = Callable[[torch.nn.Module], torch.nn.Module]
PrepareLoader = Callable[[DataLoader[Any]], DataLoader[Any]]


def build(
    config: TrainConfig,
    found: annotations.Annotations,
    prepare_model: PrepareModel,
    prepare_loader: PrepareLoader,
    rank: int,
    world: int,
) -> tuple[loop.Training, str]:
    """The parts of a run, and one line about where the model's weights come from.

    Args:
        config: The settings.
        found: The data set, `annotations.trainable`.
        prepare_model: Wraps the model for several workers.
        prepare_loader: Wraps the loaders likewise.
        rank: This worker.
        world: How many there are.

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
            sampling=config.sampling,
            salvage=config.salvage,
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
                batch_seconds=config.batch_seconds,
            )
        )
    return loaders[0], loaders[1]


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
