"""What an earlier layout of the code wrote is still read: a run folder, a checkpoint, cached clips, a killed sweep.

support/written_before.tar.xz holds twelve clips of the demo's kind, a VideoMAE of two layers with random weights, and
what version 0.1.0 made of them before its modules were moved into folders: a run of two epochs, its clip cache, and a
sweep of four trials whose driver was killed (kill -9) in the third one.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from lscht_ray.artifacts import places
from lscht_ray.checking import survey
from lscht_ray.clips._cache import ClipCache
from lscht_ray.host.console import quiet_console
from lscht_ray.settings import commandline
from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training.state import KEYS
from lscht_ray.video.decode import decode
from support.data import read_lines
from support.doors import Door

ARCHIVE = Path(__file__).parent / "support" / "written_before.tar.xz"
THIRD_EPOCH = {"step": 6, "train_loss": 1.0918478965759277, "val_loss": 1.1093368530273438, "train_accuracy": 0.5}
"""What the code that began the run made of its third epoch."""


@pytest.fixture
def example(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "example"


def test_a_checkpoint_is_evaluated(example: Path, door: Door) -> None:
    result = door("evaluate", example / "run", "--data", example / "clips", "--split", "val", cwd=example)
    assert result.returncode == 0, result.stderr
    written = json.loads((example / "run" / "evaluation_val" / "metrics.json").read_text())
    best = read_lines(example / "run" / places.METRICS)[0]
    assert written["loss"] == pytest.approx(best["val_loss"], rel=1e-5)
    assert written["epoch"] == best["epoch"] == 1


def test_a_run_goes_on_as_the_code_that_began_it_would_have(example: Path, door: Door) -> None:
    run = example / "run"
    moved = ("--data", example / "clips", "--model_name", example / "mini", "--log_dir", example / "logs")
    refused = door("train", "--resume", run, *moved, "--max_epochs", 3, cwd=example)
    assert "max_epochs: was 2, now 3" in refused.stderr  # and nothing else differs
    assert len(refused.stderr.splitlines()) == 3
    result = door("train", "--resume", run, *moved, "--max_epochs", 3, "--override", cwd=example)
    assert result.returncode == 0, result.stderr
    assert "resumed after epoch 2" in result.stdout
    lines = read_lines(run / places.METRICS)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    for name, value in THIRD_EPOCH.items():
        assert lines[2][name] == pytest.approx(value, rel=1e-5), name


def test_what_could_not_be_set_then_is_what_it_was(example: Path) -> None:
    run, _ = commandline.parse(TrainConfig, ["--config", str(example / "run" / places.CONFIG)], prog="", description="")
    sweep = ["--config", str(example / "sweep" / places.SWEEP)]
    trials = commandline.parse(SweepConfig, sweep, prog="", description="")[0]
    assert run.eval_crop == trials.train.eval_crop == "centre"
    changed, _ = commandline.parse(SweepConfig, [*sweep, "--train.eval_crop=letterbox"], prog="", description="")
    assert changed.train.eval_crop == "letterbox"
    assert TrainConfig().eval_crop == "squash"


def test_its_settings_begin_a_new_run(example: Path, door: Door) -> None:
    flags = ("--data", example / "clips", "--model_name", example / "mini", "--max_epochs", 1)
    result = door("train", "--config", example / "run" / places.CONFIG, *flags, cwd=example)
    assert result.returncode == 0, result.stderr


def test_the_keys_of_a_full_checkpoint(example: Path) -> None:
    from lscht_ray.artifacts import checkpoint

    found, complaints = checkpoint.newest(example / "run")
    assert (found.name, complaints) == (places.LAST, [])
    checkpoint.load(found, KEYS)


def test_cached_clips_have_the_names_and_the_frames_that_they_have_now(example: Path) -> None:
    config = TrainConfig(data=str(example / "clips"), num_frames=4, image_size=16, short_side=16)
    clips = [clip for split in ("train", "val") for clip in survey.ready(config, quiet_console()).split(split)]
    assert {f"{clip.key}.clip" for clip in clips} == {file.name for file in (example / "cache").iterdir()}
    cache = ClipCache(example / "cache")
    for clip in clips:
        entry = cache.entry(clip.key)
        assert entry is not None
        out = np.zeros(entry.frames.shape, np.uint8)
        assert entry.take(np.arange(len(out)), out)
        now = decode(clip.sample.video, lambda times: np.arange(len(times)), short_side=16)
        assert np.abs(out.astype(int) - now.reshape(len(now), -1)).max() <= 2  # a codec's rounding may change
    cache.release()


@pytest.mark.ray
def test_a_killed_sweep_goes_on(example: Path, door: Door) -> None:
    sweep = example / "sweep"
    settings = (sweep / places.SWEEP).read_text(encoding="utf-8")
    (sweep / places.SWEEP).write_text(settings.replace("/data/example", str(example)), encoding="utf-8")
    before = json.loads((sweep / places.SUMMARY).read_text())["trials"]
    result = door("tune", "--resume", sweep, cwd=example)
    assert result.returncode == 0, result.stdout + result.stderr
    trials = json.loads((sweep / places.SUMMARY).read_text())["trials"]
    assert [trial["trial_id"] for trial in trials] == [f"trial_{number:05d}" for number in range(1, 5)]
    for old, new in zip(before, trials, strict=False):
        for name in ("trial_id", "params", "status", "epochs"):
            assert new[name] == old[name]
        # Of equally accurate epochs the one with the lower loss counts now.
        assert new["metrics"]["val_accuracy"] == old["metrics"]["val_accuracy"]
        assert new["metrics"]["val_loss"] <= old["metrics"]["val_loss"]
    assert trials[2]["params"] == {
        "lr": pytest.approx(0.001334, rel=1e-3),
        "weight_decay": pytest.approx(0.04056, 1e-3),
    }
    epochs = [line["epoch"] for line in read_lines(sweep / places.TRIALS / "trial_00003" / places.METRICS)]
    assert epochs == list(range(1, len(epochs) + 1))
    assert all(trial["status"] in ("completed", "pruned", "early_stopped") for trial in trials)
    assert Path(json.loads((sweep / places.SUMMARY).read_text())["best"]["checkpoint"]).is_file()
