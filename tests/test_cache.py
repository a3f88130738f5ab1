"""The clip cache under every fault: killed builders, flipped bits, full disks, changed videos, eviction."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from lscht_ray.artifacts.recorder import RunFolders
from lscht_ray.checking import survey
from lscht_ray.checking.usable import ClipSet
from lscht_ray.clips import _cache, fill
from lscht_ray.clips._cache import BrokenClipError, ClipCache, Entry, write_entry
from lscht_ray.clips.dataset import ClipReader
from lscht_ray.dataset import annotations
from lscht_ray.dataset.samples import make_clip
from lscht_ray.errors import InputError
from lscht_ray.host import disk
from lscht_ray.host.console import quiet_console
from lscht_ray.host.disk import file_system, find_root, make_room
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training import run as training
from lscht_ray.video.span import Span
from support.data import draw
from support.doors import FAST, Door, refused
from support.kills import KillPoint, in_children
from support.media import paint

GB = 2**30


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Class folders of 24 clips."""
    for number in range(24):
        split = ("train", "train", "val", "test")[number % 4]
        draw(tmp_path / "data" / split / ("casa", "tú")[number // 4 % 2] / f"{number}.mp4", number % 6, number)
    return tmp_path / "data"


class Result(NamedTuple):
    """A data set and its cache."""

    found: ClipSet
    cache: ClipCache | None
    complete: bool
    decoded: int


def cached(found: ClipSet, config: TrainConfig) -> Result:
    result = fill.fill(found.annotations.root, found.clips, config, 54, quiet_console())
    return Result(found, result.cache, result.complete, result.decoded)


def filled(data: Path, root: Path, **settings: Any) -> Result:
    config = TrainConfig(data=str(data), **{"cache": "disk", "cache_dir": str(root), **settings})
    found = survey.trusted(annotations.read(data), config, quiet_console())
    return cached(found, config)


def everything(result: Result) -> list[bytes]:
    """The first frames of every clip, as a loader reads them."""
    reader = ClipReader(54, cache=result.cache)
    return [reader.read(s, lambda times: np.arange(4))[0].tobytes() for s in result.found.clips]


def files(root: Path) -> list[Path]:
    return sorted(root.rglob(f"*{_cache.SUFFIX}"))


def decoded(root: Path) -> int:
    return sum(path.read_text().count("\n") for path in root.rglob(fill.DECODED))


def test_each_video_is_decoded_once_and_a_changed_one_again(clips: Path, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    plain = everything(filled(clips, root, cache="off"))
    first = filled(clips, root)
    assert (first.complete, first.decoded, len(files(root))) == (True, 24, 24)
    assert everything(first) == plain
    again = filled(clips, root)
    assert (again.complete, again.decoded, decoded(root)) == (True, 0, 24)
    draw(clips / "train" / "casa" / "0.mp4", 3, 99)
    changed = filled(clips, root)
    assert (changed.complete, changed.decoded, decoded(root)) == (True, 1, 25)
    assert everything(changed) == everything(filled(clips, root, cache="off")) != plain
    other = filled(clips, root, pixel_format="yuv420")
    assert other.decoded == 24
    assert sum(path.stat().st_size for path in files(root)) > 0
    assert other.cache is not None
    sizes = [path.stat().st_size for path in files(other.cache.folder)]
    assert max(sizes) < 0.65 * max(path.stat().st_size for path in files(first.cache.folder))  # type: ignore[union-attr]


def test_long_videos_keep_the_clips_own_part(tmp_path: Path) -> None:
    paint(tmp_path / "data" / "train" / "a" / "long.mp4", frames=200)
    paint(tmp_path / "data" / "val" / "a" / "short.mp4", frames=30)
    config = TrainConfig(
        data=str(tmp_path / "data"),
        cache="disk",
        cache_dir=str(tmp_path / "c"),
        cache_max_frames=50,
        boundary_shift=0.1,
    )
    found = survey.trusted(annotations.read(tmp_path / "data"), config, quiet_console())
    cut = tuple(
        make_clip(clip.sample, clip.facts, Span(100, 130) if clip.video.stem == "long" else None, None, config)
        for clip in found.clips
    )
    result = cached(replace(found, clips=cut), config)
    assert result.complete
    assert result.cache is not None
    entry = result.cache.entry(result.found.split("train")[0].key)
    assert entry is not None
    assert (entry.start, len(entry.frames), len(entry.times)) == (97, 36, 200)
    out = np.zeros((2, entry.frames.shape[1]), np.uint8)
    assert entry.take(np.array([100, 132]), out)
    assert not entry.take(np.array([5, 100]), out)  # not kept: it will be decoded
    whole = cached(found, config)  # without its range the long one is too long
    assert not whole.complete


BUILD = """
import sys
from lscht_ray.checking import survey
from lscht_ray.clips import fill
from lscht_ray.dataset import annotations
from lscht_ray.host import console
from lscht_ray.settings.train import TrainConfig
config = TrainConfig(data=sys.argv[1], cache="disk", cache_dir=sys.argv[2])
found = survey.trusted(annotations.read(config.data), config, console.quiet_console())
print("ready", flush=True)
result = fill.fill(found.annotations.root, found.clips, config, 54, console.new_console())
print("decoded", result.decoded, result.complete, flush=True)
"""


def builder(clips: Path, root: Path, environment: dict[str, str] | None = None) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", BUILD, str(clips), str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def test_two_builders_at_once_share_the_work(clips: Path, tmp_path: Path) -> None:
    filled(clips, tmp_path / "other")  # so that both start decoding at once
    processes = [builder(clips, tmp_path / "cache") for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert all(process.returncode == 0 for process in processes), said
    assert sorted(int(text.split("decoded ")[-1].split()[0]) for text in said) == [0, 24], said
    assert decoded(tmp_path / "cache") == 24
    assert all(text.split()[-1] == "True" for text in said)


KILLS = {
    "before the first clip": KillPoint("open", "decoded.txt"),
    "with a clip begun": KillPoint("open", ".clip*", 3, "both"),
    "with a clip written but not renamed": KillPoint("os.rename", ".clip", 3, "both"),
    "alone, while its child goes on": KillPoint("os.rename", ".clip", 3, "parent"),
    "with many clips there": KillPoint("os.rename", ".clip", 8, "both"),  # one of at most 3 children gets so far
}
"""When a builder is killed, with the child that decodes for it or alone."""


@pytest.mark.parametrize("when", KILLS)
def test_a_killed_builder_leaves_nothing_that_is_taken_for_whole(clips: Path, tmp_path: Path, when: str) -> None:
    plain = everything(filled(clips, tmp_path, cache="off"))
    root = tmp_path / "cache"
    with builder(clips, root, in_children(KILLS[when], tmp_path / "kill")) as process:
        said, _ = process.communicate(timeout=120)
    assert (process.returncode, said) == (-signal.SIGKILL, "ready\n")
    for path in files(root):
        Entry(path)  # each that bears the name is whole
    after = filled(clips, root)
    assert after.complete
    assert everything(after) == plain
    assert [path for path in root.rglob(".*") if path.is_file()] == []


def test_a_flipped_bit_is_found_and_the_clip_decoded_again(clips: Path, tmp_path: Path) -> None:
    result = filled(clips, tmp_path)
    plain = everything(result)
    assert result.cache is not None
    for where in ("header", "frame", "length"):
        path = files(tmp_path)[5]
        content = bytearray(path.read_bytes())
        content[{"header": 40, "frame": _cache.PAGE + 9000, "length": 5}[where]] ^= 4
        path.write_bytes(content[:-1] if where == "length" else content)
        fresh = filled(clips, tmp_path, cache="disk") if where == "frame" else None
        if fresh is None:
            with pytest.raises(BrokenClipError):
                Entry(path)
            fresh = result._replace(cache=ClipCache(result.cache.folder))
        assert everything(fresh) == plain  # decoded instead
        assert not path.exists()
        assert filled(clips, tmp_path).decoded == 1  # and put back


def test_a_full_disk_is_said_once_and_training_goes_on(clips: Path, tmp_path: Path, door: Door) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        flags = ("--data", clips, *FAST, "--max_epochs", 2, "--cache_dir", small)
        result = door("train", *flags, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("no clip cache") == 1
        assert files(small) == []
        # The same when the estimate was too low and the disk fills up on the way.
        config = TrainConfig(data=str(clips), cache="disk", cache_dir=str(small))
        found = survey.trusted(annotations.read(clips), config, quiet_console())
        held = ClipCache(small / "set")
        assert fill._decode_all(held, list(found.clips), config, 54, quiet_console()) is None
        assert files(small) == []
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_folder_that_can_not_be_written(clips: Path, tmp_path: Path, door: Door) -> None:
    (tmp_path / "file").write_text("in the way")
    result = door("train", "--data", clips, *FAST, "--cache_dir", tmp_path / "file" / "x", cwd=tmp_path)
    refused(result, "cache_dir", "is no folder")
    with pytest.raises(InputError, match="can't be written"):
        find_root("disk", "/proc/nothing")


def test_a_network_file_system_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(disk, "file_system", lambda path: "nfs4")
    with pytest.raises(InputError, match=r"on another machine \(nfs4\): give --cache_dir"):
        find_root("disk", str(tmp_path))


def test_ram_is_a_tmpfs() -> None:
    if not disk.SHM.is_dir():
        pytest.skip("there is no /dev/shm here")
    assert file_system(find_root("ram", None)) == "tmpfs"


def test_without_room_the_longest_unused_sets_make_way(clips: Path, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    old, used = filled(clips, root), filled(clips, root, pixel_format="yuv420")
    assert old.cache is not None
    assert used.cache is not None
    os.utime(old.cache.folder / "in_use", (1, 1))
    size = disk.size_of(root)
    assert make_room(root, size, size, tmp_path) < size  # both are in use: nothing is removed
    old.cache.release()
    assert make_room(root, disk.size_of(old.cache.folder), size, used.cache.folder) > 0
    assert not old.cache.folder.exists()
    assert used.cache.folder.exists()
    limit = (disk.size_of(root) + 4096) / GB  # no room, and what is there is in use: no cache, and nothing lost
    third = filled(clips, root, cache_gb=limit)
    assert (third.cache, third.complete) == (None, False)
    assert everything(third) == everything(filled(clips, root, cache="off"))


def test_a_reader_goes_on_while_another_evicts(clips: Path, tmp_path: Path) -> None:
    result = filled(clips, tmp_path)
    plain = everything(result)
    assert result.cache is not None
    shutil.rmtree(result.cache.folder)  # rougher than any eviction
    assert everything(result) == plain  # open files stay readable, the others are decoded
    assert everything(result._replace(cache=ClipCache(result.cache.folder))) == plain
    rebuilt = filled(clips, tmp_path)
    assert (rebuilt.complete, rebuilt.decoded) == (True, 24)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (7, 5, 4, 3), dtype=np.uint8)
    write_entry(tmp_path / "x.clip", frames, (5, 4), np.arange(9) / 25, 2)
    entry = Entry(tmp_path / "x.clip")
    assert (entry.size, entry.start) == ((5, 4), 2)
    np.testing.assert_allclose(entry.times, np.arange(9) / 25)
    out = np.zeros((3, 60), np.uint8)
    assert entry.take(np.array([2, 8, 8]), out)
    assert np.array_equal(out, frames[[0, 6, 6]].reshape(3, -1))


def test_every_mode_trains_to_the_same_weights(clips: Path, tmp_path: Path) -> None:
    small: dict[str, Any] = {"model_name": "tiny", "num_workers": 0, "num_frames": 4, "image_size": 24, "batch_size": 4}
    weights = {}
    for mode in ("off", "auto", "disk", "ram", "device"):
        config = TrainConfig(data=str(clips), max_epochs=2, cache=mode, cache_dir=str(tmp_path / "c"), **small)
        folders = RunFolders(tmp_path / mode, tmp_path / "logs" / mode)
        training.run(config, folders, screen=quiet_console())
        weights[mode] = torch.load(folders.run / "best_model.pt", weights_only=True)["model"]
    for mode, found in weights.items():
        assert all(torch.equal(weights["off"][name], found[name]) for name in found), mode
    assert decoded(tmp_path / "c") == 18


def test_check_builds_the_cache_ahead(clips: Path, door: Door, tmp_path: Path) -> None:
    flags = ("--image_size", 24, "--cache_dir", tmp_path / "c")
    result = door("check", clips, "--build-cache", *flags, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "24 clips decoded" in result.stdout
    trained = door("train", "--data", clips, *FAST, "--max_epochs", 1, "--cache_dir", tmp_path / "c", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "clips decoded" not in trained.stdout
    assert decoded(tmp_path / "c") == 24
