"""Checkpoints: whole or not there, no code in them, random states as they were."""

import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lscht_ray.artifacts import checkpoint, places
from lscht_ray.errors import InputError
from lscht_ray.host.console import quiet_console
from lscht_ray.training.state import KEYS


def content(**other: Any) -> dict[str, Any]:
    keys = dict.fromkeys(KEYS, 0)
    return {**keys, "format": checkpoint.FORMAT, "epoch": 1, "model": {"w": torch.arange(4.0)}, **other}


def test_round_trip(tmp_path: Path) -> None:
    given = content(glosses=["mañana"], rng=[checkpoint.rng_state()], history=[{"val_loss": 0.5}])
    checkpoint.save(given, tmp_path / "a.pt")
    read = checkpoint.load(tmp_path / "a.pt", KEYS)
    assert torch.equal(read["model"]["w"], given["model"]["w"])
    assert read["glosses"] == ["mañana"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]  # no temporary file is left


def test_random_states_come_back(tmp_path: Path) -> None:
    checkpoint.save(content(rng=checkpoint.rng_state()), tmp_path / "a.pt")
    first = (random.random(), np.random.rand(), torch.rand(1))
    checkpoint.restore_rng_state(checkpoint.load(tmp_path / "a.pt")["rng"])
    assert (random.random(), np.random.rand(), torch.rand(1)) == first


def test_a_failed_write_leaves_the_old_one(tmp_path: Path) -> None:
    checkpoint.save(content(), tmp_path / "a.pt")
    with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
        checkpoint.save(content(model=lambda: 0), tmp_path / "a.pt")
    assert checkpoint.load(tmp_path / "a.pt")["epoch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    torch.save(content(model=Evil(tmp_path / "was_here")), tmp_path / "evil.pt")
    with pytest.raises(InputError, match=r"evil\.pt"):
        checkpoint.load(tmp_path / "evil.pt")
    assert not (tmp_path / "was_here").exists()


def test_damage_and_strangers_are_named(tmp_path: Path) -> None:
    checkpoint.save(content(), tmp_path / "a.pt")
    whole = (tmp_path / "a.pt").read_bytes()
    for name, data in {"half.pt": whole[: len(whole) // 2], "empty.pt": b"", "text.pt": b"hello"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=name):
            checkpoint.load(tmp_path / name)
    torch.save({"model": {}}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="lacks format"):
        checkpoint.load(tmp_path / "other.pt")
    with pytest.raises(InputError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "nowhere.pt")


def test_which_checkpoints_a_run_keeps(tmp_path: Path) -> None:
    saver = checkpoint.Saver(tmp_path, 2, quiet_console())
    for epoch, improved in enumerate((True, False, True, False), start=1):
        saver.save(content(epoch=epoch), improved=improved)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "best_model.pt",
        "checkpoint_epoch_2.pt",
        "checkpoint_epoch_4.pt",
        "checkpoints.json",
        "last_checkpoint.pt",
    ]
    assert checkpoint.read_hashes(tmp_path) == {path.name: checkpoint.digest(path) for path in tmp_path.glob("*.pt")}
    assert checkpoint.load(places.find_model(tmp_path))["epoch"] == 3
    assert checkpoint.load(tmp_path / "last_checkpoint.pt")["epoch"] == 4
