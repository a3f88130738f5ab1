"""What a trial's worker does on its node, without a cluster."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lscht_ray.cluster import worker
from lscht_ray.host import processes


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
