"""The loader: the same clips whatever the workers, each clip once, nothing swapped."""

import shutil
from pathlib import Path

import pytest
import torch
from conftest import shared

from lscht_ray import data
from lscht_ray.annotations import read
from lscht_ray.batch import Batch
from lscht_ray.transforms import ClipFormat, EvaluationTransform, TrainingTransform

FORM = ClipFormat(24, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
AUGMENT = {"crop_scale_min": 0.8, "flip_probability": 0.5, "brightness": 0.2, "contrast": 0.2}


def dataset(folder: Path, split: str = "train", seed: int = 3) -> data.ClipDataset:
    transform = TrainingTransform(FORM, **AUGMENT) if split == "train" else EvaluationTransform(FORM)
    return data.ClipDataset(read(folder).split(split), transform=transform, num_frames=4, decoder="auto", seed=seed)


def epoch(folder: Path, number: int, *, workers: int = 0, batch_size: int = 4, **share: int) -> list[Batch]:
    loader = data.build_loader(
        dataset(folder), batch_size=batch_size, num_workers=workers, shuffle=True, pin_memory=False, **share
    )
    loader.sampler.set_epoch(number)  # type: ignore[attr-defined]
    return list(loader)


def test_labels_are_known_without_opening_a_video(small: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(small, tmp_path / "copy")
    for video in copy.rglob("*.mp4"):
        video.write_bytes(b"not opened")
    assert dataset(copy).get_labels() == dataset(small).get_labels() == [0] * 6 + [1] * 4 + [2] * 2


def test_workers_do_not_change_the_clips(small: Path) -> None:
    alone, helped = epoch(small, 2), epoch(small, 2, workers=2)
    assert [batch.videos for batch in alone] == [batch.videos for batch in helped]
    for one, other in zip(alone, helped, strict=True):
        assert torch.equal(one.pixel_values, other.pixel_values)


def test_every_epoch_has_its_own_order_and_draws(small: Path) -> None:
    first, second = epoch(small, 1), epoch(small, 2)
    assert sorted(v for b in first for v in b.videos) == sorted(v for b in second for v in b.videos)
    assert [b.videos for b in first] != [b.videos for b in second]
    by_video = [{v: clip for b in e for v, clip in zip(b.videos, b.pixel_values, strict=True)} for e in (first, second)]
    assert any(not torch.equal(by_video[0][video], by_video[1][video]) for video in by_video[0])


@pytest.mark.parametrize("world", [1, 2, 5])
def test_each_clip_comes_once_over_all_workers_and_padding_is_masked(small: Path, world: int) -> None:
    shares = [epoch(small, 1, rank=rank, world=world) for rank in range(world)]
    assert len({sum(len(batch.videos) for batch in share) for share in shares}) == 1  # equally many steps
    seen = [
        video for share in shares for batch in share for video, ok in zip(batch.videos, batch.mask, strict=True) if ok
    ]
    assert sorted(seen) == sorted(str(sample.video) for sample in read(small).split("train"))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_evaluation_is_shared_without_padding(world: int) -> None:
    positions = [
        p for rank in range(world) for p in data.EpochSampler(7, shuffle=False, seed=0, rank=rank, world=world)
    ]
    assert sorted(index for _, index in positions) == list(range(7))


def test_an_unreadable_video_is_masked_and_named_never_swapped(small: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(small, tmp_path / "copy")
    broken = sorted(copy.rglob("train/casa/*.mp4"))[:2]
    broken[0].write_bytes(b"")
    broken[1].write_bytes(broken[1].read_bytes()[:700])
    batches = epoch(copy, 1)
    failures = dict(failure for batch in batches for failure in batch.failures)
    assert failures.keys() == {str(path) for path in broken}
    assert "empty (0 bytes)" in failures[str(broken[0])]
    masked = [v for b in batches for v, ok in zip(b.videos, b.mask, strict=True) if not ok]
    assert sorted(masked) == sorted(failures)
    assert all(b.pixel_values[i].abs().sum() == 0 for b in batches for i in range(len(b.mask)) if not b.mask[i])


def test_real_clips() -> None:
    found = read(shared("wlasl10"))
    assert [len(found.split(split)) for split in ("train", "val", "test")] == [200, 45, 35]
    clips = data.ClipDataset(
        found.split("val")[:3], transform=EvaluationTransform(FORM), num_frames=16, decoder="auto", seed=0
    )
    batch = data.collate([clips[(0, index)] for index in range(3)])
    assert batch.pixel_values.shape == (3, 16, 3, 24, 24)
    assert bool(batch.mask.all())
