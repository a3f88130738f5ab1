"""A sweep goes on whatever happened to its driver, costs what it may, and is the same however its trials are run.

Slow: every start of Ray takes seconds.
"""

import io
import re
import shlex
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import ray
import torch
from optuna.trial import TrialState
from rich.console import Console

from lscht_ray.artifacts import checkpoint, places
from lscht_ray.artifacts.storage import Storage
from lscht_ray.cluster import watch
from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.settings.train import TrainConfig
from lscht_ray.sweep.ledger import Ledger
from lscht_ray.sweep.study import Proposal, Study
from support.data import read_lines
from support.doors import WAIT_SECONDS, Background, Door, refused, until
from support.faults import Faults
from support.sweeps import STORAGE, processes, summary, sweep_file, sweep_folder, trial_folder

SEARCH: dict[str, Any] = {
    "search_space": {
        "lr": {"type": "loguniform", "low": 1e-4, "high": 1e-2},
        "label_smoothing": {"type": "uniform", "low": 0, "high": 0.3},
    },
    "sampler": {"n_startup_trials": 3},
    "metric": "val_loss",
    "mode": "min",
}


def study(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="sweep", storage=f"sqlite:///{sweep_folder(folder) / 'study.db'}")


def what_matters(content: dict[str, Any]) -> list[Any]:
    """Of each trial: its settings, how it ended, and its figures but for time."""
    rows = []
    for trial in content["trials"]:
        figures = {k: v for k, v in trial["metrics"].items() if k != "seconds"}
        rows.append([trial["trial_id"], trial["params"], trial["status"], trial["epochs"], figures])
    return rows


HALF_A_GPU: dict[str, Any] = {"gpus_per_worker": 0.5, "cpus_per_worker": 0.5}
PRICE = ("--train.gpu_hour_price", 2, "--train.device", "cpu")


def costs_half_a_gpu_each(content: dict[str, Any]) -> None:
    """The GPU hours and their price are those of the trials."""
    seconds = [trial["seconds"] for trial in content["trials"]]  # in tenths
    assert content["gpu_hours"] == pytest.approx(sum(seconds) * 0.5 / 3600, abs=len(seconds) * 0.05 * 0.5 / 3600 + 1e-6)
    assert content["cost"] == pytest.approx(2 * content["gpu_hours"], abs=0.01)


def eight_trials(folder: Path, data: Path, cluster: Any) -> Path:
    resources = {"address": cluster.address, **HALF_A_GPU}
    return sweep_file(folder, data, **SEARCH, num_trials=8, epochs=4, trial_runner="in_actor", resources=resources)


@pytest.fixture(scope="module")
def undisturbed(small: Path, command: Door, cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of 8 trials, one at a time, in processes that stay, on a cluster that runs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    result = command("tune", "--config", eight_trials(folder, small, cluster), *PRICE, cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.mark.ray
def test_the_study_is_optunas_own(undisturbed: Path) -> None:
    trials = study(undisturbed).trials
    states = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    rows = summary(undisturbed)["trials"]
    assert [trial.state for trial in trials] == [states[row["status"]] for row in rows]
    assert {row["status"] for row in rows} == {"completed", "pruned"}  # or the test shows nothing
    assert [len(trial.intermediate_values) for trial in trials] == [row["epochs"] for row in rows]
    assert [trial.params for trial in trials] == [row["params"] for row in rows]
    assert trials[0].user_attrs["origin"] == "train"
    assert [row["origin"] for row in rows] == ["train"] + ["sampler"] * 7
    for row in rows:  # who came to each of ASHA's rungs, and how
        scores = trials[rows.index(row)].intermediate_values
        assert row["rungs"] == {str(epoch): scores[epoch] for epoch in (1, 2) if epoch <= row["epochs"]}
    costs_half_a_gpu_each(summary(undisturbed))
    assert study(undisturbed).best_value == summary(undisturbed)["best"]["metrics"]["val_loss"]


DRIVER_KILLS = ("trial_00001 epoch 2/", "trial_00005 completed|trial_00005 pruned")
"""What the driver has just printed when it is killed: between the epochs of a trial, and as one has ended whose
settings a sampler of the earlier ones chose. `test_driver` has what the next driver makes of each state."""


@pytest.mark.ray
def test_a_driver_killed_again_and_again(
    small: Path,
    command: Door,
    background: Background,
    tmp_path: Path,
    cluster: Any,
    undisturbed: Path,
    faults: Faults,
) -> None:
    """No trial is lost, none is run twice, and the sweep is the one that nobody disturbed."""
    fault = "kill -9 of a sweep's driver"
    flags: list[object] = ["--config", eight_trials(tmp_path, small, cluster), *PRICE]
    for moment in DRIVER_KILLS:
        process = background("tune", *flags)
        said = until(process, *moment.split("|"))
        process.kill()
        faults.provoke(fault)
        rest, _ = process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert "Traceback" not in said + rest
        flags = ["--resume", sweep_folder(tmp_path)]
    result = command("tune", *flags, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert what_matters(summary(tmp_path)) == what_matters(summary(undisturbed))
    states = [trial.state for trial in study(tmp_path).trials if trial.state is not TrialState.FAIL]
    assert len(states) == 8
    assert TrialState.RUNNING not in states
    for row in summary(tmp_path)["trials"]:
        lines = read_lines(sweep_folder(tmp_path) / "trials" / row["trial_id"] / "metrics.jsonl")
        assert [line["epoch"] for line in lines] == list(range(1, row["epochs"] + 1))
    faults.survive(fault, len(DRIVER_KILLS))


@pytest.mark.ray
def test_a_finished_sweep_that_was_moved_is_extended_and_runs_no_trial_again(
    door: Door, command: Door, tmp_path: Path, undisturbed: Path
) -> None:
    """And nothing in its folder is unpickled."""
    folder = shutil.copytree(sweep_folder(undisturbed), tmp_path / STORAGE / "sweep_moved")
    evil = f"cposix\nsystem\n(S'touch {tmp_path}/was_here'\ntR.".encode()
    for name in (
        "tuner.pkl",
        "searcher-state-1.pkl",
        "search_gen_state-1.json",
        "experiment_state-1.json",
        "study.pkl",
    ):
        for place in (folder, folder / "tune", folder / "tune" / "tune", folder / "trials" / "trial_00001"):
            place.mkdir(exist_ok=True)
            (place / name).write_bytes(evil)
    refused(door("tune", "--resume", folder, "--train.lr", "1e-3", cwd=tmp_path), "train.lr: was 0.002, now 0.001")
    result = command("tune", "--resume", folder, "--extend", 1, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert not (tmp_path / "was_here").exists()
    assert re.findall(r"trial_\d+ starts", result.stdout) == ["trial_00009 starts"]
    after = summary(tmp_path)
    assert what_matters(after)[:8] == what_matters(summary(undisturbed))
    assert len(after["trials"]) == 9
    for name in ("epochs_planned", "epochs_run", "gpu_hours", "decodes", "ended_by"):
        assert name in after
    again = command("tune", "--resume", folder, "--quiet", cwd=tmp_path)  # there is nothing left to do
    assert again.returncode == 0, again.stdout + again.stderr
    assert "starts" not in again.stdout.replace("starting", "")


@pytest.mark.ray
def test_two_drivers_and_ctrl_c(small: Path, door: Door, background: Background, tmp_path: Path) -> None:
    """Ctrl-C under Ray Train is in faults/test_ray, after a worker was ended for its memory."""
    ray_before = processes(b"gcs_server", b"raylet/raylet")
    file = sweep_file(tmp_path, small, **SEARCH, num_trials=3, epochs=3000)
    process = background("tune", "--config", file)
    until(process, "epoch 2/")
    folder = sweep_folder(tmp_path)
    refused(door("tune", "--resume", folder, cwd=tmp_path), f"process {process.pid} on", "writes there")
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert f"go on with: python -m lscht_ray.tune --resume {shlex.quote(str(folder))}" in said
    assert [trial.state for trial in study(tmp_path).trials] == [TrialState.FAIL]
    content = summary(tmp_path)
    assert content["ended_by"] == "Ctrl-C"
    assert content["trials"][0]["status"] == "interrupted"
    assert Path(content["best"]["checkpoint"]).is_file()
    epochs = [line["epoch"] for line in read_lines(trial_folder(tmp_path, 1) / "metrics.jsonl")]
    assert epochs == list(range(1, len(epochs) + 1))  # none lost, none doubled
    assert processes(b"gcs_server", b"raylet/raylet") == ray_before


@pytest.mark.ray
def test_a_budget_ends_a_sweep(small: Path, command: Door, tmp_path: Path, cluster: Any) -> None:
    """The clock's, in an epoch of a trial, which is to go on later."""
    there = {"address": cluster.address}
    settings = {**SEARCH, "num_trials": 2, "budget": {"hours": 0.004}, "resources": there}
    result = command("tune", "--config", sweep_file(tmp_path, small, **settings, epochs=3000), cwd=tmp_path)
    assert "the sweep has ended: budget.hours 0.004" in result.stdout, result.stdout + result.stderr
    assert f"go on with: python -m lscht_ray.tune --resume {shlex.quote(str(sweep_folder(tmp_path)))}" in result.stdout
    assert result.returncode == (0 if summary(tmp_path)["best"] else 1)
    assert summary(tmp_path)["ended_by"].startswith("budget.hours")
    assert [trial["status"] for trial in summary(tmp_path)["trials"]] == ["interrupted"]


@pytest.mark.ray
def test_a_trial_in_a_process_that_stays_is_the_same_as_one_under_ray_train_beside_another(
    small: Path, command: Door, tmp_path: Path, cluster: Any, undisturbed: Path
) -> None:
    """The same weights, bit for bit."""
    settings: dict[str, Any] = {"num_trials": 2, "trial_runner": "torch_trainer", "trial_stopping": "none"}
    resources = {"address": cluster.address, **HALF_A_GPU, "max_concurrent_trials": 99}
    result = command(
        *("tune", "--config", sweep_file(tmp_path, small, **SEARCH, **settings, epochs=4, resources=resources), *PRICE),
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 trials at a time" in result.stdout
    assert "max_concurrent_trials 99 would not fit" in result.stdout
    assert what_matters(summary(tmp_path))[0] == what_matters(summary(undisturbed))[0]
    one, other = (
        checkpoint.load(max(trial_folder(folder, 1).glob("checkpoint_epoch_*")) / "last_checkpoint.pt")
        for folder in (tmp_path, undisturbed)
    )
    assert one["epoch"] == other["epoch"]
    assert all(torch.equal(one["model"][name], other["model"][name]) for name in one["model"])
    costs_half_a_gpu_each(summary(tmp_path))


@pytest.mark.ray
def test_a_silent_trial_is_named_with_the_probable_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SILENT_SECONDS", 0.0)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    storage, said = Storage(str(tmp_path)), io.StringIO()
    study, ledger = Study(SweepConfig(), None, 9), Ledger("val_accuracy", "max", 30)
    screen = Console(file=said, width=200)
    watching = watch.Watch(
        ledger, study, storage, "driver", screen, lambda record: None, lambda: None, stopping=lambda: False
    )

    def trial(number: int, status: str = "RUNNING") -> Any:
        proposal = Proposal(f"trial_{number:05d}", {}, TrainConfig())
        made = SimpleNamespace(config={"proposal": proposal, "gpus": 0.0}, status=status)
        if status == "RUNNING":
            watching.on_trial_start(0, [], made)
        return made

    def reason(number: int, *trials: Any) -> str:
        said.truncate(0)
        watching.on_step_end(0, list(trials))
        watching.on_step_end(0, list(trials))
        (line,) = said.getvalue().splitlines()  # once
        assert f"trial_{number:05d} has reported nothing for" in line
        return line.partition(" s: ")[2].strip()

    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        assert reason(1, trial(1, "PENDING")) == "it waits for resources (free now: 1 CPU, 0 GPU)"
        trial(2)
        assert reason(2) == "its worker has not started"
        trial(3)
        storage.write_text(f"trials/trial_00003/{places.STARTED}", "driver process 7 on node-3")
        assert "(process 7 on node-3) is in its first epoch" in reason(3)
        trial(4)
        storage.write_text(f"trials/trial_00004/{places.STARTED}", "another process 7 on node-3")  # before a restart
        ray.util.placement_group([{"CPU": 99}])
        assert reason(4) == "it waits for resources (free now: 1 CPU, 0 GPU)"
        trial(5)
        ledger.report("trial_00005", {"epoch": 2, "seconds": 0.0, "val_accuracy": 0.5})
        assert "its last report was epoch 2" in reason(5)
    finally:
        ray.shutdown()


@pytest.mark.ray
def test_if_the_first_ten_trials_diverge_the_sweep_stops(
    small: Path, command: Door, tmp_path: Path, cluster: Any
) -> None:
    there = {"address": cluster.address}
    file = sweep_file(tmp_path, small, **SEARCH, num_trials=19, max_failures=1, resources=there)
    flags = ("--train.max_skipped_steps", 1, "--train.gradient_clip", 0, "--train.lr", "1e30")
    flags += ("--search_space", '{"lr": {"type": "loguniform", "low": 1e30, "high": 2e30}}', "--train.warmup_ratio", 0)
    result = command("tune", "--config", file, *flags, cwd=tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "every trial failed for one cause, so the sweep was stopped: the loss at step" in result.stdout
    assert 10 <= len(summary(tmp_path)["trials"]) <= 12
    assert {trial["status"] for trial in summary(tmp_path)["trials"]} <= {"unfit", "interrupted"}
    assert [trial.state for trial in study(tmp_path).trials[:8]] == [TrialState.PRUNED] * 8
    assert "starts again" not in result.stdout
