"""Copying to and from a sweep's place: a path or a URI, whatever its name."""

import multiprocessing
import time
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


def write_again_and_again(root: Path, lines: int) -> None:
    """Until it is killed: a file by each of the two ways, which grows and begins anew."""
    storage, source = Storage(str(root)), root / "source"
    while True:
        for count in range(1, lines):
            source.write_text("ñ\n" * count)
            storage.put(source, "trial/metrics.jsonl")
            storage.write_text("trial/text", "ñ\n" * count)


def test_a_file_is_never_seen_half_written(tmp_path: Path) -> None:
    """A trial's metrics are read while its worker writes them, and after it was killed just then."""
    process = multiprocessing.get_context("spawn").Process(target=write_again_and_again, args=(tmp_path, 2000))
    process.start()
    try:
        files = [tmp_path / "trial" / "metrics.jsonl", tmp_path / "trial" / "text"]
        while not all(file.is_file() for file in files):
            assert process.is_alive()
            time.sleep(0.01)
        seen: set[int] = set()
        while len(seen) < 200:
            assert process.is_alive()
            for file in files:
                text = file.read_bytes().decode()
                assert text and text == "ñ\n" * (len(text) // 2)
                seen.add(len(text))
    finally:
        process.kill()
        process.join()


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(InputError, match="nosuch://bucket"):
        Storage("nosuch://bucket")
