"""About what training on a CPU takes, estimated before anything is loaded: ``--plan`` measures it."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lscht_ray.host import gpus
from lscht_ray.host.cpus import usable_cpus
from lscht_ray.model import shape
from lscht_ray.settings.train import TrainConfig
from lscht_ray.shown import counted

WORTH_SAYING = 600.0
"""Seconds of training above which it is said."""
SHARE = 0.5
"""Of the speed of a large matrix product, what training reaches on a CPU."""
BASE = {"hidden_size": 768, "num_hidden_layers": 12, "image_size": 224, "patch_size": 16, "tubelet_size": 2}
"""VideoMAE-base, as its config.json on the hub has it."""
LARGE = {**BASE, "hidden_size": 1024, "num_hidden_layers": 24}
KEPT = 16
"""Numbers of a token's width that a layer keeps for the backward pass, in float32 with fused attention (measured)."""


@dataclass(frozen=True)
class Cost:
    """What a run takes on this machine's CPU.

    Attributes:
        seconds: Of all epochs.
        memory: Bytes at the peak.
    """

    seconds: float
    memory: float


def estimate(config: TrainConfig, train_clips: int, val_clips: int) -> Cost | None:
    """Estimate what a run takes; None where a GPU can be used, or nothing is known of the model.

    Backward takes twice the FLOPs of forward, or none where the backbone is frozen.
    """
    sizes = _sizes(config.model_name)
    if sizes is None or not (config.device == "cpu" or (config.device == "auto" and gpus.nvidia_gpus() == 0)):
        return None
    width, layers = sizes["hidden_size"], sizes["num_hidden_layers"]
    side = (config.image_size or sizes["image_size"]) // sizes["patch_size"]
    tokens = config.num_frames // sizes["tubelet_size"] * side**2
    forward = forward_flops(width, layers, tokens)
    only_head = config.quick or config.freeze_epochs < 0
    frozen = config.max_epochs if only_head else min(config.freeze_epochs, config.max_epochs)
    passes = config.repeated_augmentation * train_clips * (frozen + 3 * (config.max_epochs - frozen))
    flops = forward * (train_clips + val_clips if config.quick else passes + config.max_epochs * val_clips)
    weights = layers * 12 * width**2
    batch = config.batch_size if isinstance(config.batch_size, int) else 1
    kept = 0 if frozen == config.max_epochs else batch * KEPT * layers * tokens * width * 4
    return Cost(flops / (_speed() * SHARE), (4 if frozen == config.max_epochs else 16) * weights + kept)


def forward_flops(width: int, layers: int, tokens: int) -> int:
    """FLOPs of a clip of N tokens in L layers of width d: L (24 N d^2 + 4 N^2 d), head and patches left out.

    Kaplan et al. 2020, arXiv 2001.08361, section 2.1, with the attention, and a multiplication and an addition as two.
    """
    return layers * (24 * tokens * width**2 + 4 * tokens**2 * width)


def warning(config: TrainConfig, train_clips: int, val_clips: int) -> str:
    """What to say of a run that will take long on this machine; nothing where it won't."""
    cost = estimate(config, train_clips, val_clips)
    if cost is None or cost.seconds < WORTH_SAYING:
        return ""
    took = f"{cost.seconds / 3600:.1f} hours" if cost.seconds >= 3600 else f"{cost.seconds / 60:.0f} minutes"
    gigabytes = cost.memory / 2**30
    memory = f"{gigabytes:.{int(gigabytes < 10)}f} GiB"
    cheaper = "a GPU (Colab lends one: see README)"
    if config.freeze_epochs != -1 and not config.quick:
        cheaper = f"--freeze_epochs -1 (only the head is trained: a third of the time), {cheaper}"
    if not config.quick:
        cheaper = (
            f"--quick true (what the backbone sees is computed once, then the head is trained in seconds), {cheaper}"
        )
    return (
        f"warning: no GPU that can be used: on {counted(usable_cpus(), 'CPU core')} training takes about {took}"
        f" and {memory} of memory ({_what(config, train_clips, val_clips)}; --plan measures it)."
        f" Cheaper: {cheaper}"
    )


def _what(config: TrainConfig, train_clips: int, val_clips: int) -> str:
    if config.quick:
        return f"{counted(train_clips + val_clips, 'clip')} once; epochs take seconds after that"
    return f"{counted(config.max_epochs, 'epoch')} of {counted(train_clips, 'clip')}"


def _sizes(name: str) -> dict[str, int] | None:
    """The sizes of a model; None where its config is not on this machine and its name says nothing."""
    if name == "tiny":
        return {**BASE, **{key: value for key, value in shape.TINY.items() if key in BASE}}
    try:
        found: dict[str, Any] = json.loads((Path(name).expanduser() / "config.json").read_text(encoding="utf-8"))
        return {key: int(found[key]) for key in BASE}
    except (OSError, ValueError, TypeError, KeyError):
        return LARGE if "large" in name else BASE if name.startswith("MCG-NJU/videomae-base") else None


def _speed() -> float:
    """FLOP/s of this machine's CPUs in float32, by a few large matrix products."""
    size = 1024
    matrix = np.ones((size, size), np.float32)
    np.matmul(matrix, matrix)  # the first one starts threads
    times = []
    for _ in range(3):
        started = time.perf_counter()
        np.matmul(matrix, matrix)
        times.append(time.perf_counter() - started)
    return float(2 * size**3 / sorted(times)[1])
