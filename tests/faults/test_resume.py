"""Runs that are stopped in any way go on as if nothing had happened."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lscht_ray.artifacts import checkpoint, places
from lscht_ray.artifacts.recorder import RunFolders
from lscht_ray.errors import InputError
from lscht_ray.host import lock
from lscht_ray.host.console import quiet_console
from lscht_ray.host.interrupt import Interrupted, StopRequest
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training import run as training
from support.data import read_lines
from support.doors import FAST, Background, Door, refused, run_folder, until
from support.faults import Faults

pytestmark = pytest.mark.faults

RECIPE: dict[str, Any] = {
    "model_name": "tiny",
    "num_frames": 4,
    "image_size": 24,
    "num_workers": 0,
    "max_epochs": 3,
    "batch_size": 2,
    "accumulation": 2,
    "lr": 1e-3,
    "drop_path": 0.2,
    "head_dropout": 0.2,
    "mixup": 0.8,
    "cutmix": 1.0,
    "ema_decay": 0.9,
    "class_balanced_sampling": True,
    "randaugment_ops": 1,
}


class StopAt(StopRequest):
    """Asks to stop once it was looked at so many times: after that step."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    @property
    def number(self) -> int | None:  # type: ignore[override]
        self.looks -= 1
        return signal.SIGTERM if self.looks == 0 else None


def run(folder: Path, small: Path, stop_at: int = 0, resume: bool = False, **changes: Any) -> training.Outcome:
    from contextlib import nullcontext

    config = TrainConfig(data=str(small), **{**RECIPE, **changes})
    folders = RunFolders(folder / "run", folder / "logs")
    torch.manual_seed(99 if resume else 0)  # what was drawn before must not matter
    last = folders.run / places.LAST if resume else None
    return training.run(
        config,
        folders,
        screen=quiet_console(),
        resume_from=last,
        hooks=training.Hooks(listen=lambda: nullcontext(StopAt(stop_at) if stop_at else None)),
    )


def same(one: Path, other: Path) -> bool:
    """Whether two runs ended with the same weights, averages, optimizer, and history."""
    full = [checkpoint.load(folder / "run" / places.LAST) for folder in (one, other)]
    for part in ("model", "weights", "ema"):
        if not all(torch.equal(full[0][part][key], full[1][part][key]) for key in full[0][part]):
            return False
    states = [content["optimizer"]["state"] for content in full]
    moments = all(torch.equal(states[0][k][m], states[1][k][m]) for k in states[0] for m in ("exp_avg", "exp_avg_sq"))
    histories = [[{k: v for k, v in e.items() if k != "seconds"} for e in content["history"]] for content in full]
    return moments and histories[0] == histories[1]


@pytest.fixture(scope="module")
def whole(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped: 3 epochs of 3 steps."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder, small)
    return folder


@pytest.mark.parametrize("step", [1, 2, 3, 5, 9])
def test_stopped_inside_an_epoch_and_resumed_is_bit_for_bit_the_same(
    whole: Path, small: Path, tmp_path: Path, step: int
) -> None:
    with pytest.raises(Interrupted) as stopped:
        run(tmp_path, small, stop_at=step)
    assert stopped.value.exit_code == 143
    assert checkpoint.load(tmp_path / "run" / places.LAST)["inside"] == (step - 1) % 3 + 1
    run(tmp_path, small, resume=True)
    assert same(whole, tmp_path)
    assert [line["epoch"] for line in read_lines(tmp_path / "run" / "metrics.jsonl")] == [1, 2, 3]


@pytest.mark.parametrize(
    "changes", [{"num_workers": 2, "cache": "off"}, {"cache": "device"}, {"checkpoint_every_steps": 1}]
)
def test_the_same_with_data_workers_or_clips_on_the_device(
    whole: Path, small: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(Interrupted):
        run(tmp_path, small, stop_at=4, **changes)
    run(tmp_path, small, resume=True, **changes)
    assert same(whole, tmp_path)


def test_saving_inside_epochs_changes_nothing(whole: Path, small: Path, tmp_path: Path) -> None:
    run(tmp_path, small, checkpoint_every_steps=2)
    assert same(whole, tmp_path)


ENDLESS = ("--max_epochs", "100000", "--early_stopping", "false")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_at_the_next_step(
    background: Background,
    small: Path,
    door: Door,
    tmp_path: Path,
    faults: Faults,
    number: int,
    code: int,
) -> None:
    fault = "SIGTERM" if code == 143 else "Ctrl-C once"
    faults.provoke(fault)
    process = background("train", "--data", small, *FAST, *ENDLESS)
    until(process, "Epoch 2/")
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == code, said
    folder = run_folder(tmp_path)
    assert f"go on with: python -m lscht_ray.train --resume {folder}" in said
    assert "Traceback" not in said
    full = checkpoint.load(folder / places.LAST)
    assert full["inside"] >= 1
    assert not (folder / ".lock").exists()
    done = len(full["history"])
    result = door("train", "--resume", folder, "--max_epochs", done + 1, "--override", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"resumed after epoch {done} and {full['inside']} steps of the next" in result.stdout
    faults.survive(fault)


def test_two_starts_on_one_folder_and_a_dead_owners_lock(
    background: Background, small: Path, door: Door, tmp_path: Path, faults: Faults
) -> None:
    faults.provoke("two starts on one folder; a dead owner", 2)
    process = background("train", "--data", small, *FAST, *ENDLESS)
    until(process, "Epoch 2/")
    folder = run_folder(tmp_path)
    refused(door("train", "--resume", folder, cwd=tmp_path), f"process {process.pid} on", "writes there")
    process.kill()
    process.wait()
    assert (folder / ".lock").exists()
    done = len(checkpoint.load(folder / places.LAST)["history"])
    result = door("train", "--resume", folder, "--max_epochs", done + 1, "--override", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert not (folder / ".lock").exists()
    faults.survive("two starts on one folder; a dead owner", 2)


def test_who_holds_a_lock(tmp_path: Path) -> None:
    with (
        lock.held(tmp_path / places.LOCK),
        pytest.raises(InputError, match=f"process {os.getpid()} on"),
        lock.held(tmp_path / places.LOCK),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
    other = {"host": "another-machine", "process": 1, "began": ""}
    (tmp_path / places.LOCK).write_text(json.dumps(other))
    with (
        pytest.raises(InputError, match=r"on another-machine writes there(.|\n)*remove"),
        lock.held(tmp_path / places.LOCK),
    ):
        pass
    reused = {"host": os.uname().nodename, "process": os.getpid(), "began": "another time"}
    (tmp_path / places.LOCK).write_text(json.dumps(reused))  # that process is gone, another has its number
    with lock.held(tmp_path / places.LOCK):
        assert json.loads((tmp_path / places.LOCK).read_text())["process"] == os.getpid()


def test_other_data_is_refused(small: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(small, tmp_path / "copy")
    with pytest.raises(Interrupted):
        run(tmp_path, copy, stop_at=4)
    clip = next((copy / "train" / "casa").glob("*.mp4"))
    clip.unlink()
    with pytest.raises(InputError, match=r"clips: were (.|\n)*'train': 12(.|\n)*'train': 11(.|\n)*--override"):
        run(tmp_path, copy, resume=True)


@pytest.fixture(scope="module")
def three_epochs(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the checkpoints of epochs 2 and 3."""
    folder = tmp_path_factory.mktemp("three")
    run(folder, small, checkpoint_every=2, mixup=0.0, cutmix=0.0, early_stopping=False)
    return folder / "run"


@pytest.mark.parametrize("damage", ["truncated", "flipped bit", "missing", "empty"])
@pytest.mark.parametrize("listed", ["list", "list gone", "list damaged"])
def test_of_damaged_checkpoints_the_newest_whole_one_is_found(
    three_epochs: Path, tmp_path: Path, faults: Faults, damage: str, listed: str
) -> None:
    fault = f"checkpoint {damage}, {listed}"
    faults.provoke(fault)
    folder = Path(shutil.copytree(three_epochs, tmp_path / "run"))
    last, hashes = folder / places.LAST, folder / places.HASHES
    if listed != "list":
        hashes.unlink() if listed == "list gone" else hashes.write_text("{")
    assert checkpoint.newest(folder) == (last, [])
    content = bytearray(last.read_bytes())
    if damage == "missing":
        last.unlink()
    else:
        content[len(content) // 2] ^= 1
        last.write_bytes({"truncated": content[:-1000], "flipped bit": content, "empty": b""}[damage])
    found, complaints = checkpoint.newest(folder)
    if damage == "flipped bit" and listed != "list":
        faults.forget(fault)
        return  # torch may read it: without the list nobody can tell
    assert found == folder / "checkpoint_epoch_2.pt"
    assert len(complaints) == 1
    assert str(last) in complaints[0]
    faults.survive(fault)


def test_a_damaged_checkpoint_is_said_and_the_one_before_used(
    three_epochs: Path, small: Path, door: Door, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(three_epochs, tmp_path / "run"))
    last = folder / places.LAST
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    result = door("train", "--resume", folder, "--max_epochs", 4, "--override", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"warning: {last} is damaged" in result.stdout
    assert f"going on from {folder / 'checkpoint_epoch_2.pt'}" in result.stdout
    assert "resumed after epoch 2" in result.stdout
    assert [line["epoch"] for line in read_lines(folder / "metrics.jsonl")] == [1, 2, 3, 4]
    assert checkpoint.newest(folder) == (last, [])


def test_without_a_whole_checkpoint_resuming_is_refused(small: Path, door: Door, tmp_path: Path) -> None:
    run(tmp_path, small, max_epochs=1)
    (tmp_path / "run" / places.LAST).write_bytes(b"no checkpoint")
    refused(door("train", "--resume", tmp_path / "run", cwd=tmp_path), "no whole checkpoint", "SHA-256")


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where a sync takes no time and so does not decide where a run is killed."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def child(folder: Path, small: Path, began: Any) -> None:
    """A process that trains, or goes on."""
    began.set()
    run(folder, small, resume=(folder / "run" / places.LAST).is_file(), checkpoint_every_steps=1)


def test_killed_at_random_moments_and_resumed_to_the_same_weights(
    small: Path, memory: Path, whole: Path, faults: Faults
) -> None:
    """kill -9 at 20 random moments, of as many runs as that takes: nothing is lost, and nothing differs."""
    processes = multiprocessing.get_context("forkserver")  # which imports torch once, not for every process
    processes.set_forkserver_preload(["lscht_ray.training.run", "torch.utils.tensorboard", "test_resume"])
    rng, killed, finished = random.Random(0), 0, 0
    while killed < 20 or not finished:
        folder = memory / f"run{finished}"
        began = processes.Event()
        process = processes.Process(target=child, args=(folder, small, began))
        process.start()
        assert began.wait(60)
        process.join(rng.uniform(0.1, 2.0))
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            killed += 1
            faults.provoke("kill -9 at a random moment")
            continue
        assert process.exitcode == 0
        assert same(whole, folder), f"after {killed} kills"
        assert list((folder / "run").glob(".*")) == []  # nothing half written is left
        finished += 1
    faults.survive("kill -9 at a random moment", killed)
