"""The house rules of docs/architecture.md: who may import whom, and that no import has a side effect."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lscht_ray"
FILES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))
DOORS = ("tune", "train", "evaluate", "check", "demo")
LINES = 350
"""Lines of a file at most."""
FUNCTION_LINES = 80
"""Lines of a function at most."""
HEIGHT = 9
"""Import floors at most: folders on the longest way down."""


def contracts(root: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the package in that folder."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def test_the_contracts_are_kept() -> None:
    result = contracts(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


BREACHES = {
    "host/disk.py": ("from lscht_ray.clips import fill", "Floors"),
    "model/loss.py": ("from lscht_ray.clips import batch", "Floors"),
    "sweep/study.py": ("from lscht_ray import train", "Floors"),
    "training/loop.py": ("import ray.train", "ray: cluster/"),
    "evaluate.py": ("from lscht_ray.cluster import room", "The cluster"),
    "training/plan.py": ("import optuna", "The library of the search"),
    "training/run.py": ("import transformers", "The libraries of the model"),
    "training/build.py": ("import av", "The decoders"),
    "host/console.py": ("import jsonargparse", "The command line"),
    "training/metrics.py": ("import torchvision", "Pictures' transforms"),
    "training/device.py": ("import matplotlib", "What a run leaves behind"),
}
"""A line in a file that it must not have, and the contract that forbids it."""


def test_the_contracts_can_fail(tmp_path: Path) -> None:
    copy = shutil.copytree(PACKAGE, tmp_path / "lscht_ray", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, (line, _) in BREACHES.items():
        file = copy / name
        file.write_text(file.read_text(encoding="utf-8") + f"\n\n{line}\n", encoding="utf-8")
    result = contracts(tmp_path)
    assert result.returncode == 1
    for name, (line, contract) in BREACHES.items():
        module = f"lscht_ray.{name.removesuffix('.py').replace('/', '.')}"
        target = line.removeprefix("from ").removeprefix("import ").replace(" import ", ".").split(".")
        other = target[0] if target[0] != "lscht_ray" else ".".join(target)
        assert f"{module} -> {other}" in result.stdout, f"{line} in {name} is not told"
        assert any(kept.startswith(contract) and "BROKEN" in kept for kept in result.stdout.splitlines()), contract


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("lscht_ray", cache_dir=None)


def intruders(graph: grimp.ImportGraph) -> set[tuple[str, str]]:
    """Who imports a module of another folder whose name begins with an underscore."""
    private = [name for name in graph.modules if name.rpartition(".")[2].startswith("_")]
    return {
        (importer, name)
        for name in private
        for importer in graph.find_modules_that_directly_import(name)
        if importer.rpartition(".")[0] != name.rpartition(".")[0]
    }


def test_what_begins_with_an_underscore_is_its_folders_own(graph: grimp.ImportGraph) -> None:
    assert intruders(graph) == set()


def test_an_intruder_would_be_found(graph: grimp.ImportGraph) -> None:
    changed = graph.__copy__() if hasattr(graph, "__copy__") else grimp.build_graph("lscht_ray", cache_dir=None)
    changed.add_import(importer="lscht_ray.check", imported="lscht_ray.clips._cache")
    assert intruders(changed) == {("lscht_ray.check", "lscht_ray.clips._cache")}


def floors(graph: grimp.ImportGraph) -> int:
    """How many folders (or doors) lie on the longest way down through the imports."""

    def room(module: str) -> str:
        return ".".join(module.split(".")[:2])

    below: dict[str, set[str]] = {room(name): set() for name in graph.modules if name != "lscht_ray"}
    for name in graph.modules:
        for other in graph.find_modules_directly_imported_by(name):
            if room(name) != room(other):
                below[room(name)].add(room(other))
    height: dict[str, int] = {}

    def measure(name: str) -> int:
        if name not in height:
            height[name] = 1 + max((measure(other) for other in below[name]), default=0)
        return height[name]

    return max(measure(name) for name in below)


def test_the_house_is_not_too_high(graph: grimp.ImportGraph) -> None:
    assert floors(graph) <= HEIGHT


def complaints(tree: ast.Module) -> list[str]:
    """What a module does when it is imported that it must not do, and names that it must not hide."""
    found = [f"runs code when it is imported, line {node.lineno}" for node in tree.body if side_effect(node)]
    if any(isinstance(node, ast.ImportFrom) and node.module == "ray" for node in ast.walk(tree)):
        found.append("writes `from ray import ...`, which hides the names of our doors")
    return found


def side_effect(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return not isinstance(node.value, ast.Constant)
    if isinstance(node, ast.If):
        return ast.unparse(node.test) not in ("__name__ == '__main__'", "TYPE_CHECKING")
    return isinstance(node, ast.For | ast.While | ast.With | ast.Try | ast.Delete | ast.AugAssign)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_a_module_keeps_the_rules(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert complaints(tree) == []
    assert len(text.splitlines()) <= LINES
    long = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES
    ]
    assert long == []


def test_the_rules_can_fail() -> None:
    bad = "from ray import tune\nimport os\nos.environ['A'] = 'b'\nprint('hello')\n"
    assert complaints(ast.parse(bad)) == [
        "runs code when it is imported, line 4",
        "writes `from ray import ...`, which hides the names of our doors",
    ]


@pytest.mark.parametrize("door", DOORS)
def test_a_door_has_no_class_and_little_else(door: str) -> None:
    tree = ast.parse((PACKAGE / f"{door}.py").read_text(encoding="utf-8"))
    assert [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)] == []


def test_no_module_is_named_as_one_of_the_standard_library() -> None:
    names = {file.stem for file in FILES} - {"__init__"}
    assert not names & set(sys.stdlib_module_names)
    assert not names & {"utils", "common", "helpers"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_says_what_it_is_for_and_exports_nothing(folder: Path) -> None:
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    assert [type(node) for node in tree.body] == [ast.Expr]
    text = ast.get_docstring(tree) or ""
    public = [file.stem for file in folder.glob("*.py") if not file.stem.startswith("_")]
    assert [name for name in public if f"`{name}`" not in text] == []


def test_the_architecture_document_draws_every_module() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert [file.stem for file in FILES if file.stem != "__init__" and f"{file.stem}.py" not in text] == []
