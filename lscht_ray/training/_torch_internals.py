"""Where training touches what torch does not promise to keep; tests/test_internals.py checks each reach.

Read in torch 2.15.0.
"""

import weakref
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


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


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Counts the bytes of the tensors that operations make within it, for as long as they live.

    https://github.com/pytorch/pytorch/blob/v2.14.0/torch/utils/_python_dispatch.py (``TorchDispatchMode``)

    Attributes:
        now: Bytes that live.
        history: Bytes that lived after each operation.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types for it
        self.now = 0
        self.history: list[int] = []
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = {_storage(value) for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)}
        made = func(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, torch.Tensor) and _storage(value) not in given | self._known:
                self._follow(value.untyped_storage())
        self.history.append(self.now)
        return made

    def _follow(self, storage: torch.UntypedStorage) -> None:
        place, size = storage._cdata, storage.nbytes()
        self._known.add(place)
        self.now += size
        weakref.finalize(storage, self._forget, place, size)

    def _forget(self, place: int, size: int) -> None:
        self._known.discard(place)
        self.now -= size


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
