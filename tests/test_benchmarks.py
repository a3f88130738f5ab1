"""Benchmarks that lack a library say which, and how to install it."""

import runpy
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
