"""Two of the same door at once, on one data set and on two, with one cache: each finishes, and nothing is lost.

Sweeps are in test_two_at_once.
"""

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from lscht_ray.artifacts import recorder
from support.data import read_lines
from support.doors import FAST, WAIT_SECONDS, Background, Door


@pytest.fixture(params=["one folder", "two folders"])
def data(request: pytest.FixtureRequest, small: Path, tmp_path: Path) -> list[Path]:
    """The data folders of the two: nobody has looked at their videos yet."""
    folders = [tmp_path / "señas", tmp_path / ("señas" if request.param == "one folder" else "otras")]
    for folder in set(folders):
        shutil.copytree(small, folder, ignore=shutil.ignore_patterns(".lscht_ray"))
    return folders


def both(background: Background, tmp_path: Path, *lines: tuple[object, ...]) -> list[str]:
    """Start these at once, with a cache of their own that is empty; return what each printed once both have ended."""
    environment = {"LSCHT_RAY_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    files = [tmp_path / f"said_{number}" for number in range(len(lines))]
    started = [background(*line, said=file, **environment) for line, file in zip(lines, files, strict=True)]
    codes = [process.wait(timeout=WAIT_SECONDS) for process in started]
    said = [file.read_text(encoding="utf-8") for file in files]
    assert codes == [0] * len(lines), "\n".join(said)
    assert not [text for text in said if "Traceback" in text]
    return said


def figures(run: Path) -> list[dict[str, Any]]:
    """A run's epochs, but for how long they took."""
    return [
        {key: value for key, value in line.items() if key != "seconds"} for line in read_lines(run / "metrics.jsonl")
    ]


def test_two_runs_fill_one_cache_and_each_is_as_if_alone(
    background: Background, door: Door, data: list[Path], tmp_path: Path
) -> None:
    line = ("train", *FAST, "--max_epochs", 2, "--data")
    both(background, tmp_path, (*line, data[0]), (*line, data[1]))
    one, other = sorted((tmp_path / "models" / "checkpoints").iterdir())
    both(background, tmp_path, (*line, data[0], "--cache", "off", "--checkpoint_dir", tmp_path / "alone"))
    (third,) = (tmp_path / "alone").iterdir()
    assert figures(one) == figures(other) == figures(third)
    for folder in set(data):
        again = door("check", folder, "--build-cache", cwd=tmp_path)
        assert again.returncode == 0, again.stdout


def test_two_checks_write_whole_reports(background: Background, door: Door, data: list[Path], tmp_path: Path) -> None:
    reports = ("--json", "problems.json", "--facts", "facts.csv", "--html", "page.html", "--build-cache")
    both(background, tmp_path, ("check", data[0], *reports), ("check", data[1], *reports))
    found = json.loads((tmp_path / "problems.json").read_text(encoding="utf-8"))
    facts, page = (tmp_path / "facts.csv").read_bytes(), (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(facts.decode("utf-8-sig").splitlines()) == 1 + 21
    assert page.rstrip().endswith("</html>")
    later = [door("check", folder, "--json", "later.json", cwd=tmp_path) for folder in set(data)]
    assert [(result.returncode, "0 of them newly looked at" in result.stdout) for result in later] == [
        (0, True) for _ in later
    ]
    later_found = json.loads((tmp_path / "later.json").read_text(encoding="utf-8"))
    assert len(later_found["problems"]) == len(found["problems"])
    assert not [
        path for path in tmp_path.rglob(".*") if path.is_file() and path.name.startswith((".problems", ".facts"))
    ]


def test_runs_of_one_second_share_the_log_folder(tmp_path: Path) -> None:
    """A job array: each has a checkpoint folder of its own, and all the default --log_dir."""
    now, made = datetime(2026, 1, 2, 3, 4, 5), []
    for number in range(3):
        made.append(recorder.new_folders(str(tmp_path / f"c{number}"), str(tmp_path / "runs"), now=now))
    names = ["run_20260102_030405", "run_20260102_030405_2", "run_20260102_030405_3"]
    assert [(folders.run.name, folders.logs.name) for folders in made] == [(name, name) for name in names]
    assert sorted(path.name for path in (tmp_path / "c1").iterdir()) == names[1:2]
    same = recorder.new_folders(str(tmp_path / "x"), str(tmp_path / "x"), now=now)
    assert same.run == same.logs


def test_two_evaluations_of_one_run_keep_to_themselves(
    background: Background, door: Door, small: Path, tmp_path: Path
) -> None:
    trained = door("train", "--data", small, *FAST, "--max_epochs", 1, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    (run,) = (tmp_path / "models" / "checkpoints").iterdir()
    line = ("evaluate", run, "--split", "val", "--num_workers", 0)
    said = both(background, tmp_path, line, line)
    one, other = (
        json.loads((run / name / "metrics.json").read_text()) for name in ("evaluation_val", "evaluation_val_2")
    )
    assert one == other
    assert sorted(text.rpartition("in ")[2].strip() for text in said) == [
        str(run / "evaluation_val"),
        str(run / "evaluation_val_2"),
    ]
