"""Pictures are as a player shows them: against FFmpeg's own program, and against what a clip was made of."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lscht_ray.checking import findings, survey
from lscht_ray.clips.dataset import ClipReader
from lscht_ray.dataset import annotations
from lscht_ray.dataset.samples import clip_key, make_clip
from lscht_ray.host.console import quiet_console
from lscht_ray.settings.data import CheckConfig
from lscht_ray.video.decode import decode
from lscht_ray.video.facts import Facts
from lscht_ray.video.frames import Indices, Times
from lscht_ray.video.pictures import PixelFormat
from lscht_ray.video.probe import find_facts
from support import odd_media
from support.odd_media import HLG, ONE, PQ, comb, picture, reference, write

MATRICES = {
    "upright": (1, 0, 0, 1),
    "turned by 90 degrees": (0, 1, -1, 0),
    "turned by 180 degrees": (-1, 0, 0, -1),
    "turned by 270 degrees": (0, -1, 1, 0),
    "left and right exchanged": (-1, 0, 0, 1),
    "top and bottom exchanged": (1, 0, 0, -1),
    "rows and columns exchanged": (0, 1, 1, 0),
    "both, and turned over": (0, -1, -1, 0),
}


def all_frames(path: Path, short_side: int | None = None, pixel_format: PixelFormat = "rgb") -> np.ndarray:
    def every(times: Times) -> Indices:
        return np.arange(len(times))

    return decode(path, every, short_side=short_side, pixel_format=pixel_format)


def rgb(packed: np.ndarray) -> np.ndarray:
    """Packed YUV 4:2:0 pictures as RGB, by FFmpeg's scaler."""
    import av

    frames = [av.VideoFrame.from_ndarray(frame, format="yuv420p") for frame in packed]
    return np.stack([frame.to_ndarray(format="rgb24") for frame in frames])


def displayed(path: Path, name: str, aspect: Fraction | None = None, suffix_codec: str = "libx264") -> Path:
    a, b, c, d = (ONE * number for number in MATRICES[name])

    def setup(stream: Any) -> None:
        stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect

    return write(path, [picture(96, 64, n) for n in range(4)], codec=suffix_codec, setup=setup)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("name", MATRICES)
def test_every_display_matrix_is_applied_as_ffmpeg_does(tmp_path: Path, name: str, suffix: str) -> None:
    video = displayed(tmp_path / f"clip{suffix}", name)
    expected, made = reference(video), all_frames(video)
    assert made.shape == expected.shape
    assert np.abs(made.astype(int) - expected).mean() < 0.5
    packed = rgb(all_frames(video, pixel_format="yuv420"))
    assert packed.shape == expected.shape
    assert np.abs(packed.astype(int) - expected).mean() < 4  # colours have half the resolution
    facts = find_facts(str(video))
    assert (facts.height, facts.width) == expected.shape[1:3]
    assert facts.mirrored == ("exchanged" in name or "turned over" in name)
    assert ("mirrored" in facts.special) == facts.mirrored


@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(9, 16), Fraction(16, 15)])
@pytest.mark.parametrize("name", ["upright", "turned by 90 degrees", "rows and columns exchanged"])
def test_pixels_that_are_no_squares_are_shown_as_players_do(tmp_path: Path, name: str, aspect: Fraction) -> None:
    """FFmpeg's scale=iw*sar:ih before its turn."""
    video = displayed(tmp_path / "clip.mp4", name, aspect)
    made, facts = all_frames(video), find_facts(str(video))
    turned = MATRICES[name][0] == 0
    # The program turns first, and the aspect with it: 4:3 becomes 3:4.
    expected = reference(video, f"scale={'iw:ih/sar' if turned else 'iw*sar:ih'}:flags=area")
    assert made.shape[1:3] == (facts.height, facts.width)
    assert made.shape == expected.shape
    assert np.abs(made.astype(int) - expected).mean() < 4  # it scales colours of half the resolution after the turn
    assert facts.pixel_aspect == f"{aspect.numerator}:{aspect.denominator}"
    small = all_frames(video, short_side=32)
    assert min(small.shape[1:3]) == 32
    assert small.shape[1] / small.shape[2] == pytest.approx(made.shape[1] / made.shape[2], rel=0.03)


def test_an_absurd_aspect_is_passed_over(tmp_path: Path) -> None:
    video = displayed(tmp_path / "clip.mp4", "upright", Fraction(1000, 1))
    assert all_frames(video).shape[1:3] == (64, 96)
    assert find_facts(str(video)).pixel_aspect == "1:1"


def colours() -> np.ndarray:
    """A smooth picture with a grey ramp and full colours."""
    rng = np.random.default_rng(0)
    small = rng.random((6, 8, 3))
    rows = np.linspace(0, 5, 108)
    columns = np.linspace(0, 7, 192)
    made = np.stack(
        [
            np.stack(
                [
                    np.interp(columns, np.arange(8), [np.interp(y, np.arange(6), small[:, k, c]) for k in range(8)])
                    for y in rows
                ]
            )
            for c in range(3)
        ],
        axis=2,
    )
    made = 0.5 + (made - 0.5) * 1.4
    made[:18] = np.linspace(0, 1, 192)[None, :, None]
    return np.rint(made.clip(0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize(("transfer", "name"), [(HLG, "hlg"), (PQ, "pq")])
@pytest.mark.parametrize("pixel_format", ["rgb", "yuv420"])
def test_hdr_shows_what_the_clip_was_made_of(
    tmp_path: Path, transfer: int, name: str, pixel_format: PixelFormat
) -> None:
    """Without its curve it is off by 20 and more of 255 grey levels."""
    sdr = colours()
    video = odd_media.hdr(tmp_path / "clip.mp4", sdr, transfer)
    made = all_frames(video, pixel_format=pixel_format)
    shown = made[0] if pixel_format == "rgb" else rgb(made)[0]
    assert np.abs(shown.astype(int) - sdr).mean() < 5
    assert np.abs(reference(video)[0].astype(int) - sdr).mean() > 15
    small = all_frames(video, 50, pixel_format)  # 89 x 50, or 88 x 50 in 4:2:0: no side is padded
    assert small[0][-2 if pixel_format == "rgb" else 49].max() > 30
    assert find_facts(str(video)).transfer == name


@pytest.mark.parametrize(("width", "height", "short_side"), [(192, 144, None), (192, 144, 96), (480, 384, 256)])
def test_interlaced_frames_show_one_moment(tmp_path: Path, width: int, height: int, short_side: int | None) -> None:
    video = odd_media.interlaced(tmp_path / "clip.mp4", width, height)
    assert comb(reference(video)[1]) > 0.01
    made = all_frames(video, short_side)
    assert made.shape[1:3] == ((height, width) if short_side is None else (short_side, short_side * width // height))
    assert max(comb(frame) for frame in made) == 0
    assert find_facts(str(video)).interlaced
    progressive = write(tmp_path / "other.mp4", [picture(96, 64)])
    assert not find_facts(str(progressive)).interlaced


def test_a_picture_that_changes_its_size_keeps_its_proportions(tmp_path: Path) -> None:
    video = odd_media.resized(tmp_path / "clip.webm", [(160, 120), (120, 160), (80, 60)])
    made = all_frames(video)
    assert made.shape == (12, 120, 160, 3)
    tall = made[6].astype(int)
    assert np.abs(tall[:, :34]).max() < 3 and np.abs(tall[:, -34:]).max() < 3  # 120 x 120 / 160 = 90 columns
    as_it_was = np.asarray(made[6, :, 35:125])
    small = picture(90, 120, 6).astype(int)
    assert np.abs(as_it_was - small).mean() < 12
    assert np.abs(made[9].astype(int) - picture(160, 120, 9)).mean() < 20  # half the size in the same shape: all of it
    later = decode(video, lambda times: np.array([6]), short_side=None)
    assert np.array_equal(later[0], made[6])  # whichever frames are asked for, the video's first one decides
    facts = find_facts(str(video))
    assert (facts.sizes, facts.width, facts.height) == (3, 160, 120)
    assert rgb(all_frames(video, 60, "yuv420")).shape == (12, 60, 80, 3)


def test_check_says_what_is_shown_otherwise_than_it_is_stored(tmp_path: Path) -> None:
    clips = tmp_path / "clips" / "casa"
    clips.mkdir(parents=True)
    displayed(clips / "mirrored.mp4", "left and right exchanged")
    displayed(clips / "wide pixels.mp4", "upright", Fraction(4, 3))
    odd_media.hdr(clips / "hdr.mp4", colours(), PQ)
    odd_media.interlaced(clips / "interlaced.mp4", 192, 144)
    odd_media.resized(clips / "changing.webm", [(160, 120), (120, 160)])
    config = CheckConfig(data=str(tmp_path / "clips"))
    annotated = annotations.read_named(screen=quiet_console(), **config.data_settings(), strict=False)
    facts, _ = survey.look(annotated, config, quiet_console(), decord=True)
    said = {p.kind: (Path(p.path).stem, p.severity, p.detail) for p in findings.find_problems(annotated, facts, config)}
    assert said["mirrored"][0] == "mirrored"
    assert said["pixel_aspect"] == ("wide pixels", "info", "its pixels are no squares (4:3)")
    assert said["hdr"] == ("hdr", "info", "it is HDR (PQ)")
    assert said["interlaced"][0] == "interlaced"
    assert said["changing_size"][:2] == ("changing", "warning")
    for sample in annotated.samples:
        clip = make_clip(sample, facts[sample.video], None, None, config)
        assert not clip.decord  # which knows nothing of all this
        assert clip.key != clip_key(clip.facts.sha256, decord=False)  # a cache of earlier versions has other pictures


def test_the_name_of_an_ordinary_clip_in_the_cache_is_what_it_was() -> None:
    assert Facts(1, 2).special == ""
    assert clip_key("ab", special="") == clip_key("ab")


@pytest.mark.parametrize("kind", ["hdr", "interlaced", "pixels"])
def test_what_a_first_look_keeps_is_what_decoding_gives(tmp_path: Path, kind: str) -> None:
    """The pictures that go into the cache in the same pass."""
    from lscht_ray.clips import fill
    from lscht_ray.settings.train import TrainConfig

    for split, gloss in (("train", "casa"), ("train", "perro"), ("val", "casa")):
        folder = tmp_path / "clips" / split / gloss
        folder.mkdir(parents=True)
        if kind == "hdr":
            odd_media.hdr(folder / f"{split}.mp4", np.roll(colours(), len(split), 1), HLG)
        elif kind == "interlaced":
            odd_media.interlaced(folder / f"{split}.mp4", 192, 144 if split == "val" else 160)
        else:
            displayed(folder / f"{split}.mp4", "rows and columns exchanged", Fraction(len(split), 3))
    config = TrainConfig(data=str(tmp_path / "clips"), cache_dir=str(tmp_path / "cache"))
    screen = quiet_console()
    found = survey.ready(config, screen, fill.Keeper(config, lambda: 48, screen))
    filled = fill.fill(found.annotations.root, found.clips, config, 48, screen)
    assert (filled.complete, filled.decoded) == (True, 0)  # nothing was left to be decoded
    for clip in found.clips:
        kept = ClipReader(48, cache=filled.cache)
        assert kept.entry(clip) is not None

        def every(times: Times) -> Indices:
            return np.arange(len(times))

        frames, size = kept.read(clip, every)
        again, same = ClipReader(48).read(clip, every)
        assert size == same
        assert np.array_equal(frames, again)
