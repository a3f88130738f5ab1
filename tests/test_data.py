"""The loaders: the same clips whatever the workers, cached or decoded, each clip once, nothing swapped."""

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from lscht_ray.checking import survey
from lscht_ray.checking.usable import ClipSet
from lscht_ray.clips import fill
from lscht_ray.clips.augmentation import Augmentation
from lscht_ray.clips.batch import Batch, joined
from lscht_ray.clips.dataset import ClipDataset, ClipReader, EpochSampler, Position, Sampling
from lscht_ray.clips.loader import DeviceLoader, PrefetchLoader, build_loader
from lscht_ray.clips.transforms import ClipFormat, EvaluationTransform, TrainingTransform
from lscht_ray.dataset.annotations import read
from lscht_ray.host.console import quiet_console
from lscht_ray.settings.train import TrainConfig
from support.data import shared

FORM = ClipFormat(24, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CPU = torch.device("cpu")


def clips_of(folder: Path) -> ClipSet:
    config = TrainConfig(data=str(folder))
    return survey.trusted(read(folder), config, quiet_console())


def dataset(
    folder: Path, filled: fill.Filled | None = None, pixel_format: str = "rgb", found: ClipSet | None = None
) -> ClipDataset:
    reader = ClipReader(27, pixel_format=pixel_format, cache=filled.cache if filled else None)  # type: ignore[arg-type]
    sampling = Sampling(4, boundary_shift=0.1, speed_jitter=0.2)
    clips = (found or clips_of(folder)).split("train")
    return ClipDataset(clips, reader=reader, sampling=sampling, seed=3, augmentation=Augmentation(rotation=5))


def epoch(clips: ClipDataset, number: int, **settings: Any) -> list[Batch]:
    loader = build_loader(clips, **{"batch_size": 5, "num_workers": 0, "shuffle": True, "device": CPU, **settings})
    loader.sampler.set_epoch(number)
    return [replace(batch, frames=batch.frames.clone()) for batch in loader]


def filled(folder: Path, cache: Path, **settings: Any) -> fill.Filled:
    config = TrainConfig(data=str(folder), cache="disk", cache_dir=str(cache), **settings)
    return fill.fill(folder, clips_of(folder).clips, config, 27, quiet_console())


def same(one: list[Batch], other: list[Batch]) -> bool:
    assert [batch.videos for batch in one] == [batch.videos for batch in other]
    names = ("frames", "sizes", "draws", "labels", "mask")
    return all(torch.equal(getattr(a, n), getattr(b, n)) for a, b in zip(one, other, strict=True) for n in names)


def test_labels_are_known_without_opening_a_video(small: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(small, tmp_path / "copy")
    found = clips_of(copy)
    for video in copy.rglob("*.mp4"):
        video.write_bytes(b"not opened")
    assert dataset(copy, found=found).get_labels() == dataset(small).get_labels() == [0] * 6 + [1] * 4 + [2] * 2


@pytest.mark.parametrize("pixel_format", ["rgb", "yuv420"])
def test_every_way_to_load_gives_the_same_bytes(small: Path, tmp_path: Path, pixel_format: str) -> None:
    cache = filled(small, tmp_path, pixel_format=pixel_format)
    assert cache.complete
    assert cache.decoded == 21
    alone = epoch(dataset(small, pixel_format=pixel_format), 2)
    assert same(alone, epoch(dataset(small, pixel_format=pixel_format), 2, num_workers=2))
    assert same(alone, epoch(dataset(small, cache, pixel_format), 2, num_workers=2))  # workers that read the cache
    assert same(alone, epoch(dataset(small, cache, pixel_format), 2, cached=True))
    assert same(alone, epoch(dataset(small, cache, pixel_format), 2, cached=True, on_device=True))
    transform = TrainingTransform(replace(FORM, pixel_format=pixel_format), Augmentation())
    assert transform(alone[0]).shape == (5, 4, 3, 24, 24)


def test_the_right_loader_is_chosen(small: Path, tmp_path: Path) -> None:
    clips = dataset(small, filled(small, tmp_path))
    settings: dict[str, Any] = {"batch_size": 5, "num_workers": 2, "shuffle": True, "device": CPU}
    assert isinstance(build_loader(clips, cached=True, **settings), PrefetchLoader)
    assert isinstance(build_loader(clips, cached=True, on_device=True, **settings), DeviceLoader)


def test_every_epoch_has_its_own_order_and_draws(small: Path) -> None:
    first, second = epoch(dataset(small), 1), epoch(dataset(small), 2)
    assert sorted(v for b in first for v in b.videos) == sorted(v for b in second for v in b.videos)
    assert [b.videos for b in first] != [b.videos for b in second]
    by_video = [{v: d for b in e for v, d in zip(b.videos, b.draws, strict=True)} for e in (first, second)]
    assert all(not torch.equal(by_video[0][video], by_video[1][video]) for video in by_video[0])


def test_a_clips_draws_do_not_depend_on_the_other_clips(small: Path) -> None:
    whole = dataset(small)
    fewer = ClipDataset(
        whole.clips[3:], reader=whole.reader, sampling=whole.sampling, seed=3, augmentation=whole.augmentation
    )
    one, other = whole[Position(4, 5)], fewer[Position(4, 2)]
    assert one.videos == other.videos
    assert torch.equal(one.frames, other.frames)
    assert torch.equal(one.draws, other.draws)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("world", [1, 2, 5])
def test_each_clip_comes_once_over_all_workers_and_padding_is_masked(
    small: Path, tmp_path: Path, world: int, cached: bool
) -> None:
    clips = dataset(small, filled(small, tmp_path)) if cached else dataset(small)
    shares = [epoch(clips, 1, rank=rank, world=world, cached=cached) for rank in range(world)]
    assert len({sum(len(batch.videos) for batch in share) for share in shares}) == 1  # equally many steps
    seen = [
        video for share in shares for batch in share for video, ok in zip(batch.videos, batch.mask, strict=True) if ok
    ]
    assert sorted(seen) == sorted(str(sample.video) for sample in read(small).split("train"))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_evaluation_is_shared_without_padding(world: int) -> None:
    positions = [p for rank in range(world) for p in EpochSampler(7, shuffle=False, seed=0, rank=rank, world=world)]
    assert sorted(position.index for position in positions) == list(range(7))


def test_an_unreadable_video_is_masked_and_named_never_swapped(small: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(small, tmp_path / "copy")
    found = clips_of(copy)
    broken = sorted(copy.rglob("train/casa/*.mp4"))[:2]
    broken[0].write_bytes(b"")
    broken[1].write_bytes(broken[1].read_bytes()[:700])
    batches = epoch(dataset(copy, found=found), 1)
    failures = dict(failure for batch in batches for failure in batch.failures)
    assert failures.keys() == {str(path) for path in broken}
    assert "empty (0 bytes)" in failures[str(broken[0])]
    masked = [v for b in batches for v, ok in zip(b.videos, b.mask, strict=True) if not ok]
    assert sorted(masked) == sorted(failures)


def test_a_loader_that_is_left_early_leaves_no_thread_and_starts_anew(small: Path, tmp_path: Path) -> None:
    clips = dataset(small, filled(small, tmp_path))
    loader = build_loader(clips, batch_size=2, num_workers=0, shuffle=True, device=CPU, cached=True)
    for _ in range(3):
        for _batch in loader:
            break
    assert [thread for thread in threading.enumerate() if thread.name == "clip prefetch"] == []
    assert sum(len(batch.videos) for batch in loader) == 12


class SlowStream:
    """Copies as slow as can be, in order like a GPU's stream: a copy reads its source only when it is waited for."""

    def __init__(self) -> None:
        self.copies: list[tuple[torch.Tensor, torch.Tensor]] = []  # source, what it holds when the copy is asked for
        self.done: list[torch.Tensor] = []
        self._lock = threading.Lock()

    def copy(self, source: torch.Tensor) -> None:
        self.copies.append((source, source.clone()))

    def event(self) -> "Event":
        return Event(self, len(self.copies))

    def finish(self, count: int) -> None:
        with self._lock:
            for source, _ in self.copies[len(self.done) : count]:
                self.done.append(source.clone())


class Event(NamedTuple):
    stream: SlowStream
    count: int

    def synchronize(self) -> None:
        self.stream.finish(self.count)


def test_a_buffer_is_filled_again_only_when_its_copy_is_over(small: Path, tmp_path: Path) -> None:
    """Over the end of an epoch too, after iterations that were abandoned, and where two run at a time."""
    clips = dataset(small, filled(small, tmp_path))
    sampler = EpochSampler(len(clips), shuffle=True, seed=3)
    stream = SlowStream()
    loader = PrefetchLoader(clips, sampler, 2, record_copy=stream.event)
    for number in range(1, 5):
        sampler.set_epoch(number)
        for done, batch in enumerate(loader):
            stream.copy(batch.frames)
            if number % 2 == 0 and done == 1:
                break
    outer = iter(loader)
    stream.copy(next(outer).frames)
    for iteration in (loader, outer):
        for batch in iteration:
            stream.copy(batch.frames)
    stream.event().synchronize()
    assert len(stream.copies) == 6 + 2 + 6 + 2 + 6 + 6
    wrong = [n for n, (_, frames) in enumerate(stream.copies) if not stream.done[n].equal(frames)]
    assert wrong == []


def test_an_error_in_the_prefetch_thread_is_raised_where_it_is_seen(small: Path, tmp_path: Path) -> None:
    clips = dataset(small, filled(small, tmp_path))
    loader = build_loader(clips, batch_size=2, num_workers=0, shuffle=True, device=CPU, cached=True)
    clips.sampling = None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        list(loader)


def test_real_clips() -> None:
    found = read(shared("wlasl10"))
    assert [len(found.split(split)) for split in ("train", "val", "test")] == [200, 45, 35]
    few = replace(found, samples=found.split("val")[:3])
    chosen = survey.trusted(few, TrainConfig(), quiet_console()).clips
    clips = ClipDataset(chosen, reader=ClipReader(27), sampling=Sampling(16), seed=0)
    batch = joined([clips[Position(0, index)] for index in range(3)])
    assert EvaluationTransform(FORM)(batch).shape == (3, 16, 3, 24, 24)
    assert bool(batch.mask.all())


def test_repeated_clips_come_one_after_the_other_and_are_augmented_anew(small: Path) -> None:
    twice = epoch(dataset(small), 1, repeats=2, batch_size=24)
    (batch,) = twice
    assert batch.videos[0::2] == batch.videos[1::2]
    assert len(set(batch.videos)) == 12
    assert not any(torch.equal(batch.draws[i], batch.draws[i + 1]) for i in range(0, 24, 2))
    (once,) = epoch(dataset(small), 1, batch_size=12)
    assert torch.equal(once.draws, batch.draws[0::2])  # the first view is the one that there would be alone
    shares = [list(EpochSampler(12, shuffle=True, seed=0, rank=r, world=5, repeats=2)) for r in range(5)]
    assert len({len(share) for share in shares}) == 1
    assert all(len(EpochSampler(12, shuffle=True, seed=0, rank=r, world=5, repeats=2)) == 5 for r in range(5))


def test_balanced_sampling_draws_every_gloss_equally_often(small: Path) -> None:
    labels = dataset(small).get_labels()  # 6, 4 and 2 clips
    sampler = EpochSampler(12, shuffle=True, seed=0, labels=labels)
    drawn: list[int] = []
    for number in range(500):
        sampler.set_epoch(number)
        positions = list(sampler)
        assert len(positions) == len(sampler) == 12
        assert len({(p.index, p.view) for p in positions}) == 12  # a clip that comes again is augmented anew
        drawn += [labels[position.index] for position in positions]
    counts = torch.bincount(torch.tensor(drawn))
    assert counts.tolist() == pytest.approx([2000, 2000, 2000], rel=0.08)  # 6000 draws, five standard deviations
    assert [p.index for p in sampler] == [p.index for p in sampler]


def test_batches_can_be_split_and_filled_up(small: Path) -> None:
    (batch,) = epoch(dataset(small), 1, batch_size=12)
    parts = batch.split(5)
    assert [len(part.videos) for part in parts] == [5, 5, 2]
    assert torch.equal(torch.cat([part.frames for part in parts]), batch.frames)
    full = parts[2].padded(5)
    assert full.mask.tolist() == [True, True, False, False, False]
    assert full.videos[2:] == ("", "", "")
    assert TrainingTransform(FORM, Augmentation())(full).shape == (5, 4, 3, 24, 24)
    assert EvaluationTransform(FORM)(full).shape == (5, 4, 3, 24, 24)
