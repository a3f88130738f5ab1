"""A trial's workers are killed, its node is taken away, its memory is short: Ray starts them again, nothing is lost.

They are in the tier of `ray`, not in that of the other faults: each needs a cluster.
"""

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lscht_ray.artifacts import checkpoint, places
from lscht_ray.errors import InputError
from support import doors
from support.data import read_lines
from support.doors import WAIT_SECONDS, Background
from support.faults import Faults
from support.sweeps import STORAGE, log, processes, summary, sweep_file, trial_folder

pytestmark = pytest.mark.ray

SWEEP: dict[str, Any] = {
    "train": {
        "batch_size": 2,
        "lr": 1e-3,
        "head_dropout": 0.2,
        "drop_path": 0.2,
        "mixup": 0.8,
        "ema_decay": 0.9,
        "class_balanced_sampling": True,
    },
    "search_space": {"lr": {"type": "choice", "choices": [1e-3]}},
    "num_trials": 2,
    "metric": "val_loss",
    "mode": "min",
    "trial_stopping": "none",
}
"""Two equal trials."""
ALONE = {"cpus_per_worker": 0.5}
PAIR = {"workers_per_trial": 2, **ALONE}


@pytest.fixture
def start(background: Background, small: Path, tmp_path: Path) -> Background:
    """Starts that sweep in the background, with these settings over its own; it says what it says in `said`."""

    def begin(
        *flags: object, epochs: int, environment: dict[str, str] | None = None, **settings: Any
    ) -> "subprocess.Popen[str]":
        file = sweep_file(tmp_path, small, epochs=epochs, **SWEEP | {"trial_runner": "torch_trainer"} | settings)
        return background("tune", "--config", file, *flags, said=tmp_path / "said", **environment or {})

    return begin


def workers() -> list[int]:
    """The processes of Ray Train's workers on this machine."""
    return processes(b"ray::RayTrainWorker")


def wait_for(process: "subprocess.Popen[str]", folder: Path, what: Callable[[], Any]) -> Any:
    """Wait until something is so, while the sweep runs."""
    return doors.wait_for(what, lambda: process.poll() is None, lambda: (folder / "said").read_text() + log(folder))


def step_inside(folder: Path) -> int:
    """How far the first trial's checkpoint from inside an epoch is."""
    return max((int(file.name.split("_")[0]) for file in (trial_folder(folder, 1) / "inside").glob("*.pt")), default=0)


def last_weights(folder: Path, number: int) -> dict[str, Any]:
    newest = sorted(trial_folder(folder, number).glob("checkpoint_epoch_*"))[-1]
    return checkpoint.load(newest / places.LAST)


def equal_trials(folder: Path) -> bool:
    """Whether both trials ended with the same weights, and each with every epoch once."""
    trials = summary(folder)["trials"]
    assert [trial["status"] for trial in trials] == ["completed", "completed"], trials
    assert trials[0]["epochs"] == trials[1]["epochs"]
    one, other = (last_weights(folder, number) for number in (1, 2))
    for part in ("model", "weights", "ema"):
        if not all(torch.equal(one[part][key], other[part][key]) for key in one[part]):
            return False
    histories = [[{k: v for k, v in e.items() if k != "seconds"} for e in full["history"]] for full in (one, other)]
    lines = (trial_folder(folder, 1) / "metrics.jsonl").read_text().splitlines()
    return histories[0] == histories[1] and len(lines) == len(histories[0])


def test_a_worker_ended_inside_an_epoch_goes_on_bit_for_bit(start: Background, tmp_path: Path, faults: Faults) -> None:
    """Two workers a trial, each with micro-batches, and a backbone that is frozen first: when it is thawed,
    DistributedDataParallel is made anew. Each clip counts once, though the workers share batches of 2 x 2.

    SIGKILL and SIGSEGV are for Ray a connection that breaks, as where a node is gone (below); faults/test_workers has
    both.
    """
    flags = ("--train.accumulation", 2, "--train.freeze_epochs", 1, "--train.repeated_augmentation", 2)
    process = start("--train.checkpoint_every_steps", 1, *flags, epochs=4, resources=PAIR, max_failures=1)
    fault = "a worker of Ray's, in an epoch: SIGTERM"
    wait_for(process, tmp_path, lambda: step_inside(tmp_path) >= 4 and len(workers()) == 2)
    faults.provoke(fault)
    os.kill(workers()[0], signal.SIGTERM)
    wait_for(process, tmp_path, lambda: "resumed after epoch" in log(tmp_path))
    assert process.wait(timeout=WAIT_SECONDS) == 0, (tmp_path / "said").read_text()
    assert " of the next" in log(tmp_path)  # it did go on inside an epoch
    assert equal_trials(tmp_path)
    lines = read_lines(trial_folder(tmp_path, 1) / "metrics.jsonl")
    assert [(line["train_clips"], line["val_clips"]) for line in lines] == [(24, 6)] * 4
    assert not list((tmp_path / STORAGE).glob("*/trials/*/inside"))
    faults.survive(fault)


SPOT = "spot"
"""Kind of the accelerator that the nodes say they have, so that the workers are placed there and not on the head."""


@pytest.fixture
def spot_nodes(cluster: Any) -> Iterator[list[Any]]:
    """Two more nodes of the cluster, with room for a worker each."""
    nodes = [cluster.add_node(num_cpus=1, resources={f"accelerator_type:{SPOT}": 1}) for _ in range(2)]
    yield nodes
    for node in nodes:
        if node in cluster.list_all_nodes():
            cluster.remove_node(node, allow_graceful=False)


def node_of(process: int, nodes: list[Any]) -> Any:
    """The node whose raylet started a process."""
    parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    for node in nodes:
        if parent in [info.process.pid for info in node.all_processes["raylet"]]:
            return node
    raise AssertionError(f"{process} has parent {parent}")


def test_a_spot_notice_saves_and_the_trial_goes_on_elsewhere(
    start: Background, tmp_path: Path, cluster: Any, spot_nodes: list[Any], faults: Faults
) -> None:
    from ray._raylet import GcsClient
    from ray.core.generated.autoscaler_pb2 import DrainNodeReason

    faults.provoke("spot notice, then the node is gone")
    there = {"address": cluster.address, "accelerator_type": SPOT}
    process = start("--train.repeated_augmentation", 50, epochs=2, resources=there, max_failures=0)
    (worker,) = wait_for(process, tmp_path, workers)
    wait_for(process, tmp_path, lambda: list(trial_folder(tmp_path, 1).glob("checkpoint_epoch_*")))
    node = node_of(worker, spot_nodes)
    client, deadline = GcsClient(address=cluster.address), (time.time_ns() // 1_000_000) + 6000
    # As `ray drain-node` does, whose start takes longer than the trial does.
    accepted, reason = client.drain_node(node.node_id, DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION, "spot", deadline)
    assert accepted, reason
    step = wait_for(process, tmp_path, lambda: step_inside(tmp_path))
    assert step % 4 == 0
    cluster.remove_node(node, allow_graceful=False)
    wait_for(process, tmp_path, lambda: " of the next" in log(tmp_path))
    assert process.wait(timeout=WAIT_SECONDS) == 0, (tmp_path / "said").read_text()
    assert equal_trials(tmp_path)
    faults.survive("spot notice, then the node is gone")


def in_memory() -> dict[int, int]:
    """The processes of Ray's workers on this machine, each with the bytes that it has in memory."""
    found = {}
    for process in processes(b"ray::"):
        with contextlib.suppress(OSError):
            found[process] = int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()
    return found


@pytest.mark.parametrize("runner", ["torch_trainer", "in_actor"])
def test_a_worker_ended_for_its_memory_starts_again_with_fewer_clips_at_a_time(
    start: Background, tmp_path: Path, faults: Faults, runner: str
) -> None:
    """Something else on the node takes the memory: Ray's monitor ends the worker, and would not try again."""
    fault = f"a worker of Ray's is ended for its memory ({runner})"
    available, whole = (read_meminfo(name) for name in ("MemAvailable", "MemTotal"))
    if available < 8 * 2**30:
        pytest.skip(f"8 GiB of memory to take away are not here: {available / 2**30:.1f} GiB are available")
    allowed = (whole - available + 6 * 2**30) / whole
    large = ("--train.image_size", 120, "--train.num_frames", 16, "--train.attention", "eager")
    process = start(
        *("--train.batch_size", 12, *large, "--train.class_balanced_sampling", "false"),
        epochs=5000,
        num_trials=1,
        max_failures=0,
        trial_runner=runner,
        resources=ALONE,
        environment={"RAY_memory_usage_threshold": f"{allowed:.3f}", "RAY_memory_monitor_refresh_ms": "50"},
    )
    wait_for(process, tmp_path, lambda: list(trial_folder(tmp_path, 1).glob("checkpoint_epoch_*/last_checkpoint.pt")))
    held = in_memory()
    victim = max(held, key=held.__getitem__)
    faults.provoke(fault)
    taken = []
    while victim in in_memory():
        assert len(taken) < 32, log(tmp_path)
        taken.append(bytearray(b"x") * 2**28)
    taken.clear()
    metrics = trial_folder(tmp_path, 1) / "metrics.jsonl"
    wait_for(process, tmp_path, lambda: read_lines(metrics)[-1]["micro_batch"] == 6)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=WAIT_SECONDS) == 130, (tmp_path / "said").read_text() + log(tmp_path)
    assert "low on memory" in log(tmp_path) or "ran out of memory" in (tmp_path / "said").read_text()
    epochs = read_lines(metrics)
    assert [epoch["epoch"] for epoch in epochs] == list(range(1, len(epochs) + 1))
    assert {epoch["train_clips"] for epoch in epochs} == {12}
    assert (epochs[0]["micro_batch"], epochs[-1]["micro_batch"]) == (12, 6)
    assert "Traceback" not in (tmp_path / "said").read_text()
    assert summary(tmp_path)["trials"][0]["status"] == "interrupted"
    assert Path(summary(tmp_path)["best"]["checkpoint"]).is_file()
    faults.survive(fault)


def read_meminfo(name: str) -> int:
    """Bytes."""
    (line,) = [line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024


def test_one_of_two_workers_without_memory_has_both_start_again_with_fewer_clips_at_a_time(
    start: Background, tmp_path: Path, faults: Faults
) -> None:
    """An error within the worker, which can't be mended in a step that the other one waits in."""
    fault = "one of two workers of Ray's can't allocate"
    faults.provoke(fault)
    large = ("--train.image_size", 144, "--train.num_frames", 16, "--train.attention", "eager")
    flags = ("--train.batch_size", 6, *large, "--train.checkpoint_every_steps", 1)
    process = start(*flags, epochs=4, num_trials=1, resources=PAIR, max_failures=0)
    wait_for(process, tmp_path, lambda: step_inside(tmp_path))
    victim, sizes, first = workers()[1], [], step_inside(tmp_path)

    def two_steps_later() -> bool:
        sizes.append(int(Path(f"/proc/{victim}/statm").read_text().split()[0]) * resource.getpagesize())
        return step_inside(tmp_path) >= first + 2

    wait_for(process, tmp_path, two_steps_later)  # the smallest size within them: what it has between steps
    resource.prlimit(victim, resource.RLIMIT_AS, (min(sizes) + 400 * 2**20, resource.RLIM_INFINITY))
    assert process.wait(timeout=WAIT_SECONDS) == 0, (tmp_path / "said").read_text() + log(tmp_path)
    lines = (trial_folder(tmp_path, 1) / "metrics.jsonl").read_text().splitlines()
    epochs = [json.loads(line) for line in lines]
    assert "starting again with 3 clips at a time; the global batch stays" in log(tmp_path)
    assert [epoch["micro_batch"] for epoch in epochs][-1] == 3
    assert [epoch["epoch"] for epoch in epochs] == list(range(1, 5))
    faults.survive(fault)


@pytest.fixture
def small_storage(tmp_path: Path) -> Iterator[Path]:
    """The sweep's storage is a disk of 24 MB."""
    place = tmp_path / STORAGE
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize(("left", "runner"), [("room for small files", "in_actor"), ("nothing", "torch_trainer")])
def test_a_storage_that_fills_up(
    start: Background, tmp_path: Path, small_storage: Path, faults: Faults, left: str, runner: str
) -> None:
    """Trials go on without checkpoints; where not even Ray's own files fit, the trial fails and the sweep says so."""
    fault = f"a sweep's storage fills up, {left} left"
    faults.provoke(fault)
    process = start(epochs=6, num_trials=1, resources=ALONE, trial_runner=runner)
    wait_for(process, tmp_path, lambda: list(trial_folder(tmp_path, 1).glob("checkpoint_epoch_*/last_checkpoint.pt")))
    with (small_storage / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while left == "nothing" or shutil.disk_usage(small_storage).free > 2 * 2**20:
            file.write(bytes(4096))
    code = process.wait(timeout=WAIT_SECONDS)
    said = (tmp_path / "said").read_text()
    assert "Traceback" not in said
    saved = list(trial_folder(tmp_path, 1).glob("checkpoint_epoch_*/last_checkpoint.pt"))
    assert any(whole(path) for path in saved)
    if left == "nothing":
        assert code == 1, said
        assert "No space left on device" in said
    else:
        assert "completed after 6 epochs" in said
        assert code == 1, said + log(tmp_path)  # the best epoch, a later one, is not there
        assert "the checkpoint of the best epoch of trial_00001 is missing or damaged" in said
        assert log(tmp_path).count("can't be written: [Errno 28] No space left on device") == 1
    faults.survive(fault)


def whole(path: Path) -> bool:
    try:
        return bool(checkpoint.load(path))
    except InputError:
        return False
