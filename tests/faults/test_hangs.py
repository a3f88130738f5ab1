"""What hangs is ended and named: a decoder that sleeps, a data worker that stands still, a step that waits for ever."""

import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import lscht_ray.clips.dataset
from lscht_ray import train
from lscht_ray.host.console import door
from lscht_ray.video import decode
from support.doors import FAST, WAIT_SECONDS, Background, run_folder, until, wait_for
from support.faults import Faults

pytestmark = pytest.mark.faults

SLOW_EPOCHS = (*FAST, "--max_epochs", "100000", "--early_stopping", "false", "--cache", "off", "--batch_seconds", "4")


STOPPED_SECONDS = 12
"""How long the process stands still: this time is the fault itself, longer than a step may take."""


@pytest.fixture
def copy(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "data"))


def sleepy_run(data: Path, folder: Path, workers: int, *flags: str) -> None:
    """Train with a decoder that sleeps for ever once the file `asleep` names its video; what is said goes to `said`."""
    with (folder / "said").open("w") as said:
        for descriptor in (1, 2):
            os.dup2(said.fileno(), descriptor)
    multiprocessing.set_start_method("fork", force=True)  # for data workers, as where `train` is started by hand
    awake = decode.decode

    def sleepy(path: Path, *given: Any, **more: Any) -> Any:
        asleep = folder / "asleep"
        while asleep.exists() and asleep.read_text() == str(path):
            (folder / "sleeps").touch()
            time.sleep(0.1)
        return awake(path, *given, **more)

    lscht_ray.clips.dataset.decode = sleepy
    sys.argv = ["train", "--data", str(data), *SLOW_EPOCHS, "--checkpoint_dir", str(folder / "models" / "checkpoints")]
    sys.argv += ["--log_dir", str(folder / "runs"), "--num_workers", str(workers), *flags]
    sys.exit(door(train.main))


@contextmanager
def sleepy(data: Path, folder: Path, workers: int, *flags: str) -> Iterator[Any]:
    """A run whose decoder is about to fall asleep, in its second epoch."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["lscht_ray.training.run", "torch.utils.tensorboard"])
    process = processes.Process(target=sleepy_run, args=(data, folder, workers, *flags))
    process.start()
    try:
        saved = "models/checkpoints/*/last_checkpoint.pt"
        wait_for(lambda: list(folder.glob(saved)), process.is_alive, (folder / "said").read_text)
        (folder / "asleep").write_text(str(sorted((data / "val").rglob("*.mp4"))[0]))
        yield process
    finally:
        process.kill()
        process.join()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_decoder_that_sleeps_is_ended_and_the_video_named(
    copy: Path, tmp_path: Path, faults: Faults, workers: int
) -> None:
    fault = f"a decoder sleeps in {'a data worker' if workers else 'the training process'}"
    faults.provoke(fault)
    with sleepy(copy, tmp_path, workers) as process:
        process.join(WAIT_SECONDS)
        said = (tmp_path / "said").read_text()
        assert process.exitcode == 1, said
    assert (tmp_path / "asleep").read_text() in said
    assert "Traceback" not in said
    if not workers:
        assert "error: loading a validation batch took more than 6 s: the run hangs and is ended" in said
        stacks = (run_folder(tmp_path) / "stacks.txt").read_text()
        assert "in sleepy" in stacks
        assert "watchdog.py" in stacks  # all threads
    faults.survive(fault)


def test_a_data_worker_that_stands_still(background: Background, copy: Path, faults: Faults) -> None:
    faults.provoke("SIGSTOP of a data worker")
    process = background("train", "--data", copy, *SLOW_EPOCHS, "--num_workers", 1)
    until(process, "Epoch 2/")
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGSTOP)
    said, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 1, said
    assert "data worker" in said
    assert "Traceback" not in said
    faults.survive("SIGSTOP of a data worker")


def test_a_second_signal_ends_at_once_what_hangs(copy: Path, tmp_path: Path, faults: Faults) -> None:
    faults.provoke("Ctrl-C twice")
    with sleepy(copy, tmp_path, 0, "--batch_seconds", "600") as process:
        wait_for((tmp_path / "sleeps").exists, process.is_alive)
        os.kill(process.pid, signal.SIGINT)
        said = "stopping after this step, resumable (again: at once)"
        wait_for(lambda: said in (tmp_path / "said").read_text(), process.is_alive)
        (tmp_path / "sleeps").unlink()
        wait_for((tmp_path / "sleeps").exists, process.is_alive)  # it still waits for the step
        os.kill(process.pid, signal.SIGINT)
        process.join(WAIT_SECONDS)
        assert process.exitcode == 130
    faults.survive("Ctrl-C twice")


def test_a_process_that_was_stopped_for_a_while_goes_on(
    background: Background, copy: Path, tmp_path: Path, faults: Faults
) -> None:
    """As a batch system does to make way; the watchdog doesn't take it for a hang."""
    faults.provoke("SIGSTOP of the run, SIGCONT later")
    process = background(
        "train", "--data", copy, *SLOW_EPOCHS, "--step_seconds", STOPPED_SECONDS - 4, "--batch_seconds", 60
    )
    until(process, "Epoch 2/")
    process.send_signal(signal.SIGSTOP)
    time.sleep(STOPPED_SECONDS)
    process.send_signal(signal.SIGCONT)
    for _ in range(20):
        until(process, "Epoch ")
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 143, said
    assert not (run_folder(tmp_path) / "stacks.txt").exists()
    faults.survive("SIGSTOP of the run, SIGCONT later")
