"""The door `train` as a user runs it: files, tags, resuming, and every kind of bad input."""

import io
import json
import shutil
from datetime import datetime
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import VideoMAEImageProcessor
from transformers.models.videomae import VideoMAEForVideoClassification

from lscht_ray.artifacts import checkpoint, places
from lscht_ray.artifacts.recorder import RunFolders, new_folders
from lscht_ray.host.console import quiet_console
from lscht_ray.model import videomae
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training import build
from lscht_ray.training import run as training
from support.data import draw, manifest, read_lines
from support.doors import FAST, Door, refused, run_folder

SEED_TAGS = {
    *("Train/Loss_batch", "Train/Loss_epoch", "Train/Accuracy_batch", "Train/Accuracy_epoch", "Train/Learning_rate"),
    *("Val/Loss_epoch", "Val/Accuracy_epoch"),
}


def test_a_run_leaves_exactly_the_seeds_files_and_tags(small: Path, door: Door, tmp_path: Path) -> None:
    result = door("train", "--data", small, *FAST, "--num_epochs", 5, "--patience", 7, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    folder = run_folder(tmp_path)
    datetime.strptime(folder.name, "run_%Y%m%d_%H%M%S")
    names = {"config.json", "best_model.pt", "checkpoint_epoch_5.pt", "last_checkpoint.pt", "metrics.jsonl"}
    names |= {"checkpoints.json", "best_model"}
    assert {path.name for path in folder.iterdir()} == names
    config = json.loads((folder / "config.json").read_text())
    assert TrainConfig.model_validate(config).max_epochs == 5
    (events,) = (tmp_path / "runs" / folder.name).iterdir()
    assert events.name.startswith("events.out.tfevents.")
    log = EventAccumulator(str(events)).Reload()
    assert set(log.Tags()["scalars"]) >= SEED_TAGS
    assert [event.step for event in log.Scalars("Val/Loss_epoch")] == [1, 2, 3, 4, 5]
    assert [event.step for event in log.Scalars("Train/Loss_batch")] == list(range(1, 16))
    lines = read_lines(folder / "metrics.jsonl")
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5]
    assert "Epoch 5/5" in result.stdout
    assert f"{lines[-1]['val_accuracy']:.2%}" in result.stdout
    best = checkpoint.load(folder / "best_model.pt")
    assert best["metrics"]["val_accuracy"] == max(line["val_accuracy"] for line in lines)
    theirs = VideoMAEForVideoClassification.from_pretrained(folder / "best_model").eval()
    clip = torch.randn(1, 4, 3, 24, 24)
    ours = videomae.rebuild(best["model_config"], best["model"]).eval()
    assert torch.equal(theirs(pixel_values=clip).logits, ours(pixel_values=clip).logits)
    assert theirs.config.id2label == dict(enumerate(best["glosses"]))
    assert list(VideoMAEImageProcessor.from_pretrained(folder / "best_model").image_mean) == list(
        videomae.IMAGENET_MEAN
    )


def run(
    folder: Path, small: Path, stop_after: int | None = None, resume: bool = False, **changes: object
) -> training.Outcome:
    settings = {"max_epochs": 4, "num_workers": 0, "num_frames": 4, "image_size": 24, "batch_size": 4, "lr": 1e-3}
    config = TrainConfig(data=str(small), model_name="tiny", **{**settings, **changes})  # type: ignore[arg-type]

    def interrupt(metrics: dict[str, object], saved: Path | None) -> None:
        if metrics["epoch"] == stop_after:
            raise KeyboardInterrupt

    folders = RunFolders(folder / "run", folder / "logs")
    folders.run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(99 if resume else 0)  # what was drawn before must not matter
    last = folders.run / places.LAST if resume else None
    return training.run(
        config, folders, screen=quiet_console(), hooks=training.Hooks(on_epoch_end=interrupt), resume_from=last
    )


def figures(outcome: training.Outcome) -> list[dict[str, object]]:
    """The figures of each epoch but its seconds."""
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in outcome.history]


EVERYTHING: dict[str, object] = {
    "accumulation": 2,
    "layer_decay": 0.8,
    "drop_path": 0.2,
    "head_dropout": 0.3,
    "mixup": 0.8,
    "cutmix": 1.0,
    "ema_decay": 0.9,
    "repeated_augmentation": 2,
    "class_weight_power": 0.5,
    "class_balanced_sampling": True,
    "smoothing_by_similarity": True,
    "freeze_epochs": 1,
    "lr_scaling": "sqrt",
    "randaugment_ops": 2,
    "erasing_probability": 0.25,
    "gradient_checkpointing": True,
    "precision": "bf16",
}


@pytest.mark.parametrize("changes", [EVERYTHING, {"lora_rank": 2, "lora_dropout": 0.1, "ema_decay": 0.5}])
def test_a_run_resumed_after_an_epoch_equals_an_uninterrupted_one(
    small: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    whole = run(tmp_path / "whole", small, **changes)
    for stop in (1, 3):  # before and after the backbone is thawed
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / f"cut{stop}", small, stop_after=stop, **changes)
        resumed = run(tmp_path / f"cut{stop}", small, resume=True, **changes)
        assert figures(resumed) == figures(whole)
        assert len(read_lines(tmp_path / f"cut{stop}" / "run" / "metrics.jsonl")) == 4
        full = [checkpoint.load(tmp_path / n / "run" / places.LAST) for n in ("whole", f"cut{stop}")]
        for part in ("model", "weights"):
            assert all(torch.equal(full[0][part][key], full[1][part][key]) for key in full[0][part]), part
        assert not all(
            torch.equal(full[0]["model"][k], full[0]["weights"].get(k, -v)) for k, v in full[0]["model"].items()
        )


def test_batch_size_auto_is_chosen_once(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, small, batch_size="auto", stop_after=2)
    monkeypatch.setattr(build, "largest_batch", lambda *given: 3)  # another card, or a busier one
    outcome = run(tmp_path, small, batch_size="auto", resume=True)
    assert [epoch["step"] for epoch in outcome.history] == [2, 4, 6, 8]  # 12 clips in batches of 8


def test_data_workers_and_the_cache_change_nothing_where_dropout_draws_too(small: Path, tmp_path: Path) -> None:
    settings = {"drop_path": 0.3, "head_dropout": 0.3, "mixup": 0.8, "max_epochs": 2}
    runs = {
        "none": run(tmp_path / "a", small, cache="off", **settings),
        "two": run(tmp_path / "b", small, cache="off", **settings, num_workers=2),
        "cached": run(tmp_path / "c", small, cache_dir=str(tmp_path / "clips"), **settings),
    }
    losses = {name: [epoch["train_loss"] for epoch in outcome.history] for name, outcome in runs.items()}
    assert losses["none"] == losses["two"] == losses["cached"]


def test_ema_is_what_is_evaluated_and_kept(small: Path, door: Door, tmp_path: Path) -> None:
    outcome = run(tmp_path, small, ema_decay=0.999, max_epochs=3, early_stopping=False, lr=1e-2)
    full = checkpoint.load(tmp_path / "run" / places.LAST)
    assert all(torch.equal(full["model"][key], full["ema"][key]) for key in full["model"])
    assert not torch.equal(full["weights"]["classifier.weight"], full["model"]["classifier.weight"])
    last = tmp_path / "run" / places.LAST
    result = door("evaluate", last, "--data", small, "--split", "val", "--output", tmp_path / "out", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["loss"] == pytest.approx(outcome.history[-1]["val_loss"], rel=1e-5)


def test_a_frozen_backbone_stays_as_it_is(small: Path, tmp_path: Path) -> None:
    run(tmp_path, small, freeze_epochs=-1, max_epochs=2)
    full = checkpoint.load(tmp_path / "run" / places.LAST)
    before = videomae.build("tiny", tuple(full["glosses"]), num_frames=4, image_size=24, seed=42).model.state_dict()
    changed = {key for key, value in full["model"].items() if not torch.equal(value, before[key])}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_an_earlier_run_is_a_beginning(small: Path, door: Door, tmp_path: Path) -> None:
    run(tmp_path / "first", small, max_epochs=1)
    flags = [word for word in FAST if word not in ("--model_name", "tiny")]
    result = door(
        "train", "--data", small, *flags, "--max_epochs", 1, "--model_name", tmp_path / "first" / "run", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert "(its head for 3 glosses is not), new head for 3 glosses" in result.stdout


def test_compiling_that_fails_is_said_once_and_training_goes_on(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "/nowhere/g++")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    said = io.StringIO()
    settings = {"max_epochs": 1, "num_workers": 0, "num_frames": 4, "image_size": 24, "batch_size": 5, "compile": True}
    config = TrainConfig(data=str(small), model_name="tiny", **settings)  # type: ignore[arg-type]
    with monkeypatch.context() as patch:
        patch.setattr("torch.nn.Module.compile", _broken_compile)
        outcome = training.run(config, RunFolders(tmp_path / "r", tmp_path / "l"), screen=Console(file=said, width=300))
    assert said.getvalue().count("torch.compile does not work here") == 1
    assert outcome.history[0]["train_clips"] == 12


def _broken_compile(network: torch.nn.Module, **settings: object) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no compiler was found")

    network._compiled_call_impl = fail  # type: ignore[assignment]


def test_a_compiled_run_counts_every_clip(small: Path, tmp_path: Path) -> None:
    """12 training clips in batches of 5 of one shape: the last one is filled up, and nothing is dropped."""
    epochs = run(tmp_path, small, compile=True, batch_size=5, max_epochs=1, ema_decay=0.5).history
    assert (epochs[0]["train_clips"], epochs[0]["val_clips"], epochs[0]["step"]) == (12, 6, 3)
    plain = run(tmp_path / "plain", small, batch_size=5, max_epochs=1, ema_decay=0.5).history
    for name in ("train_loss", "val_loss"):
        assert epochs[0][name] == pytest.approx(plain[0][name], rel=1e-4)


def test_the_door_resumes_with_other_settings_only_if_told_to(small: Path, door: Door, tmp_path: Path) -> None:
    began = door("train", "--data", small, *FAST, "--max_epochs", 2, cwd=tmp_path)
    assert began.returncode == 0, began.stderr
    folder = run_folder(tmp_path)
    changes = ("--max_epochs", 4, "--early_stopping", "false")
    refused(
        door("train", "--resume", folder, *changes, cwd=tmp_path),
        "max_epochs: was 2, now 4",
        "early_stopping: was true, now false",
        "--override",
    )
    result = door("train", "--resume", folder, *changes, "--override", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "resumed after epoch 2" in result.stdout
    assert [line["epoch"] for line in read_lines(folder / "metrics.jsonl")] == [1, 2, 3, 4]
    assert not (folder / ".lock").exists()
    refused(door("train", "--resume", tmp_path, cwd=tmp_path), "it is no run's folder")
    other = tmp_path / "other"
    for number, gloss in enumerate(("mañana", "mañana", "tú", "tú")):
        draw(other / gloss / f"{number}.mp4", number % 2, number)
    gone = "(gone: casa; new: none): resume with the data it began with"
    refused(door("train", "--resume", folder, "--data", other, "--override", cwd=tmp_path), gone)
    assert not (other / ".lscht_ray").exists()  # no video was opened


def test_patience_ends_a_run(small: Path, tmp_path: Path) -> None:
    # At this rate nothing is learned, so the first epoch stays the best.
    still: dict[str, object] = {"max_epochs": 9, "patience": 2, "lr": 1e-12, "min_lr": 0.0}
    still["early_stopping_metric"] = "val_accuracy"
    outcome = run(tmp_path, small, **still)
    assert outcome.early_stopped
    assert len(outcome.history) == 3
    assert run(tmp_path, small, resume=True, **still).early_stopped


def test_val_loss_is_plain_whatever_the_smoothing(small: Path, tmp_path: Path) -> None:
    # No learning, so both models are the same: only the training criterion may differ.
    still = {"max_epochs": 1, "lr": 1e-12, "min_lr": 0.0}
    plain = run(tmp_path / "a", small, label_smoothing=0.0, class_weighted=False, **still).history[0]
    smoothed = run(tmp_path / "b", small, label_smoothing=0.3, class_weighted=True, **still).history[0]
    assert plain["val_loss"] == pytest.approx(smoothed["val_loss"], rel=1e-6)
    assert plain["val_criterion"] == pytest.approx(plain["val_loss"], rel=1e-6)
    assert smoothed["val_criterion"] != pytest.approx(smoothed["val_loss"], rel=1e-3)


def test_limit_batches(small: Path, tmp_path: Path) -> None:
    epoch = run(tmp_path, small, limit_batches=1, max_epochs=1).history[0]
    assert (epoch["step"], epoch["train_clips"], epoch["val_clips"]) == (1, 4, 4)


def test_two_runs_of_one_second_get_two_folders(tmp_path: Path) -> None:
    now = datetime(2024, 5, 6, 7, 8, 9)
    made = [new_folders(str(tmp_path / "models"), str(tmp_path / "runs"), now=now) for _ in range(3)]
    assert [folders.run.name for folders in made] == [
        "run_20240506_070809",
        "run_20240506_070809_2",
        "run_20240506_070809_3",
    ]
    assert [folders.logs.name for folders in made] == [folders.run.name for folders in made]
    both = [new_folders(str(tmp_path / "all"), str(tmp_path / "all"), now=now) for _ in range(2)]
    assert [folders.run.name for folders in both] == ["run_20240506_070809", "run_20240506_070809_2"]
    assert [folders.logs for folders in both] == [folders.run for folders in both]


def test_missing_and_unreadable_videos_are_named_in_the_run_folder(small: Path, door: Door, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "set" / "clips")
    clips = sorted((tmp_path / "set" / "clips").rglob("*.mp4"))
    rows = [(str(path), path.parent.name, path.parents[1].name) for path in clips]
    zero, half = tmp_path / "set" / "zero.mp4", tmp_path / "set" / "half.mp4"
    manifest(
        tmp_path / "set",
        [*rows, ("zero.mp4", "casa", "train"), ("half.mp4", "casa", "val"), ("gone.mp4", "casa", "val")],
    )
    zero.write_bytes(b"")
    half.write_bytes(Path(rows[0][0]).read_bytes()[:900])
    result = door("train", "--data", tmp_path / "set", *FAST, "--max_epochs", 1, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    folder = run_folder(tmp_path)
    assert (folder / "missing_videos.txt").read_text().splitlines() == [str(tmp_path / "set" / "gone.mp4")]
    unreadable = (folder / "unreadable_videos.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in unreadable] == [str(half), str(zero)]
    (line,) = read_lines(folder / "metrics.jsonl")
    assert (line["train_clips"], line["val_clips"], line["unreadable"]) == (12, 6, 2)


def test_bad_input_is_refused_before_anything_is_loaded(small: Path, door: Door, tmp_path: Path) -> None:
    refused(door("train", "--data", tmp_path / "nowhere", cwd=tmp_path), "nowhere", "no such file or folder")
    (tmp_path / "empty").mkdir()
    refused(door("train", "--data", tmp_path / "empty", cwd=tmp_path), "no data set is recognised")
    refused(door("train", "--data", small, "--pacience", 3, cwd=tmp_path), "did you mean --patience?")
    untaught = shutil.copytree(small, tmp_path / "untaught")
    shutil.rmtree(untaught / "train" / "tú")
    refused(door("train", "--data", untaught, *FAST, cwd=tmp_path), "'tú'", "--untrained_glosses drop")
    assert not (tmp_path / "models").exists()
    (tmp_path / "models").write_text("a file in the way")
    refused(door("train", "--data", small, *FAST, cwd=tmp_path), "can't be made", "models is no folder")
    refused(
        door("train", "--data", small, *FAST, "--device", "cuda:77", "--checkpoint_dir", "c", cwd=tmp_path), "cuda:77"
    )


def test_help_and_print_config(door: Door, tmp_path: Path) -> None:
    shown = door("train", "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert "Peak learning rate" in shown.stdout
    printed = door("train", "--lr", "2e-4", "--print_config", cwd=tmp_path)
    assert "lr: 0.0002" in printed.stdout
