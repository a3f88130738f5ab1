"""Reads cached clips ahead in one thread."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lscht_ray.clips.batch import Batch, gathered
from lscht_ray.clips.dataset import PADDING, ClipDataset, EpochSampler, Position, batches

BUFFERS = 3
"""Batches in memory at once: one in use, one ready, one being filled."""


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
        arguments = (batches(self.sampler, self.batch_size), free, ready, stop)
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
