"""Looks at every video of a data set before training does, in child processes, and leaves out what can't be used."""

import json
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from lscht_ray.checking import usable
from lscht_ray.checking._duplicates import same_files
from lscht_ray.checking._inventory import Inventory, Writer
from lscht_ray.checking.usable import ClipSet, settle, unlikely_ranges
from lscht_ray.dataset.annotations import Annotations, read_named, trainable
from lscht_ray.errors import InputError
from lscht_ray.host.children import Answer, KillablePool
from lscht_ray.host.console import EpochProgress
from lscht_ray.host.cpus import usable_cpus
from lscht_ray.settings.data import CheckConfig, DataConfig
from lscht_ray.settings.train import TrainConfig
from lscht_ray.shown import counted, shown
from lscht_ray.video.facts import Facts
from lscht_ray.video.recognise import stamp

GB, MB = 2**30, 2**20
DECORD_SECONDS = 10.0
"""Time limit for decord to read one video."""


class Keeping(Protocol):
    """A first look under way whose children keep the frames that they decode anyway.

    Attributes:
        program: The module that the children run. It answers what `video.probe` answers, under the same limits.
    """

    program: str

    def addition(self, video: Path, seconds: float) -> dict[str, Any]:
        """What is added to the question for a video's facts, so that its frames are kept; nothing: they are not.

        The look alone may take ``seconds``; what keeping takes is allowed besides.
        """
        ...

    def answered(self, video: Path, content: dict[str, Any]) -> None:
        """Take note of an answer."""
        ...


class Keeper(Protocol):
    """Keeps what a first look decodes (`clips.fill.Keeper`), so that no video is decoded twice."""

    def keeping(self, annotations: Annotations) -> AbstractContextManager[Keeping | None]:
        """Get ready for a first look at videos of a data set; None: nothing can be kept now."""
        ...


def ready(
    config: TrainConfig,
    screen: Console,
    keeper: Keeper | None = None,
    accept: Callable[[Annotations], None] = lambda annotations: None,
) -> ClipSet:
    """The data set as training can use it: read, looked at, without what can't be used, and with something to learn.

    Args:
        config: The settings.
        screen: Where progress is shown.
        keeper: Keeps the frames of videos that are new.
        accept: Gets what the annotations say before the first video is opened, and may refuse it.

    Raises:
        InputError: The data set can't be trained on; the message says why.
    """
    annotations = trainable(read_named(screen=screen, **config.data_settings()), config.untrained_glosses)
    accept(annotations)
    clip_set = trusted(annotations, config, screen, keeper=keeper).trainable(config.untrained_glosses)
    for line in _severe(clip_set, config):
        screen.print(line)
    return clip_set


def _severe(clip_set: ClipSet, config: DataConfig) -> Iterator[str]:
    """A line for each kind of what `check` calls an error and training can go on with: clips that are there twice."""
    facts = {clip.video: clip.facts for clip in clip_set.clips}
    pairs = list(same_files(clip_set.annotations, facts))
    for count, words in (
        (sum(one.gloss != other.gloss for one, other in pairs), "under two glosses, of which one is wrong"),
        (sum(one.split != other.split for one, other in pairs), "in two splits, which makes the figures too good"),
    ):
        if count:
            pairs_are = counted(count, "pair of clips is", "pairs of clips are")
            yield f"warning: {pairs_are} the same file {words}; which: {_check_command(config)}"


def trusted(
    annotations: Annotations,
    config: DataConfig,
    screen: Console,
    *,
    splits: Sequence[str] = (),
    keeper: Keeper | None = None,
) -> ClipSet:
    """The clips of a data set that can be used; one line on the screen says how many can't.

    Videos that are on record since an earlier look are not opened again.

    Args:
        annotations: What `annotations.read` returned.
        config: The settings.
        screen: Where progress and that line go.
        splits: Only the samples of these are looked at and kept; none: all.
        keeper: Keeps the frames of videos that are new.

    Raises:
        InputError: Not one clip can be used.
    """
    samples = tuple(sample for sample in annotations.samples if not splits or sample.split in splits)
    annotations = replace(annotations, samples=samples)
    if not samples:
        return settle(annotations, {}, config)
    started = time.monotonic()
    facts, new = look(annotations, config, screen, decord=config.decoder == "decord", keeper=keeper)
    wrong = unlikely_ranges(annotations, facts, config)
    if wrong:
        raise InputError(f"{annotations.root}: {wrong[0]}\n  {wrong[1]}")
    result = settle(annotations, facts, config)
    kinds = Counter(reason.split(":")[0] for _, reason in result.left_out)
    if new:
        screen.print(
            f"looked at {counted(new, 'video')} in {time.monotonic() - started:.1f} s (once; kept for next time)"
        )
    if result.left_out:
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        where = "" if splits else f"; more: {_check_command(config)}"
        screen.print(f"left out: {len(result.left_out)} of {counted(len(samples), 'clip')} ({listed}){where}")
    if not result.clips:
        video, reason = result.left_out[0]
        raise InputError(
            f"{annotations.root}: not one of {len(samples)} clips can be used; "
            f"the first: {shown(video)}: {shown(reason)}"
        )
    return result


def look(
    annotations: Annotations, config: DataConfig, screen: Console, *, decord: bool, keeper: Keeper | None = None
) -> tuple[dict[Path, Facts], int]:
    """The facts of each video, from the record or found out now in child processes.

    Args:
        annotations: The data set. Its videos exist; the record is kept in its folder.
        config: Time and memory limits.
        screen: Where progress is shown.
        decord: Whether to find out too if decord returns the same frames as PyAV.
        keeper: Keeps the frames of videos that are new.

    Returns:
        The facts by video, and how many videos were newly looked at.
    """
    videos = list(dict.fromkeys(sample.video for sample in annotations.samples))
    inventory = Inventory(annotations.folder)

    def unknown() -> list[Path]:
        known = {video: inventory.get(video) for video in videos}
        return [video for video, facts in known.items() if facts is None or _outdated(facts, config)]

    new = unknown()
    untried = [video for video in videos if decord and video not in set(new) and _to_compare(inventory.get(video))]
    if new or untried:

        def say() -> None:
            screen.print("another process looks at these videos: waiting for it")

        with inventory.writing(say) as writer, EpochProgress(screen, "looking at videos", len(videos)) as progress:
            new = unknown()  # another process may have looked meanwhile
            progress.skip(len(videos) - len(new))
            with keeper.keeping(annotations) if keeper and new else nullcontext() as keeping:
                _probe(new, writer, config, progress, keeping)
        if decord:
            with inventory.writing(say) as writer:
                untried = [video for video in videos if _to_compare(inventory.get(video))]
                with EpochProgress(screen, "comparing decoders", len(untried)) as progress:
                    _compare(untried, inventory, writer, config, progress)
    known = {video: facts for video in videos if (facts := inventory.get(video)) is not None}
    return {video: usable.at_rate(facts, config) for video, facts in known.items()}, len(new)


def children(config: DataConfig, count: int, program: str = "lscht_ray.video.probe") -> KillablePool:
    """Child processes that look at videos, at most one for each of ``count`` questions."""
    command = [sys.executable, "-m", program, str(int(config.probe_memory_gb * GB))]
    return KillablePool(command, processes=max(1, min(_processes(config), count)), seconds=config.probe_seconds)


def _processes(config: DataConfig) -> int:
    """How many videos are looked at at a time."""
    chosen = config.processes if isinstance(config, CheckConfig) else None
    return chosen or usable_cpus()


def _outdated(facts: Facts, config: DataConfig) -> bool:
    """Whether today's limits might lead to another verdict: then the video is looked at again."""
    if facts.trouble == "too_large":
        return facts.size <= _max_bytes(config)
    if facts.trouble == "no_access" or (facts.trouble in ("hang", "crash") and isinstance(config, CheckConfig)):
        return True  # the machine may have been at fault, not the file
    return facts.trouble in ("hang", "crash", "too_much_memory") and _limits(config) not in facts.reason


def _limits(config: DataConfig) -> str:
    """The limits that a verdict depends on, as its reason names them."""
    return f"[{config.probe_seconds:g} s, {config.probe_memory_gb:g} GiB]"


def _to_compare(facts: Facts | None) -> bool:
    return facts is not None and facts.decord == "" and facts.trouble == "" and not facts.pictures


def _max_bytes(config: DataConfig) -> float:
    return (config.max_file_gb if isinstance(config, CheckConfig) else CheckConfig().max_file_gb) * GB


def _probe(
    videos: Iterable[Path], writer: Writer, config: DataConfig, progress: EpochProgress, keeping: Keeping | None
) -> None:
    """Find out the facts of videos, and put them on record as they come."""
    questions = []
    for video in videos:
        try:
            size, changed = stamp(video)
        except OSError:  # it vanished since it was listed
            continue
        if size > _max_bytes(config):
            text = f"{size / GB:.1f} GiB are more than the {_max_bytes(config) / GB:g} that are opened"
            writer.add(video, Facts(size, changed, trouble="too_large", reason=text))
            progress.advance()
        else:
            # A large file takes long without hanging: decoders read several MB of it a second.
            questions.append({"ask": "facts", "path": str(video), "seconds": config.probe_seconds + size / MB})
    for video, answer in _answers(questions, config, keeping, progress):
        facts = _facts_of(video, answer, config)
        if facts is not None:
            writer.add(video, facts)
        progress.advance()


def _answers(
    questions: list[dict[str, Any]], config: DataConfig, keeping: Keeping | None, progress: EpochProgress
) -> Iterator[tuple[Path, Answer]]:
    """Ask for facts. Where keeping frames may have cost a child its memory, ask again without keeping any."""

    def heard(question: dict[str, Any], content: dict[str, Any]) -> None:
        progress.show(frames=content["frames"])

    again = []
    if keeping is not None:
        added = [question | keeping.addition(Path(question["path"]), question["seconds"]) for question in questions]
        with children(config, len(questions), keeping.program) as pool:
            for question, answer in pool.map(added, heard):
                content = answer.content
                if answer.ended == "died" or "too_much_memory" in (content.get("trouble"), content.get("error")):
                    again.append({name: question[name] for name in ("ask", "path", "seconds")})
                    continue
                keeping.answered(Path(question["path"]), content)
                yield Path(question["path"]), answer
        questions = again
    with children(config, len(questions)) as pool:
        for question, answer in pool.map(questions, heard):
            yield Path(question["path"]), answer


def _facts_of(video: Path, answer: Answer, config: DataConfig) -> Facts | None:
    """What a child found out, or why it didn't; None where the file has vanished."""
    if not answer.ended and "error" not in answer.content:
        facts = Facts.from_dict(answer.content)
        if facts.trouble == "too_much_memory":
            return replace(facts, reason=f"{facts.reason} {_limits(config)}")
        return facts
    try:
        size, changed = stamp(video)
    except OSError:
        return None
    kind = {"hung": "hang", "died": "crash"}.get(answer.ended, str(answer.content.get("error")))
    detail = answer.detail or answer.content.get("reason", "")
    text = {
        "hang": "decoding it hangs, or takes longer than probe_seconds allows",
        "crash": "it crashes the decoder",
    }.get(kind, "it can't be read")
    return Facts(size, changed, trouble=kind, reason=f"{text}: {detail} {_limits(config)}")


def _compare(
    videos: list[Path], inventory: Inventory, writer: Writer, config: DataConfig, progress: EpochProgress
) -> None:
    """Find out whether decord reads videos as PyAV does, and put it on record; without decord nothing is done."""
    if find_spec("decord") is None:
        return
    seconds = min(DECORD_SECONDS, config.probe_seconds)
    questions = [{"ask": "decord", "path": str(video), "seconds": seconds} for video in videos]
    with children(config, len(questions)) as pool:
        for question, answer in pool.map(questions):
            video = Path(question["path"])
            verdict = {"hung": "hang", "died": "crash"}.get(answer.ended, str(answer.content.get("decord", "error")))
            facts = inventory.get(video)
            if facts is not None:
                writer.add(video, replace(facts, decord=verdict))
            progress.advance()


def _check_command(config: DataConfig) -> str:
    """The check of the same data, as it is to be typed."""
    given = config.model_dump(include={"layout", "videos", "columns", "elan"}, exclude_defaults=True)
    words = ["python", "-m", "lscht_ray.check", config.data]
    for name, value in given.items():
        for part, each in value.items() if isinstance(value, dict) else [("", value)]:
            words += [f"--{name}.{part}".rstrip("."), each if isinstance(each, str) else json.dumps(each)]
    return shlex.join(words)
