"""One optimizer step: the gradient of a worker's batch, micro-batch by micro-batch, and its use.

Nothing here waits for a GPU: figures stay on the device until the log looks at them.

Legend: B clips, T frames, C colours, K glosses.
"""

import math
from contextlib import nullcontext
from typing import Any, NamedTuple, cast

import torch
from rich.console import Console
from torch import Tensor

from lscht_ray.clips.batch import Batch
from lscht_ray.errors import OutOfMemoryError, TrainingError
from lscht_ray.model.loss import class_similarity
from lscht_ray.training import device
from lscht_ray.training.metrics import all_reduced, rank_and_world
from lscht_ray.training.parts import MicroBatches, Training


class Outcome(NamedTuple):
    """What the model said of a micro-batch: logits (B, K), labels (B,), mask (B,), the loss's sum and its weight."""

    logits: Tensor
    labels: Tensor
    mask: Tensor
    loss_sum: Tensor
    weight: Tensor

    def counting(self, finite: Tensor) -> "Outcome":
        """The same where ``finite`` () is true; else one that counts for nothing."""
        sums = (torch.where(finite, value, torch.zeros_like(value)) for value in (self.loss_sum, self.weight))
        return Outcome(self.logits, self.labels, self.mask & finite, *sums)


def gradients(parts: Training, batch: Batch, step: int, console: Console) -> list[Outcome]:
    """Leave the gradient of the sum of a batch's losses where torch keeps it.

    Out of memory, it is tried again with micro-batches half as large.

    Args:
        parts: The run.
        batch: This worker's share of the step, on the CPU.
        step: Of the run, from 0.
        console: Where a smaller micro-batch is said.

    Returns:
        What the model said of each micro-batch.

    Raises:
        TrainingError: There is no memory for a single clip.
        OutOfMemoryError: One of several workers has no memory for as many clips; it can't try again alone.
    """
    drawing = device.random_state(parts.device)
    while True:
        parts.optimizer.zero_grad(set_to_none=True)
        try:
            return _pass(parts, batch, step)
        except (RuntimeError, MemoryError) as error:
            if not device.out_of_memory(error):
                raise
            _give_up_or_halve(parts.micro, error)
        device.set_random_state(parts.device, drawing)  # as where it had been as many clips from the start
        if parts.device.type == "cuda":
            torch.cuda.empty_cache()
        console.print(f"step {step + 1}: out of memory; now {parts.micro.size} clips at a time, the global batch stays")


def _give_up_or_halve(micro: MicroBatches, error: BaseException) -> None:
    first = str(error).splitlines()[0]
    if micro.size == 1:
        raise TrainingError(f"out of memory with a single clip: {first}\n  try gradient_checkpointing") from None
    if rank_and_world()[1] > 1:  # the others wait within this step: all must start again
        raise OutOfMemoryError(f"out of memory with {micro.size} clips at a time: {first}", micro.size)
    micro.halve()


def _pass(parts: Training, batch: Batch, step: int) -> list[Outcome]:
    chunks = batch.split(parts.micro.size)
    outcomes = []
    for number, chunk in enumerate(chunks):
        last = number == len(chunks) - 1
        with nullcontext() if last else parts.no_sync():
            outcome = _forward(parts, chunk, (step << 12) + number)
            torch.autograd.backward(parts.scaler.scale(outcome.loss_sum))
        outcomes.append(Outcome(*(value.detach() for value in outcome)))
    return outcomes


def _forward(parts: Training, chunk: Batch, number: int) -> Outcome:
    full = chunk.padded(parts.micro.size) if parts.fixed_shape else chunk
    moved = full.to(parts.device)
    rank, world = rank_and_world()
    pixel_values, targets = parts.mixer(parts.augment(moved), moved.labels, full.mask, number * world + rank)
    with parts.autocast():
        logits = parts.model(pixel_values=pixel_values).logits.float()  # (B, T, C, H, W) -> (B, K)
    similarity = None
    if parts.temperature is not None:
        similarity = class_similarity(cast(Any, parts.network).classifier.weight, parts.temperature)
    return Outcome(logits, moved.labels, moved.mask, *parts.criterion(logits, targets, moved.mask, similarity))


def apply(parts: Training, found: list[Outcome]) -> tuple[Tensor, Tensor]:
    """Divide the gradient by the weight of all clips of all workers, clip it, and update unless it is not finite.

    Args:
        parts: The run.
        found: What `gradients` returned.

    Returns:
        Over all workers: loss, accuracy and norm of the gradient, (3,); and whether all was finite, (): if not, no
        weight was changed.
    """
    right = [((one.logits.argmax(dim=1) == one.labels) & one.mask).sum() for one in found]
    own = [(one.loss_sum, one.weight, hits, one.mask.sum()) for one, hits in zip(found, right, strict=True)]
    sums = all_reduced(torch.stack([torch.stack([value.float() for value in values]) for values in own]).sum(dim=0))
    loss, weight, hits, count = sums.unbind()
    # DistributedDataParallel averages gradients over workers; times their number it is the sum, and the sum over all
    # clips divided by the weight of all clips is what one worker with the whole batch would compute.
    factor = rank_and_world()[1] / weight.clamp(min=1e-12)
    parts.scaler.unscale_(parts.optimizer)
    trained = [p for group in parts.optimizer.param_groups for p in group["params"] if p.grad is not None]
    cast(Any, torch)._foreach_mul_([parameter.grad for parameter in trained], factor)
    norm = torch.nn.utils.clip_grad_norm_(trained, parts.gradient_clip or math.inf)
    finite = torch.isfinite(loss)
    if not parts.scaler.is_enabled():  # which meets gradients beyond fp16 now and then, and sees to them itself
        finite = finite & torch.isfinite(norm)
    _step(parts, finite)
    return torch.stack([loss / weight.clamp(min=1e-12), hits / count.clamp(min=1), norm.float()]), finite


def _step(parts: Training, finite: Tensor) -> None:
    if parts.scaler.is_enabled():
        parts.scaler.step(parts.optimizer)
        parts.scaler.update()
    elif parts.device.type != "cuda":
        if bool(finite):
            parts.optimizer.step()
    else:
        # The fused kernel reads on the device whether to leave the weights alone, as torch's GradScaler has it do.
        cast(Any, parts.optimizer).found_inf = (~finite).float()
        parts.optimizer.step()
