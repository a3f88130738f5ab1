"""Lists the problems of a data set by its annotations and the facts of its videos. Opens no video."""

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from lscht_ray.checking import _duplicates, usable
from lscht_ray.dataset.annotations import Annotations
from lscht_ray.dataset.problems import SEVERITIES, Problem, Severity
from lscht_ray.dataset.rows import SPLITS
from lscht_ray.dataset.samples import Sample
from lscht_ray.host.files import OWN_FOLDER, VIDEO_SUFFIXES
from lscht_ray.settings.data import CheckConfig
from lscht_ray.video.facts import Facts

FEW_FRAMES = 8
"""Number of frames below which a video is a warning."""
HUGE_PIXELS = 4096 * 2304
"""Pixels above which a picture is a warning: every decoder process holds several of them."""
BLACK_SHARE, FROZEN_SHARE = 0.5, 0.9
"""Shares of black and of repeated frames from which a clip is a warning."""
EXAMPLES = 5
"""Names that a problem lists at most."""
LEFT_OUT = "left out of training and evaluation"

Known = dict[Path, Facts]


def find_problems(found: Annotations, facts: Known, config: CheckConfig) -> list[Problem]:
    """List everything that is wrong, the worst first.

    Args:
        found: The annotations, with all samples whose videos exist.
        facts: The facts of those videos.
        config: What counts as wrong.
    """
    problems = list(found.problems)
    problems += _missing(found)
    problems += _videos(found, facts, config)
    problems += _ranges(found, facts, config)
    problems += _boxes(found, facts)
    problems += _duplicates.same_bytes(found, facts)
    problems += _duplicates.look_alike(found, facts)
    problems += _signers(found)
    problems += _glosses(found, facts, config)
    problems += _names(found)
    problems += _not_annotated(found)
    return sorted(dict.fromkeys(problems), key=lambda p: (SEVERITIES.index(p.severity), p.kind, p.path))


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:EXAMPLES]) + (", ..." if len(listed) > EXAMPLES else "")


def _missing(found: Annotations) -> Iterator[Problem]:
    for video in found.missing:
        if video in found.excused:
            yield Problem("missing_file", "info", str(video), "missing.txt says that it could not be had", LEFT_OUT)
        else:
            yield Problem("missing_file", "error", str(video), "annotated, but not there", f"{LEFT_OUT}; find the file")


def _videos(found: Annotations, facts: Known, config: CheckConfig) -> Iterator[Problem]:
    for video in dict.fromkeys(sample.video for sample in found.samples):
        known = facts.get(video)
        reason = usable.unusable(known, config)
        if reason or known is None:
            kind, _, detail = reason.partition(": ")
            hint = "; its good frames are used with --salvage true" if known and kind in usable.SALVAGEABLE else ""
            yield Problem(kind, "error", str(video), detail, LEFT_OUT + (hint if known and known.frames else ""))
        else:
            yield from (Problem(kind, bad, str(video), *texts) for kind, bad, *texts in _oddities(known))
    yield from _decord(found, facts)


def _oddities(known: Facts) -> Iterator[tuple[str, Severity, str, str]]:
    """Kind, severity, detail and action of what is odd about a video that can be read."""
    if known.trouble:
        yield known.trouble, "warning", known.reason, "its good frames are used (salvage)"
    elif known.corrupt:
        yield "corrupt_frames", "warning", f"{known.corrupt} of {known.frames} frames are damaged", "look at it"
    elif known.claimed > known.frames + known.hidden:
        detail = f"{known.frames} frames where its header claims {known.claimed}"
        yield "fewer_frames_than_claimed", "warning", detail, "the frames that are there are used; is it cut off?"
    if known.hidden:
        detail = f"an edit list hides {known.hidden} of {known.claimed} frames"
        yield "hidden_frames", "info", detail, "nothing: they are left out, as a player does"
    if known.frames < FEW_FRAMES:
        yield "few_frames", "warning", f"{known.frames} frames", "they are repeated; --min_frames N leaves such out"
    if known.width * known.height > HUGE_PIXELS:
        detail = f"{known.width}x{known.height} pixels"
        yield "huge_picture", "warning", detail, "it takes much memory in every data worker: make it smaller"
    if known.black >= BLACK_SHARE:
        yield "black_frames", "warning", f"{known.black:.0%} of its frames are black", "look at it"
    if known.frozen >= FROZEN_SHARE:
        yield "frozen_frames", "warning", f"{known.frozen:.0%} of its frames repeat the one before", "look at it"
    if known.variable_rate:
        detail = f"its frames come at varying distances, on average {known.fps:g} a second"
        yield "variable_rate", "info", detail, "--sampling time takes frames evenly in time"


def _decord(found: Annotations, facts: Known) -> Iterator[Problem]:
    said = {"differs": "returns other frames than PyAV", "error": "can't read it", "hang": "hangs", "crash": "crashes"}
    for video in dict.fromkeys(sample.video for sample in found.samples):
        known = facts.get(video)
        if known is not None and not known.trouble and known.decord in said:
            yield Problem(
                f"decord_{known.decord}", "info", str(video), f"decord {said[known.decord]}", "it is read with PyAV"
            )


def _ranges(found: Annotations, facts: Known, config: CheckConfig) -> Iterator[Problem]:
    cut = []
    for sample in found.samples:
        known = facts.get(sample.video)
        if sample.span is None or known is None or known.trouble or config.frame_ranges == "ignore":
            continue
        span = usable.applied(sample.span, known, config)
        if span is None:
            cut.append(sample)
            continue
        where = usable.beyond(span, known)
        if where:
            end = "the end" if span.end is None else f"{span.end:g}"
            holds = f"{known.frames} frames, {known.duration:.2f} s"
            detail = f"its range, {span.unit} {span.start:g} to {end}, is beyond the video ({holds})"
            bad: Severity = "error" if where == "start" else "warning"
            yield Problem(
                "range_beyond_clip", bad, str(sample.video), detail, LEFT_OUT if bad == "error" else "cut at its end"
            )
    if cut:
        detail = f"{len(cut)} of {len(found.samples)} clips have a frame range and seem cut to it already"
        yield Problem("range_beyond_clip", "info", str(found.root), detail, "the whole clip is used")


def _boxes(found: Annotations, facts: Known) -> Iterator[Problem]:
    boxed = [sample for sample in found.samples if sample.box is not None and sample.video in facts]
    wrong = [s for s in boxed if s.box is not None and facts[s.video].width and usable.outside(s.box, facts[s.video])]
    if wrong:
        detail = f"the boxes of {len(wrong)} of {len(boxed)} clips reach beyond their pictures: {_videos_of(wrong)}"
        yield Problem(
            "bbox_beyond_picture", "info", str(found.root), detail, "with --crop_to_bbox these are used whole"
        )


def _videos_of(samples: list[Sample]) -> str:
    return _some(sample.video.name for sample in samples)


# ---------------------------------------------------------------- the set as a whole


def _signers(found: Annotations) -> Iterator[Problem]:
    where = defaultdict[str, Counter[str]](Counter)
    for sample in found.samples:
        if sample.signer is not None:
            where[sample.signer][sample.split] += 1
    for signer, splits in sorted(where.items()):
        if len(splits) > 1:
            clips = ", ".join(f"{splits[split]} in {split}" for split in SPLITS if splits[split])
            action = "the test result isn't for unseen signers; --split_policy by_signer draws such a split"
            yield Problem("signer_in_two_splits", "warning", str(found.root), f"signer {signer}: {clips}", action)


def _glosses(found: Annotations, facts: Known, config: CheckConfig) -> Iterator[Problem]:
    counts = defaultdict[str, Counter[str]](Counter)
    for sample in found.samples:
        if not usable.unusable(facts.get(sample.video), config):
            counts[sample.gloss][sample.split] += 1
    root = str(found.root)
    for gloss in found.glosses:
        for split in SPLITS:
            if not counts[gloss][split]:
                kind = "gloss_not_in_split"
                bad: Severity = "error" if split == "train" else "warning"
                action = "add clips, or train with --untrained_glosses drop" if split == "train" else "add clips"
                yield Problem(kind, bad, root, f"{gloss!r} has no usable clip in {split}", action)
        train = counts[gloss]["train"]
        if 0 < train < config.min_clips:
            detail = f"{gloss!r} has {train} training clips, min_clips asks for {config.min_clips}"
            yield Problem("few_clips", "warning", root, detail, "add clips")


# ---------------------------------------------------------------- names


def _twins(names: Iterable[str], form: Callable[[str], str]) -> list[list[str]]:
    groups = defaultdict[str, list[str]](list)
    for name in names:
        groups[form(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def _names(found: Annotations) -> Iterator[Problem]:
    """Find names that differ for a computer but not for a person, or on one system but not on another."""

    def nfc(name: str) -> str:
        return unicodedata.normalize("NFC", name)

    for group in _twins(found.glosses, str.casefold):
        yield Problem("name_case_twins", "warning", str(found.root), f"glosses {_some(map(repr, group))}", "one gloss?")
    places = {sample.video.parent for sample in found.samples} | {
        sample.video.parent.parent for sample in found.samples
    }
    for place in sorted(place for place in places if place.is_relative_to(found.folder)):
        try:
            names = sorted(entry.name for entry in os.scandir(place) if entry.name != OWN_FOLDER)
        except OSError:
            continue
        for name in names:
            if not name.isprintable() or name.encode(errors="replace").decode() != name:
                yield Problem("name_not_text", "warning", str(place / name), f"{name!r} is no UTF-8 text", "rename it")
        for group in _twins(names, nfc):
            action = "rename one: macOS writes decomposed letters (NFD), and they are taken for the same name"
            yield Problem("name_unicode_twins", "warning", str(place), f"{_some(map(ascii, group))}", action)
        for group in _twins(dict.fromkeys(map(nfc, names)), str.casefold):
            action = "rename one: macOS and Windows take them for the same name"
            yield Problem("name_case_twins", "warning", str(place), _some(map(repr, group)), action)
        for name in names:
            stem = name.rpartition(".")[0] or name
            if name != name.strip() or stem != stem.strip():
                yield Problem(
                    "name_blanks", "warning", str(place / name), f"{name!r} has blanks around it", "rename it"
                )


def _not_annotated(found: Annotations) -> Iterator[Problem]:
    known = {sample.video for sample in found.samples}
    for folder in found.folders:
        if os.access(folder, os.R_OK | os.X_OK):
            others = [
                entry.name
                for entry in os.scandir(folder)
                if Path(entry.name).suffix.lower() in VIDEO_SUFFIXES and Path(entry.path) not in known
            ]
            if others:
                detail = f"{len(others)} videos have no annotation: {_some(sorted(others))}"
                yield Problem("not_annotated", "info", str(folder), detail, "they are passed over")
