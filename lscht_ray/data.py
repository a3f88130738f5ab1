"""Dataset, samplers and loaders: from annotations to batches."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from lscht_ray.annotations import Sample
from lscht_ray.batch import Batch
from lscht_ray.decode import UnreadableVideoError, decode
from lscht_ray.errors import TrainingError
from lscht_ray.frames import Indices, Times, clip_indices
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
        sampling: Literal["frame", "time"] = "frame",
        salvage: bool = False,
    ) -> None:
        self.samples = tuple(samples)
        self.transform = transform
        self.num_frames = num_frames
        self.decoder = decoder
        self.seed = seed
        self.sampling, self.salvage = sampling, salvage
        self.under_way: Tensor | None = None
        """Shared float64 (data workers, 2): which sample each one reads (1 + index; 0: none), and since when."""

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
        self._say(index + 1)
        try:
            clip = self._clip(sample, epoch, index)
        except UnreadableVideoError as error:
            return self._masked(str(sample.video), sample.label, ((error.path, error.reason),))
        finally:
            self._say(0)
        return _single(clip, sample.label, True, str(sample.video))

    def _say(self, number: int) -> None:
        worker = get_worker_info()
        if self.under_way is not None and worker is not None:
            self.under_way[worker.id] = torch.tensor([number, time.time()], dtype=torch.float64)

    def _clip(self, sample: Sample, epoch: int, index: int) -> Tensor:
        training = isinstance(self.transform, TrainingTransform)
        rng = np.random.default_rng((self.seed, epoch, index))

        def choose(times: Times) -> Indices:
            drawn = rng if training else None
            return clip_indices(times, self.num_frames, span=sample.span, sampling=self.sampling, rng=drawn)

        frames = decode(
            sample.video,
            choose,
            short_side=self.transform.form.decoded_short_side,
            decoder=self.decoder if sample.decord else "pyav",
            box=sample.box,
            salvage=self.salvage,
        )
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
    batch_seconds: float = 300.0,
) -> DataLoader[Batch]:
    """Batches of clips; the sampler's ``set_epoch`` must be called before each training epoch.

    A batch that data workers don't deliver within ``batch_seconds`` ends the iteration with a TrainingError that names
    the videos they were reading.
    """
    sampler = EpochSampler(len(dataset), shuffle=shuffle, seed=dataset.seed, rank=rank, world=world)
    if num_workers:
        dataset.under_way = torch.zeros(num_workers, 2, dtype=torch.float64).share_memory_()  # type: ignore[no-untyped-call]
    return ClipLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
        worker_init_fn=_one_thread if num_workers else None,
        timeout=batch_seconds if num_workers else 0,
    )


class ClipLoader(DataLoader[Batch]):
    """A DataLoader that, where a data worker hangs or dies, says which video it was reading."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """The batches of an epoch.

        Raises:
            TrainingError: A data worker hangs or died.
        """
        try:
            yield from super().__iter__()
        except RuntimeError as error:
            if not any(sign in str(error) for sign in ("timed out after", "exited unexpectedly", "killed by signal")):
                raise
            raise TrainingError(f"{self._culprits()}\n  {str(error).splitlines()[0]}") from None

    def _culprits(self) -> str:
        dataset = self.dataset
        assert isinstance(dataset, ClipDataset) and dataset.under_way is not None
        reading = [(since, int(number) - 1) for number, since in dataset.under_way.tolist() if number]
        if not reading:
            return "the data workers deliver nothing, and read no video"
        lines = [f"{dataset.samples[index].video}  ({time.time() - since:.0f} s)" for since, index in sorted(reading)]
        return "a data worker hangs or died; they were reading, the longest first:\n  " + "\n  ".join(lines)


def _one_thread(worker: int) -> None:
    del worker
    torch.set_num_threads(1)


def describe_support(samples: Sequence[Sample], glosses: Sequence[str]) -> str:
    """One line on how unbalanced the clips are."""
    counts = Counter(sample.label for sample in samples)
    support = [counts[label] for label in range(len(glosses))]
    return f"{min(support)} to {max(support)} training clips per gloss"
