"""What the loader hands to the loop."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

TENSORS = ("frames", "sizes", "draws", "labels", "mask")


def sent(values: Tensor, device: torch.device) -> Tensor:
    """A tensor to a device, without waiting for a GPU."""
    if device.type != "cuda" or values.device.type == "cuda":
        return values.to(device)
    return (values if values.is_pinned() else values.pin_memory()).to(device, non_blocking=True)


@dataclass(frozen=True)
class Batch:
    """B clips as decoded. Where ``mask`` is False the clip is padding or could not be read, and counts for nothing.

    Attributes:
        frames: uint8 (B, T, N), each frame packed (`transforms.ClipFormat`); smaller ones leave bytes over.
        sizes: int64 (B, 2): height and width of each clip's pictures.
        draws: float32 (B, D): the random choices of each clip (`transforms.Draw`).
        labels: int64 (B,) class ids.
        mask: bool (B,).
        videos: The B files, for messages.
        failures: (file, reason) of each clip that could not be read.
    """

    frames: Tensor
    sizes: Tensor
    draws: Tensor
    labels: Tensor
    mask: Tensor
    videos: tuple[str, ...]
    failures: tuple[tuple[str, str], ...] = field(default=())

    def to(self, device: torch.device) -> "Batch":
        """The same batch with its pictures, labels and mask on a device; sizes and draws stay where they are read."""
        return replace(
            self, frames=sent(self.frames, device), labels=sent(self.labels, device), mask=sent(self.mask, device)
        )

    def split(self, size: int) -> list["Batch"]:
        """The same clips in batches of at most so many; they share its memory."""
        parts = []
        for start in range(0, len(self.videos), size):
            rows = slice(start, start + size)
            tensors: dict[str, Any] = {name: getattr(self, name)[rows] for name in TENSORS}
            parts.append(replace(self, **tensors, videos=self.videos[rows]))
        return parts

    def padded(self, size: int) -> "Batch":
        """The same batch filled up to so many clips with masked ones of 2 x 2 black pixels."""
        more = size - len(self.videos)
        if more <= 0:
            return self
        tensors: dict[str, Any] = {
            name: torch.cat([value := getattr(self, name), value.new_zeros(more, *value.shape[1:])]) for name in TENSORS
        }
        tensors["sizes"][-more:] = 2
        tensors["draws"][-more:] = self.draws[:1]
        tensors["draws"][-more:, :4] = torch.tensor([0.0, 0.0, 2.0, 2.0])
        return replace(self, **tensors, videos=self.videos + ("",) * more)

    def pin_memory(self) -> "Batch":
        """The same batch in pinned memory (called by torch's DataLoader)."""
        return replace(self, **{name: getattr(self, name).pin_memory() for name in TENSORS})


def gathered(frames: Tensor, clips: Sequence[Batch]) -> Batch:
    """One batch of these frames, with all else from the single clips."""
    return Batch(
        frames,
        torch.cat([clip.sizes for clip in clips]),
        torch.cat([clip.draws for clip in clips]),
        torch.cat([clip.labels for clip in clips]),
        torch.cat([clip.mask for clip in clips]),
        tuple(video for clip in clips for video in clip.videos),
        tuple(failure for clip in clips for failure in clip.failures),
    )


def joined(clips: list[Batch]) -> Batch:
    """One batch of several."""
    most = max(clip.frames.shape[2] for clip in clips)
    frames = torch.zeros(sum(len(clip.frames) for clip in clips), clips[0].frames.shape[1], most, dtype=torch.uint8)
    row = 0
    for clip in clips:
        frames[row : row + len(clip.frames), :, : clip.frames.shape[2]] = clip.frames
        row += len(clip.frames)
    return gathered(frames, clips)


class Loader(Protocol):
    """What the loop iterates over; ``sampler.set_epoch`` must be called before each training epoch.

    ``dataset.reading()`` says which videos are being read.
    """

    sampler: Any
    dataset: Any

    @property
    def batch_size(self) -> int | None:
        """Clips a batch."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """The batches of an epoch. One is valid until the next is asked for."""
        ...

    def __len__(self) -> int:
        """How many."""
        ...
