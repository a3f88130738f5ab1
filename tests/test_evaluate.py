"""The door `evaluate`: its files agree with each other and with scikit-learn; wrong data is refused."""

import csv
import json
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, log_loss, top_k_accuracy_score

from lscht_ray.artifacts import report
from lscht_ray.training.metrics import Tally
from support.data import manifest
from support.doors import FAST, Door, refused


@pytest.fixture(scope="module")
def trained(small: Path, door: Door, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a short training."""
    cwd = tmp_path_factory.mktemp("trained")
    result = door("train", "--data", small, *FAST, "--max_epochs", 2, "--lr", "1e-3", cwd=cwd)
    assert result.returncode == 0, result.stderr
    (folder,) = (cwd / "models" / "checkpoints").iterdir()
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_the_files_agree(trained: Path, small: Path, door: Door, tmp_path: Path) -> None:
    result = door("evaluate", trained / "best_model.pt", "--data", small, "--split", "val", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    folder = trained / "evaluation_val"
    predictions = table(folder / "predictions.csv")
    true, said = ([row[key] for row in predictions] for key in ("true", "predicted"))
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert len(predictions) == metrics["count"] == 6
    assert metrics["accuracy"] == pytest.approx(accuracy_score(true, said))
    assert metrics["mean_class_accuracy"] == pytest.approx(balanced_accuracy_score(true, said))
    glosses = ["casa", "mañana", "tú"]
    rows = table(folder / "confusion_matrix.csv")
    matrix = np.array([[int(row[gloss]) for gloss in glosses] for row in rows])
    assert (matrix == confusion_matrix(true, said, labels=glosses)).all()
    assert [row["support"] for row in table(folder / "per_class.csv")] == ["2", "2", "2"]
    with Image.open(folder / "confusion_matrix.png") as picture:
        assert picture.size[0] > 200
    assert f"top-1      {metrics['accuracy']:.2%} (" in result.stdout
    history = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    best = history[metrics["epoch"] - 1]
    assert metrics["accuracy"] == pytest.approx(best["val_accuracy"])  # the number that training reported
    assert metrics["loss"] == pytest.approx(best["val_loss"], rel=1e-4)
    with np.load(folder / "probabilities.npz") as kept:
        assert kept["glosses"].tolist() == glosses
        assert [glosses[label] for label in kept["labels"]] == true
        assert kept["videos"].tolist() == [row["video"] for row in predictions]
        assert log_loss(kept["labels"], kept["probabilities"], labels=range(3)) == pytest.approx(
            metrics["loss"], rel=1e-4
        )


def test_others_can_compute_every_figure_from_the_files(tmp_path: Path) -> None:
    """Top-5 accuracy, log-loss and calibration error of 60 clips of 9 glosses, from probabilities.npz alone."""
    rng = np.random.default_rng(0)
    glosses, labels = tuple(f"seña {n}" for n in range(9)), rng.integers(0, 9, 60)
    logits = torch.from_numpy(rng.normal(0, 1.5, (60, 9)).astype(np.float32))
    tally = Tally(9)
    tally.add(logits, torch.from_numpy(labels), torch.ones(60, dtype=torch.bool), torch.tensor(0.0), torch.tensor(1.0))
    probabilities = logits.softmax(1).numpy()
    found = tuple(
        report.Prediction(f"{n}\udcff.mp4", int(label), row)
        for n, (label, row) in enumerate(zip(labels, probabilities, strict=True))
    )
    metrics = tally.result()
    confusion = tally.confusion.numpy().astype(np.int64)
    report.write(report.Evaluation(glosses, metrics, confusion, found, {}), tmp_path, {})
    with np.load(tmp_path / "probabilities.npz") as kept:
        true, given = kept["labels"], kept["probabilities"]
    assert top_k_accuracy_score(true, given, k=5) == pytest.approx(metrics["top5_accuracy"])
    assert log_loss(true, given) == pytest.approx(metrics["loss"], rel=1e-5)
    sure, right = given.max(1), given.argmax(1) == true
    which = np.minimum((sure * 15).astype(int), 14)
    gaps = [abs(right[which == b].mean() - sure[which == b].mean()) * (which == b).mean() for b in np.unique(which)]
    assert sum(gaps) == pytest.approx(metrics["calibration_error"], abs=1e-6)
    with (tmp_path / "predictions.csv").open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][:6] == ["video", "true", "predicted", "probability", "predicted_2", "probability_2"]
    assert len(rows[0]) == 2 + 2 * 5
    for row, given_row in zip(rows[1:], given, strict=True):
        order = np.argsort(-given_row)[:5]
        assert row[2::2] == [glosses[label] for label in order]
        assert [float(value) for value in row[3::2]] == pytest.approx(given_row[order].tolist(), abs=1e-6)


def some_evaluation(glosses: int, clips: int) -> report.Evaluation:
    found = []
    for n in range(clips):
        found.append(report.Prediction(f"{n}.mp4", n % glosses, (np.arange(glosses) == n % glosses).astype(np.float32)))
    confusion = np.diag(np.bincount(np.arange(clips) % glosses)).astype(np.int64)
    names = tuple(f"seña ${n}$ {'muy ' * 20}larga" for n in range(glosses))
    return report.Evaluation(names, {"count": float(clips)}, confusion, tuple(found), {})


def test_an_evaluation_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """The file system ends the second one in the middle of its largest file, as a full disk would."""
    report.write(some_evaluation(3, 30), tmp_path, {"which": "first"})
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert len(first) == 6
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            report.write(some_evaluation(3, 5000), tmp_path, {"which": "second"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == first


def test_the_picture_of_many_glosses_names_none(tmp_path: Path) -> None:
    """2,000 names would take a minute, and no one could read them."""
    report.write(some_evaluation(2000, 2000), tmp_path, {})
    with Image.open(tmp_path / "confusion_matrix.png") as picture:
        assert picture.size == (4000, 4000)


def test_a_run_folder_will_do_and_the_data_is_remembered(trained: Path, door: Door, tmp_path: Path) -> None:
    result = door("evaluate", trained, "--output", tmp_path / "out", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["split"] == "test"


def test_glosses_in_another_order_or_fewer_of_them_fit(trained: Path, small: Path, door: Door, tmp_path: Path) -> None:
    clips = sorted((small / "val").rglob("*.mp4"))
    rows = [(str(path), path.parent.name, "test") for path in clips if path.parent.name != "casa"]
    manifest(tmp_path / "set", rows)
    result = door(
        "evaluate", trained, "--data", tmp_path / "set", "--videos", small, "--output", tmp_path / "out", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert {row["true"] for row in table(tmp_path / "out" / "predictions.csv")} == {"mañana", "tú"}
    support = {row["gloss"]: row["support"] for row in table(tmp_path / "out" / "per_class.csv")}
    assert support == {"casa": "0", "mañana": "2", "tú": "2"}


def test_what_does_not_fit_is_refused(trained: Path, small: Path, demo: Path, door: Door, tmp_path: Path) -> None:
    refused(door("evaluate", trained, "--data", demo, cwd=tmp_path), "trained on 3 glosses", "does not know 6")
    refused(door("evaluate", tmp_path / "nowhere.pt", "--data", small, cwd=tmp_path), "no such checkpoint")
    (tmp_path / "text.pt").write_text("hello")
    refused(door("evaluate", tmp_path / "text.pt", "--data", small, cwd=tmp_path), "no checkpoint")
    refused(door("evaluate", trained, "--split", "tset", cwd=tmp_path), "tset")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("glosses", [("mañana", "¿cómo?"), ("çığ", "şüİ"), ("你好", "谢谢")])
def test_the_picture_has_no_boxes_for_letters(tmp_path: Path, glosses: tuple[str, str]) -> None:
    """matplotlib warns where a font lacks a letter, and draws a box."""
    predictions = tuple(report.Prediction(f"{n}.mp4", n, np.eye(2, dtype=np.float32)[n]) for n in range(2))
    evaluation = report.Evaluation(glosses, {"count": 2.0}, np.eye(2, dtype=np.int64), predictions, {})
    report.write(evaluation, tmp_path, {})
    with Image.open(tmp_path / "confusion_matrix.png") as picture:
        assert picture.size[0] > 200
