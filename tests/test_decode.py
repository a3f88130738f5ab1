"""The right frames, from real, hostile and drawn files."""

import logging
from pathlib import Path

import av
import numpy as np
import pytest

from lscht_ray.video import decode as room
from lscht_ray.video.decode import count_frames, decode
from lscht_ray.video.frames import clip_indices, evaluation_indices
from lscht_ray.video.opening import UnreadableVideoError
from lscht_ray.video.span import Box
from support.data import draw, shared
from support.media import damaged, number, paint, rotated

try:
    import decord

    DECODERS = ["pyav", "decord"]
except ImportError:
    DECODERS = ["pyav"]


def sixteen(times: np.ndarray) -> np.ndarray:
    return evaluation_indices(len(times), 16)


def every(times: np.ndarray) -> np.ndarray:
    return np.arange(len(times))


ONE_THREAD = "log-level=none:pools=none:frame-threads=1"
"""x265 with threads of its own has crashed, once in many runs, where other processes take the CPUs."""
X265 = f"{ONE_THREAD}:bframes=4:keyint=15:open-gop=1"
PAINTED = {
    "B-frames.mp4": {"options": {"bf": "3", "g": "12"}},
    "long GOP.mp4": {"options": {"bf": "2", "g": "250"}},
    "intra.mkv": {"options": {"g": "1"}},
    "HEVC B-frames, open GOP.mp4": {"codec": "libx265", "options": {"x265-params": X265}},
    "HEVC 10 bit.mp4": {"codec": "libx265", "pixels": "yuv420p10le", "options": {"x265-params": ONE_THREAD}},
    "transport stream.ts": {"options": {"bf": "3", "g": "12"}},
    "program stream.mpg": {"codec": "mpeg2video", "container": "mpeg", "options": {"bf": "2", "b": "3000000"}},
    "AV1.mp4": {"codec": "libsvtav1", "options": {"preset": "10"}},
    "AV1 10 bit.webm": {"codec": "libsvtav1", "pixels": "yuv420p10le", "options": {"preset": "10"}},
    "VP9 hidden frames.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "lag-in-frames": "16"}},
    "VP9 odd.webm": {"codec": "libvpx-vp9", "size": (133, 97), "options": {"cpu-used": "8"}},
    "H.264 odd.mp4": {"pixels": "yuv444p", "size": (133, 97)},
    "variable rate.mp4": {"times": [40 * k + (k % 7) * 5 + (k > 20) * 3000 for k in range(40)]},
    "flash.flv": {"options": {"bf": "2"}},
    "MPEG-4.avi": {"codec": "mpeg4", "options": {"b": "2000000"}},
    "second stream.mp4": {"extra": (64, 48)},
    "edit list.mp4": {"options": {"bf": "3", "g": "12"}, "hidden": 10},
    "edit list, long GOP.mov": {"options": {"bf": "2", "g": "250"}, "hidden": 17},
}


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", PAINTED)
def test_each_index_gives_its_own_frame(tmp_path: Path, decoder: str, name: str) -> None:
    settings = PAINTED[name]
    video = paint(tmp_path / name, **settings)
    frames = decode(video, every, decoder=decoder)
    width, height = settings.get("size", (128, 96))
    first = settings.get("hidden", 0)
    assert frames.dtype == np.uint8
    assert frames.shape == (40 - first, height, width, 3)
    assert [number(frame) for frame in frames] == list(range(first, 40))
    backwards = decode(video, lambda times: np.array([17, 3, 3, len(times) - 1]), decoder=decoder)
    assert [number(frame) for frame in backwards] == [first + 17, first + 3, first + 3, 39]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_flags_are_applied_by_both_decoders(tmp_path: Path, decoder: str, degrees: int) -> None:
    plain = paint(tmp_path / "plain.mp4")
    frames = decode(rotated(plain, tmp_path / "turned.mp4", degrees), every, decoder=decoder)
    # The flag says: turn clockwise to show. Turned back, the painted numbers can be read.
    assert [number(np.rot90(frame, degrees // 90)) for frame in frames] == list(range(40))


def test_both_decoders_scale_turned_pictures_alike(tmp_path: Path) -> None:
    turned = rotated(paint(tmp_path / "plain.mp4"), tmp_path / "turned.mp4", 90)
    for decoder in DECODERS:
        assert decode(turned, sixteen, decoder=decoder, short_side=48).shape == (16, 64, 48, 3)


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    video = paint(tmp_path / "plain.mp4")
    with av.open(str(video)) as given, av.open(str(tmp_path / "cover.mp4"), "w") as out:
        stream = out.add_stream_from_template(given.streams.video[0])
        cover = out.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 512, 512, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
        out.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((512, 512, 3), np.uint8), format="rgb24")))
        out.mux(cover.encode())
    assert [number(frame) for frame in decode(tmp_path / "cover.mp4", every)] == list(range(40))


@pytest.mark.parametrize("decoder", DECODERS)
def test_by_time_a_long_pause_is_sampled_as_long_as_it_lasts(tmp_path: Path, decoder: str) -> None:
    # Frames 0 to 19 take 0.8 s, then frame 19 stands for 3.2 s, then 20 to 39 take 0.8 s.
    video = paint(tmp_path / "clip.mp4", times=[40 * k + (k >= 20) * 3200 for k in range(40)])

    def by_time(times: np.ndarray) -> np.ndarray:
        return clip_indices(times, 12, sampling="time")

    def by_frame(times: np.ndarray) -> np.ndarray:
        return clip_indices(times, 12)

    numbers = [number(frame) for frame in decode(video, by_time, decoder=decoder)]
    assert numbers == [5, 15, *[19] * 8, 25, 35]
    assert [number(frame) for frame in decode(video, by_frame, decoder=decoder)][4:8] == [15, 18, 21, 25]


def test_good_frames_of_a_damaged_file_only_on_request(tmp_path: Path) -> None:
    video = damaged(paint(tmp_path / "whole.mp4", frames=60, options={"g": "5", "bf": "0"}), tmp_path / "broken.mp4")
    with pytest.raises(UnreadableVideoError, match="Invalid data"):
        decode(video, every)
    numbers = [number(frame) for frame in decode(video, every, salvage=True)]
    assert 20 < len(numbers) < 60
    assert numbers[:20] == list(range(20))  # before the damage
    assert numbers[-10:] == list(range(50, 60))  # and after it
    assert len(decode(video, sixteen, salvage=True)) == 16


def test_the_box_is_cut_before_scaling(tmp_path: Path) -> None:
    video = paint(tmp_path / "clip.mp4")
    for box in (Box(64, 24, 128, 72), Box(0.5, 0.25, 1, 0.75, "share")):
        frames = decode(video, every, box=box)
        assert frames.shape == (40, 48, 64, 3)
        assert np.array_equal(frames, decode(video, every)[:, 24:72, 64:128])
    assert decode(video, every, box=Box(-5, -5, 999, 999)).shape == (40, 96, 128, 3)
    assert decode(video, every, box=Box(500, 500, 600, 600)).shape == (40, 1, 1, 3)
    assert decode(video, every, box=Box(64, 24, 128, 72), short_side=24).shape == (40, 24, 32, 3)


@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{other}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{other}'\n",
        "\n ffconcat version 1.0\nfile '{other}'\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
        '<?xml version="1.0"?><MPD><BaseURL>{other}</BaseURL></MPD>',
    ],
)
def test_playlists_are_refused_and_what_they_name_is_not_opened(tmp_path: Path, content: str) -> None:
    other = paint(tmp_path / "other.mp4")
    before = other.stat().st_atime_ns
    (tmp_path / "list.mp4").write_text(content.format(other=other))
    with pytest.raises(UnreadableVideoError, match="refused"):
        decode(tmp_path / "list.mp4", every)
    assert other.stat().st_atime_ns == before


def test_a_name_like_a_protocol_is_a_file(tmp_path: Path) -> None:
    video = paint(tmp_path / "plain.mp4").rename(tmp_path / "concat:a|b.mp4")
    assert len(decode(video, every)) == 40


@pytest.mark.skipif("decord" not in DECODERS, reason="decord is not installed (x86-64 only)")
def test_both_decoders_agree_to_the_pixel_on_real_clips(caplog: pytest.LogCaptureFixture) -> None:
    videos = sorted((shared("wlasl10") / "videos").glob("*.mp4"))[::8]
    with caplog.at_level(logging.WARNING):
        for video in videos:
            ours, theirs = decode(video, sixteen), decode(video, sixteen, decoder="decord")
            assert np.array_equal(ours, theirs), video.name
    assert not caplog.records  # decord itself read them all


@pytest.mark.skipif("decord" not in DECODERS, reason="decord is not installed (x86-64 only)")
@pytest.mark.parametrize("name", ["editlist_skip131.mp4", "mpeg2.mpg", "av1_svt.mp4", "gif_anim.gif"])
def test_decord_is_not_trusted_where_it_hangs_or_lies(name: str, caplog: pytest.LogCaptureFixture) -> None:
    video = shared("hard_media") / name
    with caplog.at_level(logging.WARNING):
        theirs = decode(video, sixteen, decoder="decord")
    assert np.array_equal(theirs, decode(video, sixteen))
    assert "PyAV instead of decord" in caplog.text


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("editlist_skip131.mp4", 285),
        ("mpeg2.mpg", 104),
        ("vp9.webm", 40),
        ("av1_svt.mp4", 20),
        ("h264_1frame.mp4", 1),
        ("h264_vfr.mp4", 104),
        ("hevc_10bit.mp4", 30),
        ("name with space ñ señá.mp4", 104),
        ("no_extension", 104),
    ],
)
def test_frames_are_counted_not_believed(name: str, frames: int) -> None:
    video = shared("hard_media") / name
    assert count_frames(video)[0] == frames
    assert decode(video, sixteen, short_side=64).shape[0] == 16


@pytest.mark.skipif("decord" not in DECODERS, reason="decord is not installed (x86-64 only)")
def test_rotation_is_applied_as_decord_applies_it() -> None:
    video = shared("hard_media") / "video_90.mov"
    ours, theirs = decode(video, every), decode(video, every, decoder="decord")
    assert ours.shape == theirs.shape
    assert ours.shape[1] > ours.shape[2]  # upright: a phone held upright
    assert np.abs(ours.astype(int) - theirs).mean() < 2


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    "name",
    [
        "zero_byte.mp4",
        "text_as_mp4.mp4",
        "audio_only.mp4",
        "truncated_half_moov_at_end.mp4",
        "faststart_truncated_half.mp4",
    ],
)
def test_broken_files_are_named(name: str, decoder: str) -> None:
    with pytest.raises(UnreadableVideoError, match=name.split(".", maxsplit=1)[0]):
        decode(shared("hard_media") / name, sixteen, decoder=decoder)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableVideoError, match=r"nowhere\.mp4"):
        decode(tmp_path / "nowhere.mp4", sixteen)


def test_scaling_keeps_the_shape_and_never_enlarges(tmp_path: Path) -> None:
    paint(tmp_path / "clip.mp4", size=(64, 48))
    assert decode(tmp_path / "clip.mp4", sixteen, short_side=24).shape == (16, 24, 32, 3)
    assert decode(tmp_path / "clip.mp4", sixteen, short_side=480).shape == (16, 48, 64, 3)


def test_a_video_too_large_to_hold_is_read_twice_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "clip.mp4", 0, 1)
    held = decode(tmp_path / "clip.mp4", sixteen)
    monkeypatch.setattr(room, "HELD_BYTES", 20_000)
    assert np.array_equal(decode(tmp_path / "clip.mp4", sixteen), held)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("error", [RuntimeError("mine"), OSError("mine"), av.error.InvalidDataError(1, "mine")])
def test_an_error_of_the_choice_comes_out_as_it_is_and_once(
    tmp_path: Path, decoder: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def choose(times: np.ndarray) -> np.ndarray:
        calls.append(len(times))
        raise error

    with pytest.raises(type(error)) as caught:
        decode(paint(tmp_path / "clip.mp4"), choose, decoder=decoder)
    assert caught.value is error
    assert calls == [40]
    assert not caplog.records  # nothing was decoded with the other decoder


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("index", [-1, 40])
def test_a_frame_that_is_not_there_is_the_choosers_error(
    tmp_path: Path, decoder: str, index: int, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match="were chosen of 40"):
        decode(paint(tmp_path / "clip.mp4"), lambda times: np.array([index]), decoder=decoder)
    assert not caplog.records


@pytest.mark.skipif("decord" not in DECODERS, reason="decord is not installed (x86-64 only)")
def test_where_decord_fails_the_choice_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str, num_threads: int) -> None:
        raise RuntimeError("decord's own")

    monkeypatch.setattr(decord, "VideoReader", fail)
    calls = []

    def choose(times: np.ndarray) -> np.ndarray:
        calls.append(len(times))
        return np.array([3, 5])

    frames = decode(paint(tmp_path / "clip.mp4"), choose, decoder="decord")
    assert [number(frame) for frame in frames] == [3, 5]
    assert calls == [40]
