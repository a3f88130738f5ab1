"""Reads the command line and the YAML files of every door into its settings, and says what is wrong with them."""

import argparse
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from jsonargparse import ArgumentParser, Namespace
from pydantic import BaseModel, ValidationError

from lscht_ray.errors import InputError
from lscht_ray.settings import help
from lscht_ray.settings.complaints import Complaint, complaints
from lscht_ray.settings.files import read_settings
from lscht_ray.settings.parser import Parser
from lscht_ray.settings.synonyms import suggestion
from lscht_ray.settings.train import OLD_NAMES, as_given, of_thesis

Settings = TypeVar("Settings", bound=BaseModel)
SWEEPS = frozenset(("train", "search_space", "num_trials", "sampler", "asha", "resources", "budget"))
"""Settings that a sweep's file has and a run's has not."""
LOOKED_AT = 100
"""Names of a file that are looked at to tell whether they are settings at all."""
OLD_SPELLINGS = {f"--{old}": f"--{new}" for old, new in OLD_NAMES.items()}


@dataclass(frozen=True)
class File:
    """A file of settings.

    Attributes:
        path: Where it is.
        tree: Its YAML nodes, which know their lines; None where it is empty.
        under: The setting that holds these, where a sweep takes a recipe: train.
    """

    path: Path
    tree: yaml.Node | None
    under: str = ""

    def line(self, loc: tuple[Any, ...]) -> int | None:
        """Return the line (from 1) of the setting, or of the nearest one above it; None where the file has neither."""
        if self.under and loc[:1] == (self.under,):
            loc = loc[1:]
        line, node = None, self.tree
        for part in loc:
            if not isinstance(node, yaml.MappingNode):
                break
            pairs = [(key, value) for key, value in node.value if key.value == str(part)]
            if not pairs:
                break
            line, node = pairs[-1][0].start_mark.line + 1, pairs[-1][1]
        return line

    def place(self, loc: tuple[Any, ...]) -> str:
        """Return the file and the line, for the front of a message."""
        line = self.line(loc)
        return f"{self.path}{f', line {line}' if line else ''}: "


def parse(
    model: type[Settings],
    argv: Sequence[str],
    *,
    prog: str,
    description: str,
    usage: str = "[--config FILE] [--SETTING VALUE ...]",
    default_config: Path | None = None,
    extra: Callable[[ArgumentParser], None] | None = None,
) -> tuple[Settings, Namespace]:
    """Read the settings: the defaults, then ``--config FILE``, then the flags.

    Args:
        model: The pydantic model whose fields become flags (nested ones dotted, as in ``--train.lr``).
        argv: The command line without the program's name.
        prog: How the door is called, for messages.
        description: What ``--help`` says first.
        usage: What stands behind ``prog`` there.
        default_config: The file that is read where no ``--config`` is given.
        extra: Adds flags that are no settings.

    Returns:
        The settings, and everything that was parsed, flags of ``extra`` included.

    Raises:
        InputError: An unknown name, a wrong type, a value out of range, or a file that can't be read.
    """
    argv = [_new_spelling(word) for word in argv]
    flags = {word.partition("=")[0].removeprefix("--") for word in argv if word.startswith("--")}
    topic = help.wanted(argv)
    if topic is not None:
        others = Parser(prog=prog, add_help=False)
        others.add_argument("--config", help="YAML file of settings, or the name of a shipped one; flags override it")
        if extra is not None:
            extra(others)
        listed = others.format_help().partition("options:")[2].strip("\n")
        print(help.text(model, topic, usage=f"{prog} {usage}", description=description, flags=listed))
        raise SystemExit(0)
    argv, files = _with_found_config(argv, default_config, model)
    parser = Parser(prog=prog, usage=f"{prog} {usage}", description=description, exit_on_error=True)
    parser.model = model
    parser.add_argument("--config", action="config", help="YAML file of settings; flags override it")
    parser.add_class_arguments(model)
    if extra is not None:
        extra(parser)
    space = parser.parse_args(argv)
    values = {name: _plain(space[name]) for name in model.model_fields}
    try:
        return model.model_validate(values), space
    except ValidationError as error:
        raise InputError("\n".join(_placed(item, files, flags) for item in complaints(model, error))) from None


def with_own_settings(argv: list[str], name: str, kind: str) -> list[str]:
    """Put the settings in the folder of ``--resume FOLDER`` before the flags, which override them.

    Args:
        argv: The command line.
        name: The name of the file of settings.
        kind: The kind of folder, for the message.

    Raises:
        InputError: The folder has no such file.
    """
    for number, word in enumerate(argv):
        flag, equals, value = word.partition("=")
        if flag == "--resume":
            given = value if equals else argv[number + 1] if number + 1 < len(argv) else ""
            if not given:
                raise InputError(f"--resume needs the {kind}'s folder: --resume FOLDER")
            folder = Path(given).expanduser()
            if not (folder / name).is_file():
                raise InputError(f"--resume {given}: {_no_folder(folder, name, kind)}")
            return ["--config", str(folder / name), *argv]
    return argv


def _no_folder(folder: Path, name: str, kind: str) -> str:
    """Why something is no folder to go on with, and what may be."""
    if not folder.exists():
        return "there is no such folder"
    if folder.is_file() and (folder.parent / name).is_file():
        return f"name the folder, not a file in it: --resume {shlex.quote(str(folder.parent))}"
    other, door = ("sweep", "tune") if kind == "run" else ("run", "train")
    if (folder / ("sweep.json" if kind == "run" else "config.json")).is_file():
        return f"it is a {other}'s folder: python -m lscht_ray.{door} --resume {shlex.quote(str(folder))}"
    return f"it is no {kind}'s folder (it has no {name})"


def _new_spelling(word: str) -> str:
    name, equals, value = word.partition("=")
    return OLD_SPELLINGS.get(name, name) + equals + value


def _plain(value: Any) -> Any:
    if isinstance(value, Namespace):
        return {key: _plain(item) for key, item in vars(value).items()}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.model_dump() if isinstance(value, BaseModel) else value


def shipped_configs() -> Path:
    """Return the folder of the YAML files that come with the package, installed or in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "tune_configs"
    return inside if inside.is_dir() else package.parent / "tune_configs"


def find_config(name: str) -> Path:
    """Return the file of that name: as given, else among the shipped ones.

    Raises:
        InputError: There is no such file.
    """
    shipped = shipped_configs()
    relative = name.rsplit("tune_configs/", maxsplit=1)[-1]
    for path in (Path(name), shipped / relative, shipped / f"{relative}.yaml"):
        if path.is_file():
            return path
    if Path(name).is_dir():
        inside = [file for file in ("config.json", "sweep.json") if (Path(name) / file).is_file()]
        hint = f": name the file in it: --config {shlex.quote(f'{name}/{inside[0]}')}" if inside else ""
        raise InputError(f"--config {name}: it is a folder{hint}")
    names = ", ".join(sorted(str(path.relative_to(shipped)) for path in shipped.rglob("*.yaml")))
    raise InputError(f"--config {name}: no such file. Shipped with the package: {names}")


def _with_found_config(argv: list[str], default: Path | None, model: type[BaseModel]) -> tuple[list[str], list[File]]:
    """Find and check the files that a command line names; return the command line with their paths, and the files."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    finder.add_argument("--config", action="append", default=[])
    try:
        files_named, rest = finder.parse_known_args(argv)
    except argparse.ArgumentError:
        raise InputError("--config needs a file: --config FILE") from None
    paths = [find_config(name) for name in files_named.config] or ([default] if default else [])
    words, named = [], list[File]()
    for path in paths:
        content, tree = read_settings(path)
        values = of_thesis(as_given(content))
        _check_kind(path, values, model)
        inner = _recipe(model, values)
        if inner is None:
            named.append(File(path, tree))
            _check(model, values, named[-1])
            if values:  # jsonargparse refuses an empty file
                words += ["--config", str(path) if values is content else json.dumps(values)]
        else:
            named.append(File(path, tree, under="train"))
            _check(inner, values, named[-1])
            shown = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
            words += [f"--train.{name}={value}" for name, value in shown.items()]
    return words + rest, named


def _check_kind(path: Path, values: dict[str, Any], model: type[BaseModel]) -> None:
    """Refuse in one sentence a file that holds other things than settings.

    Raises:
        InputError: What it is, where that is plain.
    """
    if "model_type" in values:
        raise InputError(f"{path} is a model's config.json, not a run's: its folder is for --model_name")
    if values and all(isinstance(value, dict) and "subset" in value for value in values.values()):
        raise InputError(f"{path} is a data set: name it with --data, not with --config")
    known = {name for kind in (model, *_models_in(model)) for name in kind.model_fields}
    if "train" not in model.model_fields and values.keys() & SWEEPS and not values.keys() & model.model_fields.keys():
        raise InputError(f"{path} is a sweep's file: python -m lscht_ray.tune --config {shlex.quote(str(path))}")
    if (
        len(values) > 1
        and not known & values.keys()
        and not any(suggestion(str(name), known) for name in list(values)[:LOOKED_AT])
    ):
        keys = ", ".join(list(map(str, values))[:5])
        raise InputError(f"{path} holds no settings that are known here (it begins with {keys})")


def _models_in(model: type[BaseModel]) -> list[type[BaseModel]]:
    kinds = [field.annotation for field in model.model_fields.values()]
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]


def _recipe(model: type[BaseModel], values: dict[str, Any]) -> type[BaseModel] | None:
    """Return the model of `train` where these are settings of it, which a sweep takes as its `train:`; else None."""
    train = model.model_fields.get("train")
    if train is None or values.keys() & model.model_fields.keys():
        return None
    inner = cast(type[BaseModel], train.annotation)
    return inner if values.keys() & inner.model_fields.keys() else None


def _check(model: type[BaseModel], values: dict[str, Any], file: File) -> None:
    """Complain of everything in a file at once, except of what a flag or another file may still put right.

    Raises:
        InputError: Names or values in it are wrong.
    """
    try:
        model.model_validate(values)
    except ValidationError as error:
        wrong = [item for item in complaints(model, error) if not item.misfit]
        if wrong:
            raise InputError("\n".join(f"{file.place(item.loc)}{item.text}" for item in wrong)) from None


def _placed(complaint: Complaint, files: list[File], flags: set[str]) -> str:
    """Return a complaint with the file and line that gave the setting its value, unless a flag did."""
    by_flag = not flags.isdisjoint(".".join(map(str, complaint.loc[:depth])) for depth in range(1, 9))
    holding = [file for file in files if file.line(complaint.loc)]
    return complaint.text if by_flag or not holding else holding[-1].place(complaint.loc) + complaint.text
