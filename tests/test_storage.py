"""Copying to and from a sweep's place: a path or a URI, whatever its name."""

from pathlib import Path

import pytest

from lscht_ray.artifacts.storage import Storage
from lscht_ray.errors import InputError


@pytest.mark.parametrize("scheme", ["", "file://"])
@pytest.mark.parametrize("name", ["plain", "con espacios y ñ"])
def test_there_and_back(tmp_path: Path, scheme: str, name: str) -> None:
    if scheme and name != "plain":
        name = "con%20espacios"
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "a.txt").write_text("hola")
    storage = Storage(f"{scheme}{tmp_path}/{name}")
    storage.put(source, "trials/one")
    storage.put(source / "inner" / "a.txt", "trials/b.txt")
    storage.put(source, "")
    assert storage.folders("trials") == ["one"]
    assert storage.folders("nowhere") == []
    storage.get("trials/one", tmp_path / "back")
    assert (tmp_path / "back" / "inner" / "a.txt").read_text() == "hola"
    assert (Path(storage.base) / "trials" / "b.txt").read_text() == "hola"
    assert (Path(storage.base) / "inner" / "a.txt").read_text() == "hola"
    storage.delete("trials/one")
    assert storage.folders("trials") == []


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(InputError, match="nosuch://bucket"):
        Storage("nosuch://bucket")
