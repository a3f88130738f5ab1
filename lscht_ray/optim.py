"""AdamW's parameter groups, and warm-up-cosine as a pure function of the step."""

import math
from typing import Any

import torch


def build_optimizer(model: torch.nn.Module, *, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over the trained parameters; biases, norms and other vectors have no weight decay."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=lr)


class WarmupCosine:
    """Sets the learning rate of every step: linear warm-up to ``peak``, then half a cosine down to ``min_lr``.

    With W = round(warmup_ratio x total_steps), at least 1 where the ratio is above 0, step s (0-based) has

        s < W:  peak x (s + 1) / (W + 1)
        else:   min_lr + (peak - min_lr) x (1 + cos(pi x (s - W) / (total_steps - 1 - W))) / 2

    so the first step is neither at zero nor at the peak, step W is at the peak, the last step at ``min_lr``.
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
        """The learning rate of a step (0-based)."""
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
        """What `load_state_dict` needs to go on."""
        return {"steps_done": self.steps_done, "total_steps": self.total_steps, "peak": self.peak}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on at the step of a saved schedule."""
        self.steps_done = int(state["steps_done"])
        self._apply()

    def _apply(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
