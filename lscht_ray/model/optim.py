"""AdamW with a learning rate per layer, and the learning rate of each step: warm-up, then half a cosine."""

import math
import re
from typing import Any, Literal

import torch

BASE_BATCH = 256
"""The global batch that a base learning rate is stated for (VideoMAE's and BEiT's convention)."""


def scaled_lr(lr: float, rule: Literal["none", "linear", "sqrt"], global_batch: int) -> float:
    """Scale a learning rate to a global batch: by 1, by batch / 256 (arXiv 1706.02677), or by the root of that."""
    ratio = global_batch / BASE_BATCH
    return lr * {"none": 1.0, "linear": ratio, "sqrt": math.sqrt(ratio)}[rule]


def depth(name: str, layers: int) -> int:
    """Return how far a parameter is from the pixels: 0 in the patch embeddings, i + 1 in encoder layer i.

    The final norm and the head have the depth layers + 1.
    """
    layer = re.search(r"encoder\.layer\.(\d+)\.", name)
    if layer:
        return int(layer[1]) + 1
    return 0 if ".embeddings." in f".{name}" else layers + 1


def parameter_groups(model: torch.nn.Module, *, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
    """Return AdamW's groups: by depth, and with or without weight decay (biases, norms and other vectors have none).

    A group's ``lr_scale`` is layer_decay^(layers + 1 - depth) (BEiT, arXiv 2106.08254): 1 for the head, the less the
    nearer a layer is to the pixels. With a layer_decay of 1 there are two groups.
    """
    names = [name for name, _ in model.named_parameters()]
    layers = 1 + max(
        (int(layer[1]) for name in names if (layer := re.search(r"encoder\.layer\.(\d+)\.", name))), default=-1
    )
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        at = depth(name, layers) if layer_decay != 1 else layers + 1
        decays = parameter.ndim > 1
        group = groups.setdefault(
            (at, not decays),
            {
                "params": [],
                "weight_decay": weight_decay if decays else 0.0,
                "lr_scale": layer_decay ** (layers + 1 - at),
                "depth": at,
            },
        )
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def build_optimizer(
    model: torch.nn.Module, *, lr: float, weight_decay: float, layer_decay: float = 1.0
) -> torch.optim.AdamW:
    """Build AdamW over the trained parameters, in torch's fused form where the device has it."""
    groups = parameter_groups(model, weight_decay=weight_decay, layer_decay=layer_decay)
    fused = all(parameter.device.type in ("cpu", "cuda") for group in groups for parameter in group["params"])
    return torch.optim.AdamW(groups, lr=lr, fused=fused)


class WarmupCosine:
    """Sets the learning rate of every step: linear warm-up to ``peak``, then half a cosine down to ``min_lr``.

    With W = round(warmup_ratio x total_steps), at least 1 where the ratio is above 0, step s (0-based) has

        s < W:  peak x (s + 1) / (W + 1)
        else:   min_lr + (peak - min_lr) x (1 + cos(pi x (s - W) / (total_steps - 1 - W))) / 2

    so the first step is neither at zero nor at the peak, step W is at the peak, the last step at ``min_lr``. A group
    of the optimizer gets that times its ``lr_scale``.

    Attributes:
        steps_done: Optimizer steps before; the next one is the step of this number.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        peak: float,
        min_lr: float,
        warmup_ratio: float,
        total_steps: int,
    ) -> None:
        self.optimizer = optimizer
        self.peak, self.min_lr, self.total_steps = peak, min_lr, total_steps
        self.warmup_steps = max(1, round(warmup_ratio * total_steps)) if warmup_ratio > 0 else 0
        self.steps_done = 0
        self._apply()

    def lr_at(self, step: int) -> float:
        """Return the learning rate of a step (0-based)."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / (self.warmup_steps + 1)
        falling = max(1, self.total_steps - 1 - self.warmup_steps)
        progress = min(1.0, (step - self.warmup_steps) / falling)
        return self.min_lr + (self.peak - self.min_lr) * (1 + math.cos(math.pi * progress)) / 2

    @property
    def lr(self) -> float:
        """The learning rate that the next optimizer step uses."""
        return self.lr_at(self.steps_done)

    def step(self) -> None:
        """Go on to the next step; call it after the optimizer's."""
        self.steps_done += 1
        self._apply()

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs."""
        return {"steps_done": self.steps_done, "total_steps": self.total_steps, "peak": self.peak}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the last step of a saved schedule."""
        self.steps_done = int(state["steps_done"])
        self._apply()

    def _apply(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * group.get("lr_scale", 1.0)
