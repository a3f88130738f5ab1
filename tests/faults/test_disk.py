"""Full disks, read-only folders, a broken TensorBoard: said once, training goes on, what was saved is not harmed."""

import io
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lscht_ray.artifacts import checkpoint, places
from lscht_ray.artifacts.recorder import RunFolders
from lscht_ray.artifacts.storage import Storage
from lscht_ray.host import disk
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training import run as training
from support.data import read_lines
from support.doors import FAST, Door, refused
from support.faults import Faults
from support.runs import RECIPE, same

pytestmark = pytest.mark.faults

Mount = Callable[[str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Makes a disk of a given size in memory."""
    mounted: list[Path] = []

    def make(size: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting a tmpfs is not allowed here")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_up(folder: Path) -> None:
    """Leave no byte free."""
    with (folder / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def run(
    folders: RunFolders, small: Path, said: io.StringIO, after: dict[int, Callable[[], object]], **changes: Any
) -> Any:
    """Train; ``after`` an epoch something happens."""

    def hook(metrics: dict[str, Any], saved: Path | None) -> None:
        after.get(metrics["epoch"], lambda: None)()

    last = folders.run / places.LAST
    return training.run(
        TrainConfig(data=str(small), **{**RECIPE, **changes}),
        folders,
        screen=Console(file=said, width=300),
        hooks=training.Hooks(on_epoch_end=hook),
        resume_from=last if last.is_file() else None,
    )


@pytest.mark.parametrize("noticed", ["before it is written", "while it is written"])
def test_a_full_disk_harms_nothing(
    small: Path,
    whole: Path,
    tmp_path: Path,
    mount: Mount,
    faults: Faults,
    monkeypatch: pytest.MonkeyPatch,
    noticed: str,
) -> None:
    if noticed == "while it is written":
        monkeypatch.setattr(disk, "MARGIN", -(2**40))
    fault = f"disk full, noticed {noticed}"
    faults.provoke(fault)
    folder, said = mount("20m"), io.StringIO()
    folders = RunFolders(folder / "run", folder / "logs")
    outcome = run(folders, small, said, {1: lambda: fill_up(folder)})
    assert len(outcome.history) == 3
    assert places.LAST in outcome.unsaved
    assert said.getvalue().count("warning:") <= 2  # checkpoints, and the smaller files
    assert (
        said.getvalue().count("last_checkpoint.pt can't be written") + said.getvalue().count("best_model.pt can't") == 1
    )
    assert "No space left" in said.getvalue()
    assert checkpoint.newest(folders.run) == (folders.run / places.LAST, [])
    assert checkpoint.load(folders.run / places.LAST)["epoch"] == 1
    assert list(folders.run.glob(".*")) == []
    (folder / "ballast").unlink()
    assert run(folders, small, said, {}).unsaved == ()
    assert same(whole, folder)
    assert [line["epoch"] for line in read_lines(folders.run / "metrics.jsonl")] == [1, 2, 3]
    faults.survive(fault)


def test_when_there_is_room_again_it_is_used(
    small: Path, whole: Path, tmp_path: Path, mount: Mount, faults: Faults
) -> None:
    faults.provoke("disk full for an epoch")
    folder, said = mount("20m"), io.StringIO()
    folders = RunFolders(folder / "run", tmp_path / "logs")
    after = {1: lambda: fill_up(folder), 2: (folder / "ballast").unlink}
    outcome = run(folders, small, said, after)
    assert places.LAST not in outcome.unsaved
    assert checkpoint.load(folders.run / places.LAST)["epoch"] == 3
    assert same(whole, folder)
    assert [line["epoch"] for line in read_lines(folders.run / "metrics.jsonl")] == [1, 2, 3]
    faults.survive("disk full for an epoch")


def test_a_folder_that_becomes_read_only(small: Path, whole: Path, mount: Mount, faults: Faults) -> None:
    faults.provoke("run folder becomes read-only")
    folder, said = mount("30m"), io.StringIO()
    folders = RunFolders(folder / "run", folder / "logs")
    outcome = run(folders, small, said, {1: lambda: remount(folder, "ro")})
    assert len(outcome.history) == 3
    assert "Read-only file system" in said.getvalue()
    assert checkpoint.newest(folders.run) == (folders.run / places.LAST, [])
    remount(folder, "rw")
    run(folders, small, said, {})
    assert same(whole, folder)
    faults.survive("run folder becomes read-only")


def test_a_read_only_folder_is_refused_at_the_start(small: Path, mount: Mount, door: Door, faults: Faults) -> None:
    faults.provoke("read-only folder at the start", 2)
    folder = mount("1m")
    remount(folder, "ro")
    flags = ("--data", small, *FAST, "--max_epochs", 1)
    refused(door("train", *flags, "--checkpoint_dir", folder / "c", cwd=small), "can't be written", "Read-only")
    refused(door("train", *flags, "--log_dir", folder / "l", cwd=folder.parent), "log_dir", "Read-only")
    faults.survive("read-only folder at the start", 2)


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_broken_tensorboard_is_said_once(
    small: Path, tmp_path: Path, mount: Mount, faults: Faults, capfd: pytest.CaptureFixture[str], epoch: int
) -> None:
    """From the start, or later: then what is written must outgrow the page of memory that its file has already."""
    faults.provoke("TensorBoard's disk full")
    before = threading.excepthook
    logs, said = mount("16k"), io.StringIO()
    if epoch == 0:
        (logs / "logs").mkdir()
        fill_up(logs)
    folders = RunFolders(tmp_path / "run", logs / "logs")
    outcome = run(folders, small, said, {1: lambda: epoch and fill_up(logs)}, max_epochs=12, early_stopping=False)
    assert len(outcome.history) == 12
    assert outcome.unsaved == ()
    assert said.getvalue().count("TensorBoard's events can't be written") == 1
    assert "Traceback" not in capfd.readouterr().err
    assert threading.excepthook is before
    faults.survive("TensorBoard's disk full")


def test_the_door_says_what_is_lost(small: Path, tmp_path: Path, mount: Mount, door: Door, faults: Faults) -> None:
    """The disk is too small from the start: the run ends with an error, not with a wrong best model."""
    faults.provoke("disk too small for one checkpoint")
    folder = mount("3m")
    flags = ("--data", small, *FAST, "--max_epochs", 2, "--checkpoint_dir", folder)
    result = door("train", *flags, cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert "last_checkpoint.pt" in result.stdout
    assert "is missing or from an earlier epoch: it could not be written" in result.stdout
    faults.survive("disk too small for one checkpoint")


def test_a_full_storage_is_no_storage_for_a_checkpoint(mount: Mount) -> None:
    folder = mount("1m")
    with pytest.raises(OSError, match=r"No space left.*needed"):
        Storage(str(folder)).check_room(2**20)
    Storage(str(folder.parent)).check_room(2**20)
