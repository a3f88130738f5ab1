"""`quick`: the backbone sees each clip once, and the head learns from what it said, with the same metrics and files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lscht_ray.artifacts import checkpoint, places
from lscht_ray.artifacts.recorder import RunFolders
from lscht_ray.host.console import quiet_console
from lscht_ray.model.features import features_of, take_features
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training import quick
from lscht_ray.training import run as training
from lscht_ray.training.build import build_model
from support.data import read_lines
from support.doors import FAST, Door, refused, run_folder

TINY: dict[str, Any] = {"model_name": "tiny", "num_workers": 0, "num_frames": 4, "image_size": 24, "batch_size": 4}


def train(folder: Path, data: Path, **settings: Any) -> training.Outcome:
    config = TrainConfig.model_validate(
        {"data": str(data), "quick": True, "max_epochs": 3, "lr": 1e-2, **TINY, **settings}
    )
    return training.run(config, RunFolders(folder / "run", folder / "logs"), screen=quiet_console())


def losses(outcome: training.Outcome) -> list[tuple[float, float]]:
    return [(epoch["train_loss"], epoch["val_loss"]) for epoch in outcome.history]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many clips were asked for in each call of `_compute`."""
    counts: list[int] = []
    compute = quick._compute

    def counted(model: Any, clips: list[Any], *others: Any) -> Any:
        counts.append(len(clips))
        return compute(model, clips, *others)

    monkeypatch.setattr(quick, "_compute", counted)
    return counts


def test_each_clip_is_seen_once_and_never_again(small: Path, tmp_path: Path, asked: list[int]) -> None:
    first = train(tmp_path / "one", small, cache_dir=str(tmp_path / "cache"))
    assert asked == [18]  # 12 training, 6 validation clips
    again = train(tmp_path / "two", small, cache_dir=str(tmp_path / "cache"), lr=1e-3)
    assert asked == [18]
    assert losses(again) != losses(first)
    other = train(tmp_path / "three", small, cache_dir=str(tmp_path / "cache"))
    assert losses(other) == losses(first)
    train(tmp_path / "four", small, cache_dir=str(tmp_path / "cache"), eval_crop="centre")  # other pictures
    assert asked == [18, 18]


def test_the_same_without_a_cache(small: Path, tmp_path: Path, asked: list[int]) -> None:
    kept = train(tmp_path / "one", small, cache_dir=str(tmp_path / "cache"))
    assert losses(train(tmp_path / "two", small, cache="off")) == losses(kept)
    assert asked == [18, 18]


def test_damaged_features_are_computed_anew(small: Path, tmp_path: Path, asked: list[int]) -> None:
    first = train(tmp_path / "one", small, cache_dir=str(tmp_path / "cache"))
    (file,) = (tmp_path / "cache" / quick.FOLDER).glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    assert losses(train(tmp_path / "two", small, cache_dir=str(tmp_path / "cache"))) == losses(first)
    assert asked == [18, 18]


def test_a_network_says_of_features_what_it_says_of_their_clips() -> None:
    torch.manual_seed(0)
    for pooled in (True, False):
        config = TrainConfig.model_validate(TINY)
        network: Any = build_model(config, ("a", "b", "c")).network.eval()
        network.fc_norm = torch.nn.LayerNorm(96) if pooled else None  # as use_mean_pooling has it, or not
        clips = torch.rand(2, 4, 3, 24, 24)
        with torch.inference_mode():
            expected = network(pixel_values=clips).logits
            features = features_of(network, clips)
            take_features(network)
            assert torch.allclose(network(pixel_values=features[:, None]).logits, expected, atol=1e-6)
            assert torch.equal(network(pixel_values=clips).logits, expected)  # clips are taken as before


def test_only_the_head_and_its_norm_change(small: Path, tmp_path: Path) -> None:
    outcome = train(tmp_path, small)
    last = checkpoint.load(outcome.folders.run / places.LAST)
    config = TrainConfig.model_validate({"data": str(small), **TINY})
    begun = build_model(config, tuple(last["glosses"])).network.state_dict()
    changed = {name for name, value in last["model"].items() if not torch.equal(value, begun[name])}
    assert changed
    assert all(name.startswith(("classifier.", "fc_norm.")) for name in changed)


def test_evaluate_says_of_videos_what_training_said_of_features(door: Door, small: Path, tmp_path: Path) -> None:
    result = door("train", "--data", small, *FAST, "--quick", "true", "--max_epochs", 3, "--lr", "1e-2", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    run = run_folder(tmp_path)
    for file in (places.BEST, places.CONFIG, places.METRICS, f"{places.EXPORT}/model.safetensors"):
        assert (run / file).exists()
    epochs = read_lines(run / places.METRICS)
    best: Any = epochs[int(str(epochs[-1]["best_epoch"])) - 1]
    assert door("evaluate", run, "--split", "val", "--num_workers", 0, cwd=tmp_path).returncode == 0
    metrics = json.loads((run / "evaluation_val" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["accuracy"] == best["val_accuracy"]
    assert metrics["loss"] == pytest.approx(best["val_loss"], abs=1e-5)
    on = door("train", "--resume", run, "--max_epochs", 4, "--override", cwd=tmp_path)
    assert on.returncode == 0, on.stderr
    assert len(read_lines(run / places.METRICS)) == 4


def test_the_head_learns(demo: Path, tmp_path: Path) -> None:
    """The demo's six glosses, from the features of a network that has learned nothing: above chance all the same."""
    config = {"data": str(demo), "model_name": "tiny", "num_workers": 0, "quick": True, "max_epochs": 15, "lr": 2e-2}
    folders = RunFolders(tmp_path / "run", tmp_path / "logs")
    settings = TrainConfig.model_validate({**config, "early_stopping": False, "warmup_ratio": 0.1})
    outcome = training.run(settings, folders, screen=quiet_console())
    assert np.max([epoch["val_accuracy"] for epoch in outcome.history]) > 0.35


def test_what_quick_leaves_out_is_refused(door: Door, small: Path, tmp_path: Path) -> None:
    result = door("train", "--data", small, *FAST, "--quick", "true", "--mixup", 0.8, cwd=tmp_path)
    refused(result, "mixup has no effect with quick: set it back to 0.0, or leave out quick")


def test_the_plan_counts_each_clip_once(door: Door, small: Path, tmp_path: Path) -> None:
    result = door("train", "--data", small, *FAST, "--quick", "true", "--plan", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "quick: the features of all clips are computed once, in about" in result.stdout
    assert "0 P an epoch, 0 P the run" in result.stdout
