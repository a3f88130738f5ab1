"""The first look at new videos fills the cache in the same pass, with the bytes that a pass of its own would write."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lscht_ray.checking import survey
from lscht_ray.checking.usable import ClipSet
from lscht_ray.clips import _cache, fill
from lscht_ray.clips._store import _Gathered
from lscht_ray.dataset import annotations
from lscht_ray.dataset.samples import Sample, make_clip
from lscht_ray.host import disk
from lscht_ray.host.console import quiet_console
from lscht_ray.settings.data import DataConfig
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training import data
from lscht_ray.video.facts import Facts
from lscht_ray.video.probe import find_facts
from lscht_ray.video.span import Box, Span
from support.data import shared
from support.kills import KillPoint, in_children
from support.media import damaged, paint, rotated

SIDE = 54
CHILD = """
import os, time, av
opened = av.open
def av_open(file, *args, **more):
    with open({counter!r}, "a") as log:
        log.write(str(file).removeprefix("file:") + "\\n")
    while {stuck!r} and str(file).endswith({stuck!r}):
        time.sleep(0.1)
    return opened(file, *args, **more)
av.open = av_open
"""
"""Run by every child as it starts: counts the videos that are opened for decoding, and hangs on one."""


def watched(monkeypatch: pytest.MonkeyPatch, folder: Path, stuck: str = "") -> Callable[[], Counter[str]]:
    """From now on children count the videos that they open, by name; they hang on the one whose name ends like that."""
    folder.mkdir()
    counter = folder / "opened"
    (folder / "sitecustomize.py").write_text(CHILD.format(counter=str(counter), stuck=stuck))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return lambda: Counter(Path(line).name for line in counter.read_text().splitlines())


def settings(folder: Path, cache: Path, **more: Any) -> TrainConfig:
    return TrainConfig(data=str(folder), short_side=SIDE, cache="disk", cache_dir=str(cache), **more)


def looked(config: TrainConfig, *, keep: bool) -> ClipSet:
    keeper = fill.Keeper(config, lambda: data.short_side(config), quiet_console()) if keep else None
    return survey.trusted(annotations.read(config.data), config, quiet_console(), keeper=keeper)


def filled(found: ClipSet, config: TrainConfig) -> fill.Filled:
    used = found.split("train") + found.split("val")
    return fill.fill(found.annotations.root, used, config, SIDE, quiet_console())


def entries(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.rglob(f"*{_cache.SUFFIX}")}


def decoded(root: Path) -> list[str]:
    return sorted(Path(line).name for log in root.rglob(fill.DECODED) for line in log.read_text().splitlines())


def forget(folder: Path) -> None:
    """Remove the record of what videos hold."""
    (folder / ".lscht_ray" / "facts.jsonl").unlink()


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Class folders of two glosses, 8 plain videos of several kinds: 5 train, 2 val, 1 test."""
    folder = tmp_path / "data"
    train = folder / "train" / "a"
    paint(train / "plain.mp4")
    paint(train / "odd.mp4", pixels="yuv444p", size=(133, 97))
    paint(train / "variable.mp4", times=[40 * k + (k % 7) * 5 for k in range(40)])
    paint(train / "hidden.mp4", options={"bf": "3", "g": "12"}, hidden=10)
    paint(folder / "train" / "b" / "flash.flv", options={"bf": "2"})
    paint(folder / "val" / "a" / "small.mp4", size=(40, 32))
    rotated(train / "plain.mp4", folder / "val" / "a" / "turned.mp4", 90)
    paint(folder / "test" / "a" / "unused.mp4", frames=20)
    return folder


def test_no_video_is_decoded_twice(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = watched(monkeypatch, tmp_path / "children")
    config = settings(videos, tmp_path / "cache")
    found = data.ready(config, quiet_console())
    result = filled(found, config)
    assert (result.complete, result.decoded) == (True, 0)
    assert opened() == {clip.video.name: 1 for clip in found.clips}
    assert len(found.clips) == 8
    assert decoded(tmp_path / "cache") == sorted(clip.video.name for clip in found.clips if clip.split != "test")
    looked(config, keep=True)
    assert set(opened().values()) == {1}  # all is known


@pytest.mark.parametrize("pixel_format", ["rgb", "yuv420"])
def test_the_entries_are_those_of_a_pass_of_its_own(videos: Path, tmp_path: Path, pixel_format: str) -> None:
    """The same facts, and the same bytes in the same files."""
    results = []
    for keep in (False, True):
        config = settings(videos, tmp_path / f"cache {keep}", pixel_format=pixel_format)
        found = looked(config, keep=keep)
        before = entries(tmp_path / f"cache {keep}")
        assert len(before) == (7 if keep else 0)
        assert filled(found, config).complete
        results.append((entries(tmp_path / f"cache {keep}"), {clip.video: clip.facts for clip in found.clips}))
        forget(videos)
    assert results[0] == results[1]


ODD_CASES: dict[str, dict[str, Any]] = {
    "salvaged": {"salvage": True},
    "long": {"cache_max_frames": 30},
    "read with decord": {"decoder": "decord"},
    "short ones left out": {"min_frames": 25},
}


@pytest.mark.parametrize("case", ODD_CASES)
def test_what_is_not_plain_is_left_to_the_second_pass(videos: Path, tmp_path: Path, case: str) -> None:
    if case == "read with decord":
        pytest.importorskip("decord", reason="decord is not installed (x86-64 only)")
    damaged(videos / "train" / "a" / "plain.mp4", videos / "train" / "a" / "broken.mp4")
    paint(videos / "val" / "a" / "short.mp4", frames=20)
    results = []
    for keep in (False, True):
        config = settings(videos, tmp_path / f"cache {keep}", **ODD_CASES[case])
        found = looked(config, keep=keep)
        result = filled(found, config)
        results.append((entries(tmp_path / f"cache {keep}"), result.complete, decoded(tmp_path / f"cache {keep}")))
        forget(videos)
    assert results[0] == results[1]


def test_real_clips_are_kept_as_they_would_be_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = annotations.read(shared("wlasl10"))
    few = annotations.replace(found, samples=found.split("val")[:6])
    kept = []
    for keep in (False, True):
        config = settings(Path(shared("wlasl10")), tmp_path / f"cache {keep}")
        keeper = fill.Keeper(config, lambda: SIDE, quiet_console()) if keep else None
        monkeypatch.setenv("LSCHT_RAY_CACHE", str(tmp_path / f"facts {keep}"))  # the data can't be written into
        clips = survey.trusted(few, config, quiet_console(), keeper=keeper)
        assert filled(clips, config).decoded == (0 if keep else 6)
        kept.append(entries(tmp_path / f"cache {keep}"))
    assert len(kept[0]) == 6
    assert kept[0] == kept[1]


def test_with_boxes_nothing_is_kept(tmp_path: Path) -> None:
    paint(tmp_path / "videos" / "1.mp4")
    instance = {"video_id": "1", "split": "train", "frame_start": 1, "frame_end": -1, "bbox": [8, 8, 40, 40]}
    (tmp_path / "WLASL_v0.3.json").write_text(json.dumps([{"gloss": "go", "instances": [instance]}]))
    config = settings(tmp_path, tmp_path / "cache", crop_to_bbox=True)
    found = looked(config, keep=True)
    assert entries(tmp_path / "cache") == {}
    assert filled(found, config).decoded == 1


@pytest.mark.parametrize(
    ("more", "name"), [({"cache": "off"}, ""), ({}, "nfs4"), ({"cache_gb": 1e-6}, ""), ({"cache_gb": 3e-5}, "")]
)
def test_a_cache_that_is_off_or_has_no_room_gets_nothing(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], name: str
) -> None:
    if name:
        monkeypatch.setattr(disk, "file_system", lambda path: name)
    config = settings(videos, tmp_path / "cache").model_copy(update=more)
    assert len(looked(config, keep=True).clips) == 8
    assert entries(tmp_path / "cache") == {}


@pytest.mark.parametrize("last", [{"no_room": True}, {"kept": "2.clip", "bytes": 60}])
def test_where_there_is_no_room_what_children_write_meanwhile_is_removed_too(
    tmp_path: Path, last: dict[str, Any]
) -> None:
    cache = _cache.ClipCache(tmp_path / "set")
    keeping = fill._Keeping(cache, {"folder": str(cache.folder)}, frozenset((tmp_path / "a.mp4",)), 100)
    assert keeping.addition(tmp_path / "b.mp4", 30) == {}
    waiting = keeping.addition(tmp_path / "a.mp4", 30)
    assert waiting["keep"]
    for number, content in enumerate(({"kept": "1.clip", "bytes": 60}, last, {"kept": "3.clip", "bytes": 1})):
        (cache.folder / f"{number + 1}.clip").touch()
        keeping.answered(tmp_path / "a.mp4", content)
    assert sorted(path.name for path in cache.folder.glob("*.clip")) == (["2.clip"] if "no_room" in last else [])
    assert not waiting["keep"]  # a question that waits for its turn asks for nothing to be kept


def test_while_another_process_fills_the_cache_nothing_is_kept(videos: Path, tmp_path: Path) -> None:
    config = settings(videos, tmp_path / "cache")
    cache = _cache.ClipCache(fill._set_folder(videos, config, SIDE))
    with cache.building(None) as free:
        assert free
        assert len(looked(config, keep=True).clips) == 8
    assert entries(tmp_path / "cache") == {}


def test_a_hang_is_ended_and_named_and_the_others_are_kept(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = watched(monkeypatch, tmp_path / "children", stuck="odd.mp4")
    config = settings(videos, tmp_path / "cache", probe_seconds=4)
    found = looked(config, keep=True)
    ((video, reason),) = found.left_out
    assert video.name == "odd.mp4"
    assert reason.startswith("hang: decoding it hangs, or takes longer than probe_seconds allows")
    assert opened()["odd.mp4"] == 1
    assert len(entries(tmp_path / "cache")) == 6
    assert filled(found, config).complete


@pytest.mark.parametrize(
    "point", [KillPoint("os.rename", ".clip"), KillPoint("open", ".clip*")], ids=["before renaming", "with it begun"]
)
def test_a_child_killed_as_it_keeps_frames_costs_neither_the_facts_nor_the_entry(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: KillPoint
) -> None:
    for name, value in in_children(point, tmp_path / "kill").items():
        monkeypatch.setenv(name, value)
    config = settings(videos, tmp_path / "cache")
    found = looked(config, keep=True)
    assert (len(found.clips), found.left_out) == (8, ())
    assert entries(tmp_path / "cache") == {}  # each child was killed at its first
    monkeypatch.delenv("TEST_KILL_POINT")
    monkeypatch.delenv("PYTHONPATH")
    result = filled(found, config)
    assert (result.complete, result.decoded) == (True, 7)
    assert [path for path in (tmp_path / "cache").rglob(".*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("max_frames", "max_bytes", "seconds", "kept"),
    [(40, 10**9, 60, 40), (39, 10**9, 60, None), (40, 100_000, 60, None), (40, 10**9, -1, None)],
)
def test_frames_are_kept_only_within_limits(
    tmp_path: Path, max_frames: int, max_bytes: int, seconds: float, kept: int | None
) -> None:
    keep = {"short_side": SIDE, "pixel_format": "rgb", "max_frames": max_frames, "min_frames": 1, "folder": "nowhere"}
    gathered = _Gathered(keep, max_bytes, seconds)
    assert find_facts(str(paint(tmp_path / "clip.mp4")), gathered.add).frames == 40
    assert (gathered.frames and len(gathered.frames)) == kept


def test_after_the_look_others_may_evict_what_it_kept(videos: Path, tmp_path: Path) -> None:
    looked(settings(videos, tmp_path / "cache"), keep=True)
    (marker,) = (tmp_path / "cache").rglob(disk.IN_USE)
    with marker.open() as file:
        assert disk.flock(file.fileno(), exclusive=True, wait=False)


def test_keeping_frames_takes_nothing_of_the_time_for_the_look(tmp_path: Path) -> None:
    """So that no video is called one that hangs because its frames were kept."""
    addition = fill._Keeping(_cache.ClipCache(tmp_path), {}, frozenset([tmp_path]), 10**9).addition(tmp_path, 30)
    assert addition["keep_seconds"] > 0
    assert addition["seconds"] - addition["keep_seconds"] == 30


def test_an_error_in_keeping_does_not_harm_the_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = {
        "short_side": SIDE,
        "pixel_format": "rgb",
        "max_frames": 99,
        "min_frames": 1,
        "folder": str(tmp_path / "no"),
    }
    gathered = _Gathered(keep, 10**9, 60)
    facts = find_facts(str(paint(tmp_path / "clip.mp4")), gathered.add)
    assert gathered.write(facts.as_dict()) == {}  # there is no such folder

    def fail(frame: object) -> None:
        raise MemoryError

    gathered = _Gathered(keep, 10**9, 60)
    monkeypatch.setattr(gathered, "converter", fail)
    assert find_facts(str(tmp_path / "clip.mp4"), gathered.add) == facts
    assert gathered.frames is None


@pytest.mark.parametrize(
    ("model", "more", "side"),
    [("tiny", {}, 54), ("tiny", {"image_size": 24}, 27), ("tiny", {"short_side": 99}, 99), ("/no/such", {}, None)],
)
def test_the_short_side_is_known_before_the_model_is_built(model: str, more: dict[str, Any], side: int | None) -> None:
    assert data.short_side(TrainConfig(data="d", model_name=model, **more)) == side


# ---------------------------------------------------------------- the names of entries

KEYS: dict[str, tuple[int, str, Span | None, Box | None]] = {
    "5557248bc37251a5f5b53fbbe48d8be1": (30, "", None, None),
    "b6c3a3510852de4c8360974a6c36c20c": (30, "same", None, Box(1, 2, 30, 40)),
    "1e48c3975299126c2628e8c066c4869a": (30, "", None, Box(0.1, 0.2, 0.5, 1.0, "share")),
    "163c523857db2fe552f827235f8434a9": (600, "", None, None),
    "ae5a7d217a549d0a855f238363b7bf1e": (600, "", Span(100, 130, fps=25.0, doubtful=True), None),
    "e93bfb3d563988c67d9673ce59fa4639": (600, "", Span(0.4, None, "second"), None),
    "980c72d8ff6cc11a69a734d3b4ec8eaa": (30, "differs", None, None),
}
"""As the first release named them (frames, what decord made of it, span, box): caches of old stay good."""


@pytest.mark.parametrize("key", KEYS)
def test_entries_keep_their_names(key: str) -> None:
    frames, decord, span, box = KEYS[key]
    facts = Facts(1, 2, sha256="ab" * 32, frames=frames, decord=decord)
    sample = Sample(Path("x.mp4"), "a", 0, "train", None, None, None)
    assert make_clip(sample, facts, span, box, DataConfig(boundary_shift=0.1)).key == key


def test_a_span_of_a_short_video_changes_no_name() -> None:
    facts, config = Facts(1, 2, sha256="ab" * 32, frames=30), DataConfig()
    sample = Sample(Path("x.mp4"), "a", 0, "train", None, None, None)
    names = {make_clip(sample, facts, span, None, config).key for span in (None, Span(3, 9))}
    assert names == {"5557248bc37251a5f5b53fbbe48d8be1"}


def test_the_folder_of_a_set_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fill.av, "__version__", "18.1.0")
    config = DataConfig(cache="disk", cache_dir=str(tmp_path))
    assert fill._set_folder(Path("/data/señas"), config, 256).name.endswith("-c1f9504f47ef")
