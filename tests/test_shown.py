"""Names can't steer a terminal or forge a line, and are called what they are."""

import json
import os
from pathlib import Path

import pytest

from lscht_ray.shown import counted, lines_shown, oddity, shown
from support.data import draw
from support.doors import FAST, Door, run_folder

ESCAPES = "\x1b]0;mine\x07\x1b[31m"
"""Sets a terminal's title, and paints red from there on (ECMA-48, xterm's control sequences)."""


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("señas 手話 👋🏽 می‌خواهم", "señas 手話 👋🏽 می‌خواهم"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("a\u2028b\x85c", "a\\u2028b\\x85c"),
        ("4pm.\u202egnp", "4pm.\\u202egnp"),
        (os.fsdecode(b"se\xf1a"), "se\\udcf1a"),
        ("\x9b31m", "\\x9b31m"),
    ],
)
def test_what_steers_is_written_out_and_letters_stay(name: str, escaped: str) -> None:
    assert shown(name) == escaped


def test_one_is_no_plural() -> None:
    assert [counted(number, "clip") for number in (0, 1, 2)] == ["0 clips", "1 clip", "2 clips"]
    assert [counted(number, "gloss") for number in (1, 2)] == ["1 gloss", "2 glosses"]
    assert [counted(number, "video is", "videos are") for number in (1, 2)] == ["1 video is", "2 videos are"]


def test_a_messages_own_lines_stay() -> None:
    assert lines_shown("one\n\ttwo \x1b[31m") == "one\n\ttwo \\x1b[31m"


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("señas.mp4", "", ""),
        ("👋🏽", "", ""),
        ("a\nb", "name_control", "holds control characters (U+000A)"),
        ("\x1b[31m\x07", "name_control", "holds control characters (U+001B, U+0007)"),
        ("a\u2028b", "name_control", "holds control characters (U+2028)"),
        ("casa\u200b", "name_invisible", "holds invisible characters (U+200B)"),
        ("a\xa0b", "name_blanks", "holds blanks that are no spaces (U+00A0)"),
        (os.fsdecode(b"se\xf1a\n"), "name_not_text", "is no UTF-8 text (an old zip of Windows?)"),
    ],
)
def test_an_odd_name_is_called_what_it_is(name: str, kind: str, words: str) -> None:
    assert oddity(name) == (kind, words)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of two glosses. One gloss, and clips in each split, have names that would recolour, retitle and forge."""
    root = tmp_path_factory.mktemp("hostile") / "señas"
    number = 0
    for split, count in (("train", 3), ("val", 2), ("test", 2)):
        for gloss in ("casa", f"tú{ESCAPES}\nno problem found"):
            for k in range(count):
                name = f"{k}{ESCAPES}\nerror: forged\n.mp4" if k else f"{k}\u202e4pm.mp4"
                draw(root / split / gloss / name, number % 2, number)
                number += 1
    (root / "train" / "casa" / f"broken{ESCAPES}\nerror: forged\n.mp4").write_bytes(b"no video")
    return root


def is_clean(said: str) -> None:
    assert "forged" in said or "problem found" in said  # or the test shows nothing
    assert not set(said) & set("\x1b\x07\x9b\u202e")
    assert not [line for line in said.splitlines() if line.startswith(("error: forged", "no problem found"))]


def test_what_the_doors_say_of_hostile_names(hostile: Path, door: Door, tmp_path: Path) -> None:
    result = door("check", hostile, "--json", tmp_path / "c.json", "--html", tmp_path / "c.html", cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    is_clean(result.stdout + result.stderr)
    problems = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))["problems"]
    kinds = {problem["kind"] for problem in problems}
    assert {"name_control", "name_invisible"} <= kinds
    assert "name_not_text" not in kinds
    of_a_gloss = next(p for p in problems if p["kind"] == "name_control" and p["path"] == str(hostile))
    assert of_a_gloss["detail"].endswith("holds control characters (U+001B, U+0007, U+000A)")
    assert not set((tmp_path / "c.html").read_text(encoding="utf-8")) & set("\x1b\x07\u202e")

    flags = (*FAST, "--max_epochs", 1)
    result = door("train", "--data", hostile, *flags, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    result = door("evaluate", run_folder(tmp_path), "--split", "test", "--num_workers", 0, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    is_clean(result.stdout + result.stderr)


def test_what_is_refused_of_hostile_names(hostile: Path, door: Door, tmp_path: Path) -> None:
    missing = tmp_path / "manifest.csv"
    missing.write_text(f'path,label,split\n"{hostile}/gone{ESCAPES}\nerror: forged",a,train\n', encoding="utf-8")
    for data in (missing, f"{hostile}{ESCAPES}forged"):
        result = door("train", "--data", data, *FAST, cwd=tmp_path)
        assert result.returncode == 2
        assert not set(result.stdout + result.stderr) & set("\x1b\x07")
    assert "forged" in result.stderr
