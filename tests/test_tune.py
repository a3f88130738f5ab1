"""The door `tune` on a real cluster of one machine. Slow: every trial starts processes of its own."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import VideoMAEForVideoClassification

from lscht_ray.artifacts import places
from lscht_ray.artifacts.storage import Storage
from lscht_ray.cluster import room
from lscht_ray.dataset.demo import GLOSSES
from lscht_ray.settings.sweep import ResourcesConfig, SweepConfig
from lscht_ray.sweep import winner
from lscht_ray.sweep.ledger import Ledger
from support import terminal
from support.doors import Door, refused
from support.readme import documented
from support.sweeps import STORAGE, log, processes, summary, sweep_file, sweep_folder
from support.terminal import Session


def torch_sweep(folder: Path, data: Path, **settings: Any) -> Path:
    """A sweep whose trials are TorchTrainers."""
    return sweep_file(folder, data, trial_runner="torch_trainer", **settings)


def ray_processes() -> list[int]:
    """The raylets and head processes that run on this machine."""
    return processes(b"gcs_server", b"raylet/raylet")


PRUNING: dict[str, Any] = {
    "metric": "val_loss",
    "mode": "min",
    "search_space": {"lr": {"type": "choice", "choices": [2e-3, 1.0, 1e30]}},
    "num_trials": 3,
    "max_failures": 0,
    "sampler": {"type": "random", "seed": 22},
}
"""A learning rate of 1 ruins the model within the first epoch, so ASHA stops that trial there; 1e30 makes it
infinite."""


@pytest.fixture(scope="module")
def sweep(small: Path, cache_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Session]:
    """A finished sweep in a terminal of 80 columns, with the dashboard; ASHA stops the second, the third is unfit."""
    folder = tmp_path_factory.mktemp("sweep")
    file = torch_sweep(folder, small, **PRUNING, resources={"dashboard": True})
    before = ray_processes()
    session = terminal.start("tune", "--config", file, cwd=folder, columns=80)
    assert session.wait() == 0, session.shown()
    assert ray_processes() == before
    return folder, session


def said(session: Session) -> str:
    """What it printed, without the line breaks that the terminal's width made."""
    return " ".join(" ".join(session.shown()).split())


@pytest.mark.ray
def test_stopped_and_failed_trials_do_not_hang_the_next(sweep: tuple[Path, Any]) -> None:
    trials = summary(sweep[0])["trials"]
    assert [trial["params"]["lr"] for trial in trials] == [2e-3, 1.0, 1e30]
    assert [trial["status"] for trial in trials] == ["completed", "pruned", "unfit"]
    assert [trial["epochs"] for trial in trials] == [2, 1, 0]
    assert "the validation loss is" in trials[2]["error"]


@pytest.mark.ray
def test_each_video_is_decoded_once_for_all_trials(sweep: tuple[Path, Any]) -> None:
    assert "clip cache of this node: 18 clips decoded for 3 trials" in said(sweep[1])


@pytest.mark.ray
def test_the_summary_and_the_best_model(sweep: tuple[Path, Any], small: Path, door: Door, tmp_path: Path) -> None:
    folder, _ = sweep
    content = summary(folder)
    assert (content["metric"], content["mode"]) == ("val_loss", "min")
    best = content["best"]
    values = [trial["metrics"]["val_loss"] for trial in content["trials"] if trial["metrics"]]
    assert best["metrics"]["val_loss"] == min(values)
    assert best["trial_id"] == "trial_00001"
    assert best["params"] == {"lr": 2e-3}
    assert all(trial["seconds"] > 0 for trial in content["trials"])
    assert Path(best["checkpoint"]) == sweep_folder(folder) / "best" / "best_model.pt"
    evaluated = door("evaluate", best["checkpoint"], "--data", small, "--split", "val", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    metrics = json.loads((sweep_folder(folder) / "best" / "evaluation_val" / "metrics.json").read_text())
    assert metrics["loss"] == pytest.approx(best["metrics"]["val_loss"], rel=1e-4)
    assert metrics["epoch"] == best["metrics"]["epoch"]
    as_it_is = VideoMAEForVideoClassification.from_pretrained(sweep_folder(folder) / "best" / "best_model")
    kept = torch.load(best["checkpoint"], weights_only=True)["model"]
    assert all(torch.equal(value, kept[name]) for name, value in as_it_is.state_dict().items())
    config = json.loads((sweep_folder(folder) / "best" / "config.json").read_text(encoding="utf-8"))
    assert (config["num_classes"], config["device"]) == (3, "cpu")
    again = door("train", "--config", sweep_folder(folder) / "best" / "config.json", "--max_epochs", 1, cwd=tmp_path)
    assert again.returncode == 0, again.stderr


@pytest.mark.ray
def test_the_folder_holds_what_readme_lists(sweep: tuple[Path, Any]) -> None:
    names = {path.name for path in sweep_folder(sweep[0]).iterdir()}
    assert names == documented("models/checkpoints/sweep_20250131_101500") - {places.LOCK}


@pytest.mark.ray
def test_tensorboard_has_a_folder_per_trial_with_hparams(sweep: tuple[Path, Any]) -> None:
    runs = sweep_folder(sweep[0]) / "runs"
    assert sorted(path.name for path in runs.iterdir()) == ["trial_00001", "trial_00002"]
    log = EventAccumulator(str(runs / "trial_00001")).Reload()
    assert {"Train/Loss_batch", "Val/Loss_epoch", "hparam/val_loss"} <= set(log.Tags()["scalars"])
    assert "_hparams_/session_start_info" in log.summary_metadata


@pytest.mark.ray
def test_only_best_and_last_checkpoints_are_left(sweep: tuple[Path, Any]) -> None:
    for trial in summary(sweep[0])["trials"]:
        if trial["metrics"]:
            folder = sweep_folder(sweep[0]) / "trials" / trial["trial_id"]
            kept = sorted(int(path.name.split("_")[2]) for path in folder.iterdir() if path.is_dir())
            best = trial["metrics"]["epoch"]
            # A trial that is stopped while it saves a better epoch may keep that one instead.
            assert kept == sorted({best, trial["epochs"]}) or (best not in kept and 1 <= len(kept) <= 2)


@pytest.mark.ray
def test_the_best_epoch_is_found_whatever_a_killed_trial_leaves(sweep: tuple[Path, Any], tmp_path: Path) -> None:
    """Ray's own list cut off at 0 bytes, a checkpoint half removed, one saved but not heard of, one half written."""
    source = sweep_folder(sweep[0]) / "trials" / "trial_00001"
    folder = tmp_path / "trials" / "trial_00001"
    shutil.copytree(source, folder)
    saved = {int(path.name.split("_")[2]): path for path in folder.iterdir() if path.is_dir()}
    whole = saved[max(saved)]
    for path in saved.values():
        if path != whole:
            shutil.rmtree(path)
    (folder / "checkpoint_epoch_0001_dead").mkdir()
    half = shutil.copytree(whole, folder / "checkpoint_epoch_0003_dead") / "last_checkpoint.pt"
    half.write_bytes(half.read_bytes()[:1000])
    (folder / "checkpoint_manager_snapshot.json").write_bytes(b"")
    config = SweepConfig(metric="val_loss", mode="min")
    ledger = Ledger("val_loss", "min", 2)
    ledger.start("trial_00001", {})
    first, second = [json.loads(line) for line in (source / "metrics.jsonl").read_text().splitlines()]
    ledger.report("trial_00001", {**first, "val_loss": second["val_loss"] + 1})
    best = winner.keep_best(config, ledger, Storage(str(tmp_path)), tmp_path)
    assert best is not None
    assert sorted(ledger.trials["trial_00001"].epochs) == [1, 2]
    assert torch.load(best, weights_only=True)["metrics"]["val_loss"] == second["val_loss"]
    assert [path.name for path in folder.iterdir() if path.is_dir()] == [whole.name]


@pytest.mark.ray
def test_the_console_says_what_matters_and_the_rest_is_in_a_file(sweep: tuple[Path, Any]) -> None:
    folder, session = sweep
    file = str(sweep_folder(folder) / "ray.log").replace(" ", "")  # longer than the terminal is wide
    assert file in "".join(session.shown()).replace(" ", "")
    assert log(folder)
    for part in ("trial_00002 pruned after 1 epoch,", "best so far", "3 of 3 trials done", "--lr 0.002", "evaluate"):
        assert part in said(session)
    for chatter in ("INFO", "Warning", "pid=", "RayTrainWorker", "run_in_actor"):
        assert chatter not in said(session)
    assert "Usage stats collection is enabled" not in log(folder)


@pytest.mark.ray
def test_a_narrow_terminal_shows_whole_names_and_each_trial_once(sweep: tuple[Path, Session]) -> None:
    session = sweep[1]
    lines = session.shown()
    assert max(map(len, lines)) <= 80
    assert sum(line.count("trial_") for line in lines) == len(re.findall(r"trial_\d{5}\b", "\n".join(lines)))
    (head,) = [line for line in lines if line.startswith("┃ trial ")]
    assert "val_loss" in head
    views = 0
    for end in range(0, len(session.raw), max(1, len(session.raw) // 100)):
        seen = [line.lstrip() for line in session.shown(session.raw[:end])]
        start = next(
            (n for n, line in reversed(list(enumerate(seen))) if line.startswith("trial") and "rung" in line), 0
        )
        if start:
            views += 1
            names = [line.split()[0] for line in seen[start:] if line.startswith("trial_")]
            assert len(set(names)) == len(names), seen[start:]
            assert not [line for line in seen[start:] if "left" in line and "[" in line]
    assert views > 3


@pytest.mark.ray
def test_more_than_the_cluster_has_is_said_at_the_start(
    small: Path, command: Door, tmp_path: Path, cluster: Any
) -> None:
    file = torch_sweep(tmp_path, small, num_trials=2, resources={"address": cluster.address})
    result = command("tune", "--config", file, "--resources.gpus_per_worker", 8, cwd=tmp_path)
    refused(result, "a trial needs 1 worker of 1 CPU and 8 GPU", "the cluster has 1 node", "2 GPU")
    assert "starts" not in result.stdout.replace("starting Ray", "")


def test_debug_runs_the_first_trial_without_a_cluster(small: Path, door: Door, tmp_path: Path) -> None:
    result = door("tune", "--config", torch_sweep(tmp_path, small), "--debug", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "Epoch 2/2" in result.stdout
    assert not (tmp_path / STORAGE).exists()
    config = json.loads(next((tmp_path / "models" / "checkpoints").glob("run_*/config.json")).read_text())
    assert config["lr"] == 2e-3


def test_bad_sweeps_are_refused_at_once(small: Path, door: Door, tmp_path: Path) -> None:
    file = torch_sweep(tmp_path, small, search_space={"lr": {"type": "loguniform", "low": 1.0, "high": 0.1}})
    refused(
        door("tune", "--config", file, cwd=tmp_path), "search_space.lr", "low (1) must be below high (0.1)", "line "
    )
    refused(door("tune", "--config", "nothing.yaml", cwd=tmp_path), "nothing.yaml", "demo.yaml")
    file = torch_sweep(tmp_path, small)
    (tmp_path / "file").write_text("in the way")
    flags = ("--storage_path", tmp_path / "file" / "sweeps")
    refused(door("tune", "--config", file, *flags, cwd=tmp_path), "can't be written")
    refused(door("tune", "--config", file, "--train.data", "nowhere", cwd=tmp_path), "nowhere: no such file")


def test_what_fits_on_a_cluster() -> None:
    def fit(nodes: list[tuple[float, float]], gpus: float = 0.0, **settings: Any) -> int:
        made = [room.Node(cpus, gpu, frozenset(["A100"] if gpu else []), head=False) for cpus, gpu in nodes]
        return room.trials_that_fit(made, ResourcesConfig(**settings), gpus)

    assert fit([(2, 0)]) == 2
    assert fit([(2, 0)], cpus_per_worker=4) == 0
    assert fit([(3, 0), (3, 0)], cpus_per_worker=2) == 2  # a worker's CPUs must be on one node
    assert fit([(3, 0), (3, 0)], cpus_per_worker=2, workers_per_trial=2) == 1
    assert fit([(96, 8), (4, 0)], gpus=1) == 8
    assert fit([(96, 8)], gpus=0.25) == 32
    assert fit([(96, 8), (4, 0)], gpus=1, accelerator_type="A100", workers_per_trial=8) == 1
    assert fit([(96, 8)], gpus=1, accelerator_type="H100") == 0


def test_the_trials_own_processes_never_take_a_workers_place() -> None:
    """On a cluster that was joined they need CPUs of the head node: what is left must still hold every worker."""

    def most(nodes: list[room.Node], **settings: Any) -> int:
        return room.most_trials(nodes, ResourcesConfig(**settings), 0.0)

    head, other = room.Node(2, 0, frozenset(), head=True), room.Node(2, 0, frozenset(), head=False)
    assert most([head]) == 1
    assert most([head], workers_per_trial=2) == 0
    assert most([head, other]) == 3
    assert most([other, other], workers_per_trial=2) == 2
    assert most([head], cpus_per_worker=0.5) == 3


@pytest.mark.ray
def test_the_demo_learns(door: Door, command: Door, demo: Path, tmp_path: Path) -> None:
    """The main job without any configuration: at least twice the accuracy of chance on clips of unseen signers."""
    result = command("tune", "--resources.address", "local", cwd=tmp_path)  # not the cluster that other tests started
    assert result.returncode == 0, result.stdout + result.stderr
    (folder,) = (tmp_path / "models" / "checkpoints").glob("sweep_*")
    trials = json.loads((folder / "summary.json").read_text())["trials"]
    assert len(trials) == 8
    evaluated = door("evaluate", folder / "best", "--split", "test", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    metrics = json.loads((folder / "best" / "evaluation_test" / "metrics.json").read_text())
    assert metrics["accuracy"] >= 2 / len(GLOSSES)
