"""Class weights, and the weighted, smoothed cross-entropy.

Legend: B clips, K classes, D width of a class embedding.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def class_weights(labels: Sequence[int], num_classes: int, power: float = 1.0) -> Tensor:
    """Return the weights count^-power, scaled to a mean of 1 over the classes that occur; the others' are 0.

    Args:
        labels: Integer class ids of the training clips.
        num_classes: Number of classes, K.
        power: 1: inverse frequencies, up to their scale scikit-learn's "balanced" class weights; 0: all weights are 1.

    Returns:
        float32 (K,).
    """
    if power == 0:
        return torch.ones(num_classes)
    counts = torch.bincount(torch.as_tensor(labels, dtype=torch.long), minlength=num_classes).double()
    weights = torch.where(counts > 0, counts.clamp(min=1) ** -power, 0.0)
    return (weights * (counts > 0).sum().clamp(min=1) / weights.sum().clamp(min=1e-300)).float()


def class_similarity(embeddings: Tensor, temperature: float) -> Tensor:
    """Return how the smoothed share of a class is spread over the others: more to those with similar embeddings.

    Row k is the softmax over all classes but k of their cosine similarity to k, divided by the temperature
    (language-aware label smoothing of NLA-SLR, arXiv 2303.12080, with the head's rows as class embeddings).

    Args:
        embeddings: (K, D).
        temperature: Above 0; the lower, the more goes to the nearest classes.

    Returns:
        (K, K), the rows' sums 1; without gradient.
    """
    if len(embeddings) == 1:
        return torch.ones(1, 1, device=embeddings.device)
    unit = F.normalize(embeddings.detach().float(), dim=1)
    scores = (unit @ unit.T / temperature).fill_diagonal_(-torch.inf)
    return scores.softmax(dim=1)


class Criterion(torch.nn.Module):
    """Computes the weighted cross-entropy with label smoothing, as a sum and the weight to divide it by.

    For labels, ``sum / weight`` over the same clips is ``torch.nn.functional.cross_entropy`` with ``weight`` and
    ``label_smoothing``. A clip that is a mixture of classes weighs as much as they do: with targets t, weights w, and
    s = (1 - e) t + e u, its loss is -sum(w s log p) and its weight sum(w t). Both are kept apart so that several
    workers, micro-batches and masked clips add up to the same quotient.

    Args:
        weights: float32 (K,).
        label_smoothing: e, from 0 to below 1.
    """

    weights: Tensor

    def __init__(self, weights: Tensor, label_smoothing: float) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.label_smoothing = label_smoothing

    def forward(
        self, logits: Tensor, targets: Tensor, mask: Tensor, similarity: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the loss of a micro-batch.

        Args:
            logits: (B, K).
            targets: (B,) integer class ids, or (B, K) shares of the classes.
            mask: (B,) bool; clips where it is False are left out.
            similarity: (K, K), how the smoothed share of each class is spread (`class_similarity`); None: evenly.

        Returns:
            Two scalars: the weighted sum of losses, and the sum of the clips' weights.
        """
        if targets.ndim == 1:
            targets = F.one_hot(targets, len(self.weights)).to(logits.dtype)
        spread = 1 / len(self.weights) if similarity is None else targets @ similarity
        smoothed = (1 - self.label_smoothing) * targets + self.label_smoothing * spread
        losses = F.cross_entropy(logits, smoothed, self.weights, reduction="none")
        return losses.masked_fill(~mask, 0.0).sum(), (targets @ self.weights * mask).sum()
