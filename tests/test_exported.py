"""The exported model's own program gives the probabilities of `evaluate`, whatever the clips are like."""

import importlib.util
import json
import runpy
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import VideoMAEConfig
from transformers.models.videomae import VideoMAEForVideoClassification, VideoMAEImageProcessor

from lscht_ray.model.shape import TINY
from support import odd_media
from support.doors import FAST, Door
from support.media import paint, rotated


def program(folder: Path) -> Any:
    """predict.py of an exported model, imported."""
    spec = importlib.util.spec_from_file_location("predict", folder / "predict.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def odd_clips(folder: Path) -> Path:
    """Two glosses of wide, tall, turned, mirrored, anamorphic, short and unevenly timed clips."""
    paint(folder / "upright.mp4", size=(64, 36), frames=30)
    for split in ("train", "val"):
        for gloss, number in (("mañana", 0), ("tú", 1)):
            place = folder / "clips" / split / gloss
            place.mkdir(parents=True)
            rotated(folder / "upright.mp4", place / "turned.mp4", 90 if number else 270)
            paint(place / "wide.mp4", size=(96, 54 + 2 * number), frames=23)
            paint(place / "tall.mkv", size=(54, 96), frames=3 + number)
            paint(place / "uneven.mp4", times=[40 * k + (k > 9) * 700 * (1 + number) for k in range(40)])
            aspect = Fraction(4, 3) if number else Fraction(9, 16)

            def setup(stream: Any, aspect: Fraction = aspect) -> None:
                stream.set_display_matrix([0, odd_media.ONE, 0, odd_media.ONE, 0, 0, 0, 0, 1 << 30])
                stream.codec_context.sample_aspect_ratio = aspect

            odd_media.write(place / "odd.mp4", [odd_media.picture(96, 64, n) for n in range(9)], setup=setup)
    (folder / "upright.mp4").unlink()
    return folder / "clips"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"eval_crop": "letterbox", "sampling": "time", "image_size": 72, "num_frames": 8},
        {"eval_crop": "centre", "short_side": 40, "num_frames": 32},
    ],
)
def test_the_exported_program_gives_the_probabilities_of_evaluate(
    tmp_path: Path, door: Door, settings: dict[str, object]
) -> None:
    VideoMAEForVideoClassification(VideoMAEConfig(**TINY)).save_pretrained(tmp_path / "pretrained")
    data = odd_clips(tmp_path)
    flags = [word for name, value in settings.items() for word in (f"--{name}", value)]
    result = door(
        "train", "--data", data, "--model_name", tmp_path / "pretrained", "--num_workers", 0, "--max_epochs", 1,
        "--batch_size", 4, "--lr", "1e-3", "--device", "cpu", *flags, cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (run,) = (tmp_path / "models" / "checkpoints").iterdir()
    evaluated = door("evaluate", run, "--split", "val", "--device", "cpu", "--num_workers", 0, cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    with np.load(run / "evaluation_val" / "probabilities.npz") as kept:
        videos, expected = kept["videos"].tolist(), kept["probabilities"]
    predict = program(run / "best_model")
    model = predict.load(run / "best_model")
    assert len(videos) == 10
    for video, row in zip(videos, expected, strict=True):
        np.testing.assert_allclose(predict.predict(model, video).numpy(), row, atol=1e-6)
    stretched = "position_grid" in json.loads((run / "best_model" / "config.json").read_text())
    assert stretched == bool({"image_size", "num_frames"} & settings.keys())
    readme = (run / "best_model" / "README.md").read_text(encoding="utf-8")
    assert ("`from_pretrained` alone does not do" in readme) == stretched
    check_processor(run / "best_model", readme, str(settings.get("eval_crop", "squash")))


def check_processor(folder: Path, readme: str, crop: str) -> None:
    """transformers' own preprocessing shows the part of a picture that evaluation shows, or README says otherwise."""
    processor = VideoMAEImageProcessor.from_pretrained(folder)
    size = json.loads((folder / "config.json").read_text())["image_size"]
    wide = np.zeros((90, 160, 3), np.uint8)
    wide[:, 80:] = 255  # at the left edge black, at the right white, whatever is cut
    wide[:, :20] = wide[:, -20:] = 128  # beyond the centre square
    shown = processor([wide] * 2, return_tensors="pt")["pixel_values"][0, 0, 0]
    assert shown.shape == (size, size)
    edge = (128 / 255 - processor.image_mean[0]) / processor.image_std[0]
    assert bool((shown[:, 0] - edge).abs().max() < 0.1) == (crop != "centre")
    assert ("it squashes pictures to squares" in readme) == (crop == "letterbox")


def test_the_exported_program_runs_by_itself(
    small: Path, tmp_path: Path, door: Door, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = (*FAST, "--max_epochs", 1, "--pixel_format", "yuv420", "--salvage", "true")
    assert door("train", "--data", small, *flags, cwd=tmp_path).returncode == 0
    (run,) = (tmp_path / "models" / "checkpoints").iterdir()
    folder = run / "best_model"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    said = "colours at half the resolution and of damaged videos the good frames were used, which the program below"
    assert said in readme

    command = [sys.executable, folder / "predict.py", folder, next(small.rglob("*.mp4"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    glosses = [line.split("  ")[-1].strip() for line in done.stdout.splitlines()]
    assert (done.stderr, sorted(glosses)) == ("", ["casa", "mañana", "tú"])

    def run_here(*words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, words)])
        runpy.run_path(str(folder / "predict.py"), run_name="__main__")

    odd_media.hdr(tmp_path / "hlg.mp4", odd_media.picture(64, 48), odd_media.HLG)
    odd_media.resized(tmp_path / "resized.webm", [(64, 48), (48, 64)])
    odd_media.interlaced(tmp_path / "interlaced.mp4", 96, 64)
    for name, word in (("hlg.mp4", "is HDR"), ("interlaced.mp4", "is interlaced")):
        capsys.readouterr()
        run_here(folder, tmp_path / name)
        shown = capsys.readouterr()
        assert (f"{name} {word}" in shown.err, len(shown.out.splitlines())) == (True, 3)
    (tmp_path / "text.mp4").write_text("no video")
    refused = {"no.mp4": "no such file", "text.mp4": "can't be read", "resized.webm": "its picture changes its size"}
    for words, said in [
        ((), "predict.py FOLDER"),
        *(((folder, tmp_path / name), said) for name, said in refused.items()),
    ]:
        with pytest.raises(SystemExit, match=said):
            run_here(*words)
