"""Class weights and the weighted, smoothed cross-entropy."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def class_weights(labels: Sequence[int], num_classes: int) -> Tensor:
    """Inverse frequencies: 1/count per class, scaled to a mean of 1 over the classes that occur, 0 for the others.

    Args:
        labels: Integer class ids of the training clips.
        num_classes: Number of classes, K.

    Returns:
        float32 (K,). Up to their scale these are scikit-learn's "balanced" class weights.
    """
    counts = torch.bincount(torch.as_tensor(labels, dtype=torch.long), minlength=num_classes).double()
    weights = torch.where(counts > 0, 1 / counts.clamp(min=1), 0.0)
    return (weights * (counts > 0).sum().clamp(min=1) / weights.sum().clamp(min=1e-300)).float()


class Criterion(torch.nn.Module):
    """Weighted cross-entropy with label smoothing, as a sum and the weight to divide it by.

    ``sum / weight`` over the same clips is ``torch.nn.functional.cross_entropy`` with ``weight`` and
    ``label_smoothing``; kept apart so that several workers and masked clips add up to the same quotient.
    """

    weights: Tensor

    def __init__(self, weights: Tensor, label_smoothing: float) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The loss.

        Args:
            logits: (B, K).
            labels: (B,) integer class ids.
            mask: (B,) bool; clips where it is False count for nothing.

        Returns:
            Two scalars: the weighted sum of losses, and the sum of the clips' weights.
        """
        losses = F.cross_entropy(logits, labels, self.weights, reduction="none", label_smoothing=self.label_smoothing)
        return losses.masked_fill(~mask, 0.0).sum(), (self.weights[labels] * mask).sum()
