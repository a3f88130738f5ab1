"""What one video really holds, found out in children that hang, crash and run out of memory without harm."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import pytest

from lscht_ray.checking._duplicates import LOOK_ALIKE
from lscht_ray.dataset import demo
from lscht_ray.host.children import KillablePool
from lscht_ray.video._judging import perceptual_hash
from lscht_ray.video.facts import Facts
from lscht_ray.video.probe import find_facts
from support.data import shared
from support.doors import Door
from support.media import bomb, damaged, paint, picture, rotated

GB = 2**30


def pool(seconds: float = 20.0, memory: float = 2.0, processes: int = 1) -> KillablePool:
    command = [sys.executable, "-m", "lscht_ray.video.probe", str(int(memory * GB))]
    return KillablePool(command, processes=processes, seconds=seconds)


HARD_MEDIA: dict[str, dict[str, Any]] = {
    "audio_only.mp4": {"trouble": "no_video_stream"},
    "av1_svt.mp4": {"frames": 20, "codec": "av1", "width": 256, "height": 256, "fps": 25.0},
    "bitrot_mpeg4.mp4": {"trouble": "damaged", "claimed": 104},
    "corrupted.mp4": {"trouble": "damaged", "width": 1280, "height": 720},
    "editlist_skip131.mp4": {"frames": 285, "hidden": 131, "claimed": 416},
    "faststart_truncated_half.mp4": {"trouble": "truncated", "frames": 46, "claimed": 104},
    "gif_anim.gif": {"frames": 20, "codec": "gif"},
    "h264_1frame.mp4": {"frames": 1, "duration": 0.04},
    "h264_vfr.mp4": {"frames": 104, "variable_rate": True, "duration": 13.86},
    "hevc_10bit.mp4": {"frames": 30, "codec": "hevc", "variable_rate": False},
    "mpeg2.mpg": {"frames": 104, "claimed": 0, "codec": "mpeg2video"},
    "name with space ñ señá.mp4": {"frames": 104},
    "no_extension": {"frames": 104},
    "text_as_mp4.mp4": {"trouble": "unreadable"},
    "truncated_half_moov_at_end.mp4": {"trouble": "truncated"},
    "video_90.mov": {"frames": 3, "rotation": -90, "width": 320, "height": 568},
    "vp9.webm": {"frames": 40, "claimed": 0, "codec": "vp9"},
    "zero_byte.mp4": {"trouble": "empty_file"},
}
DECORD = {
    # What decord makes of those that PyAV reads whole.
    **{key: {"error"} for key in ("av1_svt.mp4", "gif_anim.gif")},
    "mpeg2.mpg": {"differs"},
    "editlist_skip131.mp4": {"differs", "hang"},  # it hangs on some machines, and lies on the others
    **{key: {"same"} for key in ("h264_1frame.mp4", "h264_vfr.mp4", "hevc_10bit.mp4", "video_90.mov", "vp9.webm")},
    **{key: {"same"} for key in ("name with space ñ señá.mp4", "no_extension")},
}


@pytest.mark.parametrize("name", HARD_MEDIA)
def test_facts_of_hard_media(name: str) -> None:
    facts = find_facts(str(shared("hard_media") / name))
    assert facts.trouble == HARD_MEDIA[name].get("trouble", ""), facts
    for key, value in HARD_MEDIA[name].items():
        assert getattr(facts, key) == pytest.approx(value) if isinstance(value, float) else getattr(facts, key) == value


def test_every_hard_file_is_tried() -> None:
    files = {file.name for file in shared("hard_media").iterdir()} - {"LICENSE.decord"}
    assert files == HARD_MEDIA.keys()
    assert DECORD.keys() == {name for name, facts in HARD_MEDIA.items() if "trouble" not in facts}


def test_decord_is_compared_with_pyav_within_its_limit() -> None:
    pytest.importorskip("decord", reason="decord is not installed (x86-64 only)")
    folder, seconds = shared("hard_media"), 5.0
    questions = [{"ask": "decord", "path": str(folder / name)} for name in DECORD]
    with pool(seconds) as children:
        said = {Path(q["path"]).name: a for q, a in children.map(questions)}
    verdicts = {name: "hang" if a.ended == "hung" else a.content["decord"] for name, a in said.items()}
    assert {name: verdict for name, verdict in verdicts.items() if verdict not in DECORD[name]} == {}


def test_facts_of_a_drawn_clip(tmp_path: Path) -> None:
    video = paint(tmp_path / "clip.mp4", size=(160, 96))
    facts = find_facts(str(video))
    assert facts.sha256 == hashlib.sha256(video.read_bytes()).hexdigest()
    assert (facts.size, facts.mtime_ns) == (video.stat().st_size, video.stat().st_mtime_ns)
    shown = (facts.frames, facts.claimed, facts.width, facts.height, facts.fps, facts.duration, facts.variable_rate)
    assert shown == (40, 40, 160, 96, 25.0, pytest.approx(1.6), False)
    assert (facts.codec, facts.streams, facts.rotation, facts.trouble) == ("h264", 1, 0, "")
    assert facts.black == pytest.approx(1 / 40)  # only number 0 has no white bar
    assert facts.frozen == 0
    turned = find_facts(str(rotated(video, tmp_path / "turned.mp4", 90)))
    assert (turned.width, turned.height, abs(turned.rotation)) == (96, 160, 90)
    assert Facts.from_dict(facts.as_dict()) == facts


@pytest.mark.parametrize(("name", "codec"), [("c.ts", "mpeg2video"), ("c.avi", "mpeg4"), ("c.mts", "libx264")])
@pytest.mark.parametrize("share", [0.05, 0.2])
def test_frames_that_are_missing_where_a_video_is_damaged_are_counted(
    name: str, codec: str, share: float, tmp_path: Path
) -> None:
    options = {"g": "12", "bf": "0", "b": "2000000"}
    whole = paint(tmp_path / "whole" / name, codec=codec, frames=100, size=(320, 240), options=options)
    facts = find_facts(str(damaged(whole, tmp_path / name, 0.5, 0.5 + share)))
    assert facts.frames + facts.corrupt == 100
    assert (facts.trouble == "damaged") == (facts.corrupt > 10) == (share > 0.1)
    assert not facts.whole


def test_a_pause_beside_a_damaged_frame_is_no_loss(tmp_path: Path) -> None:
    """Where frames come unevenly, only a header's number of frames tells what is missing."""
    times = [40 * k + 4000 * (k > 30) for k in range(60)]
    for name in ("c.mp4", "c.mkv"):
        whole = paint(
            tmp_path / name, codec="mpeg4", frames=60, times=times, options={"g": "1", "b": "4000000"}, size=(320, 240)
        )
        with av.open(str(whole)) as opened:
            packets = [bytes(packet) for packet in opened.demux(video=0) if packet.size]
        content = whole.read_bytes()
        at = content.index(packets[31])
        broken = bytes(byte ^ 0x55 for byte in packets[31][20:])
        (tmp_path / f"d_{name}").write_bytes(content[: at + 20] + broken + content[at + 20 + len(broken) :])
        facts = find_facts(str(tmp_path / f"d_{name}"))
        assert (facts.frames, facts.corrupt, facts.trouble) == (59, 1, "")


def test_what_is_longer_than_the_pictures_is_no_fault(door: Door, tmp_path: Path) -> None:
    for k, suffix in enumerate(("mkv", "webm", "flv")):
        codec, sound = {"mkv": ("libx264", "aac"), "webm": ("libvpx", "libopus"), "flv": ("flv", "aac")}[suffix]
        (tmp_path / "hola").mkdir(exist_ok=True)
        with av.open(str(tmp_path / "hola" / f"{k}.{suffix}"), "w") as out:
            video, audio = out.add_stream(codec, rate=25), out.add_stream(sound, rate=48000)
            video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
            for number in range(30):
                out.mux(video.encode(av.VideoFrame.from_ndarray(picture(number + 30 * k, 128, 96), format="rgb24")))
            out.mux(video.encode())
            for number in range(200):
                frame = av.AudioFrame(format="fltp" if sound == "aac" else "s16", layout="mono", samples=960)
                for plane in frame.planes:
                    plane.update(bytes(plane.buffer_size))
                frame.sample_rate, frame.pts = 48000, 960 * number
                out.mux(audio.encode(frame))
            out.mux(audio.encode())
    pauses = paint(tmp_path / "tú" / "1.avi", codec="mpeg4", times=[40 * k + 400 * (k > 20) for k in range(40)])
    paint(tmp_path / "tú" / "2.avi", codec="mpeg4", frames=41)
    assert find_facts(str(pauses)).claimed > 40
    said = door("check", tmp_path, cwd=tmp_path).stdout
    assert "claimed" not in said


def test_a_part_that_is_lost_without_a_word_is_named(door: Door, tmp_path: Path) -> None:
    """A decoder does not call frames damaged of which it has nothing: only times and headers tell."""
    paint(tmp_path / "hola" / "whole.webm", codec="libvpx", frames=100)
    paint(tmp_path / "hola" / "varies.mp4", times=[40 * k + 15 * (k % 2) for k in range(41)])
    paint(tmp_path / "tú" / "jump.mp4", times=[40 * k + 1200 * (k > 20) for k in range(42)])
    half = paint(tmp_path / "tú" / "half.webm", codec="libvpx", frames=102)
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    result = door("check", tmp_path, "--json", tmp_path / "report.json", cwd=tmp_path)
    assert result.returncode in (0, 1), result.stderr
    problems = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["problems"]
    found = {p["kind"]: (Path(p["path"]).name, p["detail"]) for p in problems if "s" in p["detail"].split()}
    assert found["gap_in_time"] == ("jump.mp4", "no frame is shown for 1.24 s from 0.80 s on")
    name, detail = found["shorter_than_claimed"]
    assert name == "half.webm"
    assert re.fullmatch(r"its pictures end after [12]\.\d\d s, its header claims 4\.08 s", detail)
    assert not {"whole.webm", "varies.mp4"} & {name for name, _ in found.values()}


def test_still_and_black_videos(tmp_path: Path) -> None:
    frozen = find_facts(str(bomb(tmp_path / "grey.mp4", side=64)))
    assert (frozen.frozen, frozen.black) == (1.0, 0.0)


def test_the_perceptual_hash_survives_another_encoding_and_tells_performances_apart(tmp_path: Path) -> None:
    signer, gloss = demo.draw_signer(1, 0), next(iter(demo.GLOSSES))
    clip, again = (demo.draw_clip(signer, gloss, (1, seed)) for seed in (2, 3))
    larger = clip.repeat(4, axis=1).repeat(4, axis=2)
    looks = []
    for number, frames in enumerate((clip, larger, again)):
        demo.write_video(tmp_path / f"{number}.mp4", frames)
        looks.append(int(find_facts(str(tmp_path / f"{number}.mp4")).looks, 16))
    assert (looks[0] ^ looks[1]).bit_count() / 1024 < LOOK_ALIKE
    assert (looks[0] ^ looks[2]).bit_count() / 1024 > 2 * LOOK_ALIKE


def test_the_perceptual_hash_is_the_sign_of_low_cosines() -> None:
    import numpy as np
    from scipy.fft import dctn

    frames = np.random.default_rng(0).random((3, 32, 32)).astype(np.float32)
    low = np.stack([dctn(frame)[:8, :8].ravel() for frame in frames])
    expected = low > np.median(low[:, 1:], axis=1, keepdims=True)
    assert perceptual_hash(frames) == bytes(np.packbits(expected)).hex()


def test_a_child_that_hangs_is_killed_in_time_and_replaced(tmp_path: Path) -> None:
    pytest.importorskip("decord", reason="decord is not installed (x86-64 only)")
    good = paint(tmp_path / "good.mp4")
    os.mkfifo(tmp_path / "hang.mp4")  # decord waits for somebody to write into it, for ever, in C
    names = ("good.mp4", "hang.mp4", "good.mp4", "hang.mp4", "good.mp4")
    questions = [
        {"ask": "decord", "path": str(tmp_path / name), "seconds": 2.0, "n": n} for n, name in enumerate(names)
    ]
    with pool(processes=2) as children:
        said = {question["n"]: answer for question, answer in children.map(questions)}
        alive = [child.pid for child in children._children]
    assert [said[n].ended for n in range(5)] == ["", "hung", "", "hung", ""]
    assert [said[n].content.get("decord") for n in (0, 2, 4)] == ["same"] * 3
    assert "2 s" in said[1].detail
    assert good.is_file()
    assert [pid for pid in alive if Path(f"/proc/{pid}").exists()] == []


def test_a_hung_child_dies_even_when_nobody_is_left_to_kill_it(tmp_path: Path) -> None:
    pytest.importorskip("decord", reason="decord is not installed (x86-64 only)")
    os.mkfifo(tmp_path / "hang.mp4")
    command = [sys.executable, "-m", "lscht_ray.video.probe", str(2 * GB)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None and child.stdout is not None
        assert child.stdout.readline() == "{}\n"
        child.stdin.write(f'{{"ask": "decord", "seconds": 0.1, "path": "{tmp_path / "hang.mp4"}"}}\n')
        child.stdin.flush()
        assert child.wait(timeout=30) == -14  # SIGALRM


def test_a_picture_bomb_is_stopped_by_the_memory_limit(tmp_path: Path) -> None:
    video = bomb(tmp_path / "bomb.mp4")
    assert video.stat().st_size < 200_000
    with pool(memory=0.2) as children:
        ((_, answer),) = children.map([{"ask": "facts", "path": str(video)}])
    assert answer.ended or answer.content["trouble"] == "too_much_memory", answer
    with pool(memory=2.0) as children:
        answers = {
            q["ask"]: a for q, a in children.map([{"ask": ask, "path": str(video)} for ask in ("facts", "decord")])
        }
    assert (answers["facts"].content["frames"], answers["facts"].content["width"]) == (6, 8192)
    assert answers["decord"].ended == "died" or answers["decord"].content["decord"] == "error"


def test_pictures_for_a_page_come_from_the_child(tmp_path: Path) -> None:
    import base64

    broken = damaged(paint(tmp_path / "whole.mp4", frames=60, options={"g": "5", "bf": "0"}), tmp_path / "broken.mp4")
    (tmp_path / "text.mp4").write_text("no video at all")
    with pool() as children:
        asked = [{"ask": "pictures", "path": str(path), "count": 3} for path in (broken, tmp_path / "text.mp4")]
        said = {Path(q["path"]).name: a.content for q, a in children.map(asked)}
    assert [base64.b64decode(picture)[:2] for picture in said["broken.mp4"]["pictures"]] == [b"\xff\xd8"] * 3
    assert said["text.mp4"]["error"] == "unreadable"
