"""Sweeps that tests run: the tiny model, one trial at a time, on this machine."""

import json
from pathlib import Path
from typing import Any

import yaml

TRAIN = {
    "model_name": "tiny",
    "num_frames": 4,
    "image_size": 24,
    "batch_size": 4,
    "num_workers": 0,
    "lr": 2e-3,
    "min_lr": 0.0,
    "early_stopping": False,
}
RESOURCES = {"gpus_per_worker": 0, "max_concurrent_trials": 1, "address": "local", "dashboard": False}
STORAGE = "barridos ñ"


def sweep_file(
    folder: Path,
    data: Path,
    *,
    epochs: int = 2,
    train: dict[str, Any] | None = None,
    resources: dict[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """Write sweep.yaml into a folder: the settings above, with these over them."""
    content = {
        "asha": {"grace_period": 1},
        "storage_path": str(folder / STORAGE),
        **settings,
        "train": TRAIN | {"data": str(data), "max_epochs": epochs, "cache_dir": str(folder / "clips")} | (train or {}),
        "resources": RESOURCES | (resources or {}),
    }
    folder.mkdir(exist_ok=True)
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return path


def sweep_folder(folder: Path) -> Path:
    """The sweep's own folder, in the folder of its sweep.yaml."""
    (found,) = (folder / STORAGE).glob("sweep_*")
    return found


def trial_folder(folder: Path, number: int) -> Path:
    return sweep_folder(folder) / "trials" / f"trial_{number:05d}"


def log(folder: Path) -> str:
    """What Ray and the trials said."""
    return (sweep_folder(folder) / "ray.log").read_text(encoding="utf-8", errors="replace")


def summary(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((sweep_folder(folder) / "summary.json").read_text(encoding="utf-8"))
    return content


def processes(*words: bytes) -> list[int]:
    """The processes of this machine with one of these words in their command."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if any(word in command for word in words):
            found.append(int(entry.name))
    return sorted(found)
