"""Loads batches of clips: decoded by data workers, from the cache by one prefetch thread, or from the device."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lscht_ray.clips._prefetch import Copy, PrefetchLoader
from lscht_ray.clips.batch import Batch, Loader, gathered, joined, sent
from lscht_ray.clips.dataset import PADDING, ClipDataset, EpochSampler, Position, batches
from lscht_ray.errors import TrainingError
from lscht_ray.video.opening import UnreadableVideoError

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
        dataset.watch_workers(num_workers)
    return ClipLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=joined,
        pin_memory=device.type == "cuda",
        persistent_workers=num_workers > 0,
        worker_init_fn=_begin_worker if num_workers else None,
        timeout=batch_seconds if num_workers else 0,
        generator=torch.Generator(),  # without it the loader draws from dropout's generator
    )


def _begin_worker(worker: int) -> None:
    """One thread each; and a process group of its own: a signal to the run's group ends the run, after its step."""
    del worker
    torch.set_num_threads(1)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)


class ClipLoader(DataLoader[Batch]):
    """A DataLoader whose error names the videos that were being read where a data worker hangs or dies."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # torch says its own iterator
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


def _gpu_copy() -> Copy:
    """The copy to the GPU that this thread has just asked for; it does not wait for it."""
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch has no types for it
    event.record()
    return cast(Copy, event)


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
        for positions in batches(self.sampler, self.batch_size):
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
