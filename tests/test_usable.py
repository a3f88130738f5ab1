"""Which videos can be used, and how annotated parts and boxes apply to them."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lscht_ray.checking.usable import applied, at_rate, beyond, outside, settle, unlikely_ranges, unusable
from lscht_ray.dataset.annotations import read
from lscht_ray.dataset.samples import Sample
from lscht_ray.settings.data import DataConfig
from lscht_ray.video.facts import PICTURES, Facts
from lscht_ray.video.span import Box, Span
from support.data import draw, manifest
from support.doors import FAST, Door, refused

HUNDRED = Facts(1, 2, frames=100, width=200, height=100, fps=25.0, duration=4.0)


@pytest.mark.parametrize(
    ("facts", "settings", "reason"),
    [
        (HUNDRED, {}, ""),
        (HUNDRED, {"min_frames": 101}, "few_frames: 100 frames, min_frames asks for 101"),
        (Facts(1, 2, frames=9, trouble="truncated", reason="cut"), {}, "truncated: cut"),
        (Facts(1, 2, frames=9, trouble="truncated", reason="cut"), {"salvage": True}, ""),
        (Facts(1, 2, frames=0, trouble="truncated", reason="cut"), {"salvage": True}, "truncated: cut"),
        (Facts(1, 2, frames=9, trouble="hang", reason="slow"), {"salvage": True}, "hang: slow"),
        (None, {}, "unreadable: it vanished while it was looked at"),
    ],
)
def test_what_can_be_used(facts: Facts | None, settings: dict[str, object], reason: str) -> None:
    assert unusable(facts, DataConfig.model_validate(settings)) == reason


@pytest.mark.parametrize(
    ("span", "where"),
    [
        (Span(0, 100), ""),
        (Span(0, None), ""),
        (Span(0, 101), ""),  # rounding
        (Span(0, 110), "end"),
        (Span(99, None), ""),
        (Span(100, None), "start"),
        (Span(0, 4.03, "second"), ""),
        (Span(0, 4.5, "second"), "end"),
        (Span(4, 5, "second"), "start"),
    ],
)
def test_which_end_lies_beyond_the_video(span: Span, where: str) -> None:
    assert beyond(span, HUNDRED) == where


@pytest.mark.parametrize(
    ("span", "ranges", "expected"),
    [
        (None, "auto", None),
        (Span(10, 20), "auto", Span(10, 20)),
        (Span(10, 20), "ignore", None),
        (Span(10, 20, fps=25.2), "auto", Span(10, 20, fps=25.2)),  # the same rate, written with fewer digits
        (Span(10, 20, fps=50.0), "auto", Span(0.2, 0.4, "second")),
        (Span(10, 20, fps=12.5), "auto", Span(0.8, 1.6, "second")),
        (Span(10, None, fps=50.0), "auto", Span(0.2, None, "second")),
        (Span(0, 20, doubtful=True), "auto", None),
        (Span(1, 20, doubtful=True), "auto", Span(1, 20, doubtful=True)),
        (Span(1, 200, doubtful=True), "auto", None),
        (Span(0, 20, doubtful=True), "apply", Span(0, 20, doubtful=True)),
    ],
)
def test_which_part_is_the_clip(span: Span | None, ranges: str, expected: Span | None) -> None:
    assert applied(span, HUNDRED, DataConfig.model_validate({"frame_ranges": ranges})) == expected


OF_PICTURES = replace(HUNDRED, fps=0.0, duration=0.0, container=PICTURES)


@pytest.mark.parametrize(
    ("span", "frames"),
    [
        (Span(0.25, 0.9, "second"), Span(3, 9)),  # 0.3 s to 0.8 s
        (Span(0.3, 0.9000000001, "second"), Span(3, 9)),
        (Span(2.0, None, "second"), Span(20, None)),
        (Span(3, 9), Span(3, 9)),
    ],
)
def test_a_part_in_seconds_of_a_folder_of_pictures_is_one_in_frames(span: Span, frames: Span) -> None:
    """The pictures whose time is in the range, at the settings' frames a second."""
    assert applied(span, at_rate(OF_PICTURES, DataConfig(fps=10.0)), DataConfig(fps=10.0)) == frames


def ranges(root: Path, spans: list[Span | None], video: Facts, **settings: object) -> tuple[str, str] | None:
    write_table(root)
    clip = Sample(root / "1.mp4", "casa", 0, "train", None, None, None)
    samples = tuple(replace(clip, video=root / f"{n}.mp4", span=span) for n, span in enumerate(spans))
    annotated = replace(read(root / "t.csv"), samples=samples)
    facts = dict.fromkeys((sample.video for sample in samples), video)
    return unlikely_ranges(annotated, facts, DataConfig.model_validate(settings))


@pytest.mark.parametrize(
    ("spans", "video", "said"),
    [
        ([Span(1, 2), Span(0, 1.5), Span(0, 3)], HUNDRED, "half of the 3 ranges have 1.5 frames or fewer (in videos"),
        ([Span(0, 3), Span(0, 3), Span(0, 50), Span(0, 60)], HUNDRED, ""),  # half of them are right
        ([Span(0, 4), Span(0, 4), None], HUNDRED, ""),
        ([Span(0, 0.04, "second")] * 2, HUNDRED, "half of the 2 ranges have 1 frames or fewer"),
        ([Span(0, 0.5, "second")] * 2, replace(HUNDRED, fps=5.0), ""),  # two frames of five a second
        ([Span(500, 900), Span(9, 300), Span(0, 50)], HUNDRED, "2 of 3 ranges lie beyond their videos"),
        ([Span(500, 900), Span(0, 50)], HUNDRED, ""),
        ([Span(500, 1500, "second")] * 2, HUNDRED, "2 of 2 ranges lie beyond their videos"),
        ([Span(0, 1, doubtful=True)] * 3, HUNDRED, ""),  # WLASL's
        ([None, None], HUNDRED, ""),
    ],
)
def test_lengths_that_cant_be_right_and_their_likely_cause(
    spans: list[Span | None], video: Facts, said: str, tmp_path: Path
) -> None:
    found = ranges(tmp_path, spans, video)
    assert (found is not None) == bool(said)
    if found is not None:
        text, cause = found
        assert text.startswith(said)
        assert ("--columns.unit second" in cause) == (spans[0] is not None and spans[0].unit == "frame")
        assert ranges(tmp_path, spans, video, frame_ranges="ignore") is None


def test_a_table_in_seconds_that_is_read_as_frames_is_found_and_not_trained_on(door: Door, tmp_path: Path) -> None:
    rows = []
    for number in range(8):
        draw(tmp_path / f"{number}.mp4", number % 2, number)
        rows.append((f"{number}.mp4", "ab"[number % 2], "train" if number < 4 else "val", "0", "1"))
    manifest(tmp_path, rows, ("path", "label", "split", "start", "end"))
    flags = ("--data", tmp_path / "manifest.csv", "--columns.start", "start", "--columns.end", "end")
    result = door("check", *flags, "--columns.unit", "frame", cwd=tmp_path)
    assert result.returncode == 1
    assert "half of the 8 ranges have 1 frames or fewer" in result.stdout
    refused(
        door("train", *flags, "--columns.unit", "frame", *FAST, cwd=tmp_path),
        "half of the 8 ranges have 1 frames or fewer",
        "are they in seconds (--columns.unit second) or milliseconds?",
    )
    assert door("check", *flags, "--columns.unit", "second", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("unit", ["pixel", "share"])
@pytest.mark.parametrize("side", ["left", "top", "right", "bottom"])
def test_a_box_that_reaches_beyond_a_side(unit: str, side: str) -> None:
    width, height = (1.0, 1.0) if unit == "share" else (200.0, 100.0)
    sides = {"left": 0.0, "top": 0.0, "right": width, "bottom": height}
    assert not outside(Box(**sides, unit=unit), HUNDRED)  # type: ignore[arg-type]
    length = width if side in ("left", "right") else height
    for share, expected in ((0.01, False), (0.03, True)):
        moved = sides[side] + (-share if side in ("left", "top") else share) * length
        assert outside(Box(**{**sides, side: moved}, unit=unit), HUNDRED) is expected  # type: ignore[arg-type]


def test_what_does_not_apply_is_counted_in_a_note(tmp_path: Path) -> None:
    clip = Sample(tmp_path / "1.mp4", "casa", 0, "train", None, None, None)
    samples = (
        clip,
        replace(clip, video=tmp_path / "2.mp4", span=Span(0, 20, doubtful=True)),
        replace(clip, video=tmp_path / "3.mp4", split="val", box=Box(0, 0, 300, 100)),
        replace(clip, video=tmp_path / "4.mp4", gloss="tú", label=1, split="val"),
    )
    write_table(tmp_path)
    annotated = replace(read(tmp_path / "t.csv"), samples=samples, glosses=("casa", "tú"), notes=("one before",))
    facts = dict.fromkeys((sample.video for sample in samples), HUNDRED)

    def notes(**settings: object) -> tuple[str, ...]:
        clips = settle(annotated, facts, DataConfig.model_validate(settings))
        assert len(clips.clips) == 4
        kept = clips.trainable("drop")
        assert [clip.gloss for clip in kept.clips] == ["casa"] * 3
        assert kept.notes[: len(clips.notes)] == clips.notes
        assert "tú" in " ".join(kept.notes[len(clips.notes) :])  # a gloss without a training clip
        return clips.notes

    cut = "1 clip is annotated with a frame range and cut to it already, it seems: the whole clip is used"
    boxed = (
        "the boxes of 1 of 1 clips reach beyond their pictures, so the videos seem to be cut to them already: "
        "crop_to_bbox is ignored for all"
    )
    assert notes() == ("one before", cut)
    assert notes(frame_ranges="apply") == notes(frame_ranges="ignore") == ("one before",)
    assert notes(crop_to_bbox=True) == ("one before", cut, boxed)


def test_boxes_of_which_many_do_not_fit_are_those_of_other_videos_and_none_is_used(tmp_path: Path) -> None:
    """One in ten may be a slip, and its clip is used whole; with more, those that fit do so by chance."""
    clip = Sample(tmp_path / "1.mp4", "casa", 0, "train", None, None, None)
    write_table(tmp_path)
    for wrong, used in ((1, 9), (2, 0)):
        boxes = [Box(0, 0, 300, 100)] * wrong + [Box(0, 0, 150, 100)] * (10 - wrong)
        samples = tuple(replace(clip, video=tmp_path / f"{n}.mp4", box=box) for n, box in enumerate(boxes))
        annotated = replace(read(tmp_path / "t.csv"), samples=samples, notes=())
        facts = dict.fromkeys((sample.video for sample in samples), HUNDRED)
        clips = settle(annotated, facts, DataConfig(crop_to_bbox=True))
        assert sum(clip.box is not None for clip in clips.clips) == used
        assert ("crop_to_bbox is ignored for all" in clips.notes[0]) == (not used)


def write_table(folder: Path) -> None:
    (folder / "1.mp4").touch()
    (folder / "t.csv").write_text("path,label,split\n1.mp4,casa,train\n")


def test_clips_that_are_there_twice_are_said_before_training(door: Door, small: Path, tmp_path: Path) -> None:
    """`check` calls them errors; training goes on, and says so."""
    data = Path(shutil.copytree(small, tmp_path / "señas"))
    trained = sorted((data / "train" / "casa").iterdir())
    shutil.copy(trained[0], data / "val" / "casa" / "again.mp4")
    shutil.copy(trained[1], data / "train" / "tú" / "again.mp4")
    result = door("train", "--data", data, *FAST, "--max_epochs", 1, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    check = f"python -m lscht_ray.check '{data}'"
    for words in ("under two glosses, of which one is wrong", "in two splits, which makes the figures too good"):
        assert f"warning: 1 pair of clips is the same file {words}; which: {check}" in result.stdout
    assert "the same file" not in door("train", "--data", small, *FAST, "--max_epochs", 1, cwd=tmp_path).stdout
