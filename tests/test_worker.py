"""What a trial's worker does on its node, without a cluster."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from lscht_ray.artifacts import places
from lscht_ray.cluster import worker
from lscht_ray.cluster.report import Report, WorkOrder
from lscht_ray.host import processes
from lscht_ray.settings.train import TrainConfig


def test_only_the_scratch_folders_of_dead_workers_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other workers of the sweep live on the same node; also where there is no /proc, as on macOS."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as alive:
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        parent = tmp_path / "lscht_ray" / "sweep"
        folders = {process.pid: parent / f"trial_00001-ab.pid{process.pid}" for process in (alive, dead)}
        for folder in (*folders.values(), parent / "something.pidgeon"):
            folder.mkdir(parents=True)
        asked: list[int] = []
        monkeypatch.setattr(worker, "is_alive", lambda pid: asked.append(pid) or processes.is_alive(pid))
        own = worker._scratch("sweep", "trial_00002")
        assert own.is_dir()
        assert folders[alive.pid].is_dir()
        assert not folders[dead.pid].exists()
        assert (parent / "something.pidgeon").is_dir()
        assert sorted(asked) == sorted(folders)
        alive.communicate(b"\n")


def test_settings_that_diverge_end_a_trial_once_and_for_all(small: Path, tmp_path: Path) -> None:
    """It ends as if it were over, with the reason in the storage; where it is started again, it does not train."""
    config = TrainConfig(
        data=str(small),
        cache_dir=str(tmp_path / "cache"),
        model_name="tiny",
        num_frames=4,
        image_size=24,
        num_workers=0,
        lr=1e30,
        gradient_clip=0,
        max_skipped_steps=2,
        max_epochs=9,
    )
    told: list[dict[str, Any]] = []

    class Told(Report):
        def tell(self, report: dict[str, Any]) -> None:
            told.append(report)

        def tell_with_checkpoint(self, report: dict[str, Any], folder: Path, name: str) -> None:
            told.append(report)

        def untold(self, history: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return []

    order = WorkOrder(config, "trial_00001", str(tmp_path / "sweep"), 1, "driver")
    worker.carry_out(order, Told, "cpu")
    place = tmp_path / "sweep" / places.trial("trial_00001")
    reason = (place / places.UNFIT).read_text(encoding="utf-8")
    assert "not finite" in reason or "is nan" in reason or "is inf" in reason
    (place / places.STARTED).unlink()
    before = len(told)
    worker.carry_out(order, Told, "cpu")
    assert len(told) == before
    assert not (place / places.STARTED).exists()
