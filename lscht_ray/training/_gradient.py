"""One optimizer step: the gradient of a worker's batch, micro-batch by micro-batch, and the update that it makes.

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
from lscht_ray.errors import OutOfMemoryError, UnfitSettingsError
from lscht_ray.model.loss import class_similarity
from lscht_ray.shown import counted
from lscht_ray.training import _torch_internals, device
from lscht_ray.training.metrics import all_reduced, rank_and_world
from lscht_ray.training.parts import Parts
from lscht_ray.training.state import MicroBatches, TrainState


class Outcome(NamedTuple):
    """What the model said of a micro-batch.

    Attributes:
        logits: (B, K).
        labels: (B,) class ids; of a mixed clip that with the larger share.
        mask: (B,) bool; clips where it is False count for nothing.
        loss_sum: () the weighted sum of the clips' losses.
        weight: () the weight that it is to be divided by.
    """

    logits: Tensor
    labels: Tensor
    mask: Tensor
    loss_sum: Tensor
    weight: Tensor

    def counting(self, finite: Tensor) -> "Outcome":
        """The same where ``finite`` () is true; else one that counts for nothing."""
        sums = (torch.where(finite, value, torch.zeros_like(value)) for value in (self.loss_sum, self.weight))
        return Outcome(self.logits, self.labels, self.mask & finite, *sums)


def gradients(parts: Parts, state: TrainState, batch: Batch, step: int, console: Console) -> list[Outcome]:
    """Accumulate the gradient of the batch's summed loss in ``.grad``.

    Out of memory, it is tried again with micro-batches half as large.

    Args:
        parts: What is trained with.
        state: What is trained.
        batch: This worker's share of the step, on the CPU.
        step: Of the run, from 0.
        console: Told of a smaller micro-batch.

    Returns:
        What the model said of each micro-batch.

    Raises:
        UnfitSettingsError: There is no memory for a single clip.
        OutOfMemoryError: One of several workers has no memory for as many clips; it can't try again alone.
    """
    generators = device.random_state(parts.device)
    while True:
        state.optimizer.zero_grad(set_to_none=True)
        try:
            return _forward_and_backward(parts, state, batch, step)
        except (RuntimeError, MemoryError) as error:
            if not device.out_of_memory(error):
                raise
            _halve_or_give_up(state.micro, error)
        device.set_random_state(parts.device, generators)  # as if it had been as many clips from the start
        if parts.device.type == "cuda":
            torch.cuda.empty_cache()
        console.print(
            f"step {step + 1}: out of memory; now {counted(state.micro.size, 'clip')} at a time, the global batch stays"
        )


def _halve_or_give_up(micro: MicroBatches, error: BaseException) -> None:
    first = str(error).splitlines()[0]
    if micro.size == 1:
        raise UnfitSettingsError(f"out of memory with a single clip: {first}\n  try gradient_checkpointing") from None
    if rank_and_world()[1] > 1:  # the others wait within this step: all must start again
        raise OutOfMemoryError(f"out of memory with {counted(micro.size, 'clip')} at a time: {first}", micro.size)
    micro.halve()


def _forward_and_backward(parts: Parts, state: TrainState, batch: Batch, step: int) -> list[Outcome]:
    chunks = batch.split(state.micro.size)
    outcomes = []
    for number, chunk in enumerate(chunks):
        last = number == len(chunks) - 1
        with nullcontext() if last else state.no_sync():
            outcome = _forward(parts, state, chunk, (step << 12) + number)
            torch.autograd.backward(state.scaler.scale(outcome.loss_sum))
        outcomes.append(Outcome(*(value.detach() for value in outcome)))
    return outcomes


def _forward(parts: Parts, state: TrainState, chunk: Batch, number: int) -> Outcome:
    full = chunk.padded(state.micro.size) if parts.fixed_shape else chunk
    moved = full.to(parts.device)
    rank, world = rank_and_world()
    pixel_values, targets = parts.mixer(parts.augment(moved), moved.labels, full.mask, number * world + rank)
    with parts.autocast():
        logits = state.model(pixel_values=pixel_values).logits.float()  # (B, T, C, H, W) -> (B, K)
    similarity = None
    if parts.temperature is not None:
        similarity = class_similarity(cast(Any, state.network).classifier.weight, parts.temperature)
    losses = parts.criterion(logits, targets, moved.mask, similarity)
    return Outcome(logits, targets.argmax(dim=1), moved.mask, *losses)


def apply(parts: Parts, state: TrainState, outcomes: list[Outcome]) -> tuple[Tensor, Tensor]:
    """Divide the gradient by the weight of all clips of all workers, clip it, and update unless it is not finite.

    Args:
        parts: What is trained with.
        state: What is trained.
        outcomes: What `gradients` returned.

    Returns:
        Over all workers: loss, accuracy and norm of the gradient, (3,); and whether all was finite, (): if not, no
        weight was changed.
    """
    loss, weight, hits, count = _sums(outcomes).unbind()
    # DistributedDataParallel averages gradients over workers; times their number it is the sum, and the sum over all
    # clips divided by the weight of all clips is what one worker with the whole batch would compute.
    factor = rank_and_world()[1] / weight.clamp(min=1e-12)
    state.scaler.unscale_(state.optimizer)
    trained = [p for group in state.optimizer.param_groups for p in group["params"] if p.grad is not None]
    _torch_internals.multiply([parameter.grad for parameter in trained], factor)
    norm = torch.nn.utils.clip_grad_norm_(trained, parts.gradient_clip or math.inf)
    finite = torch.isfinite(loss)
    if not state.scaler.is_enabled():  # which meets gradients beyond fp16 now and then, and handles them itself
        finite = finite & torch.isfinite(norm)
    _update(parts, state, finite)
    return torch.stack([loss / weight.clamp(min=1e-12), hits / count.clamp(min=1), norm.float()]), finite


def _sums(outcomes: list[Outcome]) -> Tensor:
    """Over all workers (4,): loss, weight, right answers and clips."""
    rows = []
    for outcome in outcomes:
        hits = ((outcome.logits.argmax(dim=1) == outcome.labels) & outcome.mask).sum()
        values = (outcome.loss_sum, outcome.weight, hits, outcome.mask.sum())
        rows.append(torch.stack([value.float() for value in values]))
    return all_reduced(torch.stack(rows).sum(dim=0))


def _update(parts: Parts, state: TrainState, finite: Tensor) -> None:
    if state.scaler.is_enabled():
        state.scaler.step(state.optimizer)
        state.scaler.update()
    elif parts.device.type == "cuda":
        _torch_internals.step_unless(state.optimizer, ~finite)
    elif bool(finite):
        state.optimizer.step()
