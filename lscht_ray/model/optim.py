"""AdamW with a learning rate per layer, and the learning rate of each step: warm-up, then half a cosine."""

import math
import re
from typing import Any, Literal

import torch

HEAD_PARTS = ("classifier.", "fc_norm.")
"""How the names of the head's parameters begin, and of the norm's before it."""
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


def in_head(name: str) -> bool:
    """Return whether a parameter belongs to what stays trained while the backbone is frozen: the head and its norm.

    The norm is between the mean of all tokens and the head, as deep as the head, and as new where the checkpoint has
    never classified.
    """
    return name.startswith(HEAD_PARTS)


def parameter_groups(
    model: torch.nn.Module, *, weight_decay: float, layer_decay: float, thawing: bool = False
) -> list[dict[str, Any]]:
    """Return AdamW's groups: by depth, and with or without weight decay (biases, norms and other vectors have none).

    A group's ``lr_scale`` is layer_decay^(layers + 1 - depth) (BEiT, arXiv 2106.08254): 1 for the head, the less the
    nearer a layer is to the pixels. With a layer_decay of 1 there are two groups. With ``thawing``, a group's
    ``thaws`` says whether it is of the backbone, which is frozen at first.
    """
    names = [name for name, _ in model.named_parameters()]
    layers = 1 + max(
        (int(layer[1]) for name in names if (layer := re.search(r"encoder\.layer\.(\d+)\.", name))), default=-1
    )
    groups: dict[tuple[int, bool, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        at = depth(name, layers) if layer_decay != 1 else layers + 1
        decays, thaws = parameter.ndim > 1, thawing and not in_head(name)
        group = groups.setdefault(
            (at, not decays, not thaws),
            {
                "params": [],
                "weight_decay": weight_decay if decays else 0.0,
                "lr_scale": layer_decay ** (layers + 1 - at),
                "depth": at,
                **({"thaws": thaws} if thawing else {}),
            },
        )
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def build_optimizer(
    model: torch.nn.Module, *, lr: float, weight_decay: float, layer_decay: float = 1.0, thawing: bool = False
) -> torch.optim.AdamW:
    """Build AdamW over the trained parameters, in torch's fused form where the device has it."""
    groups = parameter_groups(model, weight_decay=weight_decay, layer_decay=layer_decay, thawing=thawing)
    fused = all(parameter.device.type in ("cpu", "cuda") for group in groups for parameter in group["params"])
    return torch.optim.AdamW(groups, lr=lr, fused=fused)


def regrouped(saved: dict[str, Any], optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> dict[str, Any]:
    """Return a saved state with the groups of an optimizer that has `parameter_groups` for thawing.

    Versions up to 0.1 had no groups of their own for what thaws: the state of each parameter takes its new place.
    """
    own = optimizer.state_dict()["param_groups"]
    if len(saved["param_groups"]) == len(own):
        return saved
    several = len({group["depth"] for group in saved["param_groups"]}) > 1
    before = parameter_groups(model, weight_decay=0.0, layer_decay=0.5 if several else 1.0)
    places = {id(p): place for place, p in enumerate(p for group in before for p in group["params"])}
    state = {
        place: saved["state"][places[id(p)]]
        for place, p in enumerate(p for group in optimizer.param_groups for p in group["params"])
        if places[id(p)] in saved["state"]
    }
    return {"state": state, "param_groups": own}


class WarmupCosine:
    """Sets the learning rate of every step: linear warm-up to ``peak``, then half a cosine down to ``min_lr``.

    With W = round(warmup_ratio x total_steps), at least 1 where the ratio is above 0, step s (0-based) has

        s < W:  peak x (s + 1) / (W + 1)
        else:   min_lr + (peak - min_lr) x (1 + cos(pi x (s - W) / (total_steps - 1 - W))) / 2

    so the first step is neither at zero nor at the peak, step W is at the peak, the last step at ``min_lr``. A group
    of the optimizer gets that times its ``lr_scale``.

    A group that thaws at a step T warms up anew, over as many steps: its moments are empty then, as all are at the
    first step. It gets the above times (s - T + 1) / (W + 1), at most 1.

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
        thaw_at: int = 0,
    ) -> None:
        self.optimizer = optimizer
        self.peak, self.min_lr, self.total_steps = peak, min_lr, total_steps
        self.warmup_steps = max(1, round(warmup_ratio * total_steps)) if warmup_ratio > 0 else 0
        self.thaw_at = thaw_at
        self.steps_done = 0
        self._apply()

    def lr_at(self, step: int) -> float:
        """Return the learning rate of a step (0-based)."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / (self.warmup_steps + 1)
        falling = max(1, self.total_steps - 1 - self.warmup_steps)
        progress = min(1.0, (step - self.warmup_steps) / falling)
        return self.min_lr + (self.peak - self.min_lr) * (1 + math.cos(math.pi * progress)) / 2

    def thawed(self, step: int) -> float:
        """Return what the learning rate of the thawing groups is multiplied by at a step, 0 to 1."""
        return min(1.0, max(0, step - self.thaw_at + 1) / (self.warmup_steps + 1))

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
            share = self.thawed(self.steps_done) if group.get("thaws") else 1.0
            group["lr"] = self.lr * group.get("lr_scale", 1.0) * share
