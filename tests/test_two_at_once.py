"""Two sweeps at once, each with a Ray of its own; and a sweep whose cluster is ended under it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray._common.utils as ray_utils
from ray.cluster_utils import Cluster

from lscht_ray.artifacts import places
from support import terminal
from support.doors import WAIT_SECONDS, Background, wait_for

pytestmark = pytest.mark.ray
SMALL = (
    "--train.model_name",
    "tiny",
    "--train.num_workers",
    "0",
    "--train.num_frames",
    "4",
    "--train.image_size",
    "24",
)


def test_two_sweeps_share_the_machine_and_both_finish(
    background: Background, small: Path, tmp_path: Path, cluster: Cluster
) -> None:
    """A third cluster runs here, which nobody started with `ray start`: neither joins it, nor the other's."""
    sweeps = []
    for name, trials in (("one", 2), ("two", 3)):
        flags = ("--train.data", small, "--train.max_epochs", 2, "--num_trials", trials, *SMALL)
        process = background(
            "tune",
            *flags,
            "--storage_path",
            tmp_path / name,
            "--resources.dashboard",
            "false",
            said=tmp_path / f"{name}.txt",
        )
        sweeps.append((name, trials, process))
    for name, trials, process in sweeps:
        assert process.wait(timeout=300) == 0, (tmp_path / f"{name}.txt").read_text()
        (folder,) = (tmp_path / name).iterdir()
        summary = json.loads((folder / places.SUMMARY).read_text(encoding="utf-8"))
        assert len(summary["trials"]) == trials
        assert {trial["status"] for trial in summary["trials"]} <= {"completed", "pruned", "early_stopped"}
    said = [(tmp_path / f"{name}.txt").read_text(encoding="utf-8") for name, _, _ in sweeps]
    assert all("a local Ray" in text for text in said)
    assert any("another sweep runs on this machine" in text for text in said)


def test_a_signal_to_all_processes_of_a_terminal_is_the_sweeps_to_obey(small: Path, tmp_path: Path) -> None:
    """As `timeout` and a terminal that is closed send it: Ray's processes must not end before the sweep has saved."""
    flags = ("--train.data", small, "--train.max_epochs", 3000, "--num_trials", 1, "--resources.dashboard", "false")
    session = terminal.start("tune", *flags, *SMALL, "--storage_path", "out", cwd=tmp_path, columns=100)
    metrics = "out/*/trials/trial_00001/metrics.jsonl"
    while sum(len(file.read_text().splitlines()) for file in tmp_path.glob(metrics)) < 2:
        assert session.read(), session.shown()
    os.killpg(session.process.pid, signal.SIGHUP)  # of a shell, and then of the kernel
    session.hang_up()
    assert session.process.wait(timeout=WAIT_SECONDS) == 129
    (folder,) = (tmp_path / "out").iterdir()
    content = json.loads((folder / places.SUMMARY).read_text(encoding="utf-8"))
    assert content["ended_by"] == "SIGHUP"
    (trial,) = content["trials"]
    assert (trial["status"], trial["epochs"] >= 2) == ("interrupted", True)
    assert Path(content["best"]["checkpoint"]).is_file()


@pytest.fixture
def started_by_hand() -> Iterator[str]:
    """The address of a cluster that `ray start` made, as a user does; it asks for the token in the home folder."""
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = ["--head", f"--port={port}", "--num-cpus=3", "--include-dashboard=false", "--disable-usage-stats"]
    subprocess.run([*ray, "start", *flags], check=True, capture_output=True)
    file = Path(ray_utils.get_ray_address_file(None))
    address = file.read_text().strip()
    yield address
    file.unlink(missing_ok=True)
    for process in processes_of(address):
        process.kill()


def processes_of(address: str, name: str = "") -> list[psutil.Process]:
    """The processes of a cluster's node; of one kind, where a name is given."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if name in line and ("gcs_server" in line or "raylet" in line) and address.rpartition(":")[2] in line:
            found.append(process)
    return found


def test_a_cluster_started_by_hand_is_joined_and_its_end_is_said_with_the_way_to_go_on(
    background: Background, small: Path, tmp_path: Path, started_by_hand: str
) -> None:
    """Ray itself would end the driver after a minute, without a word."""
    said = tmp_path / "said.txt"
    flags = ("--train.data", small, "--train.max_epochs", 500, "--train.early_stopping", "false", *SMALL)
    process = background("tune", *flags, "--num_trials", 2, said=said)
    wait_for(lambda: "epoch 2/500" in said.read_text(encoding="utf-8"), lambda: process.poll() is None, said.read_text)
    for server in processes_of(started_by_hand, "gcs_server"):
        server.kill()
    assert process.wait(timeout=60) == 1
    text = said.read_text(encoding="utf-8")
    (folder,) = (tmp_path / "models" / "checkpoints").iterdir()
    assert "the running Ray cluster: 1 node, 3 CPU for workers" in text
    assert "Trials, the best first" in text
    assert text.splitlines()[-1] == (
        f"error: the Ray cluster at {started_by_hand} is gone: it was ended, or its machine was; go on with: python -m"
        f" lscht_ray.tune --resume {folder}"
    )
    assert json.loads((folder / places.SUMMARY).read_text(encoding="utf-8"))["best"]["trial_id"]
    assert not (folder / places.LOCK).exists()
