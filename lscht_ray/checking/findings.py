"""Lists the problems of a data set by its annotations and the facts of its videos. Opens no video."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from lscht_ray.checking import _duplicates, usable
from lscht_ray.checking._names import odd_names
from lscht_ray.dataset.annotations import Annotations, absent_split, one_gloss
from lscht_ray.dataset.problems import SEVERITIES, Problem, Severity
from lscht_ray.dataset.rows import SPLITS
from lscht_ray.dataset.samples import Sample
from lscht_ray.settings.data import CheckConfig
from lscht_ray.shown import counted, some
from lscht_ray.video.facts import Facts
from lscht_ray.video.recognise import disorder, is_video

FEW_FRAMES = 8
"""Number of frames below which a video is a warning."""
HUGE_PIXELS = 4096 * 2304
"""Pixels above which a picture is a warning: every decoder process holds several of them."""
BLACK_SHARE, FROZEN_SHARE = 0.5, 0.9
"""Shares of black and of repeated frames from which a clip is a warning."""
LONG_GAP = 0.4
"""Seconds without a frame in a video of frames that come much faster, above which it is a warning."""
SQUARE = 1.05
"""Ratio of the sides up to which a picture counts as a square."""
UNSEEN = 0.8
"""Share of a picture below which it is a warning that no more than that is seen."""
UNLIKE = 1.5
"""How much wider in shape one video may be than another before it is a warning that both are squashed to a square."""
TO_DO_WITH_PICTURES = {
    "missing_pictures": "was it copied or unpacked whole?",
    "mixed_pictures": "all are shown, in the order of their numbers: keep those of one clip",
}
COMPARED = 100
"""Missing videos whose names are compared with those that nothing names."""
LEFT_OUT = "left out of training and evaluation"

FactsByVideo = dict[Path, Facts]


def find_problems(annotated: Annotations, facts: FactsByVideo, config: CheckConfig) -> list[Problem]:
    """List everything that is wrong, the worst first.

    Args:
        annotated: The annotations, with all samples whose videos exist.
        facts: The facts of those videos.
        config: What counts as wrong.
    """
    problems = list(annotated.problems)
    problems += _missing(annotated)
    problems += _videos(annotated, facts, config)
    problems += _ranges(annotated, facts, config)
    problems += _boxes(annotated, facts)
    problems += _shapes(annotated, facts, config)
    problems += _duplicates.same_bytes(annotated, facts)
    problems += _duplicates.look_alike(annotated, facts)
    problems += _signers(annotated)
    problems += _glosses(annotated, facts, config)
    problems += odd_names(annotated)
    problems += _not_annotated(annotated)
    return sorted(dict.fromkeys(problems), key=lambda p: (SEVERITIES.index(p.severity), p.kind, p.path))


def _missing(annotated: Annotations) -> Iterator[Problem]:
    spare = [name for _, names in _without_annotation(annotated) for name in names]
    for number, video in enumerate(annotated.missing):
        if video in annotated.excused:
            yield Problem("missing_file", "info", str(video), "missing.txt says that it could not be had", LEFT_OUT)
        else:
            near = get_close_matches(video.name, spare, n=1, cutoff=0.8) if number < COMPARED else []
            meant = f"; is it {near[0]}, which nothing names?" if near else ""
            action = f"{LEFT_OUT}{meant}; find the file, or name its folder with --videos"
            yield Problem("missing_file", "error", str(video), "annotated, but not there", action)


def _videos(annotated: Annotations, facts: FactsByVideo, config: CheckConfig) -> Iterator[Problem]:
    for video in dict.fromkeys(sample.video for sample in annotated.samples):
        video_facts = facts.get(video)
        reason = usable.unusable(video_facts, config)
        if reason or video_facts is None:
            kind, _, detail = reason.partition(": ")
            hint = (
                "; its good frames are used with --salvage true" if video_facts and kind in usable.SALVAGEABLE else ""
            )
            yield Problem(
                kind, "error", str(video), detail, LEFT_OUT + (hint if video_facts and video_facts.frames else "")
            )
        else:
            yield from (Problem(kind, bad, str(video), *texts) for kind, bad, *texts in _oddities(video_facts))
            kind, detail = disorder(video) if video_facts.pictures else ("", "")
            if kind:
                yield Problem(kind, "warning", str(video), detail, TO_DO_WITH_PICTURES[kind])
    yield from _decord(annotated, facts)


def _oddities(facts: Facts) -> Iterator[tuple[str, Severity, str, str]]:
    """Kind, severity, detail and action of what is odd about a video that can be read."""
    if facts.trouble:
        yield facts.trouble, "warning", facts.reason, "its good frames are used (salvage)"
    elif facts.corrupt:
        detail = f"{facts.corrupt} of {facts.frames + facts.corrupt} frames are damaged or missing"
        yield "corrupt_frames", "warning", detail, "look at it; the other frames are used"
    elif facts.claimed > facts.frames + facts.hidden and not facts.claimed_duration:
        detail = f"{counted(facts.frames, 'frame')} where its header claims {facts.claimed}"
        yield "fewer_frames_than_claimed", "warning", detail, "the frames that are there are used; is it cut off?"
    if facts.frames and facts.claimed_duration - facts.duration > max(0.5, 0.1 * facts.claimed_duration):
        detail = f"its pictures end after {facts.duration:.2f} s, its header claims {facts.claimed_duration:.2f} s"
        yield "shorter_than_claimed", "warning", detail, "the frames that are there are used; is it damaged or cut off?"
    if facts.hidden:
        detail = f"an edit list hides {facts.hidden} of {facts.claimed} frames"
        yield "hidden_frames", "info", detail, "nothing: they are left out, as a player does"
    if facts.gap > LONG_GAP:
        detail = f"no frame is shown for {facts.gap:.2f} s from {facts.gap_start:.2f} s on"
        yield "gap_in_time", "warning", detail, "look at it: is it damaged, or were still pictures left out?"
    if facts.frames < FEW_FRAMES:
        yield (
            "few_frames",
            "warning",
            counted(facts.frames, "frame"),
            "they are repeated; --min_frames N leaves such out",
        )
    if facts.width * facts.height > HUGE_PIXELS:
        detail = f"{facts.width}x{facts.height} pixels"
        yield "huge_picture", "warning", detail, "it takes much memory in every data worker: make it smaller"
    if facts.black >= BLACK_SHARE:
        yield "black_frames", "warning", f"{facts.black:.0%} of its frames are black", "look at it"
    if facts.frozen >= FROZEN_SHARE:
        yield "frozen_frames", "warning", f"{facts.frozen:.0%} of its frames repeat the one before", "look at it"
    if facts.mirrored:
        yield "mirrored", "info", "its display matrix mirrors it", "nothing: it is shown so, as a player does"
    if facts.pixel_aspect != "1:1":
        detail = f"its pixels are no squares ({facts.pixel_aspect})"
        yield "pixel_aspect", "info", detail, f"nothing: it is shown as {facts.width}x{facts.height}, as a player does"
    if facts.transfer != "sdr":
        detail = f"it is HDR ({facts.transfer.upper()})"
        yield "hdr", "info", detail, "nothing: it is shown in standard range; what is brighter than white is cut off"
    if facts.interlaced:
        yield "interlaced", "info", "its frames are interlaced", "nothing: one field of each is used, half the lines"
    if facts.sizes > 1:
        detail = f"its picture changes: {facts.sizes} sizes, at first {facts.width}x{facts.height}"
        yield "changing_size", "warning", detail, "later ones are scaled into the first, with black bars: look at it"
    if facts.variable_rate:
        detail = f"its frames come at varying distances, on average {facts.fps:g} a second"
        yield "variable_rate", "info", detail, "--sampling time takes frames evenly in time"


def _decord(annotated: Annotations, facts: FactsByVideo) -> Iterator[Problem]:
    said = {"differs": "returns other frames than PyAV", "error": "can't read it", "hang": "hangs", "crash": "crashes"}
    for video in dict.fromkeys(sample.video for sample in annotated.samples):
        video_facts = facts.get(video)
        if video_facts is not None and not video_facts.trouble and video_facts.decord in said:
            yield Problem(
                f"decord_{video_facts.decord}",
                "info",
                str(video),
                f"decord {said[video_facts.decord]}",
                "it is read with PyAV",
            )


def _ranges(annotated: Annotations, facts: FactsByVideo, config: CheckConfig) -> Iterator[Problem]:
    cut = []
    for sample in annotated.samples:
        video_facts = facts.get(sample.video)
        if sample.span is None or video_facts is None or video_facts.trouble or config.frame_ranges == "ignore":
            continue
        span = usable.applied(sample.span, video_facts, config)
        if span is None:
            cut.append(sample)
            continue
        where = usable.beyond(span, video_facts)
        if where:
            end = "the end" if span.end is None else f"{span.end:g}"
            rate = f" at --fps {config.fps:g}" if video_facts.pictures else ""
            holds = f"{counted(video_facts.frames, 'frame')}, {video_facts.duration:.2f} s{rate}"
            detail = f"its range, {span.unit} {span.start:g} to {end}, is beyond the video ({holds})"
            bad: Severity = "error" if where == "start" else "warning"
            yield Problem(
                "range_beyond_clip", bad, str(sample.video), detail, LEFT_OUT if bad == "error" else "cut at its end"
            )
    wrong = usable.unlikely_ranges(annotated, facts, config)
    if wrong:
        yield Problem("unlikely_ranges", "error", str(annotated.root), *wrong)
    if cut:
        detail = f"{len(cut)} of {len(annotated.samples)} clips have a frame range and seem cut to it already"
        yield Problem("range_beyond_clip", "info", str(annotated.root), detail, "the whole clip is used")


def _boxes(annotated: Annotations, facts: FactsByVideo) -> Iterator[Problem]:
    boxed = [sample for sample in annotated.samples if sample.box is not None and sample.video in facts]
    wrong = [s for s in boxed if s.box is not None and facts[s.video].width and usable.outside(s.box, facts[s.video])]
    if wrong:
        foreign = usable.are_foreign(len(wrong), len(boxed))
        action = "with --crop_to_bbox these are used whole"
        if foreign:
            action = "the videos seem to be cut to them already: --crop_to_bbox is ignored for all"
        detail = f"the boxes of {len(wrong)} of {len(boxed)} clips reach beyond their pictures: {_videos_of(wrong)}"
        yield Problem("bbox_beyond_picture", "info", str(annotated.root), detail, action)


def _shapes(annotated: Annotations, facts: FactsByVideo, config: CheckConfig) -> Iterator[Problem]:
    """Say what the model sees of pictures that are no squares."""
    shapes = []
    for video in dict.fromkeys(sample.video for sample in annotated.samples):
        video_facts = facts.get(video)
        if video_facts is not None and video_facts.width and not usable.unusable(video_facts, config):
            size = f"{video_facts.width}x{video_facts.height}"
            shapes.append((video_facts.width / video_facts.height, size, video.name))
    shapes.sort()
    tall, wide = [s for s in shapes if s[0] < 1 / SQUARE], [s for s in shapes[::-1] if s[0] > SQUARE]
    for shape, listed in (("tall", tall), ("wide", wide)):
        if not listed:
            continue
        most, least = (max(ratio, 1 / ratio) for ratio, _, _ in (listed[0], listed[-1]))
        how = "wider than high" if shape == "wide" else "higher than wide"
        detail = f"{counted(len(listed), 'video is', 'videos are')} {how}, up to {listed[0][1]} pixels: "
        detail += _seen(config.eval_crop, shape, least, most)
        bad: Severity = "info"
        action = "nothing: this is what eval_crop chooses"
        if config.eval_crop == "centre":
            action = "look whether hands leave it (--contact-sheet); --eval_crop squash or letterbox shows all"
            bad = "warning" if 1 / most < UNSEEN else "info"
        yield Problem(f"{shape}_picture", bad, str(annotated.root), detail, action)
    if config.eval_crop == "squash" and shapes and shapes[-1][0] > UNLIKE * shapes[0][0]:
        (narrowest, narrow, one), (widest, wide_one, other) = shapes[0], shapes[-1]
        detail = f"all are squashed to squares, so that people look {widest / narrowest:.2f} times as wide in some"
        detail += f" ({one}: {narrow}) as in others ({other}: {wide_one})"
        action = "--eval_crop centre keeps shapes, where hands stay in the middle; letterbox keeps shapes and shows all"
        yield Problem("mixed_shapes", "warning", str(annotated.root), detail, action)


def _seen(crop: str, shape: str, least: float, most: float) -> str:
    """What the model sees of pictures whose long side is so many times the short one, at least and at most."""
    times = " to ".join(dict.fromkeys(f"{ratio:.2f}" for ratio in (least, most)))
    share = " to ".join(dict.fromkeys(f"{1 / ratio:.0%}" for ratio in (most, least)))
    if crop == "squash":
        look = "narrow" if shape == "wide" else "wide"
        return f"the model sees all of it as a square, with people {times} times too {look}"
    if crop == "letterbox":
        return f"the model sees all of it between black bars, {share} as large"
    return f"the model sees the square in the middle, {share} of a picture"


def _videos_of(samples: list[Sample]) -> str:
    return some(sample.video.name for sample in samples)


# ---------------------------------------------------------------- the set as a whole


def _signers(annotated: Annotations) -> Iterator[Problem]:
    where = defaultdict[str, Counter[str]](Counter)
    for sample in annotated.samples:
        if sample.signer is not None:
            where[sample.signer][sample.split] += 1
    for signer, splits in sorted(where.items()):
        if len(splits) > 1:
            clips = ", ".join(f"{splits[split]} in {split}" for split in SPLITS if splits[split])
            action = "the test result isn't for unseen signers"
            if len(where) >= len(SPLITS):
                action += "; --split_policy by_signer draws such a split"
            yield Problem("signer_in_two_splits", "warning", str(annotated.root), f"signer {signer}: {clips}", action)


def _glosses(annotated: Annotations, facts: FactsByVideo, config: CheckConfig) -> Iterator[Problem]:
    counts = defaultdict[str, Counter[str]](Counter)
    for sample in annotated.samples:
        if not usable.unusable(facts.get(sample.video), config):
            counts[sample.gloss][sample.split] += 1
    root = str(annotated.root)
    reason = absent_split(annotated) or (one_gloss(annotated) if len(annotated.glosses) < 2 else "")
    if reason:
        detail, _, action = reason.partition("\n")
        yield Problem("untrainable", "error", root, detail, " ".join(action.split()))
    for gloss in annotated.glosses:
        for split in SPLITS:
            if not counts[gloss][split]:
                kind = "gloss_not_in_split"
                bad: Severity = "error" if split == "train" else "warning"
                action = "add clips, or train with --untrained_glosses drop" if split == "train" else "add clips"
                yield Problem(kind, bad, root, f"{gloss!r} has no usable clip in {split}", action)
        train = counts[gloss]["train"]
        if 0 < train < config.min_clips:
            detail = f"{gloss!r} has {counted(train, 'training clip')}, min_clips asks for {config.min_clips}"
            yield Problem("few_clips", "warning", root, detail, "add clips")


def _not_annotated(annotated: Annotations) -> Iterator[Problem]:
    for folder, others in _without_annotation(annotated):
        detail = f"{counted(len(others), 'video has', 'videos have')} no annotation: {some(others)}"
        yield Problem("not_annotated", "info", str(folder), detail, "they are passed over")


def _without_annotation(annotated: Annotations) -> Iterator[tuple[Path, list[str]]]:
    """The names of the videos that no annotation names, by folder."""
    annotated_videos = {*annotated.missing, *(sample.video for sample in annotated.samples)}
    for folder in annotated.folders:
        if os.access(folder, os.R_OK | os.X_OK):
            others = [
                entry.name
                for entry in os.scandir(folder)
                if is_video(Path(entry.path)) and Path(entry.path) not in annotated_videos
            ]
            if others:
                yield folder, sorted(others)
