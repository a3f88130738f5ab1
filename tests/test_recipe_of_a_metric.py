# ruff: noqa: E501  # lines of other files stand here as they are
"""docs/architecture.md says how a metric is added: what it says is done here to a copy of the package, and works."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def added(file: Path, *changes: tuple[str, str]) -> None:
    text = file.read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


def test_a_new_metric_can_be_optimised_and_watched(small: Path, tmp_path: Path) -> None:
    recipe = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("- **A metric**")[2]
    for named in ("metrics.Tally.result", "`Metric`", "`METRIC_MODES`"):
        assert named in recipe.partition("- **")[0]
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "lscht_ray", copy / "lscht_ray", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tune_configs", copy / "tune_configs")
    added(
        copy / "lscht_ray" / "training" / "metrics.py",
        ('"mean_class_accuracy": ', '"worst_class_accuracy": float(recalls.min()) if len(recalls) else 0.0,\n            "mean_class_accuracy": '),
    )  # fmt: skip
    added(
        copy / "lscht_ray" / "settings" / "train.py",
        ('Metric = Literal["val_accuracy", ', 'Metric = Literal["val_worst_class_accuracy", "val_accuracy", '),
        ('    "val_loss": "min",\n', '    "val_loss": "min",\n    "val_worst_class_accuracy": "max",\n'),
    )
    metric = "val_worst_class_accuracy"
    flags = [
        "--model_name",
        "tiny",
        "--num_workers",
        "0",
        "--num_frames",
        "4",
        "--image_size",
        "24",
        "--max_epochs",
        "2",
    ]
    watched = ["--best_metric", metric, "--early_stopping_metric", metric]
    done = subprocess.run(
        [sys.executable, "-m", "lscht_ray.train", "--data", str(small), *flags, *watched],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"{metric} 0." in done.stdout
    (run,) = (tmp_path / "models" / "checkpoints").iterdir()
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(0 <= epoch[metric] <= epoch["val_mean_class_accuracy"] for epoch in epochs)
    assert epochs[-1][f"best_{metric}"] == max(epoch[metric] for epoch in epochs)
