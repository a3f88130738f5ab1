"""Fills the clip cache: decodes each video once per node, in child processes, on first use or ahead of it."""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import av
from rich.console import Console

from lscht_ray.clips import _cache
from lscht_ray.clips._cache import ClipCache, clip_key
from lscht_ray.dataset.annotations import Annotations, Sample
from lscht_ray.errors import InputError
from lscht_ray.host import disk
from lscht_ray.host.children import KillablePool
from lscht_ray.host.console import EpochProgress
from lscht_ray.host.cpus import usable_cpus
from lscht_ray.host.files import slug
from lscht_ray.settings.data import DataConfig
from lscht_ray.video import pictures

VERSION = 1
"""Raise it where cached clips get other bytes."""
DECODED = "decoded.txt"
"""In each set: a line for every video that was decoded for it."""
SMALL_BUILD = 8
"""Each child gets at least so many clips: starting one takes as long as decoding a few."""
GB = 2**30


@dataclass(frozen=True)
class Filled:
    """The cache as a run finds it: `samples` know their keys; `complete` where every one of them is cached."""

    clips: ClipCache | None
    found: Annotations
    complete: bool = False
    decoded: int = 0


def fill(found: Annotations, config: DataConfig, short_side: int, screen: Console, *, build: bool = True) -> Filled:
    """Open the cache of a data set, and decode what isn't in it yet.

    Args:
        found: What `survey.trusted` returned.
        config: The settings; with ``cache: off`` nothing is done.
        short_side: In pixels, of the decoded pictures.
        screen: Where progress is shown, and once why there is no cache.
        build: False: what is there is used, nothing is added.

    Raises:
        InputError: A cache was asked for that can't be: on a network file system, in a folder that can't be written.
    """
    if config.cache == "off":
        return Filled(None, found)
    try:
        root = disk.find_root(config.cache, config.cache_dir)
    except InputError as error:
        if config.cache != "auto" or config.cache_dir is not None:
            raise
        screen.print(f"no clip cache: {error}")
        return Filled(None, found)
    settings = (short_side, config.pixel_format, config.decoder, config.salvage, config.cache_max_frames)
    name = f"{slug(found.root.name) or 'data'}-{clip_key(found.root, VERSION, av.__version__, *settings)[:12]}"
    clips = ClipCache(root / name)
    keyed = tuple(replace(sample, key=_key(sample, config)) for sample in found.samples)
    found = replace(found, samples=keyed)
    decoded = _build(clips, keyed, config, short_side, screen) if build else 0
    if decoded is None:
        clips.release()
        return Filled(None, found)
    missing = clips.missing([sample.key for sample in keyed])
    return Filled(clips, found, not missing, decoded)


def decodes(config: DataConfig) -> int:
    """How many videos have been decoded into this node's cache so far."""
    try:
        root = disk.find_root(config.cache, config.cache_dir)
        return sum(log.read_bytes().count(b"\n") for log in root.glob(f"*/{DECODED}"))
    except (InputError, OSError):
        return 0


def _key(sample: Sample, config: DataConfig) -> str:
    """By content: the video's bytes, and what of it is kept."""
    digest = sample.facts.sha256 if sample.facts is not None else ""
    part = (sample.span, config.boundary_shift) if _is_long(sample, config) else ""
    return clip_key(digest, sample.box, part, sample.decord)


def _is_long(sample: Sample, config: DataConfig) -> bool:
    """Of long videos only the clip's own part is kept."""
    return sample.facts is None or sample.facts.frames > config.cache_max_frames


def _build(
    clips: ClipCache, samples: tuple[Sample, ...], config: DataConfig, short_side: int, screen: Console
) -> int | None:
    """Decode what is missing; how many videos that were, or None where there is no room for them."""
    if not _wanted(clips, samples, config):
        return 0
    wait = "another process fills the clip cache: waiting for it"
    with clips.building(lambda: screen.print(wait)):
        wanted = _wanted(clips, samples, config)
        if not wanted:
            return 0
        needed = sum(_bytes(sample, config, short_side) for sample in wanted)
        limit = None if config.cache_gb is None else int(config.cache_gb * GB)
        root = clips.folder.parent
        room = disk.make_room(root, needed, limit, clips.folder)
        if room < needed:
            allowed = "" if limit is None else f" (cache_gb {config.cache_gb:g})"
            screen.print(
                f"no clip cache: it takes {needed / GB:.2f} GiB, {root} has room for {max(room, 0) / GB:.2f}{allowed};"
                " every clip is decoded each time it is used"
            )
            return None
        return _decode_all(clips, wanted, config, short_side, screen)


def _wanted(clips: ClipCache, samples: tuple[Sample, ...], config: DataConfig) -> list[Sample]:
    """One sample for each clip that isn't there, but for those that are too long to be kept."""
    by_key = {sample.key: sample for sample in samples if _frames(sample, config) <= config.cache_max_frames}
    return [by_key[key] for key in clips.missing(list(by_key))]


def _frames(sample: Sample, config: DataConfig) -> int:
    """Frames to keep, as far as that is known before decoding."""
    facts, span = sample.facts, sample.span
    if facts is None:
        return config.cache_max_frames + 1
    if not _is_long(sample, config) or span is None:
        return facts.frames
    rate = facts.fps if span.unit == "second" else 1.0
    end = facts.frames if span.end is None else min(span.end * rate, facts.frames)
    return int((end - span.start * rate) * (1 + 2 * config.boundary_shift)) + 1


def _bytes(sample: Sample, config: DataConfig, short_side: int) -> int:
    assert sample.facts is not None
    width, height = sample.facts.width, sample.facts.height
    if sample.box is not None and sample.box.unit == "share":
        width, height = (
            _side(sample.box.right - sample.box.left, width),
            _side(sample.box.bottom - sample.box.top, height),
        )
    elif sample.box is not None:
        width, height = int(sample.box.right - sample.box.left), int(sample.box.bottom - sample.box.top)
    width, height = pictures.scaled(width, height, short_side, config.pixel_format)
    per_frame = width * height * 3 // (1 if config.pixel_format == "rgb" else 2)
    return per_frame * _frames(sample, config) + 2 * _cache.PAGE + 24 * sample.facts.frames


def _side(share: float, length: int) -> int:
    return max(1, int(share * length))


def _decode_all(
    clips: ClipCache, wanted: list[Sample], config: DataConfig, short_side: int, screen: Console
) -> int | None:
    started, decoded, full = time.monotonic(), 0, False
    questions = [
        {
            "path": str(sample.video),
            "target": str(clips.path(sample.key)),
            "short_side": short_side,
            "decoder": config.decoder if sample.decord else "pyav",
            "salvage": config.salvage,
            "pixel_format": config.pixel_format,
            "box": sample.box,
            "span": sample.span if _is_long(sample, config) else None,
            "margin": config.boundary_shift,
            "max_frames": config.cache_max_frames,
        }
        for sample in wanted
    ]
    processes = max(1, min(usable_cpus(), len(questions) // SMALL_BUILD))
    command = [sys.executable, "-m", "lscht_ray.clips._store"]
    seconds = max(60.0, 4 * config.probe_seconds)
    with (
        KillablePool(command, processes=processes, seconds=seconds) as pool,
        EpochProgress(screen, "filling the clip cache", len(questions)) as progress,
        (clips.folder / DECODED).open("a", encoding="utf-8", errors="surrogateescape") as log,
    ):
        for question, answer in pool.map(questions):
            if answer.content.get("frames"):
                decoded += 1
                log.write(f"{question['path']}\n")
            elif answer.content.get("error") == "no_room":
                full = True
                break
            progress.advance()
    if full:
        for question in questions:  # a disk filled to the brim helps nobody; a child may have written one unasked for
            Path(str(question["target"])).unlink(missing_ok=True)
        screen.print(f"no clip cache: {clips.folder} is full; every clip is decoded each time it is used")
        return None
    size = disk.size_of(clips.folder) / GB
    screen.print(
        f"clip cache {clips.folder}: {decoded} videos decoded in {time.monotonic() - started:.1f} s, {size:.2f} GiB"
    )
    return decoded
