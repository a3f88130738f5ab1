"""Changes a built VideoMAE as a recipe wants: drop path, head dropout, LoRA, a frozen backbone, checkpointed layers.

Legend: B clips, D width of a feature.
"""

from typing import Any, cast

import torch
from torch import Tensor
from torchvision.ops import StochasticDepth

from lscht_ray.errors import InputError
from lscht_ray.model.optim import in_head

LORA_TARGETS = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]


def drop_path(model: torch.nn.Module, rate: float) -> None:
    """Add stochastic depth (arXiv 1603.09382): in training each clip skips a layer's branch with some probability.

    The probability rises linearly over the layers, from 0 at the first to ``rate`` at the last, as in timm. Both
    branches of a layer end in a dropout, after which the skipping comes.
    """
    layers = cast(Any, model).videomae.encoder.layer
    for index, layer in enumerate(layers):
        here = rate * index / max(1, len(layers) - 1)
        for branch in (layer.attention.output, layer.output):
            branch.dropout = torch.nn.Sequential(branch.dropout, StochasticDepth(here, "row"))


def head_dropout(model: torch.nn.Module, probability: float) -> None:
    """Add dropout between backbone and head, in training; the head's weights keep their names."""

    def drop(head: torch.nn.Module, features: tuple[Tensor]) -> Tensor:
        return torch.nn.functional.dropout(features[0], probability, head.training)  # (B, D)

    cast(Any, model).classifier.register_forward_pre_hook(drop)


def lora(model: torch.nn.Module, *, rank: int, alpha: float, dropout: float, new_norm: bool = False) -> None:
    """Add low-rank adapters (arXiv 2106.09685) to every linear map of the encoder; only they and the head are trained.

    ``new_norm``: The norm before the head is new, and trained, too.

    Raises:
        InputError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise InputError('lora_rank needs peft: pip install "lscht_ray[lora]"') from None
    settings = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=LORA_TARGETS)
    inject_adapter_in_model(settings, model)
    for name, parameter in model.named_parameters():
        if name.startswith("classifier.") or (new_norm and in_head(name)):
            parameter.requires_grad = True


def plain_state(model: torch.nn.Module) -> dict[str, Tensor]:
    """Return the weights under VideoMAE's own names, with the adapters added to what they adapt."""
    adapted = {name: module for name, module in model.named_modules() if hasattr(module, "get_delta_weight")}
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        if ".lora_" in name:
            continue
        owner = name.rpartition(".base_layer.")[0]
        if owner in adapted and name.endswith("base_layer.weight"):
            delta = cast(Any, adapted[owner]).get_delta_weight("default").detach()
            value = value + delta.to(value.dtype)
        state[name.replace(".base_layer.", ".")] = value
    return state


class Freezing:
    """Freezes the backbone and thaws it again; what was frozen before (the weights below LoRA) stays frozen.

    The head and the norm before it are never frozen (`optim.in_head`).

    Attributes:
        frozen: Whether the backbone is frozen now.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.frozen = False
        self._trained = [
            parameter for name, parameter in model.named_parameters() if parameter.requires_grad and not in_head(name)
        ]

    def set(self, frozen: bool) -> bool:
        """Freeze or thaw the backbone; return whether that changed anything."""
        changed, self.frozen = frozen != self.frozen, frozen
        for parameter in self._trained:
            parameter.requires_grad = not frozen
            if frozen:
                parameter.grad = None
        return changed


def checkpoint_layers(model: torch.nn.Module) -> None:
    """Compute each layer's activations again in the backward pass: less memory, a third more arithmetic."""
    # transformers is renaming this method.
    enable = getattr(model, "activation_checkpointing_enable", None) or cast(Any, model).gradient_checkpointing_enable
    cast(Any, enable)({"use_reentrant": False})


def attend(model: torch.nn.Module, how: str) -> None:
    """Choose the attention kernel: ``sdpa``, or ``eager``, which is quicker in bf16 on a CPU."""
    cast(Any, model).set_attn_implementation(how)
