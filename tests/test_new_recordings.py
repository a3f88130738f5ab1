"""`evaluate` on the run's own data, on copies of them and on new recordings: which clips count, and what is kept."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lscht_ray.host import lock
from support.data import draw, manifest
from support.doors import FAST, Door, refused

GLOSSES = ("casa", "mañana", "tú")


def figures(folder: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return content


def evaluated(folder: Path) -> set[str]:
    with (folder / "predictions.csv").open(encoding="utf-8-sig", newline="") as file:
        return {Path(row["video"]).name for row in csv.DictReader(file)}


def recordings(folder: Path, first_signer: int) -> Path:
    """Six clips of each of three glosses without splits: casa/1.mp4 and so on."""
    for gloss, name in enumerate(GLOSSES):
        for number in range(6):
            draw(folder / name / f"{number}.mp4", gloss, first_signer + number)
    return folder


@pytest.fixture(scope="module")
def trained_here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data set `datos`, of which a split was drawn, and a run on it; `.` was given as --data."""
    folder = tmp_path_factory.mktemp("trained")
    recordings(folder / "datos", 0)
    return folder


@pytest.fixture
def run(trained_here: Path, door: Door) -> Path:
    if not (trained_here / "models").exists():
        result = door(
            "train",
            *FAST,
            "--data",
            ".",
            "--max_epochs",
            1,
            "--checkpoint_dir",
            "../models",
            cwd=trained_here / "datos",
        )
        assert result.returncode == 0, result.stderr
    (run,) = (trained_here / "models").iterdir()
    for old in run.glob("evaluation_*"):
        shutil.rmtree(old)
    return run


def test_the_data_are_found_from_any_folder(run: Path, door: Door, tmp_path: Path) -> None:
    """One stands in a folder with other clips: `data: .` must not mean these."""
    recordings(tmp_path, 20)
    result = door("evaluate", run, "--num_workers", 0, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert figures(run / "evaluation_test")["data"] == str(run.parents[1] / "datos")
    assert "other data" not in result.stdout
    assert "warning" not in result.stdout


def test_new_recordings_of_the_same_names_are_all_evaluated(run: Path, door: Door, tmp_path: Path) -> None:
    """Their table says test for all; the run's splits.csv would say train of most."""
    assert door("evaluate", run, "--num_workers", 0, cwd=tmp_path).returncode == 0
    first = figures(run / "evaluation_test")
    new = recordings(tmp_path / "nuevas", 20)
    clips = sorted(new.rglob("*.mp4"))
    manifest(new, [(str(clip.relative_to(new)), clip.parent.name, "test") for clip in clips])
    result = door("evaluate", run, "--data", new, "--num_workers", 0, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[1] == "these are other data than the run's: it knows none of the 18 clips"
    assert figures(run / "evaluation_test_2")["count"] == 18
    assert figures(run / "evaluation_test_2")["new_clips"] == 18
    assert figures(run / "evaluation_test") == first


def test_new_recordings_without_splits_are_for_the_test(run: Path, door: Door, tmp_path: Path) -> None:
    result = door("evaluate", run, "--data", recordings(tmp_path, 30), "--num_workers", 0, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert figures(run / "evaluation_test")["count"] == 18


def test_a_copy_of_the_runs_data_keeps_its_splits_whatever_its_files_are_called(
    run: Path, door: Door, tmp_path: Path
) -> None:
    with (run / "splits.csv").open(encoding="utf-8-sig", newline="") as file:
        tested = {row["path"] for row in csv.DictReader(file) if row["split"] == "test"}
    original, copy = run.parents[1] / "datos", tmp_path / "copia"
    for clip in original.rglob("*.mp4"):
        name = f"{clip.parent.name}/renamed_{clip.name}"
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, copy / name)
    result = door("evaluate", run, "--data", copy, "--num_workers", 0, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert evaluated(run / "evaluation_test") == {f"renamed_{Path(path).name}" for path in tested}
    assert figures(run / "evaluation_test")["count"] == len(tested) == 3
    assert figures(run / "evaluation_test")["training_clips"] == 0


def test_training_clips_that_a_table_calls_test_are_said(run: Path, door: Door, tmp_path: Path) -> None:
    original = run.parents[1] / "datos"
    clips = sorted(original.rglob("*.mp4"))
    table = manifest(tmp_path, [(str(clip), clip.parent.name, "test") for clip in clips])
    result = door("evaluate", run, "--data", table, "--videos", original, "--num_workers", 0, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "warning: the run was trained on 12 of these 18 clips: the figures are better than" in result.stdout


def test_all_clips_are_evaluated_where_that_is_asked_for(run: Path, door: Door, tmp_path: Path) -> None:
    result = door("evaluate", run, "--split", "all", "--num_workers", 0, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert figures(run / "evaluation_all")["count"] == 18


def test_one_gloss_alone_is_no_evaluation(run: Path, door: Door, tmp_path: Path) -> None:
    for number in range(3):
        draw(tmp_path / "new" / "casa" / f"{number}.mp4", 0, 50 + number)
    result = door("evaluate", run, "--data", tmp_path / "new", "--num_workers", 0, cwd=tmp_path)
    assert result.returncode == 2
    assert "'casa' is the only gloss" in result.stderr
    assert not list(run.glob("evaluation_*"))


def test_an_evaluation_is_never_overwritten(run: Path, door: Door, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert door("evaluate", run, "--output", out, "--num_workers", 0, cwd=tmp_path).returncode == 0
    again = door("evaluate", run, "--output", out, "--num_workers", 0, cwd=tmp_path)
    assert again.returncode == 2
    assert again.stderr == f"error: --output {out}: it is there and not empty: name a new folder\n"


def test_the_columns_of_new_recordings_can_be_named(run: Path, door: Door, tmp_path: Path) -> None:
    """What a line advises can be typed; glosses of the model that no clip shows are named."""
    recordings(tmp_path / "otras" / "videos", 60)
    rows = [(f"videos/{gloss}/{number}.mp4", gloss, "0", "8") for gloss in GLOSSES[:2] for number in range(3)]
    manifest(tmp_path / "otras", rows, ("archivo", "palabras", "desde", "hasta"))
    line = ("evaluate", run, "--data", tmp_path / "otras", "--columns.label", "palabras")
    said = door(*line, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "--columns.start desde --columns.end hasta --columns.unit second" in said.stdout
    assert "of the model's 3 glosses these have no clip here: tú" in said.stdout
    assert "6 test clips of 2 glosses" in said.stdout
    times = ("--columns.start", "desde", "--columns.end", "hasta", "--columns.unit", "frame")
    said = door(*line, *times, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    with (run / "evaluation_test_2" / "predictions.csv").open(encoding="utf-8-sig", newline="") as file:
        assert {row["range"] for row in csv.DictReader(file)} == {"frame 0 to 8"}


def test_data_of_no_layout_are_refused_before_torch_is_imported(run: Path, tmp_path: Path) -> None:
    make(tmp_path / "vacía")
    program = (
        "import sys; from lscht_ray import evaluate\n"
        "try: evaluate.main(sys.argv[1:])\n"
        "except ValueError as error: assert 'the folder is empty' in str(error), error\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, run, "--data", tmp_path / "vacía"], check=True, timeout=300)


def test_results_go_into_a_new_folder(run: Path, door: Door, tmp_path: Path) -> None:
    (make(tmp_path / "datos") / "a.csv").touch()
    line = ("evaluate", run, "--output")
    refused(door(*line, tmp_path / "datos", cwd=tmp_path), "it is there and not empty: name a new folder")
    refused(door(*line, tmp_path / "datos" / "a.csv", cwd=tmp_path), "it is a file: name a new folder")


def test_two_evaluations_never_share_a_folder(run: Path, door: Door, tmp_path: Path) -> None:
    with lock.held(make(tmp_path / "out") / ".lock"):
        other = subprocess.run(
            [sys.executable, "-m", "lscht_ray.evaluate", run, "--output", tmp_path / "out"],
            capture_output=True,
            text=True,
            check=False,
        )
    refused(other, f"process {os.getpid()} on", "writes there")


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_data_that_are_gone_are_asked_for(run: Path, door: Door, tmp_path: Path) -> None:
    original = run.parents[1] / "datos"
    original.rename(original.with_name("away"))
    try:
        result = door("evaluate", run, cwd=tmp_path)
    finally:
        original.with_name("away").rename(original)
    assert result.returncode == 2
    assert f"the data that it was trained on, {original}, are not there: say --data PATH" in result.stderr
