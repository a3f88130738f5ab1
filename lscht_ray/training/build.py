"""Builds the parts and the state of a run from its settings."""

import dataclasses
import random
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from rich.console import Console

from lscht_ray.artifacts import checkpoint
from lscht_ray.checking.usable import ClipSet
from lscht_ray.clips import fill, loader, reader
from lscht_ray.clips.batch import Loader
from lscht_ray.clips.dataset import ClipDataset
from lscht_ray.clips.mix import Mixer
from lscht_ray.clips.transforms import ClipFormat, EvaluationTransform, TrainingTransform
from lscht_ray.dataset.samples import Clip
from lscht_ray.model import adapt, videomae
from lscht_ray.model.ema import Ema
from lscht_ray.model.loss import Criterion, class_weights
from lscht_ray.model.optim import WarmupCosine, build_optimizer, scaled_lr
from lscht_ray.settings.train import METRIC_MODES, TrainConfig
from lscht_ray.shown import counted
from lscht_ray.training import _known, _resuming, quick
from lscht_ray.training._fits import compiled, largest_batch
from lscht_ray.training._stopping import BestEpoch, EarlyStopping
from lscht_ray.training.device import Precision, choose_device, choose_precision, settle
from lscht_ray.training.metrics import rank_and_world
from lscht_ray.training.parts import Limits, Parts
from lscht_ray.training.state import MicroBatches, TrainState

PrepareModel = Callable[[torch.nn.Module], torch.nn.Module]
HIGHEST_LR = 0.01
"""Peak learning rate above which fine-tuning with AdamW hardly ever converges."""


@dataclasses.dataclass(frozen=True)
class Model:
    """The model as a recipe wants it, on its device.

    Attributes:
        network: VideoMAE with its head, adapted.
        clip_format: What the model takes.
        origin: One line about where its weights come from.
        device: Where it is.
        precision: What it computes in.
    """

    network: Any
    clip_format: ClipFormat
    origin: str
    device: torch.device
    precision: Precision


class Built(NamedTuple):
    """A run, built: the parts that never change, the state that does, and where the model's weights come from."""

    parts: Parts
    state: TrainState
    origin: str


def build_model(
    config: TrainConfig, glosses: tuple[str, ...], *, keep_weights: bool = False, stretch: bool = True
) -> Model:
    """The model with all that the settings do to it, on its device.

    Args:
        config: The settings.
        glosses: In label order.
        keep_weights: What was loaded stays in this process's memory for its next trial.
        stretch: As for `videomae.build`.

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
        head_init_scale=config.head_init_scale,
        seed=config.seed,
        keep=keep_weights,
        stretch=stretch,
    )
    network = cast(torch.nn.Module, built.model)
    if config.drop_path:
        adapt.drop_path(network, config.drop_path)
    if config.head_dropout:
        adapt.head_dropout(network, config.head_dropout)
    if config.lora_rank:
        alpha, dropout = config.lora_alpha, config.lora_dropout
        adapt.lora(network, rank=config.lora_rank, alpha=alpha, dropout=dropout, new_norm=built.new_norm)
    if config.gradient_checkpointing:
        adapt.checkpoint_layers(network)
    eager = config.attention == "eager" or (config.attention, precision, device.type) == ("auto", "bf16", "cpu")
    adapt.attend(network, "eager" if eager else "sdpa")
    clip_format = ClipFormat(
        built.model.config.image_size, built.mean, built.std, config.short_side, config.pixel_format, config.eval_crop
    )
    return Model(network.to(device), clip_format, built.origin, device, precision)


def build(
    config: TrainConfig,
    clip_set: ClipSet,
    screen: Console,
    *,
    prepare_model: PrepareModel = lambda network: network,
    most_at_once: int | None = None,
    keep_weights: bool = False,
    stretch: bool = True,
) -> Built:
    """The parts and the state of a run.

    Args:
        config: The settings.
        clip_set: The data set, as `data.ready` returns it.
        screen: Where the clip cache, a chosen batch size and a failed compilation are reported.
        prepare_model: Wraps the model for several workers.
        most_at_once: Clips that may go through the model at a time, where there was no memory for more before.
        keep_weights: As for `build_model`.
        stretch: As for `build_model`.

    Raises:
        InputError: The model, the device or a setting can't be used.
    """
    model = build_model(config, clip_set.glosses, keep_weights=keep_weights, stretch=stretch)
    used = clip_set.split("train") + clip_set.split("val")
    filled = fill.fill(clip_set.annotations.root, used, config, model.clip_format.decoded_short_side, screen)
    batch_size = micro_batch(config, model)
    if config.batch_size == "auto":
        how = "the most that fits" if model.device.type == "cuda" else "no GPU to fill"
        screen.print(f"batch_size auto: {counted(batch_size, 'clip')} at a time ({how})")
    splits = {split: clip_set.split(split) for split in ("train", "val")}
    if config.quick:
        train_loader, val_loader = quick.loaders(model, splits, config, filled, screen, batch_size)
    else:
        train_loader, val_loader = (
            _loader(config, split, clips, batch_size, filled, model) for split, clips in splits.items()
        )
    steps = min(len(train_loader), config.limit_batches or len(train_loader)) * config.max_epochs
    fixed_shape = config.compile and compiled(
        model.network,
        model.device,
        model.precision,
        batch_size,
        config.num_frames,
        model.clip_format.image_size,
        screen,
    )
    state = _state(config, model, batch_size, steps, prepare_model, most_at_once)
    if state.ema is not None and fixed_shape:
        state.ema.network.compile(dynamic=False)
    parts = Parts(
        train_loader=train_loader,
        val_loader=val_loader,
        augment=quick.as_shown if config.quick else TrainingTransform(model.clip_format, reader.augmentation(config)),
        present=quick.as_shown if config.quick else EvaluationTransform(model.clip_format),
        mixer=_mixer(config, len(clip_set.glosses)),
        criterion=_criterion(config, clip_set).to(model.device),
        temperature=config.similarity_temperature if config.smoothing_by_similarity else None,
        fixed_shape=fixed_shape,
        freeze_epochs=-1 if config.quick else config.freeze_epochs,
        best_metric=config.best_metric,
        stop_metric=config.early_stopping_metric,
        num_classes=len(clip_set.glosses),
        device=model.device,
        precision=model.precision,
        gradient_clip=config.gradient_clip,
        limits=Limits(config.step_seconds, config.batch_seconds, config.max_skipped_steps, config.limit_batches),
        about=_about(config, clip_set, model, batch_size),
    )
    return Built(parts, state, model.origin)


def _state(
    config: TrainConfig,
    model: Model,
    batch_size: int,
    steps: int,
    prepare_model: PrepareModel,
    most_at_once: int | None,
) -> TrainState:
    """The state of a run that begins; ``steps`` are those of all epochs."""
    network, (lr, min_lr) = model.network, learning_rates(config, batch_size, rank_and_world()[1])
    thawing = config.freeze_epochs > 0
    optimizer = build_optimizer(
        network, lr=lr, weight_decay=config.weight_decay, layer_decay=config.layer_decay, thawing=thawing
    )
    schedule = WarmupCosine(
        optimizer,
        peak=lr,
        min_lr=min_lr,
        warmup_ratio=config.warmup_ratio,
        total_steps=steps,
        thaw_at=max(0, config.freeze_epochs) * steps // config.max_epochs,
    )
    stopper = None
    if config.early_stopping:
        stopper = EarlyStopping(METRIC_MODES[config.early_stopping_metric], config.patience, config.min_delta)
    return TrainState(
        network=network,
        model=prepare_model(network),
        ema=Ema(network, config.ema_decay) if config.ema_decay else None,  # once all workers have the same weights
        wrap=prepare_model,
        optimizer=optimizer,
        schedule=schedule,
        scaler=torch.amp.GradScaler(model.device.type, enabled=model.precision == "fp16"),
        freezing=adapt.Freezing(network),
        micro=MicroBatches(min(batch_size, most_at_once or batch_size)),
        best=BestEpoch(config.best_metric, METRIC_MODES[config.best_metric]),
        stopper=stopper,
    )


def _criterion(config: TrainConfig, clip_set: ClipSet) -> Criterion:
    labels = [clip.label for clip in clip_set.split("train")]
    power = config.class_weight_power if config.class_weighted else 0.0
    return Criterion(class_weights(labels, len(clip_set.glosses), power), config.label_smoothing)


def _mixer(config: TrainConfig, num_classes: int) -> Mixer:
    return Mixer(
        mixup=config.mixup,
        cutmix=config.cutmix,
        probability=config.mix_probability,
        num_classes=num_classes,
        seed=config.seed,
    )


def _about(config: TrainConfig, clip_set: ClipSet, model: Model, batch_size: int) -> dict[str, Any]:
    """What every checkpoint of the run repeats."""
    return {
        "format": checkpoint.FORMAT,
        "config": config.model_dump(mode="json") | {"batch_size": batch_size},  # a resumed run must not choose again
        "glosses": list(clip_set.glosses),
        "data": _resuming.fingerprint(clip_set),
        checkpoint.KNOWN_CLIPS: _known.written(clip_set.clips),
        "model_config": model.network.config.to_dict(),
        "clip_format": dataclasses.asdict(model.clip_format),
    }


def micro_batch(config: TrainConfig, model: Model) -> int:
    """Clips that go through the model at a time: as set, or as many as fit."""
    if config.batch_size != "auto":
        return config.batch_size
    return largest_batch(model.network, model.device, model.precision, config.num_frames, model.clip_format.image_size)


def learning_rates(config: TrainConfig, batch_size: int, world: int) -> tuple[float, float]:
    """The peak and the lowest learning rate of a run, for its global batch."""
    batch = batch_size * config.accumulation * world
    return scaled_lr(config.lr, config.lr_scaling, batch), scaled_lr(config.min_lr, config.lr_scaling, batch)


def description(built: Built, config: TrainConfig) -> list[str]:
    """Lines on the model, the global batch and what follows from it, and warnings where next to nothing can come."""
    model = f"{built.origin}; {built.parts.device}, {built.parts.precision}"
    return [model, _batch(built, config), *_warnings(built, config)]


def _batch(built: Built, config: TrainConfig) -> str:
    """One line on the global batch, the steps, and the learning rate that results."""
    size, world, peak = built.parts.about["config"]["batch_size"], rank_and_world()[1], built.state.schedule.peak
    product = f"{size} x {config.accumulation} accumulation x {counted(world, 'worker')}"
    scaled = f" ({config.lr_scaling} scaling of {config.lr:g})" if config.lr_scaling != "none" else ""
    return (
        f"global batch {size * config.accumulation * world} = {product}; "
        f"{counted(built.parts.batches(built.parts.train_loader), 'step')} per epoch; peak lr {peak:.4g}{scaled}"
    )


def _warnings(built: Built, config: TrainConfig) -> list[str]:
    warnings = []
    peak, steps = built.state.schedule.peak, built.parts.batches(built.parts.train_loader)
    if peak > HIGHEST_LR:
        warnings.append(
            f"warning: with a peak lr of {peak:g} training will hardly converge: AdamW fine-tunes transformers with"
            " 1e-6 to 1e-3"
        )
    if steps == 1 and config.limit_batches is None:
        warnings.append(
            f"warning: an epoch is a single step, so the model is updated {config.max_epochs} times at most: lower"
            " batch_size or accumulation"
        )
    return warnings


def _loader(
    config: TrainConfig, split: str, clips: tuple[Clip, ...], batch_size: int, filled: fill.Filled, model: Model
) -> Loader:
    """The loader of a split: of training clips shuffled and augmented, a whole step at a time."""
    training, (rank, world) = split == "train", rank_and_world()
    dataset = ClipDataset(
        clips,
        reader=reader.reader(config, model.clip_format, filled.cache),
        sampling=reader.sampling(config, training=training),
        seed=config.seed,
        augmentation=reader.augmentation(config) if training else None,
    )
    return loader.build_loader(
        dataset,
        batch_size=batch_size * config.accumulation if training else batch_size,
        num_workers=config.num_workers,
        shuffle=training,
        device=model.device,
        rank=rank,
        world=world,
        batch_seconds=config.batch_seconds,
        cached=filled.complete,
        on_device=config.cache == "device",
        repeats=config.repeated_augmentation if training else 1,
        balanced=config.class_balanced_sampling and training,
    )


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
