"""The reaches into Ray's private parts (cluster/_ray_internals.py): what is used is there and does what we need.

No cluster is started.
"""

import inspect
import os
import re
import signal
import sys
from pathlib import Path

import pytest
import ray
import ray._common.constants
import ray._private.resource_and_label_spec
import ray._private.services
import ray._private.state
import ray.tune.tune
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.placement_group import PlacementGroup

from lscht_ray.cluster import _ray_internals, connect, driver, worker

SOURCES = Path(ray.__file__).parent


def mentions(name: str, *folders: str) -> bool:
    """Whether Ray's Python sources have that word."""
    pattern = re.compile(rf"\b{re.escape(name)}\b")
    files = (file for folder in folders for file in (SOURCES / folder).rglob("*.py"))
    return any(pattern.search(file.read_text(encoding="utf-8", errors="ignore")) for file in files)


def test_ray_starts_its_processes_where_a_group_can_be_given() -> None:
    services = ray._private.services
    plain = services.ConsolePopen
    assert "ConsolePopen(" in inspect.getsource(services.start_ray_process)
    with _ray_internals.in_their_own_group():
        process = services.ConsolePopen([sys.executable, "-c", "import time; time.sleep(60)"])
        try:
            assert os.getpgid(process.pid) == process.pid != os.getpgid(0)
        finally:
            process.kill()
            process.wait()
    assert services.ConsolePopen is plain


def test_the_resources_that_nodes_have() -> None:
    assert ray._common.constants.HEAD_NODE_RESOURCE_NAME == _ray_internals.HEAD
    assert ray._private.resource_and_label_spec.RESOURCE_CONSTRAINT_PREFIX == _ray_internals.ACCELERATOR


def test_what_a_cluster_may_grow_to_can_be_asked() -> None:
    assert not inspect.signature(ray._private.state.state.get_max_resources_from_cluster_config).parameters


def test_only_a_cluster_that_this_user_started_by_hand_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`ray start` writes its address into a file, `ray.init` does not; processes are then looked through."""
    file = tmp_path / "ray_current_cluster"
    monkeypatch.setattr("ray._common.utils.get_ray_address_file", lambda folder: str(file))
    monkeypatch.setattr("ray._private.utils.get_ray_address_file", lambda folder: str(file))
    running = {"10.0.0.1:6379", "10.0.0.1:6400"}
    found = type("Found", (), {"__call__": lambda self: running, "cache_clear": lambda self: None})()
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", found)
    assert _ray_internals.started_by_hand() is None  # others run, of which one may be private
    file.write_text("10.0.0.1:6400\n")
    assert _ray_internals.started_by_hand() == "10.0.0.1:6400"
    file.write_text("10.0.0.1:1")  # it has ended without `ray stop`
    assert _ray_internals.started_by_hand() is None
    file.write_text("10.0.0.1:6400")
    monkeypatch.setattr("os.getuid", lambda: file.stat().st_uid + 1)
    assert _ray_internals.started_by_hand() is None


def test_ray_start_writes_its_address_where_we_look() -> None:
    assert mentions("write_ray_address", "scripts")
    assert inspect.signature(ray._private.services.find_bootstrap_address).parameters.keys() == {"temp_dir"}
    assert callable(ray._private.services.find_gcs_addresses.cache_clear)
    assert ray._common.utils.get_ray_address_file(None).endswith("ray_current_cluster")


def test_a_placement_group_is_made_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[PlacementGroup] = []
    monkeypatch.setattr("ray.util.remove_placement_group", removed.append)
    number = "ab" * 18
    _ray_internals.remove_placement_group(number)
    assert removed[0].id.hex() == number


def test_trains_own_callbacks_can_be_left_out() -> None:
    source = inspect.getsource(DataParallelTrainer._create_default_callbacks)
    for name in (_ray_internals.DATASETS, _ray_internals.CLEANER):
        assert mentions(name, "train/v2")
    assert "PlacementGroupCleanerCallback" in source or mentions("PlacementGroupCleanerCallback", "train/v2/api")
    assert not inspect.signature(DataParallelTrainer._create_default_callbacks).parameters.keys() - {"self"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")  # of its own defaults
def test_lean_trainers_leave_them_out() -> None:
    def callbacks(needless: frozenset[str]) -> set[str]:
        trainer = _ray_internals.LeanTrainer(
            lambda: None, needless=needless, scaling_config=ray.train.ScalingConfig(num_workers=1)
        )
        return {type(callback).__name__ for callback in trainer._create_default_callbacks()}

    both = frozenset((_ray_internals.DATASETS, _ray_internals.CLEANER))
    everything = callbacks(frozenset())
    assert both <= everything
    assert callbacks(both) == everything - both


def test_tune_listens_for_the_signal_that_asks_it_to_stop() -> None:
    assert "SIGUSR1" in inspect.getsource(ray.tune.tune)
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    try:
        assert _ray_internals.can_ask_tune_to_stop()
        _ray_internals.ask_tune_to_stop()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1]
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    assert not _ray_internals.can_ask_tune_to_stop()
    signal.signal(signal.SIGUSR1, before)


def test_the_words_of_a_worker_that_was_ended_for_its_memory() -> None:
    """The raylet is a program; its words are in its file."""
    raylet = (SOURCES / "core" / "src" / "ray" / "raylet" / "raylet").read_bytes()
    assert _ray_internals.ENDED_FOR_MEMORY.encode() in raylet
    assert b"Worker exit detail: " in raylet or mentions("Worker exit detail", ".")


@pytest.mark.parametrize(
    "name", [*connect.WORKER_ENVIRONMENT, *connect.DRIVER_ENVIRONMENT, *connect.OWN_ENVIRONMENT, *driver.STAYING]
)
def test_ray_knows_the_environment_variables_that_we_set(name: str) -> None:
    if name != "TOKENIZERS_PARALLELISM":  # which is not Ray's
        assert mentions(name, "_private", "_common", "tune", "train", "air")


def test_the_watcher_of_spot_notices_is_switched_by_the_name_that_a_worker_asks() -> None:
    assert worker.WATCHER in connect.OWN_ENVIRONMENT
    assert hasattr(ray.train, "get_preemption_info")
