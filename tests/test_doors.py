"""Every door as a process of its own: exit code, where it prints, and what it imports before it needs it."""

import subprocess
import sys
from pathlib import Path

import pytest

DOORS = ("tune", "train", "evaluate", "check", "demo")
HEAVY = {"torch", "ray", "transformers", "torchvision", "optuna", "matplotlib", "sklearn", "tensorboard"}
"""Libraries that take seconds to import."""
RUN = """
import atexit, runpy, sys
modules = sys.argv[1]
sys.argv[:2] = []
atexit.register(lambda: open(modules, "w").write("\\n".join(sys.modules)))
runpy.run_module(f"lscht_ray.{sys.argv[0]}", run_name="__main__", alter_sys=True)
"""
"""Does what `python -m lscht_ray.DOOR` does, and then writes the names of all imported modules to a file."""


def run(folder: Path, *args: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    modules = folder / "modules"
    command = [sys.executable, "-c", RUN, str(modules), *args]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return result, set(modules.read_text().split())


@pytest.mark.parametrize("door", DOORS)
def test_help_and_a_typo_end_at_once(door: str, tmp_path: Path) -> None:
    shown, modules = run(tmp_path, door, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"python -m lscht_ray.{door}" in shown.stdout
    assert modules & HEAVY == set()
    refused, modules = run(tmp_path, door, "--no_such_flag", "1")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "error: " in refused.stderr
    assert "--no_such_flag" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert modules & HEAVY == set()
    assert "lscht_ray.host.console" in modules  # or the list of modules would show nothing
