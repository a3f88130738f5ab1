"""From the files to a trained and evaluated model, without an edit of the data: one data set in each form."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pympi.Elan import Eaf  # type: ignore[import-untyped]

from lscht_ray.dataset.demo import FPS, GLOSSES, draw_clip, draw_signer, write_video
from support.data import read_lines
from support.doors import FAST, Door, run_folder

NAMES = ("hola", "mañana", "tú")
SIGNERS = 6
FLAGS = (*FAST, "--max_epochs", 2, "--early_stopping", "false")


def signs() -> list[tuple[str, str, np.ndarray]]:
    """Gloss, signer and frames of 18 signs."""
    return [
        (gloss, f"señante {person}", draw_clip(draw_signer(person, 3), name, (3, person, label)))
        for person in range(SIGNERS)
        for label, (gloss, name) in enumerate(zip(NAMES, GLOSSES, strict=False))
    ]


def recording(file: Path, chosen: list[tuple[str, str, np.ndarray]]) -> list[tuple[str, str, float, float]]:
    """Write signs into one recording, a pause before each; gloss, signer, start and end in seconds of each."""
    frames, cuts = list[np.ndarray](), []
    for gloss, signer, clip in chosen:
        frames += [clip[0]] * 10
        cuts.append((gloss, signer, len(frames) / FPS, (len(frames) + len(clip)) / FPS))
        frames += list(clip)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_video(file, np.stack(frames))
    return cuts


def elan(root: Path) -> list[object]:
    """Two sessions, as a linguist has them: a tier per signer, and sentences on another one."""
    for number in range(2):
        video = root / "videos" / f"sesión {number}.mp4"
        cuts = recording(video, signs()[9 * number : 9 * number + 9])
        eaf = Eaf(author="")
        eaf.remove_tier("default")
        eaf.add_linked_file(f"file:///C:/Users/Ana/Vídeos/{video.name}", "", "video/mp4")
        for gloss, signer, start, end in cuts:
            tier = f"Glosa_{signer}"
            if tier not in eaf.get_tier_names():
                eaf.add_tier(tier, part=signer)
            eaf.add_annotation(tier, round(start * 1000), round(end * 1000), gloss)
        eaf.add_tier("Traducción")
        eaf.add_annotation("Traducción", 0, 3000, "¡Hola! Nos vemos mañana.")
        eaf.to_file(str(root / f"sesión {number}.eaf"))
    return ["--data", root, "--elan.tier", "Glosa_*"]


def excel(root: Path) -> list[object]:
    """A table that Excel saves in a Spanish locale, of one long recording; some splits are still to be drawn."""
    cuts = recording(root / "Grabación 1.mp4", signs())
    lines = ["archivo;glosa;inicio (s);fin (s);señante;partición"]
    for number, (gloss, signer, start, end) in enumerate(cuts):
        split = ("entrenamiento", "", "prueba")[number % 3] if number > 3 else ""
        times = ";".join(f"{moment:.2f}".replace(".", ",") for moment in (start, end))
        lines.append(f"Grabación 1.mp4;{gloss};{times};{signer};{split}")
    (root / "señas.csv").write_bytes(("\r\n".join(lines) + "\r\n").encode("utf-8-sig"))
    names = ('{"entrenamiento": "train", "prueba": "test"}',)
    times = ("--columns.start", "inicio (s)", "--columns.end", "fin (s)", "--columns.unit", "second")
    return ["--data", root, *times, "--columns.split_names", *names]


def lists(root: Path) -> list[object]:
    """VideoMAE's own lists."""
    for person, (gloss, _, clip) in enumerate(signs()):
        (root / "vids").mkdir(parents=True, exist_ok=True)
        write_video(root / "vids" / f"c {person}.mp4", clip)
        split = ("train", "train", "train", "train", "val", "test")[person // 3]
        with (root / f"{split}.csv").open("a", encoding="utf-8") as file:
            file.write(f"vids/c {person}.mp4 {NAMES.index(gloss)}\n")
    return ["--data", root]


def pictures(root: Path) -> list[object]:
    """A folder of pictures for each clip, in class folders, with train and test but no val."""
    for number, (gloss, _, clip) in enumerate(signs()):
        folder = root / ("test" if number < 6 else "train") / gloss / f"clip{number}"
        folder.mkdir(parents=True)
        for t, frame in enumerate(clip):
            Image.fromarray(frame).save(folder / f"{t + 1:05d}.jpg", quality=95)
    return ["--data", root, "--val_from_train", "0.25"]


def pictures_in_seconds(root: Path) -> list[object]:
    """One long recording as pictures, cut by a table in seconds."""
    cuts = recording(root / "x.mp4", signs())
    (root / "x.mp4").unlink()
    frames = [frame for _, _, clip in signs() for frame in (*[clip[0]] * 10, *clip)]
    (root / "toma 1").mkdir()
    for t, frame in enumerate(frames):
        Image.fromarray(frame).save(root / "toma 1" / f"img_{t:04d}.png")
    with (root / "t.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [("path", "label", "start", "end"), *(("toma 1", gloss, start, end) for gloss, _, start, end in cuts)]
        )
    return [
        "--data",
        root,
        "--columns.start",
        "start",
        "--columns.end",
        "end",
        "--columns.unit",
        "second",
        "--fps",
        FPS,
    ]


FORMS: dict[Callable[[Path], list[object]], tuple[int, int, int]] = {
    elan: (12, 3, 3),
    excel: (9, 2, 7),
    lists: (12, 3, 3),
    pictures: (9, 3, 6),
    pictures_in_seconds: (12, 3, 3),
}
"""Clips of train, val and test that each has."""


@pytest.mark.parametrize("form", FORMS)
def test_from_the_files_to_a_model(form: Callable[[Path], list[object]], door: Door, tmp_path: Path) -> None:
    """And the cache changes nothing."""
    data = form(tmp_path / "mis señas")
    train, val, test = FORMS[form]
    result = door("check", *data, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"3 glosses, clips: {train} train, {val} val, {test} test" in result.stdout
    losses = []
    for cache in ("disk", "off"):
        cwd = tmp_path / cache
        cwd.mkdir()
        result = door("train", *data, *FLAGS, "--cache", cache, cwd=cwd)
        assert result.returncode == 0, result.stdout + result.stderr
        assert (" decoded in " in result.stdout) == (cache == "disk")
        losses.append(
            [[line["train_loss"], line["val_loss"]] for line in read_lines(run_folder(cwd) / "metrics.jsonl")]
        )
    assert losses[0] == losses[1]
    result = door("evaluate", run_folder(tmp_path / "off"), "--num_workers", 0, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"clips {test} " in result.stdout
    assert "could not be read" not in result.stdout
