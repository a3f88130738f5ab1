"""--plan: the counts are those of the run, FLOPs those of the formula, and nothing is written."""

import json
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import VideoMAEConfig
from transformers.models.videomae import VideoMAEForVideoClassification

from lscht_ray.checking import survey
from lscht_ray.clips.transforms import ClipFormat
from lscht_ray.host.console import quiet_console
from lscht_ray.host.files import write_json
from lscht_ray.settings.space import Dimension
from lscht_ray.settings.sweep import AshaConfig, SamplerConfig, SweepConfig
from lscht_ray.settings.train import TrainConfig
from lscht_ray.sweep.plan import left_in, likely_trials, rungs
from lscht_ray.training import build
from lscht_ray.training._gradient import apply, gradients
from lscht_ray.training.build import Model
from lscht_ray.training.plan import Plan, count_flops, plan_run
from support.doors import FAST, Door
from support.studies import new_study, simulated


def test_flops_of_videomae_base_are_the_formulas() -> None:
    with torch.device("meta"):
        network = VideoMAEForVideoClassification(VideoMAEConfig(num_labels=100))
    network.videomae.embeddings.position_embeddings = torch.zeros(1, 1568, 768, device="meta")
    form = ClipFormat(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    forward, both = count_flops(Model(network, form, "", torch.device("cpu"), "fp32"), 16)
    layers, tokens, width = 12, 1568, 768
    formula = layers * (24 * tokens * width**2 + 4 * tokens**2 * width)
    assert forward == pytest.approx(formula, rel=0.015)  # and the patches' projection
    assert both == pytest.approx(3 * forward, rel=0.02)


def test_train_says_what_the_run_then_does(small: Path, door: Door, tmp_path: Path) -> None:
    flags = ("--data", small, *FAST, "--accumulation", 2, "--repeated_augmentation", 2, "--max_epochs", 2)
    planned = door("train", *flags, "--plan", "--layer_decay", 0.5, cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert not (tmp_path / "models").exists()
    assert "global batch 8, 3 steps per epoch, 2 epochs at most, 1 warm-up step of 6" in planned.stdout
    for part in ("train │ 12", "val   │ 6", "embeddings", "norm and head", "trained of", "GiB", "GPU hours", "FLOPs"):
        assert part in planned.stdout
    trained = door("train", *flags, cwd=tmp_path)
    assert "global batch 8 = 4 x 2 accumulation x 1 worker; 3 steps per epoch" in trained.stdout


def test_tune_says_rungs_epochs_and_money(small: Path, door: Door, tmp_path: Path) -> None:
    flags = [word.replace("--", "--train.") for word in FAST]
    more = ("--train.max_epochs", 30, "--num_trials", 30, "--asha.grace_period", 5, "--train.gpu_hour_price", 2)
    result = door("tune", "--config", "wlasl100.yaml", "--train.data", small, *flags, *more, "--plan", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    said = " ".join(result.stdout.split())
    assert "30 trials; 900 epochs at most, probably about 3" in said
    assert "ASHA's rungs at epochs 5, 10, 20" in said
    assert result.stdout.count(", costing ") == 3
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(("num_trials", "epochs", "grace"), [(30, 12, 3), (30, 30, 5)])
def test_as_many_epochs_are_foretold_as_sweeps_run(num_trials: int, epochs: int, grace: int) -> None:
    """Within 5 %: the mean of simulated sweeps with TPE, the sweep's own study, ledger and judge."""
    rng = np.random.default_rng(0)

    def curve(params: dict[str, Any]) -> list[float]:
        away = ((math.log10(params["lr"]) + 4) / 1.2) ** 2 + ((params["label_smoothing"] - 0.1) / 0.5) ** 2
        top = 0.7 * math.exp(-away) + rng.normal(0, 0.015)
        return [top * (1 - 0.75**epoch) + rng.normal(0, 0.03) for epoch in range(1, epochs + 1)]

    sweep, ran = SweepConfig(), []
    for seed in range(8):
        train, asha = TrainConfig(max_epochs=epochs), AshaConfig(grace_period=grace)
        sweep = SweepConfig(train=train, asha=asha, num_trials=num_trials, sampler=SamplerConfig(seed=seed))
        ledger = simulated(new_study(None, sweep, num_trials), curve)
        ran.append(ledger.totals()["epochs_run"])
    assert sum(likely_trials(sweep)) == pytest.approx(statistics.mean(ran), rel=0.05)


def test_what_asha_will_probably_run() -> None:
    sweep = SweepConfig(train=TrainConfig(max_epochs=30), asha=AshaConfig(grace_period=5), num_trials=30)
    assert rungs(sweep) == [5, 10, 20]
    likely = likely_trials(sweep)
    assert len(likely) == 30
    assert likely[:5] == [30.0] * 5 and likely[4] > likely[5] == likely[9] > likely[10] == likely[19] > likely[20]
    assert likely[5] == pytest.approx(15, rel=0.05)
    assert likely[20] > 1.3 * 30 / 2**3  # more than an eighth: of those that come there the first are the least chosen
    alone = SweepConfig(train=TrainConfig(max_epochs=30), asha=AshaConfig(grace_period=5), num_trials=1)
    assert likely_trials(alone) == [1.0] * 30
    grid = SweepConfig(
        train=TrainConfig(max_epochs=3),
        search_space={"lr": Dimension(type="choice", choices=[1e-4, 1e-3])},
        sampler=SamplerConfig(type="grid"),
        trial_stopping="none",
    )
    assert likely_trials(grid) == [2.0] * 3
    never = SweepConfig(train=TrainConfig(max_epochs=30), trial_stopping="none", num_trials=3)
    assert (rungs(never), likely_trials(never)) == ([], [3.0] * 30)


def test_the_plan_of_a_sweep_that_goes_on_is_of_what_is_left(tmp_path: Path) -> None:
    statuses = ["completed", "pruned", "interrupted", "failed"]
    write_json(tmp_path / "summary.json", {"trials": [{"status": status} for status in statuses]})
    assert left_in(tmp_path, 6) == 3  # one to be finished, two that have not begun
    assert left_in(tmp_path / "no summary yet", 6) == 6
    sweep = SweepConfig(train=TrainConfig(max_epochs=4), trial_stopping="none", num_trials=6)
    assert likely_trials(sweep, 3) == [3.0] * 4


def planned(small: Path, **settings: Any) -> tuple[Plan, TrainConfig]:
    given: dict[str, Any] = {"model_name": "tiny", "num_frames": 4, "num_workers": 0, "batch_size": 6, "cache": "off"}
    config = TrainConfig(data=str(small), device="cpu", **{**given, **settings})
    return plan_run(config, survey.ready(config, quiet_console()), quiet_console()), config


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "bf16": {"precision": "bf16", "attention": "sdpa"},
    "bf16, plain attention": {"precision": "bf16"},
    "checkpointed layers": {"gradient_checkpointing": True},
    "frozen": {"freeze_epochs": -1},
    "accumulation, averaged": {"accumulation": 2, "batch_size": 3, "ema_decay": 0.99},
}


@pytest.mark.parametrize("case", CASES)
def test_memory_is_that_of_a_step_within_a_tenth(small: Path, tmp_path: Path, case: str) -> None:
    """Against torch's profiler over a whole epoch, weights, gradients and optimizer included."""
    plan, config = planned(small, **CASES[case])
    clips = survey.ready(config, quiet_console())
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as tracked:
        run = build.build(config, clips, quiet_console())
        if config.freeze_epochs:
            run.state.freeze(True)
        run.parts.train_loader.sampler.set_epoch(1)
        for step, batch in enumerate(run.parts.train_loader):
            apply(run.parts, run.state, gradients(run.parts, run.state, batch, step, quiet_console()))
    tracked.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    changes = [event["args"] for event in sorted(events, key=lambda e: e.get("ts", 0)) if event["name"] == "[memory]"]
    before = changes[0]["Total Allocated"] - changes[0]["Bytes"]
    measured = max(change["Total Allocated"] for change in changes) - before
    # On a CPU the clips that the model gets are in memory of numpy's, which the profiler does not see.
    measured += config.batch_size * config.num_frames * 3 * 48 * 48 * 4  # type: ignore[operator]
    assert plan.memory == pytest.approx(measured, rel=0.1)


def test_flops_of_frozen_epochs_and_of_checkpointed_layers(small: Path) -> None:
    """A frozen backbone has no backward pass; checkpointed layers have their forward pass twice."""
    plain, _ = planned(small)
    half, _ = planned(small, freeze_epochs=1, max_epochs=2)
    assert half.frozen_flops == pytest.approx(half.val_flops, rel=0.01)
    assert half.train_flops == plain.train_flops
    whole = half.views * (half.frozen_flops + half.train_flops) + 2 * half.val_clips * half.val_flops
    assert half.flops([1.0, 1.0]) == whole
    assert half.flops([5.0, 2.0]) == pytest.approx(
        5 * (half.views * half.frozen_flops + half.val_clips * half.val_flops)
        + 2 * (half.views * half.train_flops + half.val_clips * half.val_flops)
    )
    always, _ = planned(small, freeze_epochs=-1, max_epochs=2)
    assert always.trained == 96 * 3 + 3
    assert always.flops([1.0, 1.0]) < 0.5 * plain.flops([1.0, 1.0])
    again, _ = planned(small, gradient_checkpointing=True)
    # torch ends the second pass through a layer where nothing more is needed: before its last product, a third of all.
    assert again.train_flops == pytest.approx(plain.train_flops + 2 / 3 * plain.val_flops, rel=0.05)
