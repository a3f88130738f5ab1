"""What the loader hands to the loop."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B clips. Where ``mask`` is False the clip is padding or could not be read, and counts for nothing.

    Attributes:
        pixel_values: float32 (B, T, C, H, W), normalised.
        labels: int64 (B,) class ids.
        mask: bool (B,).
        videos: The B files, for messages.
        failures: (file, reason) of each clip that could not be read.
    """

    pixel_values: Tensor
    labels: Tensor
    mask: Tensor
    videos: tuple[str, ...]
    failures: tuple[tuple[str, str], ...] = field(default=())

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in ("pixel_values", "labels", "mask")}
        return replace(self, **moved)

    def pin_memory(self) -> "Batch":
        """The same batch in pinned memory (called by torch's DataLoader)."""
        pinned = {name: getattr(self, name).pin_memory() for name in ("pixel_values", "labels", "mask")}
        return replace(self, **pinned)
