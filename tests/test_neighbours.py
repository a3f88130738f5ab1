"""Several sweeps on one machine: each has its own Ray, they share the CPUs, and a cluster that is gone is noticed."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from lscht_ray.cluster import loss, room, surroundings
from lscht_ray.host import neighbours
from lscht_ray.settings.sweep import ResourcesConfig, SweepConfig

ANNOUNCE = """
import sys
from lscht_ray.host import neighbours
with neighbours.announced():
    print("there", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def other(own_folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that says that it runs a sweep."""
    process = subprocess.Popen(
        [sys.executable, "-c", ANNOUNCE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    yield process
    process.kill()
    process.communicate()


def test_a_sweep_knows_of_another_while_that_runs(other: "subprocess.Popen[str]") -> None:
    with neighbours.announced():
        assert neighbours.others() == [other.pid]
        assert neighbours.fair_share(8) == 4
        assert neighbours.fair_share(1) == 1
        other.kill()
        other.wait()
        assert neighbours.others() == []  # though it could not say that it ends
        assert neighbours.fair_share(8) == 8


def test_where_nothing_can_be_written_a_sweep_is_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with neighbours.announced():
        assert neighbours.others() == []


def test_the_room_shrinks_and_grows_and_says_so(monkeypatch: pytest.MonkeyPatch, own_folder: Path) -> None:
    there: list[int] = []
    monkeypatch.setattr(room, "others", lambda: list(there))
    monkeypatch.setattr(room, "usable_cpus", lambda: 8)
    monkeypatch.setattr(room, "fair_share", lambda: 8 // (1 + len(there)))
    monkeypatch.setattr(room, "most_resources_when_scaled", dict)
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True, "Resources": {"CPU": 9.0}}])
    said: list[str] = []
    sweep = SweepConfig(resources=ResourcesConfig(cpus_per_worker=3))
    found = room.Room(sweep, 20, lambda: 0.0, started_here=True, say=said.append)
    monkeypatch.setattr(room.Room, "SECONDS", 0.0)
    assert found() == 2
    there.append(77)
    assert found() == 1
    assert said == ["another sweep runs on this machine (process 77): 4 of 8 CPUs are for this one"]
    there.extend((78, 79))  # of 2 CPUs not even one trial could run: one does all the same
    assert found() == 1
    there.clear()
    assert found() == 2
    assert said[-1] == "the other sweep has ended: 8 of 8 CPUs are for this one"


def test_several_sweeps_share_gpus_without_meeting(monkeypatch: pytest.MonkeyPatch, own_folder: Path) -> None:
    """Each begins elsewhere, and has its fair share of trials at a time."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert neighbours.visible_gpus(0, 8) == neighbours.visible_gpus(1, 1) == {}
    orders = ["0,1,2,3,4,5,6,7", "4,5,6,7,0,1,2,3", "2,3,4,5,6,7,0,1", "6,7,0,1,2,3,4,5"]
    for place in (1, 2, 3):
        assert neighbours.visible_gpus(place, 8) == {"CUDA_VISIBLE_DEVICES": orders[place]}
    for number in (2, 3, 4):
        monkeypatch.setattr(neighbours, "others", lambda number=number: list(range(number - 1)))
        share = int(neighbours.fair_gpus(8.0))
        taken = [gpu for order in orders[:number] for gpu in order.split(",")[:share]]
        assert len(taken) == len(set(taken)) == number * share
    assert neighbours.fair_gpus(1.0) == 1.0  # the only one is for all
    assert neighbours.fair_gpus(0.0) == 0.0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c")
    assert neighbours.visible_gpus(1, 8) == {"CUDA_VISIBLE_DEVICES": "GPU-b,GPU-c,GPU-a"}


def test_a_place_among_sweeps_is_given_again_when_it_is_free(other: "subprocess.Popen[str]") -> None:
    with neighbours.announced() as place:
        assert place == 1
        other.kill()
        other.wait()
    with neighbours.announced() as place:
        assert place == 0


def test_the_share_of_gpus_is_said(monkeypatch: pytest.MonkeyPatch, own_folder: Path) -> None:
    there: list[int] = []
    gpus = [4.0]
    monkeypatch.setattr(neighbours, "others", lambda: list(there))
    monkeypatch.setattr(room, "others", lambda: list(there))
    monkeypatch.setattr(neighbours, "usable_cpus", lambda: 8)
    monkeypatch.setattr(room, "usable_cpus", lambda: 8)
    monkeypatch.setattr(room, "most_resources_when_scaled", dict)
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True, "Resources": {"CPU": 9.0, "GPU": gpus[0]}}])
    monkeypatch.setattr(room.Room, "SECONDS", 0.0)
    said: list[str] = []
    found = room.Room(SweepConfig(), 20, lambda: 0.0, started_here=True, say=said.append)
    assert found() == 4
    there.append(77)
    assert found() == 2
    there.clear()
    assert found() == 4
    there.append(78)
    gpus[0] = 1.0
    assert found() == 1
    assert said == [
        "another sweep runs on this machine (process 77): 4 of 8 CPUs and 2 of 4 GPUs are for this one",
        "the other sweep has ended: 8 of 8 CPUs and 4 of 4 GPUs are for this one",
        "another sweep runs on this machine (process 78): 4 of 8 CPUs are for this one; the GPU is for both",
    ]


def test_a_port_that_refuses_is_gone_after_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(loss.time, "monotonic", lambda: now[0])
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = loss.Port(*server.getsockname())
        assert not port.is_gone()
    assert not port.is_gone()
    now[0] = loss.REFUSED_SECONDS
    assert port.is_gone()


def test_a_host_that_is_silent_is_given_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(loss.time, "monotonic", lambda: now[0])

    def unreachable(*arguments: Any, **settings: Any) -> Any:
        raise TimeoutError

    monkeypatch.setattr("socket.create_connection", unreachable)
    port = loss.Port("203.0.113.1", 6379)
    assert not port.is_gone()
    now[0] = loss.SILENT_SECONDS - 1
    assert not port.is_gone()
    now[0] = loss.SILENT_SECONDS
    assert port.is_gone()


class Head(grpc.GenericRpcHandler):
    """A cluster's head, as far as it is asked: whether it wants a token."""

    def __init__(self, code: grpc.StatusCode) -> None:
        self.code = code

    def service(self, handler_call_details: Any) -> Any:
        def answer(request: bytes, context: Any) -> bytes:
            if self.code != grpc.StatusCode.OK:
                context.abort(self.code, "InvalidAuthToken")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.mark.parametrize(
    ("code", "mode"),
    [(grpc.StatusCode.UNAUTHENTICATED, "token"), (grpc.StatusCode.OK, None), (grpc.StatusCode.UNIMPLEMENTED, None)],
)
def test_a_token_is_sent_to_a_cluster_that_asks_for_it(
    code: grpc.StatusCode, mode: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((Head(code),))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        expected = {} if mode is None else {"RAY_AUTH_MODE": mode}
        assert surroundings.variables(ResourcesConfig(address=address)) == expected
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert surroundings.variables(ResourcesConfig()) == expected
        assert surroundings.variables(ResourcesConfig(address="local")) == {}
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        assert surroundings.variables(ResourcesConfig()) == {}
    finally:
        server.stop(None)


def test_where_trials_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert surroundings.trains_here(ResourcesConfig())
    assert not surroundings.trains_here(ResourcesConfig(address="10.0.0.1:6379"))
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("10.0.0.1:6379")
    assert not surroundings.trains_here(ResourcesConfig())
    assert surroundings.trains_here(ResourcesConfig(address="local"))
