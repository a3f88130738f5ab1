"""Dataset and samplers: from annotations to clips, cached or decoded."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler, get_worker_info

from lscht_ray.clips._cache import BrokenClipError, ClipCache, Entry
from lscht_ray.clips.batch import Batch
from lscht_ray.clips.transforms import Augmentation, draw, packed_draw
from lscht_ray.dataset.annotations import Sample
from lscht_ray.video.decode import Choose, UnreadableVideoError, decode
from lscht_ray.video.frames import Indices, Times, clip_indices
from lscht_ray.video.pictures import Frames, PixelFormat, picture_size


@dataclass(frozen=True, slots=True)
class Position:
    """One clip of an epoch.

    Attributes:
        epoch: From 1.
        index: Of the sample; PADDING is none.
        view: How often the sample came in this epoch before: each time it is augmented anew.
    """

    epoch: int
    index: int
    view: int = 0


PADDING = -1
TIME_STREAM, SPACE_STREAM = 0, 1
"""A clip's random choices of frames, and those of the pictures, don't depend on each other."""


@dataclass(frozen=True)
class ClipReader:
    """How the frames of a clip are had: from the cache where it holds them, else by decoding; the same bytes both ways.

    The attributes are the arguments of `decode.decode`.
    """

    short_side: int | None
    decoder: Literal["auto", "pyav", "decord"] = "auto"
    salvage: bool = False
    pixel_format: PixelFormat = "rgb"
    cache: ClipCache | None = None

    def entry(self, sample: Sample) -> Entry | None:
        """The cached clip."""
        return self.cache.entry(sample.key) if self.cache is not None and sample.key else None

    def read(self, sample: Sample, choose: Choose) -> tuple[Frames, tuple[int, int]]:
        """The chosen frames, packed as uint8 (T, N), and the height and width of the pictures.

        Raises:
            UnreadableVideoError: The video can't be decoded.
        """
        entry = self.entry(sample)
        if entry is not None:
            indices = choose(entry.times)
            out = np.empty((len(indices), entry.frames.shape[1]), np.uint8)
            if self.take(sample, entry, indices, out):
                return out, entry.size
        frames = decode(
            sample.video,
            choose,
            short_side=self.short_side,
            decoder=self.decoder if sample.decord else "pyav",
            box=sample.box,
            salvage=self.salvage,
            pixel_format=self.pixel_format,
        )
        return frames.reshape(len(frames), -1), picture_size(frames, self.pixel_format)

    def take(self, sample: Sample, entry: Entry, indices: Indices, out: Frames) -> bool:
        """Copy frames out of the cache; False where it doesn't hold them. A broken clip is removed from it."""
        try:
            return entry.take(indices, out)
        except BrokenClipError:
            if self.cache is not None:
                self.cache.drop(sample.key)
            return False


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video make a clip; the attributes are the settings of the same names (`dataconfig`)."""

    num_frames: int
    sampling: Literal["frame", "time"] = "frame"
    boundary_shift: float = 0.0
    speed_jitter: float = 0.0


class ClipDataset(Dataset[Batch]):
    """Clips by (epoch, index).

    What is random about a clip comes from (seed, epoch, the sample itself) alone, so that neither the number of data
    workers nor the order of reading nor other samples change it. A video that can't be read becomes a masked clip that
    names it: it is never replaced by another.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        reader: ClipReader,
        sampling: Sampling,
        seed: int,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.samples = tuple(samples)
        self.reader, self.sampling, self.seed, self.augmentation = reader, sampling, seed, augmentation
        self.under_way: Tensor | None = None
        """Shared float64 (data workers, 2): which sample each one reads (1 + index; 0: none), and since when."""
        self._own: tuple[int, float] = (0, 0.0)

    def __len__(self) -> int:
        return len(self.samples)

    def get_labels(self) -> list[int]:
        """The label of every sample, in order; no video is opened."""
        return [sample.label for sample in self.samples]

    def __getitem__(self, position: Position) -> Batch:
        """One clip as a batch of one."""
        index = position.index
        if index == PADDING:
            return self.masked(None)
        sample = self.samples[index]
        self._say(index + 1)
        try:
            frames, size = self.reader.read(sample, self.chooser(position))
        except UnreadableVideoError as error:
            return self.masked(sample, ((error.path, error.reason),))
        finally:
            self._say(0)
        return _single(
            torch.from_numpy(frames), size, self.drawn(position, size), sample.label, True, str(sample.video)
        )

    def chooser(self, position: Position) -> Choose:
        """What picks the frames of a clip."""
        sample, drawing = self.samples[position.index], self.augmentation is not None
        rng = self._rng(position, TIME_STREAM) if drawing else None

        def choose(times: Times) -> Indices:
            how = self.sampling
            return clip_indices(
                times,
                how.num_frames,
                span=sample.span,
                sampling=how.sampling,
                rng=rng,
                boundary_shift=how.boundary_shift,
                speed_jitter=how.speed_jitter,
            )

        return choose

    def drawn(self, position: Position, size: tuple[int, int]) -> NDArray[np.float32]:
        """The random choices for the pictures of a clip of that height and width, (D,)."""
        if self.augmentation is None:
            return packed_draw(None, *size)
        return packed_draw(draw(self.augmentation, self._rng(position, SPACE_STREAM), *size), *size)

    def _rng(self, position: Position, stream: int) -> np.random.Generator:
        return np.random.default_rng(
            (self.seed, position.epoch, sample_id(self.samples[position.index]), stream, position.view)
        )

    def masked(self, sample: Sample | None, failures: tuple[tuple[str, str], ...] = ()) -> Batch:
        """A clip that counts for nothing: padding, or one that can't be read."""
        frames = torch.zeros(self.sampling.num_frames, 12, dtype=torch.uint8)  # 2 x 2 pixels
        video, label = ("", 0) if sample is None else (str(sample.video), sample.label)
        return _single(frames, (2, 2), packed_draw(None, 2, 2), label, False, video, failures)

    def _say(self, number: int) -> None:
        worker = get_worker_info()
        if worker is None:
            self._own = (number, time.monotonic())
        elif self.under_way is not None:
            self.under_way[worker.id] = torch.tensor([number, time.monotonic()], dtype=torch.float64)

    def reading(self) -> list[str]:
        """The videos that this process and its data workers are reading and for how long, the longest first."""
        workers = self.under_way.tolist() if self.under_way is not None else []
        reading = sorted((since, int(number) - 1) for number, since in (self._own, *workers) if number)
        return [f"{self.samples[index].video}  ({time.monotonic() - since:.0f} s)" for since, index in reading]


def sample_id(sample: Sample) -> int:
    """64 bits that stand for a sample on every machine, whatever other samples there are."""
    text = "/".join((*sample.video.parts[-2:], sample.gloss, str(sample.span)))
    return int.from_bytes(blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest(), "little")


def _single(
    frames: Tensor,
    size: tuple[int, int],
    drawn: NDArray[np.float32],
    label: int,
    valid: bool,
    video: str,
    failures: tuple[tuple[str, str], ...] = (),
) -> Batch:
    size_, label_, mask = torch.tensor([size]), torch.tensor([label]), torch.tensor([valid])
    return Batch(frames[None], size_, torch.from_numpy(drawn)[None], label_, mask, (video,), failures)


class EpochSampler(Sampler[Position]):
    """The positions of one epoch for one of ``world`` workers.

    Shuffled, the order depends on (seed, epoch) alone. In training every worker gets equally many positions, the
    last ones being padding where the samples don't divide evenly; in evaluation there is no padding, and each sample
    comes once over all workers.

    Args:
        length: How many samples there are.
        shuffle: Whether the order is drawn anew each epoch.
        seed: Of the order.
        rank: This worker.
        world: How many workers there are.
        repeats: How often each sample comes, one time after the other (repeated augmentation, arXiv 1902.05509).
        labels: The class of each sample: as many samples as there are get drawn with replacement, every class equally
            often on average. None: each sample comes.
    """

    def __init__(
        self,
        length: int,
        *,
        shuffle: bool,
        seed: int,
        rank: int = 0,
        world: int = 1,
        repeats: int = 1,
        labels: Sequence[int] | None = None,
    ) -> None:
        self.length, self.shuffle, self.seed = length, shuffle, seed
        self.rank, self.world = rank, world
        self.repeats = repeats
        self.epoch = self.skip = 0
        self._chances: NDArray[np.float64] | None = None
        if labels is not None:
            counts = Counter(labels)
            self._chances = np.array([1 / counts[label] for label in labels]) / len(counts)

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Choose the epoch whose positions come next, without the first so many of this worker's."""
        self.epoch, self.skip = epoch, skip

    def _indices(self) -> list[int]:
        if not self.shuffle:
            return list(range(self.length))
        rng = np.random.default_rng((self.seed, self.epoch))
        if self._chances is not None:
            drawn: list[int] = rng.choice(self.length, self.length, p=self._chances).tolist()
            return drawn
        order: list[int] = rng.permutation(self.length).tolist()
        return order

    def __iter__(self) -> Iterator[Position]:
        seen = Counter[int]()
        positions = []
        for index in self._indices():
            for _ in range(self.repeats):
                positions.append(Position(self.epoch, index, seen[index]))
                seen[index] += 1
        if self.shuffle:
            positions += [Position(self.epoch, PADDING)] * (-len(positions) % self.world)
        return iter(positions[self.rank :: self.world][self.skip :])

    def __len__(self) -> int:
        total = self.length * self.repeats
        return -(-total // self.world) if self.shuffle else len(range(self.rank, total, self.world))


def describe_support(samples: Sequence[Sample], glosses: Sequence[str]) -> str:
    """One line on how unbalanced the clips are."""
    counts = Counter(sample.label for sample in samples)
    support = [counts[label] for label in range(len(glosses))]
    return f"{min(support)} to {max(support)} training clips per gloss"
