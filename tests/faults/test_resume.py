"""Runs that are stopped in any way go on as if nothing had happened."""

import io
import itertools
import json
import multiprocessing
import os
import shlex
import shutil
import signal
from pathlib import Path
from typing import IO, Any

import pytest
import torch

from lscht_ray.artifacts import checkpoint, places
from lscht_ray.errors import InputError
from lscht_ray.host import lock
from lscht_ray.host.interrupt import Interrupted
from lscht_ray.shown import counted
from support import kills
from support.data import read_lines
from support.doors import FAST, WAIT_SECONDS, Background, Door, refused, run_folder, until
from support.faults import Faults
from support.kills import KillPoint
from support.runs import run, same

pytestmark = pytest.mark.faults
HALF = "half of torch.save"


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
    said, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == code, said
    folder = run_folder(tmp_path)
    assert f"go on with: python -m lscht_ray.train --resume {shlex.quote(str(folder))}" in said
    assert "Traceback" not in said
    full = checkpoint.load(folder / places.LAST)
    assert full["inside"] >= 1
    assert not (folder / ".lock").exists()
    done = len(full["history"])
    result = door("train", "--resume", folder, "--max_epochs", done + 1, "--override", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"resumed after epoch {done} and {counted(full['inside'], 'step')} of the next" in result.stdout
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


@pytest.mark.parametrize(
    ("damage", "listed"),
    [
        *(itertools.product(["truncated", "missing", "empty"], ["list", "list gone", "list damaged"])),
        ("flipped bit", "list"),  # torch may well read it: without the list nobody can tell
    ],
)
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


KILLS: dict[str, tuple[KillPoint, ...]] = {
    "as a checkpoint is begun": (KillPoint("open", ".last_checkpoint.pt*", 2),),
    "with a checkpoint half written": (KillPoint(HALF, "", 3),),
    "with a checkpoint written but not renamed": (KillPoint("os.rename", "/last_checkpoint.pt", 4),),
    "once a checkpoint's old hash is gone": (KillPoint("open", ".checkpoints.json*", 4),),
    "between a checkpoint and its hash": (KillPoint("open", ".checkpoints.json*", 5),),
    "as the best model is renamed": (KillPoint("os.rename", "/best_model.pt"),),
    "as an epoch's line is written": (KillPoint("os.rename", "/metrics.jsonl", 2),),
    "three times in a row": (
        KillPoint(HALF, "", 2),
        KillPoint("os.rename", "/last_checkpoint.pt", 2),
        KillPoint("open", ".checkpoints.json*", 3),
    ),
}
"""Where a run is killed; it saves after each of its 9 steps. Whether an odd one of the times that the hashes are
written follows the checkpoint or goes before it changes with the best model's saves, so both neighbours are here."""
PROCESSES = multiprocessing.get_context("forkserver")  # which imports torch once, not for every process


def child(folder: Path, data: Path, point: KillPoint) -> None:
    """Train in a process of its own, or resume there, up to a point."""
    if point.event == HALF:
        torch.save = halfway(point.occurrence)
    else:
        kills.install(point)
    run(folder, data, resume=(folder / "run" / places.LAST).is_file(), checkpoint_every_steps=1)


def halfway(occurrence: int) -> Any:
    """A `torch.save` whose call of that number, from 1, writes half of the file and then ends the process."""
    save, calls = torch.save, []

    def kill(content: Any, file: IO[bytes]) -> None:
        calls.append(file)
        if len(calls) < occurrence:
            save(content, file)
            return
        whole = io.BytesIO()
        save(content, whole)
        file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    return kill


@pytest.mark.parametrize("when", KILLS)
def test_killed_and_resumed_to_the_same_weights(
    small: Path, tmp_path: Path, whole: Path, faults: Faults, when: str
) -> None:
    """kill -9: nothing is lost, nothing differs, and nothing that is half written stays."""
    PROCESSES.set_forkserver_preload(["lscht_ray.training.run", "torch.utils.tensorboard"])
    fault = f"kill -9 {when}"
    faults.provoke(fault, len(KILLS[when]))
    for point in KILLS[when]:
        process = PROCESSES.Process(target=child, args=(tmp_path, small, point))
        process.start()
        process.join(WAIT_SECONDS)
        assert process.exitcode == -signal.SIGKILL, f"{point} was not come to"
    resume = (tmp_path / "run" / places.LAST).is_file()
    run(tmp_path, small, resume=resume, checkpoint_every_steps=1)
    assert same(whole, tmp_path)
    assert [line["epoch"] for line in read_lines(tmp_path / "run" / places.METRICS)] == [1, 2, 3]
    assert list((tmp_path / "run").glob(".*")) == []
    faults.survive(fault, len(KILLS[when]))
