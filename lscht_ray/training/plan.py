"""What a run will do and cost, found out in seconds: ``--plan`` of `train`."""

import copy
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from lscht_ray.checking.usable import ClipSet
from lscht_ray.clips.dataset import EpochSampler
from lscht_ray.dataset.rows import SPLITS
from lscht_ray.errors import InputError
from lscht_ray.host import console
from lscht_ray.model.optim import WarmupCosine, parameter_groups
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training import _fits
from lscht_ray.training.build import Model, build_model, learning_rates, micro_batch
from lscht_ray.training.device import autocast, out_of_memory

TIMED_STEPS = 3
CLIPS_ON_CPU = 2
"""Clips that are timed on a CPU; the time of more is taken to be in proportion."""
A100, SHARE = 312e12, 0.45
"""Peak of an A100 in bf16 in FLOP/s (NVIDIA's data sheet), and the share of it that training usually reaches."""


@dataclass(frozen=True)
class Plan:
    """What one run will do.

    Attributes:
        views: Training clips per epoch, repeated ones counted.
        val_clips: Validation clips.
        global_batch: Clips per step over all workers.
        steps_per_epoch: Optimizer steps.
        epochs: Epochs at most.
        warmup_steps: Steps in which the learning rate rises.
        lr: Peak learning rate.
        trained: Parameters that are trained.
        parameters: All parameters, frozen ones included.
        train_flops: FLOPs of a training clip, forward and backward.
        val_flops: FLOPs of a validation clip.
        memory: Bytes on the device: weights, gradients, optimizer, averaged weights, and a micro-batch's activations.
        epoch_seconds: Seconds of an epoch on ``device``, without loading.
        device: The device that was timed.
        workers: Workers that share a run.
    """

    views: int
    val_clips: int
    global_batch: int
    steps_per_epoch: int
    epochs: int
    warmup_steps: int
    lr: float
    trained: int
    parameters: int
    train_flops: int
    val_flops: int
    memory: int
    epoch_seconds: float
    device: torch.device
    workers: int

    @property
    def epoch_flops(self) -> int:
        """FLOPs of an epoch, training and validation, over all workers."""
        return self.views * self.train_flops + self.val_clips * self.val_flops


def plan_run(config: TrainConfig, clip_set: ClipSet, screen: Console, workers: int = 1) -> Plan:
    """Plan a run and print the plan.

    Args:
        config: The settings.
        clip_set: The data set, `survey.ready`.
        screen: Where the plan is printed.
        workers: Workers that will share the run.

    Raises:
        InputError: The model, the device or a setting can't be used.
    """
    model = build_model(config, clip_set.glosses)
    groups = parameter_groups(model.network, weight_decay=config.weight_decay, layer_decay=config.layer_decay)
    micro = micro_batch(config, model)
    clips, repeats = len(clip_set.split("train")), config.repeated_augmentation
    views = clips * repeats
    share = len(EpochSampler(clips, shuffle=True, seed=config.seed, world=workers, repeats=repeats))
    steps = -(-share // (micro * config.accumulation))
    if config.limit_batches is not None:
        steps = min(steps, config.limit_batches)
        views = min(views, steps * micro * config.accumulation * workers)
    lr, min_lr = learning_rates(config, micro, workers)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
    schedule = WarmupCosine(
        optimizer, peak=lr, min_lr=min_lr, warmup_ratio=config.warmup_ratio, total_steps=steps * config.max_epochs
    )
    forward, both = count_flops(model, config.num_frames)
    try:
        train_seconds, val_seconds = _time(model, micro, config.num_frames)
        memory = _memory(model, micro, config)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise InputError(
            f"{micro} clips at a time don't fit on {model.device}: lower batch_size, raise accumulation"
        ) from None
    val_clips = min(len(clip_set.split("val")), (config.limit_batches or 2**31) * micro * workers)
    plan = Plan(
        views=views,
        val_clips=val_clips,
        global_batch=micro * config.accumulation * workers,
        steps_per_epoch=steps,
        epochs=config.max_epochs,
        warmup_steps=schedule.warmup_steps,
        lr=lr,
        trained=sum(p.numel() for group in groups for p in group["params"]),
        parameters=sum(p.numel() for p in model.network.parameters()),
        train_flops=both,
        val_flops=forward,
        memory=memory,
        epoch_seconds=views / workers * train_seconds + val_clips / workers * val_seconds,
        device=model.device,
        workers=workers,
    )
    _say_data(clip_set, screen)
    screen.print(f"{model.origin}; {model.device}, {model.precision}")
    _say_groups(groups, lr, screen)
    _say(plan, config, screen)
    return plan


def count_flops(model: Model, num_frames: int) -> tuple[int, int]:
    """FLOPs of one clip, forward, and forward and backward, as torch's counter has them. Nothing is computed."""
    network = copy.deepcopy(model.network).to("meta")
    size = model.clip_format.image_size
    clip = torch.zeros(1, num_frames, 3, size, size, device="meta")
    counts = []
    for training in (False, True):
        network.train(training)
        with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(training):
            logits = network(pixel_values=clip).logits
            if training:
                logits.sum().backward()
        counts.append(int(counter.get_total_flops()))
    return counts[0], counts[1]


def _time(model: Model, micro: int, num_frames: int) -> tuple[float, float]:
    """Seconds per training and per validation clip: medians of a few micro-batches."""
    count = min(micro, CLIPS_ON_CPU) if model.device.type == "cpu" else micro
    shape = (count, num_frames, 3, model.clip_format.image_size, model.clip_format.image_size)
    network = model.network

    def validate() -> None:
        with torch.inference_mode(), autocast(model.device, model.precision):
            network(pixel_values=torch.zeros(shape, device=model.device))

    def train() -> None:
        _fits.trial_step(network, model.device, model.precision, shape)

    medians = []
    for training, run in ((True, train), (False, validate)):
        network.train(training)
        times = []
        for _ in range(TIMED_STEPS + 1):
            started = time.perf_counter()
            run()
            if model.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        medians.append(sorted(times[1:])[TIMED_STEPS // 2] / count)
    return medians[0], medians[1]


def _memory(model: Model, micro: int, config: TrainConfig) -> int:
    """Weights, gradients and AdamW's two moments in fp32, averaged weights, and what the backward pass keeps."""
    weights = sum(p.numel() for p in model.network.parameters())
    trained = sum(p.numel() for p in model.network.parameters() if p.requires_grad)
    fixed = 4 * (weights * (2 if config.ema_decay else 1) + 3 * trained)
    kept: dict[int, int] = {}
    own = {p.untyped_storage().data_ptr() for p in model.network.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    size = model.clip_format.image_size
    model.network.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast(model.device, model.precision):
        model.network(pixel_values=torch.zeros(1, config.num_frames, 3, size, size, device=model.device))
    return int(fixed + micro * sum(kept.values()))


# ---------------------------------------------------------------- in words


def _say_data(clip_set: ClipSet, screen: Console) -> None:
    rows = []
    for split in SPLITS:
        counts = Counter(clip.gloss for clip in clip_set.split(split))
        few, many = min(counts.values(), default=0), max(counts.values(), default=0)
        rows.append([split, str(sum(counts.values())), str(len(counts)), f"{few} to {many}"])
    screen.print(console.table("Data", ["split", "clips", "glosses", "clips per gloss"], rows))


def _say_groups(groups: list[dict[str, Any]], lr: float, screen: Console) -> None:
    top = max(group["depth"] for group in groups)
    several = len({group["depth"] for group in groups}) > 1
    rows = []
    for depth in sorted({group["depth"] for group in groups}):
        here = [group for group in groups if group["depth"] == depth]
        name = f"layer {depth}" if 0 < depth < top else "embeddings" if depth == 0 else "norm and head"
        count = sum(p.numel() for group in here for p in group["params"])
        rows.append([name if several else "all", f"{count:,}", f"{lr * here[0]['lr_scale']:.3g}"])
    screen.print(console.table("Learning rates", ["layers", "trained parameters", "peak lr"], rows))


def _say(plan: Plan, config: TrainConfig, screen: Console) -> None:
    for line in (
        f"global batch {plan.global_batch}, {plan.steps_per_epoch} steps per epoch, {plan.epochs} epochs at most, "
        f"{plan.warmup_steps} warm-up steps of {plan.steps_per_epoch * plan.epochs}",
        f"parameters: {plan.trained:,} trained of {plan.parameters:,}",
        f"FLOPs: {plan.val_flops / 1e9:.4g} G a clip forward, {plan.train_flops / 1e9:.4g} G with backward; "
        f"{plan.epoch_flops / 1e15:.3g} P an epoch, {plan.epochs * plan.epoch_flops / 1e15:.3g} P the run",
        f"memory on the device: about {plan.memory / 2**30:.2f} GiB",
        f"time: about {duration(plan.epoch_seconds)} an epoch on {plan.device} ({plan.workers} worker(s), without "
        f"loading), {duration(plan.epochs * plan.epoch_seconds)} the run",
        *cost(plan, plan.epochs, config),
    ):
        screen.print(line)


def cost(plan: Plan, epochs: float, config: TrainConfig) -> list[str]:
    """GPU hours and money: as timed on a GPU; elsewhere as counted, for an A100."""
    if plan.device.type == "cuda":
        hours, how = plan.epoch_seconds * plan.workers * epochs / 3600, "as timed here"
    else:
        hours, how = plan.epoch_flops * epochs / (SHARE * A100) / 3600, f"an A100's at {SHARE:.0%} of its peak"
    price = config.gpu_hour_price
    money = f", costing {hours * price:.2f}" if price is not None else "; --gpu_hour_price says what that costs"
    return [f"GPU hours: {hours:.3g} ({how}){money}"]


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best: s, min or h."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
