"""Mixup and cutmix: blends clips of a batch, or pastes them into each other, and their targets with them."""

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from lscht_ray.clips.batch import sent


class Mixer:
    """Mixes the clips of a micro-batch (arXiv 1710.09412, 1905.04899), with one draw for all of them.

    Args:
        mixup: Alpha of mixup's beta distribution; 0: no mixup.
        cutmix: Alpha of cutmix's beta distribution; 0: no cutmix. Where both are on, a coin decides.
        probability: Probability that a micro-batch is mixed at all.
        num_classes: K.
        seed: The draws depend on it and on the number that each call gets, and on nothing else.
    """

    def __init__(self, *, mixup: float, cutmix: float, probability: float, num_classes: int, seed: int) -> None:
        self.ways: list[v2.Transform] = []
        if mixup:
            self.ways.append(v2.MixUp(alpha=mixup, num_classes=num_classes))
        if cutmix:
            self.ways.append(v2.CutMix(alpha=cutmix, num_classes=num_classes))
        self.probability, self.num_classes, self.seed = probability, num_classes, seed

    def __call__(self, pixel_values: Tensor, labels: Tensor, mask: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Mix clips.

        Args:
            pixel_values: (B, T, C, H, W).
            labels: (B,) integer class ids, on the same device.
            mask: (B,) bool, on the CPU. A clip where it is False is left alone, and mixed into no other.
            number: Of this micro-batch in the run.

        Returns:
            The clips, and their targets (B, K).
        """
        targets = torch.nn.functional.one_hot(labels, self.num_classes).float()
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: without CUDA it keeps a stack trace of every call, for ever.
            torch.default_generator.manual_seed((self.seed * 1_000_003 + number) % 2**63)
            if not self.ways or int(mask.sum()) < 2 or torch.rand(()) >= self.probability:
                return pixel_values, targets
            way = self.ways[int(torch.randint(len(self.ways), ()))]
            # torchvision mixes neighbours, and views of one clip are neighbours: so the order is drawn.
            valid = mask.nonzero()[:, 0]
            order = sent(valid[torch.randperm(len(valid))], labels.device)
            mixed, shares = way(tv_tensors.Video(pixel_values[order]), labels[order])
            return pixel_values.index_copy(0, order, mixed.as_subclass(Tensor)), targets.index_copy(0, order, shares)
