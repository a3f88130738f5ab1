"""Where training touches what torch does not promise to keep; tests/test_internals.py checks each reach.

Read in torch 2.15.0.
"""

from typing import Any, cast

import torch
from torch import Tensor


def multiply(tensors: list[Tensor | None], factor: Tensor) -> None:
    """Multiply all tensors by a scalar tensor in place, in a few kernels instead of one for each.

    torch has no public call for it; its optimizers use `torch._foreach_mul_`
    (https://github.com/pytorch/pytorch/blob/v2.15.0/torch/optim/adamw.py).
    """
    cast(Any, torch)._foreach_mul_(tensors, factor)


def step_unless(optimizer: torch.optim.Optimizer, bad: Tensor) -> None:
    """Have a fused optimizer on a GPU step, and leave the weights alone where ``bad`` () is true, without waiting.

    The fused kernel reads ``found_inf`` on the device, where torch's GradScaler puts it
    (https://github.com/pytorch/pytorch/blob/v2.15.0/torch/amp/grad_scaler.py).
    """
    cast(Any, optimizer).found_inf = bad.float()
    optimizer.step()


def forget_compilation(network: torch.nn.Module) -> None:
    """Undo `torch.nn.Module.compile`, for which there is no public call.

    It keeps the compiled forward in ``_compiled_call_impl``
    (https://github.com/pytorch/pytorch/blob/v2.15.0/torch/nn/modules/module.py).
    """
    cast(Any, network)._compiled_call_impl = None
