"""An exponential moving average of the weights."""

import copy
from typing import Any, cast

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Ema:
    """Follows a network's weights: average += (1 - d) x (weights - average), with d = min(decay, (1 + s) / (10 + s)).

    s counts the optimizer steps before, so that a short run does not average its random beginning in (as TensorFlow's
    ExponentialMovingAverage does with num_updates). Frozen weights are copied once. torch's AveragedModel averages them
    and copies every buffer at each step, and takes the first step's weights unaveraged.

    Attributes:
        network: A copy of the network with the averaged weights, for inference.
    """

    def __init__(self, network: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        weights = dict(network.named_parameters())
        trained = [name for name, weight in weights.items() if weight.requires_grad]
        self._averages = [self.network.get_parameter(name) for name in trained]
        self._weights: list[torch.Tensor] = [weights[name] for name in trained]

    @torch.no_grad()
    def update(self, steps_before: int) -> None:
        """Take in the weights after an optimizer step; ``steps_before`` counts the steps before it."""
        decay = min(self.decay, (1 + steps_before) / (10 + steps_before))
        average = cast(Any, get_ema_multi_avg_fn)(decay)  # torch leaves it untyped
        average(self._averages, self._weights, steps_before)
