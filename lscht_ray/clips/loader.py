"""Loads batches of clips: decoded by data workers, from the cache by one prefetch thread, or from the device."""

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lscht_ray.clips.batch import Batch, Loader, gathered, joined, sent
from lscht_ray.clips.dataset import PADDING, ClipDataset, EpochSampler, Position
from lscht_ray.errors import TrainingError
from lscht_ray.video.decode import UnreadableVideoError

BUFFERS = 3
"""Batches in memory at once: one in use, one ready, one being filled."""
DEVICE_SHARE = 0.5
"""Largest share of a GPU's free memory that clips may take."""


def build_loader(
    dataset: ClipDataset,
    *,
    batch_size: int,
    num_workers: int,
    shuffle: bool,
    device: torch.device,
    rank: int = 0,
    world: int = 1,
    batch_seconds: float = 300.0,
    cached: bool = False,
    on_device: bool = False,
    repeats: int = 1,
    balanced: bool = False,
) -> Loader:
    """Choose the loader that fits; each gives the same batches in the same order.

    Args:
        dataset: The clips.
        batch_size: Clips a batch.
        num_workers: Data worker processes, which decode clips; none are started where all clips are cached.
        shuffle: Whether the order is drawn anew each epoch.
        device: Where the model is.
        rank: This worker, from 0.
        world: Number of workers.
        batch_seconds: Seconds. A batch that data workers don't deliver in that time ends the iteration with an error.
        cached: Whether every clip is in the cache.
        on_device: Whether all clips may be kept in the device's memory.
        repeats: How often each clip comes in an epoch, augmented anew each time.
        balanced: Whether every class comes equally often on average.
    """
    sampler = EpochSampler(
        len(dataset),
        shuffle=shuffle,
        seed=dataset.seed,
        rank=rank,
        world=world,
        repeats=repeats,
        labels=dataset.get_labels() if balanced else None,
    )
    if cached:
        store = _on_device(dataset, device) if on_device else None
        if store is not None:
            return DeviceLoader(dataset, sampler, batch_size, store, device)
        if device.type == "cuda":
            return PrefetchLoader(dataset, sampler, batch_size, pin=True, record_copy=_gpu_copy)
        return PrefetchLoader(dataset, sampler, batch_size)
    if num_workers:
        dataset.under_way = torch.zeros(num_workers, 2, dtype=torch.float64).share_memory_()  # type: ignore[no-untyped-call]
    return ClipLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=joined,
        pin_memory=device.type == "cuda",
        persistent_workers=num_workers > 0,
        worker_init_fn=_one_thread if num_workers else None,
        timeout=batch_seconds if num_workers else 0,
        generator=torch.Generator(),  # without it the loader draws from dropout's generator
    )


def _one_thread(worker: int) -> None:
    del worker
    torch.set_num_threads(1)


class ClipLoader(DataLoader[Batch]):
    """A DataLoader whose error names the videos that were being read where a data worker hangs or dies."""

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
            culprits = self._culprits()
            for child in multiprocessing.active_children():
                if child.pid is not None:  # a stopped data worker would be waited for at the end, for ever
                    os.kill(child.pid, signal.SIGCONT)
            raise TrainingError(f"{culprits}\n  {str(error).splitlines()[0]}") from None

    def _culprits(self) -> str:
        assert isinstance(self.dataset, ClipDataset)
        reading = self.dataset.reading()
        if not reading:
            return "the data workers deliver nothing, and read no video"
        return "a data worker hangs or died; they were reading, the longest first:\n  " + "\n  ".join(reading)


def _batches(sampler: EpochSampler, size: int) -> list[list[Position]]:
    positions = list(sampler)
    return [positions[start : start + size] for start in range(0, len(positions), size)]


class Copy(Protocol):
    """A copy of a batch to the device that may still be running; `torch.cuda.Event` is one."""

    def synchronize(self) -> None:
        """Wait until the copy is over."""
        ...


class _Buffer:
    """Memory for one batch at a time, and the copy out of it that must be over before it is filled again."""

    def __init__(self, pin: bool) -> None:
        self._pin = pin
        self._memory = torch.empty(0, 0, 0, dtype=torch.uint8)
        self._copy: Copy | None = None

    def copied_by(self, copy: Copy | None) -> None:
        """Remember the copy that was asked for of what is in here (None: the device reads this memory itself)."""
        self._copy = copy

    def room(self, shape: tuple[int, int, int]) -> Tensor:
        """uint8 of that shape, to be filled. Waits for the last copy out of it, and grows where it is too small."""
        if self._copy is not None:
            self._copy.synchronize()
            self._copy = None
        clips, frames, length = shape
        if self._memory.shape[1] != frames or len(self._memory) < clips or self._memory.shape[2] < length:
            self._memory = _memory(shape, self._pin)
        return self._memory[:clips, :, :length]


class PrefetchLoader:
    """Reads cached clips in one thread into a few reused buffers: no worker processes, no fresh memory.

    A copy to a GPU runs on while the training thread goes on, over the end of an epoch too. So the buffers, each with
    the copy that must be over before it is filled again, belong to the loader and not to an epoch.
    """

    def __init__(
        self,
        dataset: ClipDataset,
        sampler: EpochSampler,
        batch_size: int,
        *,
        pin: bool = False,
        record_copy: Callable[[], Copy | None] = lambda: None,
    ) -> None:
        """Make a loader.

        Args:
            dataset: The clips.
            sampler: Their order.
            batch_size: Clips a batch.
            pin: Whether the buffers are pinned memory, from which a GPU copies by itself.
            record_copy: Called in the thread that uses the batches when it is done with one; returns the copy that it
                has asked for of that batch, if any is still running.
        """
        self.dataset, self.sampler, self.batch_size, self.pin = dataset, sampler, batch_size, pin
        self._record_copy = record_copy
        self._spare: list[_Buffer] = []
        """Buffers that no iteration holds: two iterations at a time never share one."""

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of an epoch; a batch's frames may be overwritten once the next one is asked for."""
        held = [self._spare.pop() if self._spare else _Buffer(self.pin) for _ in range(BUFFERS)]
        free: queue.Queue[_Buffer | None] = queue.Queue()
        for buffer in held:
            free.put(buffer)
        ready: queue.Queue[tuple[Batch, _Buffer] | BaseException | None] = queue.Queue(maxsize=BUFFERS - 2)
        stop = threading.Event()
        arguments = (_batches(self.sampler, self.batch_size), free, ready, stop)
        thread = threading.Thread(target=self._fill, args=arguments, name="clip prefetch", daemon=True)
        thread.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                batch, buffer = item
                try:
                    yield batch
                finally:  # also where the iteration is abandoned here: the copy goes on
                    buffer.copied_by(self._record_copy())
                free.put(buffer)
        finally:
            stop.set()
            free.put(None)
            thread.join()
            self._spare += held

    def _fill(
        self,
        batches: list[list[Position]],
        free: "queue.Queue[_Buffer | None]",
        ready: "queue.Queue[Any]",
        stop: threading.Event,
    ) -> None:
        """Read one batch after the other into free buffers; runs in the prefetch thread."""
        try:
            for positions in batches:
                buffer = free.get()
                if buffer is None or stop.is_set():
                    return
                _put(ready, (self._read(positions, buffer), buffer), stop)
            _put(ready, None, stop)
        except BaseException as error:  # to be raised where it can be seen
            _put(ready, error, stop)

    def _read(self, positions: list[Position], buffer: _Buffer) -> Batch:
        """A batch in that buffer."""
        clips = [self._look_up(position) for position in positions]
        length = max(length for length, _ in clips)
        frames = buffer.room((self.batch_size, self.dataset.sampling.num_frames, length))[: len(positions)]
        rows = frames.numpy()
        singles = []
        for position, row, (_, decoded) in zip(positions, rows, clips, strict=True):
            single = decoded if decoded is not None else self._copy(position, row)
            row[:, : single.frames.shape[2]] = single.frames[0].numpy()  # no bytes where `_copy` has put them there
            singles.append(single)
        return gathered(frames, singles)

    def _look_up(self, position: Position) -> tuple[int, Batch | None]:
        """Bytes per frame of a clip; and the clip itself where it isn't cached."""
        if position.index != PADDING:
            entry = self.dataset.reader.entry(self.dataset.clips[position.index])
            if entry is not None:
                return entry.frames.shape[1], None
        single = self.dataset[position]
        return single.frames.shape[2], single

    def _copy(self, position: Position, row: np.ndarray[Any, np.dtype[np.uint8]]) -> Batch:
        """Copy a cached clip into its row. The batch returned holds no frames, unless the clip had to be decoded."""
        clip = self.dataset.clips[position.index]
        entry = self.dataset.reader.entry(clip)
        if entry is None:
            return self.dataset[position]
        indices = self.dataset.chooser(position)(entry.times)
        if not self.dataset.reader.take(clip, entry, indices, row):
            return self.dataset[position]
        drawn = torch.from_numpy(self.dataset.drawn(position, entry.size))[None]
        nothing = torch.empty(1, row.shape[0], 0, dtype=torch.uint8)
        size, label = torch.tensor([entry.size]), torch.tensor([clip.label])
        return Batch(nothing, size, drawn, label, torch.tensor([True]), (str(clip.video),))


def _gpu_copy() -> Copy:
    """The copy to the GPU that this thread has just asked for; it does not wait for it."""
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    return cast(Copy, event)


def _memory(shape: tuple[int, int, int], pin: bool) -> Tensor:
    """Memory for a batch. Unpinned memory is numpy's, which asks for huge pages."""
    return (
        torch.empty(shape, dtype=torch.uint8, pin_memory=True) if pin else torch.from_numpy(np.empty(shape, np.uint8))
    )


def _put(ready: "queue.Queue[Any]", item: object, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            ready.put(item, timeout=0.1)
            return
        except queue.Full:
            continue


class DeviceLoader:
    """Takes clips out of a store on the model's device; nothing is loaded."""

    def __init__(
        self, dataset: ClipDataset, sampler: EpochSampler, batch_size: int, store: list[Tensor], device: torch.device
    ) -> None:
        self.dataset, self.sampler, self.batch_size, self.store, self.device = (
            dataset,
            sampler,
            batch_size,
            store,
            device,
        )

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """The batches of an epoch, their frames on the device."""
        for positions in _batches(self.sampler, self.batch_size):
            yield self._read(positions)

    def _read(self, positions: list[Position]) -> Batch:
        singles, pictures = [], []
        for position in positions:
            if position.index == PADDING:
                single = self.dataset.masked(None)
                singles.append(single)
                pictures.append(sent(single.frames[0], self.device))
                continue
            clip = self.dataset.clips[position.index]
            entry = self.dataset.reader.entry(clip)
            if entry is None:
                raise UnreadableVideoError(clip.video, "its cached clip was removed while it was used")
            rows = sent(torch.from_numpy(self.dataset.chooser(position)(entry.times) - entry.start), self.device)
            pictures.append(self.store[position.index][rows])
            drawn = torch.from_numpy(self.dataset.drawn(position, entry.size))[None]
            label, valid = torch.tensor([clip.label]), torch.tensor([True])
            singles.append(
                Batch(pictures[-1][None], torch.tensor([entry.size]), drawn, label, valid, (str(clip.video),))
            )
        length = max(picture.shape[1] for picture in pictures)
        frames = torch.zeros(len(pictures), len(pictures[0]), length, dtype=torch.uint8, device=self.device)
        for target, picture in zip(frames, pictures, strict=True):
            target[:, : picture.shape[1]] = picture
        return gathered(frames, singles)


def _on_device(dataset: ClipDataset, device: torch.device) -> list[Tensor] | None:
    """Copy all frames of all clips to the device, each entry once; None where they don't fit or aren't all cached."""
    entries = [dataset.reader.entry(clip) for clip in dataset.clips]
    if any(entry is None for entry in entries):
        return None
    known = {entry.path: entry for entry in entries if entry is not None}
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if sum(entry.frames.size for entry in known.values()) > DEVICE_SHARE * free:
            return None
    stored: dict[Any, Tensor] = {}
    for path, entry in known.items():
        whole = np.empty(entry.frames.shape, np.uint8)
        if not entry.take(np.arange(len(whole)) + entry.start, whole):
            return None
        stored[path] = torch.from_numpy(whole).to(device)
    return [stored[entry.path] for entry in entries if entry is not None]
