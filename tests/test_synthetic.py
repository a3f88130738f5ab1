"""The demo data set: reproducible, unbalanced, with disjoint signers, and one frame says nothing."""

import csv
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from lscht_ray.dataset import demo as synthetic
from lscht_ray.dataset.annotations import read
from lscht_ray.errors import InputError


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_the_seed_gives_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "CLIPS", {"train": (1,) * 6, "val": (1,) * 6, "test": (1,) * 6})
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        synthetic.make(tmp_path / name, seed)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    assert hashes(tmp_path / "a") != hashes(tmp_path / "c")
    with pytest.raises(InputError, match="is there already"):
        synthetic.make(tmp_path / "a", 5)


def test_the_data_set(demo: Path) -> None:
    found = read(demo)
    assert len(found.glosses) >= 6
    signers = {split: {sample.signer for sample in found.split(split)} for split in ("train", "val", "test")}
    assert not signers["train"] & signers["val"]
    assert not (signers["train"] | signers["val"]) & signers["test"]
    support = Counter(sample.gloss for sample in found.split("train"))
    assert max(support.values()) > 2 * min(support.values())
    assert synthetic.demo_data() == demo  # made once, then reused
    with (demo / "manifest.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(found.samples)


def test_one_frame_does_not_tell_the_glosses_apart_but_the_motion_does() -> None:
    """Hand positions of many performances: a random one of them says nothing, their order does."""
    rng = np.random.default_rng(0)
    one, motion, labels = [], [], []
    for n in range(1200):
        gloss = list(synthetic.GLOSSES)[n % 6]
        signer, jitter = synthetic.draw_signer(n % 24, 0), rng.uniform(-12, 12)
        path = [synthetic.hand_positions(signer, gloss, t / 8, jitter) for t in range(8)]
        one.append(np.ravel(synthetic.hand_positions(signer, gloss, rng.uniform(), jitter)))
        motion.append(np.ravel(path))
        labels.append(n % 6)
    single, whole = (
        LogisticRegression(C=100, max_iter=2000).fit(data[:900], labels[:900]).score(data[900:], labels[900:])
        for data in (np.array(one), np.array(motion))
    )
    assert single < 0.25  # chance is 0.17
    assert whole > 0.95
