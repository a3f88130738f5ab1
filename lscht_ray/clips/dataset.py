"""Dataset and sampler: clips by position, read from the cache or decoded."""

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
from lscht_ray.clips.augmentation import Augmentation, draw, packed_draw
from lscht_ray.clips.batch import Batch
from lscht_ray.dataset.samples import Clip
from lscht_ray.shown import counted, shown
from lscht_ray.video.decode import Choose, decode
from lscht_ray.video.frames import Indices, Times, clip_indices
from lscht_ray.video.opening import UnreadableVideoError
from lscht_ray.video.pictures import Frames, PixelFormat, picture_size


@dataclass(frozen=True, slots=True)
class Position:
    """One clip of an epoch.

    Attributes:
        epoch: From 1.
        index: Of the clip in the dataset, from 0; PADDING stands for no clip.
        view: How often the clip came before in this epoch, from 0. Each view is augmented anew.
    """

    epoch: int
    index: int
    view: int = 0


PADDING = -1
TIME_STREAM, SPACE_STREAM = 0, 1
"""Random choices of frames and those of the pictures come from two streams, so neither depends on the other."""


@dataclass(frozen=True)
class ClipReader:
    """Reads a clip's frames from the cache where it holds them, else by decoding; the bytes are the same both ways.

    Attributes:
        short_side: As for `decode.decode`.
        decoder: See `decode.decode`.
        salvage: See `decode.decode`.
        pixel_format: See `decode.decode`.
        cache: The cache; None: every clip is decoded.
    """

    short_side: int | None
    decoder: Literal["auto", "pyav", "decord"] = "auto"
    salvage: bool = False
    pixel_format: PixelFormat = "rgb"
    cache: ClipCache | None = None

    def entry(self, clip: Clip) -> Entry | None:
        """The cached clip, or None where it isn't cached."""
        return self.cache.entry(clip.key) if self.cache is not None else None

    def read(self, clip: Clip, choose: Choose) -> tuple[Frames, tuple[int, int]]:
        """Read the chosen frames, packed as uint8 (T, N), and the height and width of the pictures.

        Raises:
            UnreadableVideoError: The video can't be decoded.
        """
        entry = self.entry(clip)
        if entry is not None:
            indices = choose(entry.times)
            out = np.empty((len(indices), entry.frames.shape[1]), np.uint8)
            if self.take(clip, entry, indices, out):
                return out, entry.size
        frames = decode(
            clip.video,
            choose,
            short_side=self.short_side,
            decoder=self.decoder if clip.decord else "pyav",
            box=clip.box,
            salvage=self.salvage,
            pixel_format=self.pixel_format,
            whole=clip.seekable,
        )
        return frames.reshape(len(frames), -1), picture_size(frames, self.pixel_format)

    def take(self, clip: Clip, entry: Entry, indices: Indices, out: Frames) -> bool:
        """Copy frames out of the cache; False where it doesn't hold them. A broken entry is removed from it."""
        try:
            return entry.take(indices, out)
        except BrokenClipError:
            if self.cache is not None:
                self.cache.drop(clip.key)
            return False


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video make a clip; the attributes are the settings of the same names (`settings.data`)."""

    num_frames: int
    sampling: Literal["frame", "time"] = "frame"
    boundary_shift: float = 0.0
    speed_jitter: float = 0.0


class ClipDataset(Dataset[Batch]):
    """Clips by (epoch, index).

    What is random about a clip comes from (seed, epoch, view, the clip itself) alone, so neither the number of data
    workers nor the order of reading nor the other clips change it. A video that can't be read becomes a masked clip
    that names it; it is never replaced by another.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        reader: ClipReader,
        sampling: Sampling,
        seed: int,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.clips = tuple(clips)
        self.reader, self.sampling, self.seed, self.augmentation = reader, sampling, seed, augmentation
        self._under_way: Tensor | None = None
        """Shared float64 (data workers, 2): which clip each one reads (1 + index; 0: none), since when (seconds)."""
        self._own: tuple[int, float] = (0, 0.0)

    def __len__(self) -> int:
        return len(self.clips)

    def get_labels(self) -> list[int]:
        """The label of every clip, in order; no video is opened."""
        return [clip.label for clip in self.clips]

    def __getitem__(self, position: Position) -> Batch:
        """One clip as a batch of one."""
        index = position.index
        if index == PADDING:
            return self.masked(None)
        clip = self.clips[index]
        self._note_reading(index + 1)
        try:
            frames, size = self.reader.read(clip, self.chooser(position))
        except UnreadableVideoError as error:
            return self.masked(clip, ((error.path, error.reason),))
        finally:
            self._note_reading(0)
        return _single(torch.from_numpy(frames), size, self.drawn(position, size), clip.label, True, str(clip.video))

    def chooser(self, position: Position) -> Choose:
        """The function that picks the frames of a clip. In training it draws them, so it must be called once."""
        clip = self.clips[position.index]
        rng = self._rng(position, TIME_STREAM) if self.augmentation is not None else None

        def choose(times: Times) -> Indices:
            how = self.sampling
            return clip_indices(
                times,
                how.num_frames,
                span=clip.span,
                sampling=how.sampling,
                rng=rng,
                boundary_shift=how.boundary_shift,
                speed_jitter=how.speed_jitter,
            )

        return choose

    def drawn(self, position: Position, size: tuple[int, int]) -> NDArray[np.float32]:
        """The random choices for the pictures of a clip of that height and width, float32 (D,)."""
        if self.augmentation is None:
            return packed_draw(None, *size)
        return packed_draw(draw(self.augmentation, self._rng(position, SPACE_STREAM), *size), *size)

    def _rng(self, position: Position, stream: int) -> np.random.Generator:
        return np.random.default_rng(
            (self.seed, position.epoch, clip_id(self.clips[position.index]), stream, position.view)
        )

    def masked(self, clip: Clip | None, failures: tuple[tuple[str, str], ...] = ()) -> Batch:
        """A clip that counts for nothing: padding (None), or one that can't be read."""
        frames = torch.zeros(self.sampling.num_frames, 12, dtype=torch.uint8)  # 2 x 2 pixels
        video, label = ("", 0) if clip is None else (str(clip.video), clip.label)
        return _single(frames, (2, 2), packed_draw(None, 2, 2), label, False, video, failures)

    def watch_workers(self, count: int) -> None:
        """Have so many data workers say which clips they read; to be called before they start."""
        under_way = torch.zeros(count, 2, dtype=torch.float64)
        self._under_way = under_way.share_memory_()  # type: ignore[no-untyped-call]  # torch has no types for it

    def _note_reading(self, number: int) -> None:
        """Note which clip this process reads now: 1 + index; 0: none."""
        worker = get_worker_info()
        if worker is None:
            self._own = (number, time.monotonic())
        elif self._under_way is not None:
            self._under_way[worker.id] = torch.tensor([number, time.monotonic()], dtype=torch.float64)

    def reading(self) -> list[str]:
        """The videos that this process and its data workers are reading, and for how long; the longest first."""
        workers = self._under_way.tolist() if self._under_way is not None else []
        reading = sorted((since, int(number) - 1) for number, since in (self._own, *workers) if number)
        return [f"{shown(self.clips[index].video)}  ({time.monotonic() - since:.0f} s)" for since, index in reading]


def clip_id(clip: Clip) -> int:
    """64 bits that stand for a clip on every machine, whatever other clips there are."""
    text = "/".join((*clip.video.parts[-2:], clip.gloss, str(clip.span)))
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

    A shuffled order depends on (seed, epoch) alone. In training every worker gets equally many positions; the last ones
    are padding where the clips don't divide evenly. In evaluation there is no padding, and each clip comes once over
    all workers.

    Args:
        length: Number of clips.
        shuffle: Whether the order is drawn anew each epoch (training).
        seed: Seed of the order.
        rank: This worker, from 0.
        world: Number of workers.
        repeats: How often each clip comes, one view after the other (repeated augmentation, arXiv 1902.05509).
        labels: The class of each clip: ``length`` clips are drawn with replacement, every class equally often on
            average. None: each clip comes.
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
        """Choose the epoch whose positions come next; the first ``skip`` positions of this worker are left out."""
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


def batches(sampler: EpochSampler, size: int) -> list[list[Position]]:
    """The positions of an epoch, batch by batch."""
    positions = list(sampler)
    return [positions[start : start + size] for start in range(0, len(positions), size)]


def describe_support(clips: Sequence[Clip], glosses: Sequence[str]) -> str:
    """One line on how unbalanced the glosses are."""
    counts = Counter(clip.label for clip in clips)
    support = [counts[label] for label in range(len(glosses))]
    least, most = min(support), max(support)
    return f"{counted(most, 'training clip') if least == most else f'{least} to {most} training clips'} per gloss"
