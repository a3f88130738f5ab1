"""Finds out by trying what a device can do: the largest micro-batch that fits, and whether a model compiles for it."""

import torch
import torch.distributed as dist
from rich.console import Console

from lscht_ray.errors import InputError
from lscht_ray.training import _torch_internals
from lscht_ray.training.device import Precision, autocast, out_of_memory
from lscht_ray.training.metrics import rank_and_world

LARGEST = 256
"""Clips of the largest micro-batch that is tried: a GPU is busy with fewer."""
ON_CPU = 8
"""Clips at a time on a CPU, whose memory says nothing about what is quick on it."""


def trial_step(network: torch.nn.Module, device: torch.device, precision: Precision, shape: tuple[int, ...]) -> None:
    """Run forward and backward over black clips of a shape (B, T, C, H, W). No weight and no random state changes."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        pixel_values = torch.zeros(shape, device=device)
        with autocast(device, precision):
            logits = network(pixel_values=pixel_values).logits
        logits.float().sum().backward()
        network.zero_grad(set_to_none=True)


def largest_batch(
    network: torch.nn.Module, device: torch.device, precision: Precision, num_frames: int, image_size: int
) -> int:
    """The largest power of two of clips that goes through forward and backward on every worker.

    A sixth of the GPU is left free for the optimizer's state, batches to come and fragmentation.

    Raises:
        InputError: Not one clip fits.
    """
    if device.type != "cuda":
        return ON_CPU
    network.train()
    kept = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters()) * 3
    fits, size = 0, 1
    while size <= LARGEST and _fits(network, device, precision, (size, num_frames, 3, image_size, image_size), kept):
        fits, size = size, 2 * size
    if rank_and_world()[1] > 1:
        least = torch.tensor(fits, device=device)
        dist.all_reduce(least, dist.ReduceOp.MIN)
        fits = int(least)
    if not fits:
        raise InputError("batch_size auto: not one clip fits on the GPU; try --gradient_checkpointing true")
    return fits


def _fits(
    network: torch.nn.Module, device: torch.device, precision: Precision, shape: tuple[int, ...], kept: int
) -> bool:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    free, total = torch.cuda.mem_get_info(device)
    before = torch.cuda.memory_allocated(device)
    try:
        trial_step(network, device, precision, shape)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        network.zero_grad(set_to_none=True)
        return False
    return torch.cuda.max_memory_allocated(device) - before + kept < free - total / 6


def compiled(
    network: torch.nn.Module,
    device: torch.device,
    precision: Precision,
    batch_size: int,
    num_frames: int,
    image_size: int,
    screen: Console,
) -> bool:
    """Compile the model in place and try it.

    Where that fails, a warning says so and the model is as it was before.

    Returns:
        Whether it is compiled.
    """
    network.compile(dynamic=False)
    shape = (batch_size, num_frames, 3, image_size, image_size)
    try:
        trial_step(network.train(), device, precision, shape)
        with torch.inference_mode(), autocast(device, precision):
            network.eval()(pixel_values=torch.zeros(shape, device=device))
    except Exception as error:  # whatever a compiler says
        _torch_internals.forget_compilation(network)
        network.zero_grad(set_to_none=True)
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        screen.print(f"warning: torch.compile does not work here, going on without it: {reason[:300]}")
        return False
    return True
