"""Finds clips that exist twice: byte by byte, or by their looks."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from lscht_ray.dataset.annotations import Annotations
from lscht_ray.dataset.problems import Problem, Severity
from lscht_ray.dataset.samples import Sample
from lscht_ray.video.facts import Facts

LOOK_ALIKE = 0.035
"""Share of differing bits of the perceptual hash up to which two clips look alike. Clips of WLASL that were encoded
again, smaller and worse, differ from the originals in up to 0.025; two performances differ in 0.047 or more."""


def _relation(first: Sample, second: Sample) -> tuple[Severity, str]:
    """How bad it is that two clips are the same, and a phrase that says where they are."""
    where = f"({first.gloss!r}, {first.split}) and ({second.gloss!r}, {second.split})"
    if first.gloss != second.gloss:
        return "error", f"under two labels: {where}"
    if first.split != second.split:
        return "error", f"in two splits: {where}"
    return "warning", f"twice in one split: {where}"


def _name(video: Path, annotated: Annotations) -> str:
    return video.relative_to(annotated.folder).as_posix() if video.is_relative_to(annotated.folder) else str(video)


def _pairs(samples: list[Sample]) -> Iterator[tuple[Sample, Sample]]:
    for index, first in enumerate(samples):
        for second in samples[index + 1 :]:
            if first.video != second.video:
                yield first, second


def same_files(annotated: Annotations, facts: Mapping[Path, Facts]) -> Iterator[tuple[Sample, Sample]]:
    """Each pair of clips whose files are equal byte by byte."""
    groups = defaultdict[str, list[Sample]](list)
    for sample in {sample.video: sample for sample in annotated.samples}.values():
        video_facts = facts.get(sample.video)
        if video_facts is not None and video_facts.sha256:
            groups[video_facts.sha256].append(sample)
    for group in groups.values():
        yield from _pairs(group)


def same_bytes(annotated: Annotations, facts: Mapping[Path, Facts]) -> Iterator[Problem]:
    """A problem for each pair of clips whose files are equal byte by byte."""
    for first, second in same_files(annotated, facts):
        bad, words = _relation(first, second)
        detail = f"the same bytes as {_name(second.video, annotated)}, {words}"
        yield Problem("identical_files", bad, str(first.video), detail, "keep one of the two")


def look_alike(annotated: Annotations, facts: Mapping[Path, Facts]) -> Iterator[Problem]:
    """A problem for each pair of clips whose perceptual hashes are nearly equal and whose bytes differ."""
    one_per_video = {sample.video: sample for sample in annotated.samples}
    usable = {video: s for video, s in one_per_video.items() if video in facts and facts[video].looks}
    videos = list(usable)
    if len(videos) < 2:
        return
    hashes = np.stack([np.frombuffer(bytes.fromhex(facts[video].looks), np.uint8) for video in videos])
    signs = np.unpackbits(hashes, axis=1).astype(np.float32) * 2 - 1
    for start in range(0, len(videos), 1024):
        apart = (1 - signs[start : start + 1024] @ signs.T / signs.shape[1]) / 2
        for row, column in zip(*np.nonzero(apart <= LOOK_ALIKE), strict=True):
            first, second = videos[start + row], videos[column]
            if start + row >= column or facts[first].sha256 == facts[second].sha256:
                continue
            words = _relation(usable[first], usable[second])[1]
            detail = f"looks like {_name(second, annotated)} ({1 - apart[row, column]:.1%} of its hash), {words}"
            action = "look at both: two performances may look alike, of one recording only one should stay"
            yield Problem("look_alike", "warning", str(first), detail, action)
