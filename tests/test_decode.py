"""The right frames, from real, hostile and drawn files."""

import logging
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import draw, shared

from lscht_ray import decode as room
from lscht_ray.decode import UnreadableVideoError, count_frames, decode
from lscht_ray.frames import evaluation_indices

try:
    import decord  # noqa: F401 - only whether it is there

    DECODERS = ["pyav", "decord"]
except ImportError:
    DECODERS = ["pyav"]


def sixteen(times: np.ndarray) -> np.ndarray:
    return evaluation_indices(len(times), 16)


def every(times: np.ndarray) -> np.ndarray:
    return np.arange(len(times))


def painted(path: Path, frames: int = 24, **options: str) -> None:
    """A clip whose frame k is painted in the grey level 8 * k + 20."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for k in range(frames):
            picture = np.full((48, 64, 3), 8 * k + 20, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("options", [{"bf": "3", "g": "250"}, {"bf": "0", "g": "1"}])
def test_each_index_gives_its_own_frame(tmp_path: Path, decoder: str, options: dict[str, str]) -> None:
    painted(tmp_path / "clip.mp4", **options)
    frames = decode(tmp_path / "clip.mp4", every, decoder=decoder)
    assert frames.shape == (24, 48, 64, 3)
    assert frames.dtype == np.uint8
    levels = frames.reshape(24, -1).mean(axis=1)
    assert np.abs(levels - (8 * np.arange(24) + 20)).max() < 3


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
    painted(tmp_path / "clip.mp4")
    assert decode(tmp_path / "clip.mp4", sixteen, short_side=24).shape == (16, 24, 32, 3)
    assert decode(tmp_path / "clip.mp4", sixteen, short_side=480).shape == (16, 48, 64, 3)


def test_a_video_too_large_to_hold_is_read_twice_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "clip.mp4", 0, 1)
    held = decode(tmp_path / "clip.mp4", sixteen)
    monkeypatch.setattr(room, "HELD_BYTES", 20_000)
    assert np.array_equal(decode(tmp_path / "clip.mp4", sixteen), held)
