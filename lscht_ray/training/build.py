"""Builds the parts of a run from a TrainConfig: model, loaders, optimizer, schedule, criterion, stopping."""

import dataclasses
import random
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from rich.console import Console

from lscht_ray.artifacts import checkpoint
from lscht_ray.clips import fill, loader, reader
from lscht_ray.clips.batch import Loader
from lscht_ray.clips.dataset import ClipDataset
from lscht_ray.clips.mix import Mixer
from lscht_ray.clips.transforms import ClipFormat, EvaluationTransform, TrainingTransform
from lscht_ray.dataset import annotations
from lscht_ray.model import adapt, videomae
from lscht_ray.model.ema import Ema
from lscht_ray.model.loss import Criterion, class_weights
from lscht_ray.model.optim import WarmupCosine, build_optimizer, scaled_lr
from lscht_ray.settings.train import METRIC_MODES, TrainConfig
from lscht_ray.training import _resuming
from lscht_ray.training._fits import compiled, largest_batch
from lscht_ray.training._stopping import BestEpoch, EarlyStopping
from lscht_ray.training.device import Precision, choose_device, choose_precision, settle
from lscht_ray.training.parts import Limits, MicroBatches, Training

PrepareModel = Callable[[torch.nn.Module], torch.nn.Module]


@dataclasses.dataclass(frozen=True)
class Network:
    """The model as a recipe wants it, on its device: what `--plan` and `build` share."""

    network: Any
    form: ClipFormat
    origin: str
    device: torch.device
    precision: Precision


def build_network(config: TrainConfig, glosses: tuple[str, ...], *, keep_weights: bool = False) -> Network:
    """The model with all that the settings do to it, on its device.

    ``keep_weights``: What was loaded stays in this process's memory for its next trial.

    Raises:
        InputError: The model, the device or a setting can't be used.
    """
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    settle(device, precision)
    built = videomae.build(
        config.model_name,
        glosses,
        num_frames=config.num_frames,
        image_size=config.image_size,
        seed=config.seed,
        keep=keep_weights,
    )
    network = cast(torch.nn.Module, built.model)
    if config.drop_path:
        adapt.drop_path(network, config.drop_path)
    if config.head_dropout:
        adapt.head_dropout(network, config.head_dropout)
    if config.lora_rank:
        adapt.lora(network, rank=config.lora_rank, alpha=config.lora_alpha, dropout=config.lora_dropout)
    if config.gradient_checkpointing:
        adapt.checkpoint_layers(network)
    eager = config.attention == "eager" or (config.attention, precision, device.type) == ("auto", "bf16", "cpu")
    adapt.attend(network, "eager" if eager else "sdpa")
    form = ClipFormat(built.model.config.image_size, built.mean, built.std, config.short_side, config.pixel_format)
    return Network(network.to(device), form, built.origin, device, precision)


def build(
    config: TrainConfig,
    found: annotations.Annotations,
    prepare_model: PrepareModel,
    rank: int,
    world: int,
    screen: Console,
    *,
    keep_weights: bool = False,
) -> tuple[Training, str]:
    """The parts of a run, and one line about where the model's weights come from.

    Args:
        config: The settings.
        found: The data set, `annotations.trainable`.
        prepare_model: Wraps the model for several workers.
        rank: This worker.
        world: How many there are.
        screen: Where the clip cache says what it does.
        keep_weights: As `build_network` has it.

    Raises:
        InputError: The model, the device or a setting can't be used.
    """
    made = build_network(config, found.glosses, keep_weights=keep_weights)
    network, form, device = made.network, made.form, made.device
    used = dataclasses.replace(found, samples=found.split("train") + found.split("val"))
    filled = fill.fill(used, config, form.decoded_short_side, screen)
    micro = micro_batch(config, made)
    if config.batch_size == "auto":
        how = "the most that fits" if device.type == "cuda" else "no GPU to fill"
        screen.print(f"batch_size auto: {micro} clips at a time ({how})")
    train_loader, val_loader = _loaders(config, micro, filled, form, device, rank, world)
    lr, min_lr = learning_rates(config, micro, world)
    optimizer = build_optimizer(network, lr=lr, weight_decay=config.weight_decay, layer_decay=config.layer_decay)
    steps = min(len(train_loader), config.limit_batches or len(train_loader)) * config.max_epochs
    labels = [sample.label for sample in found.split("train")]
    power = config.class_weight_power if config.class_weighted else 0.0
    fixed_shape = config.compile and compiled(
        network, device, made.precision, micro, config.num_frames, form.image_size, screen
    )
    wrapped = prepare_model(network)
    ema = Ema(network, config.ema_decay) if config.ema_decay else None  # of what all workers begin with
    if ema is not None and fixed_shape:
        ema.network.compile(dynamic=False)
    stopper = None
    if config.early_stopping:
        mode = METRIC_MODES[config.early_stopping_metric]
        stopper = EarlyStopping(mode, config.patience, config.min_delta)
    parts = Training(
        model=wrapped,
        network=network,
        wrap=prepare_model,
        optimizer=optimizer,
        schedule=WarmupCosine(optimizer, peak=lr, min_lr=min_lr, warmup_ratio=config.warmup_ratio, total_steps=steps),
        criterion=Criterion(class_weights(labels, len(found.glosses), power), config.label_smoothing).to(device),
        train_loader=train_loader,
        val_loader=val_loader,
        augment=TrainingTransform(form, reader.augmentation(config)),
        present=EvaluationTransform(form),
        mixer=Mixer(
            mixup=config.mixup,
            cutmix=config.cutmix,
            probability=config.mix_probability,
            num_classes=len(found.glosses),
            seed=config.seed,
        ),
        micro=MicroBatches(micro),
        temperature=config.similarity_temperature if config.smoothing_by_similarity else None,
        ema=ema,
        scaler=torch.amp.GradScaler(device.type, enabled=made.precision == "fp16"),
        freezing=adapt.Freezing(network),
        freeze_epochs=config.freeze_epochs,
        fixed_shape=fixed_shape,
        best=BestEpoch(METRIC_MODES[config.best_metric]),
        best_metric=config.best_metric,
        stopper=stopper,
        stop_metric=config.early_stopping_metric,
        num_classes=len(found.glosses),
        device=device,
        precision=made.precision,
        gradient_clip=config.gradient_clip,
        limits=Limits(config.step_seconds, config.batch_seconds, config.max_skipped_steps, config.limit_batches),
        constants={
            "format": checkpoint.FORMAT,
            "config": config.model_dump(mode="json") | {"batch_size": micro},  # a resumed run must not choose again
            "glosses": list(found.glosses),
            "data": _resuming.fingerprint(found),
            "model_config": network.config.to_dict(),
            "clip_format": dataclasses.asdict(form),
        },
    )
    return parts, made.origin


def micro_batch(config: TrainConfig, made: Network) -> int:
    """Clips that go through the model at a time: as set, or as many as fit."""
    if config.batch_size != "auto":
        return config.batch_size
    return largest_batch(made.network, made.device, made.precision, config.num_frames, made.form.image_size)


def learning_rates(config: TrainConfig, micro: int, world: int) -> tuple[float, float]:
    """The peak and the lowest learning rate of a run, for its global batch."""
    batch = micro * config.accumulation * world
    return scaled_lr(config.lr, config.lr_scaling, batch), scaled_lr(config.min_lr, config.lr_scaling, batch)


def describe_batch(parts: Training, config: TrainConfig, world: int) -> str:
    """One line on the global batch, the steps, and the learning rate that it really is."""
    whole = parts.micro.size * config.accumulation * world
    product = f"{parts.micro.size} x {config.accumulation} accumulation x {world} worker(s)"
    scaled = f" ({config.lr_scaling} scaling of {config.lr:g})" if config.lr_scaling != "none" else ""
    return (
        f"global batch {whole} = {product}; {parts.batches(parts.train_loader)} steps per epoch; "
        f"peak lr {parts.schedule.peak:.4g}{scaled}"
    )


def _loaders(
    config: TrainConfig,
    micro: int,
    filled: fill.Filled,
    form: ClipFormat,
    device: torch.device,
    rank: int,
    world: int,
) -> tuple[Loader, Loader]:
    loaders = []
    for split in ("train", "val"):
        training = split == "train"
        dataset = ClipDataset(
            filled.found.split(split),
            reader=reader.reader(config, form, filled.clips),
            sampling=reader.sampling(config, training=training),
            seed=config.seed,
            augmentation=reader.augmentation(config) if training else None,
        )
        loaders.append(
            loader.build_loader(
                dataset,
                batch_size=micro * config.accumulation if training else micro,
                num_workers=config.num_workers,
                shuffle=training,
                device=device,
                rank=rank,
                world=world,
                batch_seconds=config.batch_seconds,
                cached=filled.complete,
                on_device=config.cache == "device",
                repeats=config.repeated_augmentation if training else 1,
                balanced=config.class_balanced_sampling and training,
            )
        )
    return loaders[0], loaders[1]


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
