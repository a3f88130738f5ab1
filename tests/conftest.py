"""Fixtures of all tests: data sets, runs and doors; and a process that every test leaves as it found it."""

import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.register_assert_rewrite("support")

from lscht_ray.dataset.demo import demo_data
from support import doors
from support.data import draw_small
from support.doors import Background, Door
from support.faults import Faults

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

TIERS = ("ray", "faults", "gpu")
"""Marks that keep a test out of the default tier; a test has one of them at most, so it runs once over the tiers."""


def pytest_configure() -> None:
    """No network, and no model that this machine happens to have. The hub's library reads both when it is imported."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HOME"] = f"{tempfile.gettempdir()}/no hub"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        tiers = [name for name in TIERS if item.get_closest_marker(name)]
        if len(tiers) > 1:
            raise pytest.UsageError(f"{item.nodeid} is in two tiers: {tiers}")


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clip cache for these tests alone."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSCHT_RAY_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def unchanged_process(cache_folder: Path) -> Iterator[None]:
    """Restore what a test changes of the process: environment, folder, signals, logging, torch's global settings."""
    environment, folder = dict(os.environ), Path.cwd()
    signals = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    }
    level = logging.getLogger().level
    hook = sys.excepthook
    torch = sys.modules.get("torch")
    if torch:
        dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
        products = torch.get_float32_matmul_precision()
    yield
    os.chdir(folder)
    if dict(os.environ) != environment:
        os.environ.clear()
        os.environ.update(environment)
    for number, handler in signals.items():
        signal.signal(number, handler)
    logging.getLogger().setLevel(level)
    sys.excepthook = hook
    if torch:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(products)


@pytest.fixture(scope="session")
def demo(cache_folder: Path) -> Path:
    """The demo data set, drawn once for all tests."""
    return demo_data()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with splits: 3 glosses, unbalanced: 12 train, 6 val, 3 test clips. No test writes there."""
    return draw_small(tmp_path_factory.mktemp("small") / "señas")


@pytest.fixture(scope="session")
def whole(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `runs.RECIPE` that was never stopped: 3 epochs of 3 steps. No test writes there."""
    from support.runs import run

    folder = tmp_path_factory.mktemp("whole")
    run(folder, small)
    return folder


@pytest.fixture(scope="session")
def door(cache_folder: Path) -> Door:
    """Calls a door in this process."""
    return doors.call


@pytest.fixture(scope="session")
def command(cache_folder: Path) -> Door:
    """Runs `python -m lscht_ray.NAME ARGS` in a process of its own."""
    return doors.command


@pytest.fixture(scope="session")
def cluster() -> Iterator["Cluster"]:
    """A running Ray cluster of one node, which says that it has two GPUs. Sweeps join it by `resources.address`."""
    import ray._common.utils
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S", "0.5")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        started = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 6, "num_gpus": 2, "include_dashboard": False}
        )
        # Its file says that somebody started it with `ray start`: sweeps that name no address would join it.
        ray._common.utils.reset_ray_address()
        yield started
        started.shutdown()


@pytest.fixture
def background(cache_folder: Path, tmp_path: Path) -> Iterator[Background]:
    """Starts `python -m lscht_ray.NAME ARGS` in the test's folder; it and its children are ended with the test.

    What it prints is to be read from its stdout, or goes to the file `said`.
    """
    started: list[subprocess.Popen[str]] = []

    def start(name: str, *args: object, said: Path | None = None, **environment: str) -> subprocess.Popen[str]:
        with (said or Path(os.devnull)).open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", f"lscht_ray.{name}", *map(str, args)],
                cwd=tmp_path,
                stdout=file if said else subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                env={**os.environ, **environment},
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture
def faults() -> Faults:
    return Faults()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if Faults.provoked:
        terminalreporter.section("faults")
        terminalreporter.write_line(f"{'fault':60} provoked  survived  lost")
        for name, times in Faults.provoked.items():
            survived = Faults.survived[name]
            terminalreporter.write_line(f"{name:60} {times:8}  {survived:8}  {times - survived:4}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no NVIDIA GPU here")
