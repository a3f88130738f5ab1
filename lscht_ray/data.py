"""Dataset, samplers and loaders: from annotations to batches."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lscht_ray.annotations import Sample
from lscht_ray.batch import Batch
from lscht_ray.decode import UnreadableVideoError, decode
from lscht_ray.frames import evaluation_indices, training_indices
from lscht_ray.transforms import EvaluationTransform, TrainingTransform

Position = tuple[int, int]
"""Epoch and index of a sample; an index of -1 is padding."""

PADDING = -1


class ClipDataset(Dataset[Batch]):
    """Clips by (epoch, index).

    What is random about a clip comes from (seed, epoch, index) alone, so that neither the number of data workers nor
    the order of reading changes it. A video that can't be read becomes a masked clip of zeros that names it: it is
    never replaced by another.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        transform: TrainingTransform | EvaluationTransform,
        num_frames: int,
        decoder: Literal["auto", "pyav", "decord"],
        seed: int,
    ) -> None:
        self.samples = tuple(samples)
        self.transform = transform
        self.num_frames = num_frames
        self.decoder = decoder
        self.seed = seed

    def __len__(self) -> int:
        return len(self.samples)

    def get_labels(self) -> list[int]:
        """The label of every sample, in order; no video is opened."""
        return [sample.label for sample in self.samples]

    def __getitem__(self, position: Position) -> Batch:
        """One clip as a batch of one."""
        epoch, index = position
        if index == PADDING:
            return self._masked("", 0)
        sample = self.samples[index]
        try:
            clip = self._clip(sample, epoch, index)
        except UnreadableVideoError as error:
            return self._masked(str(sample.video), sample.label, ((error.path, error.reason),))
        return _single(clip, sample.label, True, str(sample.video))

    def _clip(self, sample: Sample, epoch: int, index: int) -> Tensor:
        training = isinstance(self.transform, TrainingTransform)
        rng = np.random.default_rng((self.seed, epoch, index))

        def choose(available: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
            if training:
                return training_indices(available, self.num_frames, rng)
            return evaluation_indices(available, self.num_frames)

        short_side = self.transform.form.decoded_short_side
        frames = decode(sample.video, choose, short_side=short_side, decoder=self.decoder)
        return self.transform(torch.from_numpy(frames), int(rng.integers(2**62)))

    def _masked(self, video: str, label: int, failures: tuple[tuple[str, str], ...] = ()) -> Batch:
        size = self.transform.form.image_size
        return _single(torch.zeros(self.num_frames, 3, size, size), label, False, video, failures)


def _single(clip: Tensor, label: int, valid: bool, video: str, failures: tuple[tuple[str, str], ...] = ()) -> Batch:
    return Batch(clip[None], torch.tensor([label]), torch.tensor([valid]), (video,), failures)


def collate(clips: list[Batch]) -> Batch:
    """One batch of the batches of one."""
    return Batch(
        torch.cat([clip.pixel_values for clip in clips]),
        torch.cat([clip.labels for clip in clips]),
        torch.cat([clip.mask for clip in clips]),
        tuple(video for clip in clips for video in clip.videos),
        tuple(failure for clip in clips for failure in clip.failures),
    )


class EpochSampler(Sampler[Position]):
    """The positions of one epoch for one of ``world`` workers: each sample once over all workers.

    Shuffled, the order depends on (seed, epoch) alone. In training every worker gets equally many positions, the
    last ones being padding where the samples don't divide evenly; in evaluation there is no padding.
    """

    def __init__(self, length: int, *, shuffle: bool, seed: int, rank: int = 0, world: int = 1) -> None:
        self.length, self.shuffle, self.seed = length, shuffle, seed
        self.rank, self.world = rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose positions come next."""
        self.epoch = epoch

    def _indices(self) -> list[int]:
        if not self.shuffle:
            return list(range(self.length))[self.rank :: self.world]
        order: list[int] = np.random.default_rng((self.seed, self.epoch)).permutation(self.length).tolist()
        padded = order + [PADDING] * (-self.length % self.world)
        return padded[self.rank :: self.world]

    def __iter__(self) -> Iterator[Position]:
        return iter([(self.epoch, index) for index in self._indices()])

    def __len__(self) -> int:
        return len(self._indices())


def build_loader(
    dataset: ClipDataset,
    *,
    batch_size: int,
    num_workers: int,
    shuffle: bool,
    pin_memory: bool,
    rank: int = 0,
    world: int = 1,
) -> DataLoader[Batch]:
    """Batches of clips; the sampler's ``set_epoch`` must be called before each training epoch."""
    sampler = EpochSampler(len(dataset), shuffle=shuffle, seed=dataset.seed, rank=rank, world=world)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
        worker_init_fn=_one_thread if num_workers else None,
    )


def _one_thread(worker: int) -> None:
    del worker
    torch.set_num_threads(1)


def describe_support(samples: Sequence[Sample], glosses: Sequence[str]) -> str:
    """One line on how unbalanced the clips are."""
    counts = Counter(sample.label for sample in samples)
    support = [counts[label] for label in range(len(glosses))]
    return f"{min(support)} to {max(support)} training clips per gloss"
