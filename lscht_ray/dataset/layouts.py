"""Loads column maps: those of the package (shipped_layouts/*.yaml), and those of the user."""

from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from lscht_ray.errors import InputError
from lscht_ray.settings.columns import ColumnMap
from lscht_ray.settings.complaints import complaints
from lscht_ray.settings.files import read_yaml

FOLDER = "shipped_layouts"
BUILT_IN = ("auto", "wlasl", "table", "folders", "lists", "elan")
"""Layouts that are read by readers of their own."""


@lru_cache
def shipped() -> dict[str, Path]:
    """The shipped maps by name."""
    return {file.stem: file for file in sorted((Path(__file__).parent / FOLDER).glob("*.yaml"))}


def check(name: str) -> None:
    """Refuse a layout that there is not.

    Raises:
        InputError: There is no such layout or map, or the map is wrong.
    """
    if name not in BUILT_IN:
        load(name)


def load(name: str) -> ColumnMap:
    """Load the shipped map of that name, or the map in that YAML file.

    Raises:
        InputError: There is no such map, or it is wrong.
    """
    file = shipped().get(name.lower(), Path(name).expanduser())
    if not file.is_file():
        allowed = ", ".join((*BUILT_IN, *shipped()))
        raise InputError(f"--layout {name}: allowed are {allowed}, or a YAML file with a column map")
    content, _ = read_yaml(file)
    try:
        return ColumnMap.model_validate(content or {})
    except ValidationError as error:
        lines = [f"{file}: {complaint.text}" for complaint in complaints(ColumnMap, error)]
        raise InputError("\n".join([*lines, f"  allowed are {', '.join(ColumnMap.model_fields)}"])) from None


def recognise(folder: Path) -> str | None:
    """The name of the shipped map whose files are in a folder, or None."""
    for name in shipped():
        signs = load(name).recognised_by
        if signs and all(next(folder.glob(sign), None) is not None for sign in signs):
            return name
    return None
