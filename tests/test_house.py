"""The house rules, read from the syntax trees: who may import what, and that imports have no side effects."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lscht_ray"
FILES = {path.stem: path for path in sorted(PACKAGE.glob("*.py"))}
DOORS = {"train", "evaluate", "check", "demo", "tune", "predict"}
ROOF = {"worker", "trial", "actor", "cluster", "search", "watch", "sweep", "tune"}
SPECIALISED = {
    "ray": ROOF,
    "optuna": {"study", "samplers"},
    "decord": {"decode", "probe", "survey"},
    "av": {"decode", "pictures", "synthetic", "probe", "fill"},
    "PIL": {"probe", "contact_sheet"},
    "transformers": {"model"},
    "torchvision": {"transforms", "adapt", "mix"},
    "peft": {"adapt"},
    "tensorboard": {"recorder"},
    "matplotlib": {"report"},
    "jsonargparse": {"commandline"},
    "pydantic": {"columns", "dataconfig", "config", "sweepconfig", "commandline", "layouts"},
    "pyarrow": {"storage"},
    "rich": {
        "annotations",
        "build",
        "check",
        "checkpoint",
        "fill",
        "gradient",
        "plan",
        "recorder",
        "results",
        "room",
        "console",
        "loop",
        "inference",
        "steps",
        "survey",
        "sweep",
        "train",
        "tune",
        "view",
        "watch",
        "worker",
    },
}
FLOORS = [
    # Each floor imports from the floors before it only.
    {"errors", "problems", "facts"},
    {"columns", "files", "rows", "batch", "loss", "optim", "metrics", "stopping", "ledger", "killable", "watchdog"},
    {"disk"},
    {
        "dataconfig",
        "cells",
        "frames",
        "pictures",
        "checkpoint",
        "recorder",
        "lock",
        "interrupt",
        "console",
        "device",
        "adapt",
        "mix",
        "ema",
        "storage",
        "synthetic",
    },
    {"config", "decode", "wlasl", "folders", "tables", "layouts", "splits", "transforms", "cache", "model"}
    | {"parts", "room"},
    {"commandline", "sweepconfig", "annotations", "probe", "report", "store", "steps", "rescue"},
    {"data", "gradient", "inventory"},
    {"loop"},
    {"survey", "duplicates", "loader", "clips"},
    {"resuming", "findings", "checkpage", "contact_sheet", "fill"},
    {"build", "inference"},
    {"plan"},
    {"train", "evaluate", "demo", "check"},
    {"worker", "samplers", "firsts", "budget"},
    {"trial", "study"},
    {"cluster", "search", "actor"},
    {"watch"},
    {"winner", "results", "view"},
    {"sweep"},
    {"tune"},
]


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that a tree imports, `a.b` for `from a import b` too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(tree: ast.AST) -> set[str]:
    return {name.split(".")[1] for name in imports(tree) if name.startswith("lscht_ray.")} & FILES.keys()


def foreign(tree: ast.AST) -> set[str]:
    roots = {name.split(".")[0] for name in imports(tree)}
    return roots | ({"tensorboard"} if any("tensorboard" in name for name in imports(tree)) else set())


def complaints(name: str, tree: ast.Module) -> list[str]:
    """What a module does against the rules."""
    found = [
        f"imports {library}"
        for library, rooms in SPECIALISED.items()
        if library in foreign(tree) - {name} and name not in rooms
    ]
    below = set().union(*FLOORS[: next(i for i, floor in enumerate(FLOORS) if name in floor)])
    found += [f"imports {other} from above or beside" for other in own(tree) - below - {name}]
    found += [f"imports the door {door}" for door in own(tree) & DOORS if (name, door) != ("worker", "train")]
    if any(isinstance(node, ast.ImportFrom) and node.module == "ray" for node in ast.walk(tree)):
        found.append("writes `from ray import ...`, which hides the names of our doors")
    found += [f"runs code when it is imported, line {node.lineno}" for node in tree.body if side_effect(node)]
    if name in DOORS and any(isinstance(node, ast.ClassDef) and not node.name.startswith("_") for node in tree.body):
        found += [] if name == "train" else ["defines a class in a door"]
    return found


def side_effect(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return not isinstance(node.value, ast.Constant)
    if isinstance(node, ast.If):
        test = ast.unparse(node.test)
        return test not in ("__name__ == '__main__'", "TYPE_CHECKING")
    return isinstance(node, ast.For | ast.While | ast.With | ast.Try | ast.Delete | ast.AugAssign)


@pytest.mark.parametrize("name", [name for name in FILES if name != "__init__"])
def test_module_keeps_the_rules(name: str) -> None:
    assert complaints(name, ast.parse(FILES[name].read_text(encoding="utf-8"))) == []


def test_the_rules_can_fail() -> None:
    bad = ast.parse(
        "import ray.train\nfrom ray import tune\nimport optuna\nfrom lscht_ray import train\n"
        "import os\nos.environ['A'] = 'b'\nprint('hello')\n"
    )
    found = "\n".join(complaints("loss", bad))
    for part in ("imports ray", "imports optuna", "from above", "the door train", "from ray import", "line 7"):
        assert part in found


def test_every_module_has_its_floor() -> None:
    assert set().union(*FLOORS) == FILES.keys() - {"__init__"}


def test_no_module_is_named_as_one_of_the_standard_library() -> None:
    assert not FILES.keys() & set(sys.stdlib_module_names)
    assert not FILES.keys() & {"utils", "common", "helpers"}


def test_init_exports_nothing() -> None:
    tree = ast.parse(FILES["__init__"].read_text(encoding="utf-8"))
    assert [type(node) for node in tree.body] == [ast.Expr]


def test_no_file_is_too_long() -> None:
    assert {name: n for name, path in FILES.items() if (n := len(path.read_text().splitlines())) > 350} == {}


def test_readme_draws_every_module() -> None:
    readme = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    assert [name for name in FILES if name != "__init__" and f"{name}.py" not in readme] == []
