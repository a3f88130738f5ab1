"""Metrics as sums and counts over clips, added over all workers and divided once."""

import torch
import torch.distributed as dist
from torch import Tensor

from lscht_ray.artifacts.figures import TOP5


def rank_and_world() -> tuple[int, int]:
    """This worker's rank and the number of workers; 0 and 1 outside a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def all_reduced(values: Tensor) -> Tensor:
    """The sum over all workers; the values themselves where there is one."""
    if rank_and_world()[1] > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def of_first_rank(value: bool, device: torch.device) -> bool:
    """The first worker's value on every worker, so that all decide alike."""
    if rank_and_world()[1] == 1:
        return value
    said = torch.tensor([value], dtype=torch.int32, device=device)
    dist.broadcast(said, src=0)
    return bool(said)


BINS = 15
"""Bins of the calibration error."""


class Tally:
    """Counts right answers and sums losses on the device, clip by clip.

    Attributes:
        confusion: float64 (K, K), rows the true class, columns the predicted one.
        sums: float64 (4,): criterion sum, criterion weight, plain cross-entropy sum, clips right within the first five.
        bins: float64 (15, 3): by the probability of the answer, its clips, the sum of that probability, right answers.
    """

    def __init__(self, num_classes: int, device: torch.device | str = "cpu") -> None:
        # MPS has no float64; float32 counts exactly up to 2^24 clips.
        dtype = torch.float32 if torch.device(device).type == "mps" else torch.float64
        self.num_classes = num_classes
        self.confusion = torch.zeros(num_classes, num_classes, dtype=dtype, device=device)
        self.sums = torch.zeros(4, dtype=dtype, device=device)
        self.bins = torch.zeros(BINS, 3, dtype=dtype, device=device)

    def state(self) -> dict[str, Tensor]:
        """What was counted by this worker so far, on the CPU."""
        return {"confusion": self.confusion.cpu(), "sums": self.sums.cpu(), "bins": self.bins.cpu()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Add what was counted before."""
        self.confusion += state["confusion"].to(self.confusion)
        self.sums += state["sums"].to(self.sums)
        self.bins += state["bins"].to(self.bins)

    @torch.no_grad()
    def add(self, logits: Tensor, labels: Tensor, mask: Tensor, loss_sum: Tensor, loss_weight: Tensor) -> None:
        """Count a batch.

        Args:
            logits: (B, K).
            labels: (B,) integer class ids.
            mask: (B,) bool; clips where it is False count for nothing.
            loss_sum: The criterion's sum over the batch.
            loss_weight: The weight that sum is divided by.
        """
        # Masked clips weigh nothing; picking the others out would have a GPU wait for their number.
        logits, counts = logits.float(), mask.to(self.confusion.dtype)
        sure, said = logits.softmax(dim=1).max(dim=1)
        cells = labels * self.num_classes + said
        rows = torch.stack([counts, counts * sure.nan_to_num(), counts * (said == labels)], dim=1).to(self.bins)
        self.bins.index_add_(0, (sure.nan_to_num() * BINS).long().clamp(max=BINS - 1), rows)
        self.confusion.view(-1).index_add_(0, cells, counts)
        plain = torch.nn.functional.cross_entropy(logits, labels, reduction="none").masked_fill(~mask, 0.0).sum()
        top5 = logits.topk(min(TOP5, self.num_classes), dim=1).indices
        within = ((top5 == labels[:, None]).any(dim=1) & mask).sum()
        self.sums += torch.stack([loss_sum, loss_weight, plain, within]).to(self.sums)

    def result(self) -> dict[str, float]:
        """The figures over all clips of all workers; every one is a finite float where at least one clip counted.

        Keys: ``count``; ``accuracy`` (top-1), ``top5_accuracy`` (of more than 5 glosses only): share of all clips;
        ``mean_class_accuracy``: mean of the accuracies of the classes that occur; ``loss``: plain cross-entropy;
        ``criterion``: the training criterion; ``calibration_error``: the expected one over 15 bins, sum of
        n_b / n |accuracy_b - probability_b| (Guo et al. 2017, arXiv 1706.04599). To judge the accuracies by
        (`figures.accuracy`): ``chance``: 1 / K; ``commonest``: share of the class with the most clips;
        ``mean_class_clips``: of a plain share that is as sure as the mean over classes.
        """
        flat = all_reduced(torch.cat([self.confusion.flatten(), self.bins.flatten(), self.sums])).cpu()
        confusion, bins, sums = flat[: self.confusion.numel()], flat[self.confusion.numel() : -4], flat[-4:]
        confusion, bins = confusion.view_as(self.confusion), bins.view(BINS, 3)
        support, right = confusion.sum(dim=1), confusion.diag()
        count, occurs = max(float(support.sum()), 1.0), support > 0
        recalls = right[occurs] / support[occurs]
        top5 = {"top5_accuracy": float(sums[3]) / count} if self.num_classes > TOP5 else {}
        return {
            "count": float(support.sum()),
            "accuracy": float(right.sum()) / count,
            **top5,
            "mean_class_accuracy": float(recalls.mean()) if len(recalls) else 0.0,
            "loss": float(sums[2]) / count,
            "criterion": float(sums[0] / sums[1]) if sums[1] > 0 else 0.0,
            "calibration_error": float((bins[:, 2] - bins[:, 1]).abs().sum()) / count,
            "chance": 1 / self.num_classes,
            "commonest": float(support.max()) / count,
            "mean_class_clips": len(recalls) ** 2 / float((1 / support[occurs]).sum()) if len(recalls) else 0.0,
        }
