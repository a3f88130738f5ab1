"""Reads files of settings, YAML or JSON, and refuses what would be read otherwise than it looks, or never end."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lscht_ray.errors import InputError

MAX_BYTES = 2 * 2**20
"""Largest file of settings that is read; a sweep's own file has 10 kB."""
BINARY = (b"PK\x03\x04", b"\x89PNG", b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe1", b"%PDF")
"""How zips (torch's files too), pictures and PDFs begin."""
MAX_VALUES = 100_000
"""Most values that a file may stand for once its aliases (*name) are written out."""


def read_yaml(path: Path) -> tuple[Any, yaml.Node | None]:
    """Read a YAML file; return its content, and its nodes, which know their lines (None where it is empty).

    Raises:
        InputError: It can't be read, is no YAML, is too large, has a key twice, or aliases that unfold endlessly.
    """
    text = _text(path, "YAML")
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        _check(tree, path)
        return yaml.safe_load(text), tree
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}{_yamls_words(error)}") from None


def read_settings(path: Path) -> tuple[dict[str, Any], yaml.Node | None]:
    """As `read_yaml`, of a file that must hold settings; none where it is empty.

    Raises:
        InputError: As there, or it holds something else.
    """
    content, tree = read_yaml(path)
    if content is not None and not isinstance(content, dict):
        first = next(iter(str(content).splitlines()), "")[:60]
        kind = "a list" if isinstance(content, list) else f"{first!r}"
        raise InputError(f"{path} must hold settings, in lines such as `lr: 0.0001`, not {kind}")
    return content or {}, tree


def read_json(path: Path) -> dict[str, Any]:
    """Read the settings in a JSON file.

    Raises:
        InputError: It can't be read, holds no settings, or has a key twice.
    """
    text = _text(path, "JSON")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f'{path} must hold settings in braces, as {{"lr": 0.0001}}')
    # JSON is YAML, but for tabs between its parts; within its strings there are none.
    _check(yaml.compose(text.replace("\t", " "), Loader=yaml.SafeLoader), path)
    return content


def _text(path: Path, kind: str) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(
                f"{path} has {size / 2**20:.0f} MB: a file of settings has {MAX_BYTES >> 20} MB at most"
                " (a data set is named with --data)"
            )
        content = path.read_bytes()
        if b"\0" in content[:4096] or content[:4] in BINARY:
            raise InputError(f"{path} is no text, so it holds no settings: give a YAML or JSON file")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if path.suffix.lower() in (".csv", ".tsv"):
            raise InputError(f"{path} is a table, not a file of settings: is it meant for --data?") from None
        raise InputError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8 and try again") from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None


def _yamls_words(error: Exception) -> str:
    """What is wrong with a file that is no YAML, and where."""
    mark = getattr(error, "context_mark", None) or getattr(error, "problem_mark", None)
    place = f", line {mark.line + 1}" if mark is not None else ""
    problem = str(getattr(error, "problem", None) or error).removesuffix(" while calling a Python object")
    if "'\\t'" in problem:
        return f"{place}: there is a tab: indent with spaces"
    if isinstance(error, yaml.constructor.ConstructorError) and "tag" in problem:
        return f"{place}: tags (!...) stand for code, which is not run: write plain values"
    return (
        f"{place}: it is no YAML: settings are lines such as `lr: 0.0001`. Is a quotation mark or a bracket not closed,"
        " or a value with `: ` or `#` in it not in quotation marks?"
    )


def _check(tree: yaml.Node | None, path: Path) -> None:
    """Refuse keys that are there twice, and aliases that stand for too much.

    Raises:
        InputError: There are such.
    """
    if tree is None:
        return
    if _values(tree, {}, path) > MAX_VALUES:
        raise InputError(
            f"{path}: its aliases (*name) stand for more than {MAX_VALUES} values: write them out, or fewer"
        )
    wrong = [
        f"{path}, line {again}: {name} is there twice (also line {first}): leave one out"
        for name, first, again in _twice(tree, "", set())
    ]
    if wrong:
        raise InputError("\n".join(wrong))


def _values(node: yaml.Node, known: dict[int, int], path: Path) -> int:
    """How many values a node stands for. A node that holds itself is refused."""
    if id(node) in known:
        if known[id(node)] < 0:
            raise InputError(f"{path}, line {node.start_mark.line + 1}: an alias (*name) stands for what it is part of")
        return known[id(node)]
    known[id(node)] = -1
    count = 1 + sum(_values(child, known, path) for child in _children(node))
    known[id(node)] = count
    return count


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _twice(node: yaml.Node, under: str, seen: set[int]) -> Iterator[tuple[str, int, int]]:
    """Each key that a mapping has twice: its dotted name, and its first line and the next."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if not isinstance(node, yaml.MappingNode):
        for child in _children(node):
            yield from _twice(child, under, seen)
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if isinstance(key, yaml.ScalarNode) and name != "<<":
            if name in lines:
                yield f"{under}{name}", lines[name], line
            lines.setdefault(name, line)
        yield from _twice(value, f"{under}{name}.", seen)
