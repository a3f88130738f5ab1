"""What a plain `pip install .` brings along, and what it says that it needs."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
CAPPED = ("ray", "torch", "torchvision", "transformers", "optuna", "jsonargparse")
"""Libraries whose internals are used, or that go with one of them."""
NOT_IMPORTED = {"tensorboard"}
"""Needed by torch.utils.tensorboard."""


def names(requirements: list[str]) -> set[str]:
    """The names of the required distributions; extras of our own are followed."""
    found = set()
    for requirement in requirements:
        name, extras = re.match(r"([\w.-]+)(?:\[([\w,]+)\])?", requirement).groups()  # type: ignore[union-attr]
        if name == "lscht_ray":
            found |= {each for extra in extras.split(",") for each in names(EXTRAS[extra])}
        else:
            found.add(re.sub(r"[-_.]+", "-", name).lower())
    return found


def imported(folder: str) -> set[str]:
    """The distributions that a folder's modules import, wherever in them."""
    modules = set()
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add(str(node.module).partition(".")[0])
    own = {file.stem for file in (ROOT / folder).rglob("*.py")}
    others = modules - set(sys.stdlib_module_names) - own - {"lscht_ray", "support"}
    distributions = packages_distributions()
    return {re.sub(r"[-_.]+", "-", distributions.get(module, [module])[0]).lower() for module in others}


def test_every_library_that_the_package_imports_is_declared_and_no_other() -> None:
    needed = names(PROJECT["dependencies"])
    optional = names(EXTRAS["lora"])  # imported where the setting asks for it
    assert imported("lscht_ray") - needed - optional == set()
    assert needed - imported("lscht_ray") == NOT_IMPORTED


@pytest.mark.parametrize("folder", ["tests", "benchmarks"])
def test_every_library_that_tests_and_benchmarks_import_is_declared(folder: str) -> None:
    extra = {"tests": "dev", "benchmarks": "benchmarks"}[folder]
    assert imported(folder) - names(PROJECT["dependencies"]) - names(EXTRAS[extra]) == set()


def test_libraries_whose_internals_are_used_stay_below_an_untested_minor_version() -> None:
    lines = [*PROJECT["dependencies"], *EXTRAS["lora"]]
    for name in (*CAPPED, "peft"):
        (line,) = [each for each in lines if re.match(rf"{name}\b", each)]
        assert re.search(r"<\d+\.\d+", line), line


def test_the_wheel_holds_every_module_every_shipped_sweep_and_the_licence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    held = set(archive.namelist())
    sweeps = {
        f"lscht_ray/tune_configs/{path.relative_to(ROOT / 'tune_configs')}"
        for path in ROOT.glob("tune_configs/**/*.yaml")
    }
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lscht_ray").rglob("*.py")}
    assert held >= sweeps | modules | {"lscht_ray/py.typed"}
    assert not any(name.startswith("tests/") for name in held)
    (licence,) = [name for name in held if name.endswith("licenses/LICENSE")]
    assert "Apache License" in archive.read(licence).decode()
    (metadata,) = [name for name in held if name.endswith(".dist-info/METADATA")]
    assert "License-Expression: Apache-2.0" in archive.read(metadata).decode()
