"""Fills the clip cache: decodes each video once per node, in child processes, at the first look, on first use or ahead.

`Keeper` keeps what a first look decodes anyway; `fill` decodes whatever is then missing.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from rich.console import Console

from lscht_ray.clips import _questions
from lscht_ray.clips._cache import ClipCache
from lscht_ray.dataset.annotations import Annotations
from lscht_ray.dataset.samples import Clip, content_name
from lscht_ray.errors import InputError
from lscht_ray.host import disk
from lscht_ray.host.children import KillablePool
from lscht_ray.host.console import EpochProgress
from lscht_ray.host.cpus import usable_cpus
from lscht_ray.host.files import slug
from lscht_ray.settings.data import DataConfig
from lscht_ray.shown import counted

VERSION = 1
"""Raise it where cached clips get other bytes."""
DECODED = "decoded.txt"
"""File in each set: a line for every video that was decoded for it."""
PROGRAM = "lscht_ray.clips._store"
KEPT_TIME = 1 / 2
"""What keeping a new video's frames may take, as a share of the time for a look alone, and besides it."""
SMALL_BUILD = 8
"""Each child gets at least so many clips: starting one takes as long as decoding a few."""
GB = 2**30


@dataclass(frozen=True)
class Filled:
    """The cache as a run finds it.

    Attributes:
        cache: The cache; None: there is none.
        complete: Whether every clip is in it.
        decoded: Videos that were decoded for it now.
    """

    cache: ClipCache | None
    complete: bool = False
    decoded: int = 0


def fill(
    root: Path, clips: Sequence[Clip], config: DataConfig, short_side: int, screen: Console, *, build: bool = True
) -> Filled:
    """Open the cache of a data set, and decode the clips that aren't in it yet.

    Args:
        root: The data set, as its annotations name it.
        clips: The clips that are needed.
        config: The settings; with ``cache: off`` nothing is done.
        short_side: Of the decoded pictures, in pixels.
        screen: Where progress is shown, and once why there is no cache.
        build: False: cached clips are used, none is added.

    Raises:
        InputError: The user asked for a cache that can't be: on a network file system, in a folder that can't be
            written.
    """
    if config.cache == "off":
        return Filled(None)
    try:
        cache = ClipCache(_set_folder(root, config, short_side))
    except InputError as error:
        if config.cache != "auto" or config.cache_dir is not None:
            raise
        screen.print(f"no clip cache: {error}")
        return Filled(None)
    decoded = _build(cache, clips, config, short_side, screen) if build else 0
    if decoded is None:
        cache.release()
        return Filled(None)
    return Filled(cache, not cache.missing([clip.key for clip in clips]), decoded)


def _set_folder(root: Path, config: DataConfig, short_side: int) -> Path:
    """The folder of a data set's clips as these settings decode them.

    Raises:
        InputError: There can be no cache.
    """
    settings = (short_side, config.pixel_format, config.decoder, config.salvage, config.cache_max_frames)
    name = f"{slug(root.name) or 'data'}-{content_name(root, VERSION, av.__version__, *settings)[:12]}"
    return disk.find_root(config.cache, config.cache_dir) / name


def decodes(config: DataConfig) -> int:
    """How many videos have been decoded into this node's cache so far."""
    try:
        root = disk.find_root(config.cache, config.cache_dir)
        return sum(log.read_bytes().count(b"\n") for log in root.glob(f"*/{DECODED}"))
    except (InputError, OSError):
        return 0


def _limit(config: DataConfig) -> int | None:
    """Bytes that the cache may take; None: what the disk has."""
    return None if config.cache_gb is None else int(config.cache_gb * GB)


def _count(cache: ClipCache, video: object) -> None:
    """Put on record that a video was decoded for the cache."""
    path = cache.folder / DECODED
    with contextlib.suppress(OSError), path.open("a", encoding="utf-8", errors="surrogateescape") as log:
        log.write(f"{video}\n")  # fails on a full disk


def _report(cache: ClipCache, decoded: int, started: float, screen: Console) -> None:
    size, seconds = disk.size_of(cache.folder) / GB, time.monotonic() - started
    screen.print(f"clip cache {cache.folder}: {counted(decoded, 'clip')} decoded in {seconds:.1f} s, {size:.2f} GiB")


# ---------------------------------------------------------------- at the first look


class Keeper:
    """Keeps the frames that a first look at new videos decodes anyway (`checking.survey.Keeper`).

    Only plain cases are kept: read with PyAV, no box, whole, and not too long. `fill` decodes all others.
    """

    def __init__(
        self,
        config: DataConfig,
        short_side: Callable[[], int | None],
        screen: Console,
        splits: Sequence[str] = ("train", "val"),
    ) -> None:
        """Make a keeper.

        Args:
            config: The settings.
            short_side: Says at which short side in pixels the run will decode, or None where nobody knows yet; called
                only where there are new videos.
            screen: Where the number of decoded videos is reported.
            splits: Only videos of these are kept.
        """
        self.config, self.short_side, self.screen, self.splits = config, short_side, screen, splits

    @contextlib.contextmanager
    def keeping(self, annotations: Annotations) -> Iterator["_Keeping | None"]:
        """Open the cache for a first look; None where it can't be filled now."""
        started = time.monotonic()
        short_side = None if self.config.cache == "off" or self.config.decoder == "decord" else self.short_side()
        cache = None if short_side is None else self._cache(annotations.root, short_side)
        if cache is None:
            yield None
            return
        try:
            with cache.building(None) as free:
                if not free:  # another process fills it; `fill` decodes what is missing after that
                    yield None
                    return
                keep = {
                    "folder": str(cache.folder),
                    "short_side": short_side,
                    "pixel_format": self.config.pixel_format,
                    "max_frames": self.config.cache_max_frames,
                    "min_frames": self.config.min_frames,
                }
                room = disk.make_room(cache.folder.parent, 0, _limit(self.config), cache.folder)
                keeping = _Keeping(cache, keep, self._plain_videos(annotations), room)
                yield keeping
                if keeping.kept:
                    _report(cache, len(keeping.kept), started, self.screen)
        finally:
            cache.release()

    def _cache(self, root: Path, short_side: int) -> ClipCache | None:
        try:
            return ClipCache(_set_folder(root, self.config, short_side))
        except (InputError, OSError):  # `fill` reports it
            return None

    def _plain_videos(self, annotations: Annotations) -> frozenset[Path]:
        samples = [sample for sample in annotations.samples if sample.split in self.splits]
        return frozenset(sample.video for sample in samples if not (self.config.crop_to_bbox and sample.box))


class _Keeping:
    """A first look under way (`checking.survey.Keeping`)."""

    program = PROGRAM

    def __init__(self, cache: ClipCache, keep: dict[str, Any], videos: frozenset[Path], room: int) -> None:
        self.cache, self.videos, self.room = cache, videos, room
        self.kept: list[Path] = []
        # One object for all questions: each is written to its child only in its turn, so that clearing this ends the
        # keeping for all questions that still wait.
        self._keep = keep
        if room <= 0:
            keep.clear()

    def addition(self, video: Path, seconds: float) -> dict[str, Any]:
        if video not in self.videos:
            return {}
        besides = KEPT_TIME * seconds
        return {"keep": self._keep, "keep_seconds": besides, "seconds": seconds + besides}

    def answered(self, video: Path, content: dict[str, Any]) -> None:
        if content.get("kept"):
            self.kept.append(self.cache.folder / content["kept"])
            _count(self.cache, video)
            self.room -= content["bytes"]
        if self.room <= 0 or content.get("no_room") or not self._keep:
            # They don't all fit. `fill`, which will know how large they are, makes room for all of them or for none.
            self._keep.clear()  # children that are at work may still write some: these are removed too
            for path in self.kept:
                path.unlink(missing_ok=True)
            self.kept.clear()


# ---------------------------------------------------------------- what is missing


def _build(cache: ClipCache, clips: Sequence[Clip], config: DataConfig, short_side: int, screen: Console) -> int | None:
    """Decode what is missing. Returns how many videos that were, or None where there is no room for them."""
    if not _wanted(cache, clips, config):
        return 0
    wait = "another process fills the clip cache: waiting for it"
    with cache.building(lambda: screen.print(wait)):
        wanted = _wanted(cache, clips, config)
        if not wanted:
            return 0
        needed = sum(_questions.bytes_of(clip, config, short_side) for clip in wanted)
        root = cache.folder.parent
        room = disk.make_room(root, needed, _limit(config), cache.folder)
        if room < needed:
            allowed = "" if config.cache_gb is None else f" (cache_gb {config.cache_gb:g})"
            screen.print(
                f"no clip cache: it takes {needed / GB:.2f} GiB, {root} has room for {max(room, 0) / GB:.2f}{allowed};"
                " every clip is decoded each time it is used"
            )
            return None
        return _decode_all(cache, wanted, config, short_side, screen)


def _wanted(cache: ClipCache, clips: Sequence[Clip], config: DataConfig) -> list[Clip]:
    """One clip for each missing entry, without those that are too long to be kept."""
    by_key = {clip.key: clip for clip in clips if _questions.frames_of(clip, config) <= config.cache_max_frames}
    return [by_key[key] for key in cache.missing(list(by_key))]


def _decode_all(
    cache: ClipCache, wanted: list[Clip], config: DataConfig, short_side: int, screen: Console
) -> int | None:
    """Decode these clips in child processes. Returns how many were decoded, or None where the disk filled up."""
    started, decoded, full = time.monotonic(), 0, False
    seconds = max(60.0, 4 * config.probe_seconds)
    cut = [clip for clip in wanted if _questions.is_cut(clip, config)]
    questions = [
        _questions.question(cache, clip, config, short_side, seconds)
        for clip in wanted
        if not _questions.is_cut(clip, config)
    ]
    processes = max(1, min(usable_cpus(), len(questions) // SMALL_BUILD if not cut else usable_cpus()))
    questions += _questions.cuts_of(cache, cut, config, short_side, seconds, processes)
    with (
        KillablePool([sys.executable, "-m", PROGRAM], processes=processes, seconds=seconds) as pool,
        EpochProgress(screen, "filling the clip cache", len(wanted)) as progress,
    ):
        for question, answer in pool.map(questions, lambda question, content: progress.show(frames=content["frames"])):
            clips = len(question["cuts"]) if "cuts" in question else 1
            if answer.content.get("frames"):
                decoded += clips - len(answer.content.get("errors", ()))
                _count(cache, question["path"])
            elif answer.content.get("error") == "no_room":
                full = True
                break
            for _ in range(clips):
                progress.advance()
    if full:
        for clip in wanted:  # a full disk is of no use; children may have written files nobody asked about yet
            cache.path(clip.key).unlink(missing_ok=True)
        screen.print(f"no clip cache: {cache.folder} is full; every clip is decoded each time it is used")
        return None
    _report(cache, decoded, started, screen)
    return decoded
