"""Parts of long videos: the same frames by seeking as by decoding all, and all signs of a recording in one pass."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lscht_ray.checking import survey
from lscht_ray.clips import fill, reader
from lscht_ray.clips.dataset import ClipDataset, Position
from lscht_ray.clips.transforms import ClipFormat
from lscht_ray.dataset.annotations import read
from lscht_ray.host.console import quiet_console
from lscht_ray.model import shape
from lscht_ray.settings.train import TrainConfig
from lscht_ray.video import opening, probe, seeking
from lscht_ray.video.decode import decode
from lscht_ray.video.span import Box
from support.media import damaged, number, paint

KINDS: dict[str, dict[str, Any]] = {
    "mp4.mp4": {"options": {"bf": "3", "g": "24"}},
    "open.mp4": {"options": {"bf": "3", "g": "24", "x264-params": "open-gop=1"}},
    "camera.mts": {"options": {"bf": "2", "g": "12"}, "container": "mpegts"},
    "refresh.ts": {"options": {"x264-params": "intra-refresh=1:keyint=30"}, "container": "mpegts"},
    "old.mpg": {"codec": "mpeg2video", "options": {"bf": "2", "g": "15"}},
    "web.webm": {"codec": "libvpx-vp9", "options": {"g": "30"}},
    "box.mkv": {"codec": "mpeg4", "options": {"g": "20"}},
    "dsc.avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "phone.mov": {"times": [33 * k + 7 * (k % 3) for k in range(256)], "options": {"g": "40"}},
}


@pytest.mark.parametrize("name", KINDS)
def test_a_sought_part_has_the_bytes_of_a_whole_pass(tmp_path: Path, name: str) -> None:
    video = paint(tmp_path / name, frames=256, **KINDS[name])
    facts = probe.find_facts(str(video))
    assert facts.whole and facts.frames == 256
    index = seeking.frame_index(video, facts.frames)
    assert index is not None, "its packets tell the times"
    for wanted in ([0], [255], [100, 131, 99, 99], list(range(37, 61)), [3, 130, 250]):
        seen: list[Any] = []

        def choose(times: Any, wanted: list[int] = wanted, seen: list[Any] = seen) -> Any:
            seen.append(times)
            return np.array(wanted)

        settings: dict[str, Any] = {"short_side": 48, "box": Box(10, 10, 110, 90)}
        part = decode(video, choose, whole=facts.frames, **settings)
        assert (part == decode(video, choose, **settings)).all()
        assert np.allclose(seen[0], seen[1], atol=1e-6), "a span in seconds means the same frames both ways"
        assert [number(frame) for frame in decode(video, choose, whole=facts.frames)] == wanted


@pytest.mark.parametrize("name", ["a.mpg", "a.vob"])
def test_every_frame_of_a_program_stream_is_itself(tmp_path: Path, name: str) -> None:
    """After seeking, FFmpeg stamps some of its frames with the time of a neighbour."""
    options = {"bf": "2", "g": "12"}
    video = paint(tmp_path / name, frames=150, codec="mpeg2video", options=options, container="mpeg")
    for wanted in (*([k] for k in range(0, 150, 3)), [36, 38, 40, 42], [100, 103], [142, 149]):
        frames = decode(video, lambda times, wanted=wanted: np.array(wanted), whole=150)
        assert [number(frame) for frame in frames] == wanted


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_gradual_refresh_is_no_place_to_begin(tmp_path: Path, name: str) -> None:
    """Low-latency encoders have no whole picture but the first: a recovery point is marked as a key frame.

    In each frame a block changes for good, so that a picture depends on all before it.
    """
    frames, picture = [], np.random.default_rng(1).integers(0, 255, (64, 96, 3), np.uint8)
    for k in range(400):
        y, x = (5 * k) % 60, (11 * k) % 90
        picture[y : y + 4, x : x + 4] = ((37 * k) % 255, (91 * k) % 255, (13 * k) % 255)
        frames.append(picture.copy())
    with av.open(str(tmp_path / name), "w") as container:
        options = {"x264-params": "intra-refresh=1:keyint=60:bframes=0:scenecut=0"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    for start in range(0, 400, 10):
        wanted = np.array([start + 1, start + 6])
        sought = decode(tmp_path / name, lambda times, wanted=wanted: wanted, whole=400)
        assert (sought == decode(tmp_path / name, lambda times, wanted=wanted: wanted)).all(), wanted


def test_seeking_decodes_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = paint(tmp_path / "a.mp4", frames=256, options={"g": "25", "bf": "2", "sc_threshold": "0"})
    index = seeking.frame_index(video, 256)
    assert index is not None
    assert index.keys.tolist() == list(range(0, 256, 25))
    assert index.runs(np.array([30, 40, 49, 50, 80])) == [(30, 50), (80, 80)]
    assert index.cost(np.array([200])) == 1
    assert index.cost(np.array([224, 199])) == 25 + 25
    monkeypatch.setattr("lscht_ray.video.decode._hold_frames", None)  # a whole pass would call it
    assert number(decode(video, lambda times: np.array([201]), whole=256)[0]) == 201


def test_a_video_whose_packets_do_not_tell_is_decoded_from_its_start(tmp_path: Path) -> None:
    hidden = paint(tmp_path / "hidden.mp4", frames=256, hidden=10, options={"g": "12"})
    shown = decode(hidden, lambda times: np.array([200]))
    count = probe.find_facts(str(hidden)).frames
    assert not probe.find_facts(str(hidden)).whole and count < 256
    assert seeking.frame_index(hidden, count) is None
    assert (decode(hidden, lambda times: np.array([200]), whole=count) == shown).all()
    wrong = paint(tmp_path / "a.mp4", frames=256)
    assert seeking.frame_index(wrong, 255) is None


# ---------------------------------------------------------------- a recording of many signs


def session(folder: Path, video: Callable[[Path], Path] | None = None, unit: str = "second") -> Path:
    """A recording of 600 frames (24 s) with 24 signs, two of which overlap, in a table."""
    folder.mkdir(parents=True, exist_ok=True)
    if video is None:
        paint(folder / "session.mp4", frames=600, options={"g": "50", "bf": "2"})
    else:
        video(folder / "session.mp4")
    rate = 1 if unit == "second" else 25
    lines = [f"session.mp4;{'ab'[k % 2]};{(k + 0.2 * (k != 3)) * rate:g};{(k + 0.96) * rate:g}" for k in range(24)]
    (folder / "signs.csv").write_text("\n".join(["path;label;from;to", *lines]))
    return folder


def config(folder: Path, cache: Path, **changes: Any) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            **{"data": str(folder), "model_name": "tiny", "cache": "disk", "cache_dir": str(cache), "short_side": 48},
            **{"columns": {"start": "from", "end": "to", "unit": "second"}, "num_frames": 4},
            **changes,
        }
    )


def batches(settings: TrainConfig, *, cached: bool) -> tuple[list[bytes], fill.Filled]:
    """The frames of every clip in evaluation and in an epoch of training."""
    annotated = read(**settings.data_settings())
    clip_set = survey.trusted(annotated, settings, quiet_console())
    filled = fill.fill(annotated.root, clip_set.clips, settings, 48, quiet_console()) if cached else fill.Filled(None)
    clip_format = ClipFormat(32, shape.IMAGENET_MEAN, shape.IMAGENET_STD, 48, settings.pixel_format, "squash")
    made = []
    for training in (False, True):
        dataset = ClipDataset(
            clip_set.clips,
            reader=reader.reader(settings, clip_format, filled.cache),
            sampling=reader.sampling(settings, training=training),
            seed=3,
            augmentation=reader.augmentation(settings) if training else None,
        )
        made += [dataset[Position(1, number)].frames.numpy().tobytes() for number in range(len(dataset))]
    return made, filled


@pytest.mark.parametrize("changes", [{}, {"boundary_shift": 0.3, "speed_jitter": 0.4}, {"pixel_format": "yuv420"}])
def test_the_signs_of_a_session_are_the_same_with_and_without_the_cache(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    settings = config(session(tmp_path / "set"), tmp_path / "cache", **changes)
    plain, _ = batches(settings, cached=False)
    cached, filled = batches(settings, cached=True)
    assert filled.complete and filled.decoded == 24
    assert cached == plain
    entries = list((tmp_path / "cache").rglob("*.clip"))
    assert len(entries) == 24
    assert sum(entry.stat().st_size for entry in entries) < 24 * 600 * 48 * 64, "no sign keeps the whole recording"


def test_every_sign_has_its_own_frames(tmp_path: Path) -> None:
    settings = config(session(tmp_path / "set"), tmp_path / "cache")
    annotated = read(**settings.data_settings())
    clips = survey.trusted(annotated, settings, quiet_console()).clips
    cache = fill.fill(annotated.root, clips, settings, 48, quiet_console()).cache
    assert cache is not None
    for clip in clips:
        entry = cache.entry(clip.key)
        assert entry is not None and clip.span is not None and clip.span.end is not None
        second = int(clip.span.start)
        first, last = 25 * second + (0 if second == 3 else 5), 25 * second + 23
        shown = [number(frame.reshape(*entry.size, 3)) for frame in entry.frames]
        assert shown == [index % 256 for index in range(first, last + 1)]
        assert len(entry.times) == 600
        assert entry.times[first : last + 1] == pytest.approx(np.arange(first, last + 1) / 25)


def test_a_damaged_session_is_cut_in_one_pass_of_its_good_frames(tmp_path: Path) -> None:
    def broken(path: Path) -> Path:
        whole = paint(path.with_name("whole.mp4"), frames=700, options={"g": "50", "bf": "2"})
        damaged(whole, path, 0.5, 0.55)
        whole.unlink()
        return path

    settings = config(session(tmp_path / "set", broken), tmp_path / "cache", salvage=True)
    facts = probe.find_facts(str(tmp_path / "set" / "session.mp4"))
    assert not facts.whole and facts.frames > 512
    plain, _ = batches(settings, cached=False)
    cached, filled = batches(settings, cached=True)
    assert filled.complete and cached == plain


def test_a_long_recording_is_no_hang(tmp_path: Path) -> None:
    """A look may take longer than its limit as long as frames come."""
    from lscht_ray.host.children import KillablePool

    script = tmp_path / "child.py"
    script.write_text(
        "import json, sys, time\nprint('{}', flush=True)\n"
        "for line in sys.stdin:\n"
        "    for part in range(json.loads(line)['parts']):\n"
        "        time.sleep(0.4)\n"
        "        print(json.dumps({'more': 1, 'frames': 500 * part}), flush=True)\n"
        "    time.sleep(json.loads(line)['sleep'])\n"
        "    print('{\"done\": 1}', flush=True)\n"
    )
    import sys

    heard: list[int] = []
    with KillablePool([sys.executable, str(script)], processes=1, seconds=0.9) as pool:
        questions = [{"parts": 5, "sleep": 0}, {"parts": 1, "sleep": 60}]
        answers = list(pool.map(questions, lambda question, content: heard.append(content["frames"])))
    assert [(answer.content, answer.ended) for _, answer in answers] == [({"done": 1}, ""), ({}, "hung")]
    assert heard == [0, 500, 1000, 1500, 2000, 0]


def test_no_such_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(opening.UnreadableVideoError, match=r"gone\.mp4: No such file"):
        decode(tmp_path / "gone.mp4", lambda times: np.array([0]), whole=300)
