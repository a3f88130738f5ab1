"""The batch that a loader hands to the loop, and what a loader is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

TENSORS = ("frames", "sizes", "draws", "labels", "mask")


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device, without waiting for a GPU."""
    if device.type != "cuda" or values.device.type == "cuda":
        return values.to(device)
    return (values if values.is_pinned() else values.pin_memory()).to(device, non_blocking=True)


@dataclass(frozen=True)
class Batch:
    """B clips as decoded.

    Attributes:
        frames: uint8 (B, T, N), each frame packed (`transforms.ClipFormat`). Bytes beyond a smaller frame mean nothing.
        sizes: int64 (B, 2), height and width of each clip's pictures in pixels.
        draws: float32 (B, D), the random choices of each clip (`transforms.Draw`).
        labels: int64 (B,), class ids.
        mask: bool (B,). A clip where it is False is padding or could not be read, and counts for nothing.
        videos: The B files, for messages; "" for padding.
        failures: File and reason of each clip that could not be read.
    """

    frames: Tensor
    sizes: Tensor
    draws: Tensor
    labels: Tensor
    mask: Tensor
    videos: tuple[str, ...]
    failures: tuple[tuple[str, str], ...] = field(default=())

    def to(self, device: torch.device) -> "Batch":
        """The same batch with frames, labels and mask on a device. Sizes and draws stay on the CPU."""
        return replace(
            self, frames=sent(self.frames, device), labels=sent(self.labels, device), mask=sent(self.mask, device)
        )

    def split(self, size: int) -> list["Batch"]:
        """The same clips in batches of at most ``size``, which share its memory."""
        parts = []
        for start in range(0, len(self.videos), size):
            rows = slice(start, start + size)
            tensors: dict[str, Any] = {name: getattr(self, name)[rows] for name in TENSORS}
            parts.append(replace(self, **tensors, videos=self.videos[rows]))
        return parts

    def padded(self, size: int) -> "Batch":
        """The same batch filled up to ``size`` clips with masked clips of 2 x 2 black pixels."""
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
        """The same batch in pinned memory. torch's DataLoader calls this."""
        return replace(self, **{name: getattr(self, name).pin_memory() for name in TENSORS})


def gathered(frames: Tensor, clips: Sequence[Batch]) -> Batch:
    """One batch of these frames, with everything else from the single clips."""
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
    """Join batches into one; smaller frames are padded with zeros."""
    most = max(clip.frames.shape[2] for clip in clips)
    frames = torch.zeros(sum(len(clip.frames) for clip in clips), clips[0].frames.shape[1], most, dtype=torch.uint8)
    row = 0
    for clip in clips:
        frames[row : row + len(clip.frames), :, : clip.frames.shape[2]] = clip.frames
        row += len(clip.frames)
    return gathered(frames, clips)


class Loader(Protocol):
    """What the loop iterates over.

    Attributes:
        sampler: Its ``set_epoch`` must be called before each training epoch.
        dataset: Its ``reading()`` names the videos that are being read.
    """

    sampler: Any
    dataset: Any

    @property
    def batch_size(self) -> int | None:
        """Clips a batch."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """The batches of an epoch. A batch is valid until the next one is asked for."""
        ...

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        ...
