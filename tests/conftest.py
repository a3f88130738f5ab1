"""Small real data sets and checkpoints, and the doors as sub-processes, which a test waits for or watches."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from lscht_ray.dataset.demo import GLOSSES, demo_data, draw_clip, draw_signer, write_video

SHARED = Path(__file__).parents[2] / "shared" / "data"
Door = Callable[..., subprocess.CompletedProcess[str]]
Background = Callable[..., subprocess.Popen[str]]


def shared(name: str) -> Path:
    """A file or folder of the real test media, or a skip that names it."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"test media not here: shared/data/{name}")
    return path


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    os.environ["LSCHT_RAY_CACHE"] = str(folder)
    os.environ["HF_HUB_OFFLINE"] = "1"
    return folder


@pytest.fixture(scope="session")
def demo(cache_folder: Path) -> Path:
    """The demo data set, drawn once for all tests."""
    return demo_data()


def draw(path: Path, gloss: int, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    name = list(GLOSSES)[gloss]
    write_video(path, draw_clip(draw_signer(seed, 7), name, (7, seed)))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with splits: 3 glosses, unbalanced: 12 train, 6 val, 3 test clips."""
    folder = tmp_path_factory.mktemp("small") / "señas"
    number = 0
    for split, counts in (("train", (6, 4, 2)), ("val", (2, 2, 2)), ("test", (1, 1, 1))):
        for gloss, count in enumerate(counts):
            for _ in range(count):
                draw(folder / split / ("casa", "mañana", "tú")[gloss] / f"{number:03d}.mp4", gloss, number)
                number += 1
    return folder


def manifest(folder: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = ("path", "label", "split")) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "manifest.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture(scope="session")
def door(cache_folder: Path) -> Door:
    """Runs `python -m lscht_ray.NAME ARGS` as a user does, in the folder given by cwd."""

    def run(name: str, *args: object, cwd: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", f"lscht_ray.{name}", *map(str, args)]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)

    return run


@pytest.fixture
def background(cache_folder: Path, tmp_path: Path) -> Iterator[Background]:
    """Starts `python -m lscht_ray.NAME ARGS` in the test's folder; it and its children are ended with the test.

    What it says is to be read from its stdout, or goes to the file `said`.
    """
    started: list[subprocess.Popen[str]] = []

    def start(name: str, *args: object, said: Path | None = None, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", f"lscht_ray.{name}", *map(str, args)],
            cwd=tmp_path,
            stdout=said.open("w") if said else subprocess.PIPE,
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


def until(process: subprocess.Popen[str], part: str) -> str:
    """Read what a process says up to a line with that part."""
    seen = ""
    assert process.stdout is not None
    for line in process.stdout:
        seen += line
        if part in line:
            return seen
    raise AssertionError(f"{part!r} never came:\n{seen}")


def refused(result: subprocess.CompletedProcess[str], *parts: str, code: int = 2) -> None:
    """The door ended with one clear message: this exit code, no traceback, and these words in it."""
    said = result.stderr + result.stdout
    assert result.returncode == code, said
    assert "Traceback" not in said, said
    assert "error:" in result.stderr
    for part in parts:
        assert part in said, f"{part!r} not in:\n{said}"


def run_folder(cwd: Path) -> Path:
    """Of the only run that was started in that folder."""
    (folder,) = (cwd / "models" / "checkpoints").iterdir()
    return folder


def read_lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


FAST = ("--model_name", "tiny", "--num_workers", "0", "--num_frames", "4", "--image_size", "24", "--batch_size", "4")
"""Flags that make a run of the tiny model quick."""


class Faults:
    """Counts the faults that tests provoke, and after how many of them everything was as it should be."""

    provoked: ClassVar[Counter[str]] = Counter()
    survived: ClassVar[Counter[str]] = Counter()

    def provoke(self, name: str, times: int = 1) -> None:
        self.provoked[name] += times

    def forget(self, name: str) -> None:
        del self.provoked[name]

    def survive(self, name: str, times: int = 1) -> None:
        self.survived[name] += times


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
