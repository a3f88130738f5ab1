"""Small data sets of drawn clips, and the real test media where they are here."""

import csv
import json
from pathlib import Path

import pytest

from lscht_ray.dataset.demo import GLOSSES, draw_clip, draw_signer, write_video
from lscht_ray.dataset.samples import Clip, Sample, make_clip
from lscht_ray.settings.data import DataConfig
from lscht_ray.video.probe import find_facts

SHARED = Path(__file__).parents[3] / "shared" / "data"


def shared(name: str) -> Path:
    """Return a file or folder of the real test media; skip the test, with its name, where it is not here."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"test media not here: shared/data/{name}")
    return path


def draw(path: Path, gloss: int, seed: int) -> None:
    """Write a drawn clip of the demo's gloss of that index, signed by the signer of that seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = list(GLOSSES)[gloss]
    write_video(path, draw_clip(draw_signer(seed, 7), name, (7, seed)))


def draw_small(folder: Path) -> Path:
    """Draw class folders with splits: 3 glosses, unbalanced: 12 train, 6 val, 3 test clips."""
    number = 0
    for split, counts in (("train", (6, 4, 2)), ("val", (2, 2, 2)), ("test", (1, 1, 1))):
        for gloss, count in enumerate(counts):
            for _ in range(count):
                draw(folder / split / ("casa", "mañana", "tú")[gloss] / f"{number:03d}.mp4", gloss, number)
                number += 1
    return folder


def clip_of(video: Path) -> Clip:
    """Look at a video; return it as a training clip of the gloss `a`."""
    sample = Sample(video, "a", 0, "train", None, None, None)
    return make_clip(sample, find_facts(str(video)), None, None, DataConfig())


def manifest(folder: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = ("path", "label", "split")) -> Path:
    """Write manifest.csv into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "manifest.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def read_lines(path: Path) -> list[dict[str, object]]:
    """Read a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
