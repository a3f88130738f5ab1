"""What a run will do and cost, found out in seconds: ``--plan`` of `train`."""

import copy
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from lscht_ray.checking.usable import ClipSet
from lscht_ray.clips.dataset import EpochSampler
from lscht_ray.dataset.rows import SPLITS
from lscht_ray.errors import InputError
from lscht_ray.host import console
from lscht_ray.model.adapt import Freezing
from lscht_ray.model.optim import WarmupCosine, parameter_groups
from lscht_ray.settings.train import TrainConfig
from lscht_ray.shown import counted
from lscht_ray.training import _fits, _torch_internals
from lscht_ray.training.build import Model, build_model, learning_rates, micro_batch
from lscht_ray.training.device import autocast, out_of_memory

TIMED_STEPS = 3
CLIPS_ON_CPU = 2
"""Clips that are timed on a CPU; the time of more is taken to be in proportion."""
FLOAT = 4
"""Bytes of a weight: they are kept in float32 whatever the model computes in."""
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
        frozen_epochs: The first so many epochs train the head alone.
        train_flops: FLOPs of a training clip, forward and backward.
        frozen_flops: The same in the frozen epochs.
        val_flops: FLOPs of a validation clip.
        memory: Bytes on the device: weights, gradients, optimizer, averaged weights, and a micro-batch's activations.
        epoch_seconds: Seconds of an epoch on ``device``, without loading.
        frozen_seconds: The same of a frozen epoch.
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
    frozen_epochs: int
    train_flops: int
    frozen_flops: int
    val_flops: int
    memory: int
    epoch_seconds: float
    frozen_seconds: float
    device: torch.device
    workers: int

    def flops(self, runs: Sequence[float]) -> float:
        """FLOPs, training and validation, over all workers; ``runs``: how many runs do each epoch, the first first."""
        validation = self.val_clips * self.val_flops
        return self._sum(runs, self.views * self.train_flops + validation, self.views * self.frozen_flops + validation)

    def seconds(self, runs: Sequence[float]) -> float:
        """Seconds of all these epochs, one after the other."""
        return self._sum(runs, self.epoch_seconds, self.frozen_seconds)

    def _sum(self, runs: Sequence[float], each: float, frozen: float) -> float:
        return sum(runs[: self.frozen_epochs]) * frozen + sum(runs[self.frozen_epochs :]) * each


def plan_run(config: TrainConfig, clip_set: ClipSet, screen: Console, workers: int = 1, under: str = "") -> Plan:
    """Plan a run and print the plan.

    Args:
        config: The settings.
        clip_set: The data set, `survey.ready`.
        screen: Where the plan is printed.
        workers: Workers that will share the run.
        under: What stands before the settings' names in a command line.

    Raises:
        InputError: The model, the device or a setting can't be used.
    """
    model = build_model(config, clip_set.glosses)
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
    only_head = config.quick or config.freeze_epochs < 0
    frozen_epochs = config.max_epochs if only_head else min(config.freeze_epochs, config.max_epochs)
    freezing = Freezing(model.network)
    try:
        train_seconds, val_seconds = _time(model, micro, config.num_frames)
        memory = 0 if frozen_epochs == config.max_epochs else _memory(model, micro, config)
        frozen_flops, frozen_seconds = both, train_seconds
        if frozen_epochs:
            freezing.set(True)
            frozen_flops = count_flops(model, config.num_frames)[1]
            frozen_seconds = _time(model, micro, config.num_frames)[0]
            memory = max(memory, _memory(model, micro, config))
            freezing.set(frozen_epochs == config.max_epochs)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise InputError(
            f"{counted(micro, 'clip at a time does', 'clips at a time do')} not fit on"
            f" {model.device}: lower batch_size, raise accumulation"
        ) from None
    groups = parameter_groups(model.network, weight_decay=config.weight_decay, layer_decay=config.layer_decay)
    val_clips = min(len(clip_set.split("val")), (config.limit_batches or 2**31) * micro * workers)
    plan = Plan(
        views=views,
        val_clips=val_clips,
        global_batch=micro * config.accumulation * workers,
        steps_per_epoch=steps,
        epochs=config.max_epochs,
        warmup_steps=schedule.warmup_steps,
        lr=lr,
        trained=sum(p.numel() for p in model.network.parameters() if p.requires_grad),
        parameters=sum(p.numel() for p in model.network.parameters()),
        frozen_epochs=frozen_epochs,
        train_flops=both,
        frozen_flops=frozen_flops,
        val_flops=forward,
        memory=memory,
        epoch_seconds=(views * train_seconds + val_clips * val_seconds) / workers,
        frozen_seconds=(views * frozen_seconds + val_clips * val_seconds) / workers,
        device=model.device,
        workers=workers,
    )
    _say_data(clip_set, screen)
    if config.quick:
        plan = _with_features(plan, (clips + len(clip_set.split("val"))) * val_seconds, screen)
    screen.print(f"{model.origin}; {model.device}, {model.precision}")
    _say_groups(groups, lr, screen)
    _say(plan, config, screen, under)
    return plan


def _with_features(plan: Plan, seconds: float, screen: Console) -> Plan:
    """The plan of a run whose clips go through the backbone once, in so many seconds: epochs cost next to nothing."""
    screen.print(f"quick: the features of all clips are computed once, in about {duration(seconds)}, and kept")
    return replace(plan, train_flops=0, frozen_flops=0, val_flops=0, epoch_seconds=0.0, frozen_seconds=0.0)


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
    """Bytes at the peak of a step: what is always there, and what a forward and backward pass holds at most."""
    weights = [p.numel() for p in model.network.parameters()]
    trained = sum(p.numel() for p in model.network.parameters() if p.requires_grad)
    always = FLOAT * (sum(weights) * (2 if config.ema_decay else 1) + 2 * trained)  # AdamW keeps two moments
    if config.accumulation > 1:  # gradients are there before the last pass begins
        always += FLOAT * trained
    side = model.clip_format.decoded_short_side
    decoded = micro * config.num_frames * side * side * (3 if config.pixel_format == "rgb" else 1.5)
    model.network.train()
    return int(always + decoded + _pass(model, micro, config.num_frames))


def _pass(model: Model, micro: int, num_frames: int) -> int:
    """Bytes that a forward and backward pass over so many clips allocates at its peak.

    A GPU tells. On a CPU it is followed operation by operation for two and for three clips: what lives after each of
    them grows in proportion to the clips, and with more clips the peak may come after another one.
    """
    size = model.clip_format.image_size
    shapes = [(count, num_frames, 3, size, size) for count in (2, 3, micro)]
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)
        before = torch.cuda.memory_allocated(model.device)
        _fits.trial_step(model.network, model.device, model.precision, shapes[2])
        return int(torch.cuda.max_memory_allocated(model.device) - before)
    of_two, of_three = _torch_internals.LiveBytes(), _torch_internals.LiveBytes()
    for shape, live in zip(shapes[:2], (of_two, of_three), strict=True):
        with live:
            _fits.trial_step(model.network, model.device, model.precision, shape)
    if len(of_two.history) != len(of_three.history):  # other operations for other sizes: the peaks alone are known
        two, three = max(of_two.history), max(of_three.history)
        return two + (micro - 2) * (three - two)
    return max(two + (micro - 2) * (three - two) for two, three in zip(of_two.history, of_three.history, strict=True))


# ---------------------------------------------------------------- in words


def _say_data(clip_set: ClipSet, screen: Console) -> None:
    rows = []
    for split in SPLITS:
        counts = Counter(clip.gloss for clip in clip_set.split(split))
        few, many = min(counts.values(), default=0), max(counts.values(), default=0)
        rows.append([split, str(sum(counts.values())), str(len(counts)), f"{few} to {many}"])
    console.print_table(screen, "Data", ["split", "clips", "glosses", "clips per gloss"], rows)


def _say_groups(groups: list[dict[str, Any]], lr: float, screen: Console) -> None:
    top = max(group["depth"] for group in groups)
    several = len({group["depth"] for group in groups}) > 1
    rows = []
    for depth in sorted({group["depth"] for group in groups}):
        here = [group for group in groups if group["depth"] == depth]
        name = f"layer {depth}" if 0 < depth < top else "embeddings" if depth == 0 else "norm and head"
        count = sum(p.numel() for group in here for p in group["params"])
        rows.append([name if several else "all", f"{count:,}", f"{lr * here[0]['lr_scale']:.3g}"])
    console.print_table(screen, "Learning rates", ["layers", "trained parameters", "peak lr"], rows)


def _say(plan: Plan, config: TrainConfig, screen: Console, under: str) -> None:
    runs = [1.0] * plan.epochs
    for line in (
        f"global batch {plan.global_batch}, {counted(plan.steps_per_epoch, 'step')} per epoch,"
        f" {counted(plan.epochs, 'epoch')} at most, "
        f"{counted(plan.warmup_steps, 'warm-up step')} of {plan.steps_per_epoch * plan.epochs}",
        f"parameters: {plan.trained:,} trained of {plan.parameters:,}",
        f"FLOPs: {plan.val_flops / 1e9:.4g} G a clip forward, {plan.train_flops / 1e9:.4g} G with backward"
        + (f" ({plan.frozen_flops / 1e9:.4g} G in {plan.frozen_epochs} frozen epochs)" if plan.frozen_epochs else "")
        + f"; {plan.flops(runs) / plan.epochs / 1e15:.3g} P an epoch, {plan.flops(runs) / 1e15:.3g} P the run",
        f"memory on the device: about {plan.memory / 2**30:.2f} GiB",
        f"time: about {duration(plan.seconds(runs) / plan.epochs)} an epoch on {plan.device} "
        f"({_computing(plan)}, without start and loading), {duration(plan.seconds(runs))} the run",
        cost(plan, runs, config.gpu_hour_price)
        + ("" if config.gpu_hour_price is not None else f"; --{under}gpu_hour_price says what that costs"),
    ):
        screen.print(line)


def _computing(plan: Plan) -> str:
    workers = counted(plan.workers, "worker")
    return workers if plan.device.type == "cuda" else f"{workers} of {counted(torch.get_num_threads(), 'CPU thread')}"


def cost(plan: Plan, runs: Sequence[float], price: float | None) -> str:
    """GPU hours and money: as timed on a GPU; elsewhere as counted, for an A100.

    Args:
        plan: The plan.
        runs: As for `Plan.flops`.
        price: Of a GPU hour; None: unknown.
    """
    if plan.device.type == "cuda":
        hours, how = plan.seconds(runs) * plan.workers / 3600, "as timed here"
    else:
        hours, how = plan.flops(runs) / (SHARE * A100) / 3600, f"an A100's at {SHARE:.0%} of its peak"
    money = "" if price is None else f", costing {_at_least_a_hundredth(hours * price, '.2f')}"
    return f"GPU hours: {_at_least_a_hundredth(hours, '.3g')} ({how}){money}"


def _at_least_a_hundredth(value: float, spec: str) -> str:
    return format(value, spec) if value >= 0.01 or not value else "less than 0.01"


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best: s, min or h."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
