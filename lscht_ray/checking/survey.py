"""Looks at every video of a data set before training does, and leaves out those that can't be used."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from lscht_ray.checking._inventory import Inventory, Writer
from lscht_ray.dataset.annotations import Annotations, Sample, read_named, trainable
from lscht_ray.errors import InputError
from lscht_ray.host.children import Answer, KillablePool
from lscht_ray.host.console import EpochProgress
from lscht_ray.host.cpus import usable_cpus
from lscht_ray.settings.data import CheckConfig, DataConfig
from lscht_ray.settings.train import TrainConfig
from lscht_ray.video.facts import Facts
from lscht_ray.video.span import Box, Span

GB, MB = 2**30, 2**20
DECORD_SECONDS = 10.0
"""decord has at most this long for one video."""
SALVAGEABLE = ("damaged", "truncated")
RATE_TOLERANCE = 0.01
"""Frame rates that differ by less are equal."""
BOX_TOLERANCE = 0.02
"""A box may reach so far beyond the picture, as a share of its sides."""


def ready(config: TrainConfig, screen: Console) -> Annotations:
    """The data set as training can use it: read, looked at, without what can't be used, and with something to learn.

    Raises:
        InputError: The data set can't be trained on; the message says why.
    """
    found = trainable(read_named(screen=screen, **config.data_settings()), config.untrained_glosses)
    return trainable(trusted(found, config, screen), config.untrained_glosses)


def trusted(found: Annotations, config: DataConfig, screen: Console, splits: Sequence[str] = ()) -> Annotations:
    """The data set without the clips that can't be used, and with frame ranges as they apply; says so in one line.

    Videos that are on record since an earlier check are not opened again.

    Args:
        found: What `annotations.read` returned.
        config: The settings.
        screen: Where progress and that line go.
        splits: Only the clips of these are looked at and kept; none: all.

    Raises:
        InputError: Not one clip can be used.
    """
    samples = [sample for sample in found.samples if not splits or sample.split in splits]
    if not samples:
        return replace(found, samples=())
    started = time.monotonic()
    videos = list(dict.fromkeys(sample.video for sample in samples))
    facts, new = look(videos, found.folder, config, screen, decord=config.decoder == "decord")
    result = settle(replace(found, samples=tuple(samples)), facts, config)
    kinds = Counter(reason.split(":")[0] for _, reason in result.left_out)
    if new:
        screen.print(f"looked at {new} videos in {time.monotonic() - started:.1f} s (once; kept for next time)")
    if result.left_out:
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        where = "" if splits else "; `python -m lscht_ray.check` tells more"
        screen.print(f"left out: {len(result.left_out)} of {len(samples)} clips ({listed}){where}")
    if not result.samples:
        video, reason = result.left_out[0]
        raise InputError(f"{found.root}: not one of {len(samples)} clips can be used; the first: {video}: {reason}")
    return result


def look(
    videos: Sequence[Path], folder: Path, config: DataConfig, screen: Console, *, decord: bool
) -> tuple[dict[Path, Facts], int]:
    """The facts of each video, from the record or found out now in child processes; and how many were found out.

    Args:
        videos: They exist.
        folder: The data folder, beside whose files the record is kept.
        config: Time and memory limits.
        screen: Where progress is shown.
        decord: Whether to find out too if decord returns the same frames.
    """
    inventory = Inventory(folder)

    def unknown() -> list[Path]:
        known = {video: inventory.get(video) for video in videos}
        return [video for video, facts in known.items() if facts is None or _outdated(facts, config)]

    new = unknown()
    untried = [video for video in videos if decord and video not in set(new) and _to_compare(inventory.get(video))]
    if new or untried:
        with inventory.writing() as writer, EpochProgress(screen, "looking at videos", len(videos)) as progress:
            new = unknown()  # somebody else may have looked meanwhile
            progress.skip(len(videos) - len(new))
            _probe(new, inventory, writer, config, progress)
        if decord:
            untried = [video for video in videos if _to_compare(inventory.get(video))]
            with inventory.writing() as writer, EpochProgress(screen, "comparing decoders", len(untried)) as progress:
                _compare(untried, inventory, writer, config, progress)
    return {video: facts for video in videos if (facts := inventory.get(video)) is not None}, len(new)


def children(config: DataConfig, count: int) -> KillablePool:
    """Child processes that know videos, at most one for each of ``count`` questions."""
    memory = str(int(config.probe_memory_gb * GB))
    command = [sys.executable, "-m", "lscht_ray.video.probe", memory]
    return KillablePool(command, processes=max(1, min(_processes(config), count)), seconds=config.probe_seconds)


def _processes(config: DataConfig) -> int:
    """How many videos are looked at at a time."""
    given = config.processes if isinstance(config, CheckConfig) else None
    return given or usable_cpus()


def _outdated(facts: Facts, config: DataConfig) -> bool:
    """Whether a verdict might be another with today's limits: those that limits decide are found out anew."""
    if facts.trouble == "too_large":
        return facts.size <= _max_bytes(config)
    if facts.trouble == "no_access" or (facts.trouble in ("hang", "crash") and isinstance(config, CheckConfig)):
        return True  # it may have been the moment's fault
    limits = f"[{config.probe_seconds:g} s, {config.probe_memory_gb:g} GiB]"
    return facts.trouble in ("hang", "crash", "too_much_memory") and limits not in facts.reason


def _to_compare(facts: Facts | None) -> bool:
    return facts is not None and facts.decord == "" and facts.trouble == ""


def _max_bytes(config: DataConfig) -> float:
    return (config.max_file_gb if isinstance(config, CheckConfig) else CheckConfig().max_file_gb) * GB


def _probe(
    videos: Iterable[Path], inventory: Inventory, writer: Writer, config: DataConfig, progress: EpochProgress
) -> None:
    limits = f"[{config.probe_seconds:g} s, {config.probe_memory_gb:g} GiB]"
    questions = []
    for video in videos:
        try:
            stat = video.stat()
        except OSError:  # it vanished since it was listed
            continue
        size = stat.st_size
        if size > _max_bytes(config):
            text = f"{size / GB:.1f} GiB are more than the {_max_bytes(config) / GB:g} that are opened"
            writer.add(video, Facts(size, stat.st_mtime_ns, trouble="too_large", reason=text))
            progress.advance()
        else:
            # What a large file takes is no hang: decoders read several MB of it a second.
            questions.append({"ask": "facts", "path": str(video), "seconds": config.probe_seconds + size / MB})
    with children(config, len(questions)) as pool:
        for question, answer in pool.map(questions):
            video = Path(question["path"])
            facts = _facts_of(video, answer, limits)
            if facts is not None:
                writer.add(video, facts)
            progress.advance()


def _facts_of(video: Path, answer: Answer, limits: str) -> Facts | None:
    """What a child found out, or why it didn't; None where the file has vanished."""
    if not answer.ended and "error" not in answer.content:
        facts = Facts.from_dict(answer.content)
        return replace(facts, reason=f"{facts.reason} {limits}") if facts.trouble == "too_much_memory" else facts
    try:
        stat = video.stat()
    except OSError:
        return None
    kind = {"hung": "hang", "died": "crash"}.get(answer.ended, str(answer.content.get("error")))
    said = answer.detail or answer.content.get("reason", "")
    text = {
        "hang": "decoding it hangs, or takes longer than probe_seconds allows",
        "crash": "it crashes the decoder",
    }.get(kind, "it can't be read")
    return Facts(stat.st_size, stat.st_mtime_ns, trouble=kind, reason=f"{text}: {said} {limits}")


def _compare(
    videos: list[Path], inventory: Inventory, writer: Writer, config: DataConfig, progress: EpochProgress
) -> None:
    seconds = min(DECORD_SECONDS, config.probe_seconds)
    try:
        import decord  # noqa: F401 - only whether it is there
    except ImportError:
        return
    questions = [{"ask": "decord", "path": str(video), "seconds": seconds} for video in videos]
    with children(config, len(questions)) as pool:
        for question, answer in pool.map(questions):
            video = Path(question["path"])
            verdict = {"hung": "hang", "died": "crash"}.get(answer.ended, str(answer.content.get("decord", "error")))
            facts = inventory.get(video)
            if facts is not None:
                writer.add(video, replace(facts, decord=verdict))
            progress.advance()


# ---------------------------------------------------------------- what follows from the facts


def unusable(facts: Facts | None, config: DataConfig) -> str:
    """Why a video can't be used, as `kind: reason`; nothing where it can."""
    if facts is None:
        return "unreadable: it vanished while it was looked at"
    if facts.trouble and not (config.salvage and facts.trouble in SALVAGEABLE and facts.frames):
        return f"{facts.trouble}: {facts.reason}"
    if facts.frames < config.min_frames:
        return f"few_frames: {facts.frames} frames, min_frames asks for {config.min_frames}"
    return ""


def settle(found: Annotations, facts: dict[Path, Facts], config: DataConfig) -> Annotations:
    """The annotations with what follows from the facts: clips left out, ranges and boxes as they apply."""
    kept: list[Sample] = []
    left_out: list[tuple[Path, str]] = []
    unapplied = uncut = 0
    for sample in found.samples:
        known = facts.get(sample.video)
        reason = unusable(known, config)
        if reason or known is None:
            left_out.append((sample.video, reason))
            continue
        span = applied(sample.span, known, config)
        if span is not None and beyond(span, known) == "start":
            left_out.append((sample.video, "range_beyond_clip: its range starts after the last frame"))
            continue
        unapplied += span is None and sample.span is not None and sample.span.doubtful
        box = sample.box if config.crop_to_bbox else None
        if box is not None and outside(box, known):
            box, uncut = None, uncut + 1
        kept.append(replace(sample, span=span, box=box, decord=known.decord in ("", "same"), facts=known))
    notes = list(found.notes)
    if unapplied and config.frame_ranges == "auto":
        notes.append(
            f"{unapplied} clips are annotated with a frame range and seem cut to it already: the whole clip is used"
        )
    if uncut:
        notes.append(f"the boxes of {uncut} clips reach beyond their pictures: these are used whole")
    return replace(found, samples=tuple(kept), left_out=(*found.left_out, *left_out), notes=tuple(notes))


def applied(span: Span | None, facts: Facts, config: DataConfig) -> Span | None:
    """The range of a clip as it applies to its video, in the video's own frames where their rate is the annotation's.

    A doubtful one (WLASL numbers the frames of the raw video; the clips in circulation are cut to it already) counts
    only where it starts after the first frame and ends within the video.
    """
    if span is None or config.frame_ranges == "ignore":
        return None
    if span.fps and facts.fps and abs(facts.fps / span.fps - 1) > RATE_TOLERANCE:
        end = None if span.end is None else span.end / span.fps
        span = Span(span.start / span.fps, end, "second", doubtful=span.doubtful)
    if span.doubtful and config.frame_ranges == "auto" and (span.start <= 0 or beyond(span, facts)):
        return None
    return span


def beyond(span: Span, facts: Facts) -> str:
    """Which of the ends of a range lies beyond the video: "start", "end", or neither."""
    last = facts.frames if span.unit == "frame" else facts.duration
    if span.start >= last:
        return "start"
    return "end" if span.end is not None and span.end > last * (1 + RATE_TOLERANCE) else ""


def outside(box: Box, facts: Facts) -> bool:
    """Whether a box reaches beyond the picture, as WLASL's do where the clips were made smaller."""
    width, height = (1, 1) if box.unit == "share" else (facts.width, facts.height)
    most = 1 + BOX_TOLERANCE
    return min(box.left, box.top) < -BOX_TOLERANCE * width or box.right > most * width or box.bottom > most * height
