"""Benchmarks run, and where they lack a library they say which, and how to install it."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(
    ("argv", "module"),
    [
        (["training.py"], "accelerate"),
        (["loader.py", "demo"], "decord"),
        (["tuner.py", "--fit", "nothing"], "scipy"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_missing_library_is_named(argv: list[str], module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCHMARKS / argv[0]), run_name="__main__")
    assert str(ended.value.code).startswith(f"error: this benchmark needs {module}: pip install ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("driver.py --trials 12", "CPU milliseconds per trial (random)"),
        (
            "crops.py --seeds 1 --epochs 1 --train_clips 1 --val_clips 1 --variants other --crops squash",
            "Validation accuracy (chance 16.7%), 1 seeds",
        ),
    ],
    ids=lambda value: value.split()[0],
)
def test_what_needs_neither_ray_nor_data_runs(words: str, said: str) -> None:
    file, *flags = words.split()
    command = [sys.executable, str(BENCHMARKS / file), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
