"""An exponential moving average of the weights."""

import copy
from typing import Any, cast

import torch


class Ema:
    """Follows a network's weights: average += (1 - d) x (weights - average), with d = min(decay, (1 + s) / (10 + s)).

    s counts the optimizer steps before, so that a short run does not average its random beginning in (as TensorFlow's
    ExponentialMovingAverage does with num_updates). What is not trained is copied once.
    """

    def __init__(self, network: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        trained = dict(network.named_parameters())
        pairs = [(average, trained[name]) for name, average in self.network.named_parameters()]
        self._pairs = [(average, weight) for average, weight in pairs if weight.requires_grad]

    @torch.no_grad()
    def update(self, steps_before: int) -> None:
        """Take the weights after an optimizer step."""
        decay = min(self.decay, (1 + steps_before) / (10 + steps_before))
        averages, weights = ([pair[side] for pair in self._pairs] for side in (0, 1))
        cast(Any, torch)._foreach_lerp_(averages, weights, 1 - decay)
