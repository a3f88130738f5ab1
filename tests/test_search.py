"""What Ray Tune asks of us, and what we make of its answers, without a cluster."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import TrialState
from pydantic import ValidationError
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from rich.console import Console

from lscht_ray.artifacts.storage import Storage
from lscht_ray.cluster import room as cluster_room
from lscht_ray.cluster import search
from lscht_ray.cluster._ray_internals import cause
from lscht_ray.cluster.report import reportable
from lscht_ray.cluster.watch import Watch
from lscht_ray.settings.sweep import AshaConfig, ResourcesConfig, SweepConfig
from lscht_ray.settings.train import TrainConfig
from lscht_ray.sweep.judge import Judge
from lscht_ray.sweep.ledger import Ledger
from lscht_ray.sweep.record import TrialRecord
from lscht_ray.sweep.rescue import Rescue
from lscht_ray.sweep.study import Proposal
from support.studies import new_study


def nothing() -> None:
    pass


def test_as_many_trials_at_a_time_as_there_is_room_for(tmp_path: Path) -> None:
    room = [2]
    proposals = search.Proposals(new_study(tmp_path, SweepConfig(), 4), lambda: room[0], lambda: 0.5)
    first, second, third = (proposals.suggest(name) for name in "abc")
    assert isinstance(first, dict) and isinstance(second, dict)
    assert third is None
    assert first["gpus"] == 0.5
    room[0] = 3  # a node joined
    assert isinstance(proposals.suggest("c"), dict)
    proposals.on_trial_complete("a")
    assert isinstance(proposals.suggest("d"), dict)
    proposals.on_trial_complete("b")
    assert proposals.suggest("e") is None  # one of those that run may come again
    for name in "cd":
        proposals.on_trial_complete(name)
    assert proposals.suggest("e") == Searcher.FINISHED


def test_a_trial_whose_own_process_was_ended_for_its_memory_goes_on_with_fewer_clips(tmp_path: Path) -> None:
    """Ray ends several processes at once; the one that would start the workers again may be among them."""
    sweep, storage = SweepConfig(train=TrainConfig(batch_size=8)), Storage(str(tmp_path))
    made, ended = new_study(tmp_path, sweep, 1), list[TrialRecord]()
    proposals = search.Proposals(made, lambda: 1, lambda: 0.0)

    ledger, screen = Ledger("val_accuracy", "max", 30), Console(file=io.StringIO())
    watching = Watch(ledger, made, storage, "a driver", screen, ended.append, nothing, stopping=lambda: False)
    said = tmp_path / "error.txt"
    said.write_text("OutOfMemoryError: 5 worker(s) were killed due to the node running low on memory.\n")
    at_once = []
    for number in "abcd":
        proposal = proposals.suggest(number)
        assert isinstance(proposal, dict)
        assert proposal["proposal"].trial_id == "trial_00001"
        running: Any = SimpleNamespace(config=proposal, error_file=str(said))
        watching.on_trial_start(0, [], running)
        at_once.append(Rescue(storage, "trial_00001").clips_at_once())
        proposals.on_trial_complete(number, error=True)
        watching.on_trial_error(0, [], running)
    assert at_once == [None, 4, 2, 1]
    assert proposals.suggest("e") == Searcher.FINISHED
    assert [record.status for record in ended] == ["failed"]
    assert [trial.state for trial in made.study.trials] == [TrialState.FAIL]


def test_a_trial_whose_process_never_ran_has_failed(tmp_path: Path) -> None:
    study, ledger = new_study(tmp_path, SweepConfig(), 1), Ledger("val_accuracy", "max", 30)
    ended: list[TrialRecord] = []
    screen = Console(file=io.StringIO())
    watching = Watch(
        ledger, study, Storage(str(tmp_path)), "a driver", screen, ended.append, nothing, stopping=lambda: False
    )
    said = tmp_path / "error.txt"
    said.write_text("ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.\n")
    failed: Any = SimpleNamespace(config={"proposal": study.ask(), "gpus": 0.0}, error_file=str(said))
    watching.on_trial_error(0, [], failed)
    assert [(record.status, record.error[:14]) for record in ended] == [("failed", "ActorDiedError")]
    assert [trial.state for trial in study.study.trials] == [TrialState.FAIL]


def test_a_trial_whose_settings_are_unfit_is_pruned_in_the_study_and_says_why(tmp_path: Path) -> None:
    """Its worker ends as if all were well, so that nobody starts it again; the reason is in the storage."""
    study, ledger, storage = (
        new_study(tmp_path, SweepConfig(), 1),
        Ledger("val_accuracy", "max", 30),
        Storage(str(tmp_path)),
    )
    screen, ended = Console(file=io.StringIO()), list[TrialRecord]()
    watching = Watch(ledger, study, storage, "a driver", screen, ended.append, nothing, stopping=lambda: False)
    running: Any = SimpleNamespace(config={"proposal": study.ask(), "gpus": 0.0}, error_file=None)
    watching.on_trial_start(0, [], running)
    Rescue(storage, "trial_00001").give_up("the loss is nan\nthe clips of that step:\n  a.mp4")
    watching.on_trial_complete(0, [], running)
    assert [(record.status, record.error) for record in ended] == [("unfit", "the loss is nan")]
    (trial,) = study.study.trials
    assert (trial.state, trial.intermediate_values) == (TrialState.PRUNED, {0: 0.0})


ASHA = SweepConfig(train=TrainConfig(max_epochs=5), asha=AshaConfig(grace_period=2))


class Following:
    """A study, a ledger and Tune's scheduler over them, as a driver has them."""

    def __init__(self, folder: Path, sweep: SweepConfig, names: str = "") -> None:
        self.study, self.ledger = new_study(folder, sweep), Ledger(sweep.metric, sweep.mode, sweep.train.max_epochs)
        self.scheduler = search.Stopping(Judge(sweep, self.ledger, self.study))
        self.proposals = {name: self.start() for name in names}

    def start(self) -> Proposal:
        proposal = self.study.ask()
        assert proposal is not None
        self.ledger.start(proposal.trial_id, proposal.params)
        return proposal

    def report(self, name: str, epoch: int, score: float) -> str:
        """What Tune is told of an epoch; then the ledger and the study hear of it, as in `watch`."""
        proposal = self.proposals[name]
        running: Any = SimpleNamespace(config={"proposal": proposal})
        said = str(self.scheduler.on_trial_result(None, running, {"epoch": epoch, search.SCORE: score}))
        self.ledger.report(proposal.trial_id, {"epoch": epoch, self.ledger.metric: score})
        self.study.report(proposal.trial_id, epoch, score)
        return said


def test_asha_stops_at_rungs_alone_and_lets_the_last_epoch_end_by_itself(tmp_path: Path) -> None:
    sweep = Following(tmp_path, ASHA, "ab")
    for epoch in (1, 2, 3, 4, 5):
        assert sweep.report("a", epoch, 0.9) == TrialScheduler.CONTINUE
    assert sweep.report("b", 1, 0.1) == TrialScheduler.CONTINUE  # within the grace period
    assert sweep.report("b", 2, 0.1) == TrialScheduler.STOP
    assert sweep.study.past()["trial_00002"].stopped
    assert sweep.scheduler.on_trial_result(None, Any, {"training_iteration": 1}) == TrialScheduler.CONTINUE


def test_an_epoch_that_a_restarted_trial_repeats_is_not_judged_again(tmp_path: Path) -> None:
    sweep = Following(tmp_path, ASHA, "ab")
    assert sweep.report("a", 2, 0.5) == TrialScheduler.CONTINUE
    assert sweep.report("b", 2, 0.9) == TrialScheduler.CONTINUE
    assert sweep.report("a", 2, 0.5) == TrialScheduler.CONTINUE  # now it would be too weak


def test_the_best_epoch_so_far_counts_at_a_rung(tmp_path: Path) -> None:
    """A trial that peaked before the rung is judged by its peak, and so it is for those that come later."""
    sweep = Following(tmp_path, ASHA, "ab")
    sweep.report("a", 1, 0.9)
    sweep.ledger.report("trial_00001", {"epoch": 2, "val_accuracy": 0.3})
    assert sweep.ledger.scores_at(2) == [0.9]
    assert sweep.report("b", 2, 0.5) == TrialScheduler.STOP


def test_median_and_none(tmp_path: Path) -> None:
    (tmp_path / "median").mkdir()
    sweep = Following(tmp_path / "median", ASHA.model_copy(update={"trial_stopping": "median"}), "abcd")
    for epoch in (1, 2, 3):
        said = [sweep.report(name, epoch, value) for name, value in zip("abcd", (0.9, 0.8, 0.7, 0.1), strict=True)]
        assert said == ["CONTINUE", "CONTINUE", "CONTINUE", "STOP" if epoch > 1 else "CONTINUE"]
    none = Following(tmp_path, ASHA.model_copy(update={"trial_stopping": "none"}), "ab")
    none.report("a", 2, 0.9)
    assert none.report("b", 2, 0.0) == TrialScheduler.CONTINUE


def test_only_finite_floats_are_reported() -> None:
    metrics = {"epoch": 3, "val_accuracy": 0.5, "best_val_accuracy": 0.6, "early_stopped": False, "best_epoch": 3}
    made = reportable(metrics, "val_accuracy")
    assert all(type(value) is float for value in made.values())
    assert made["best_score"] == 0.6
    later = reportable({**metrics, "epoch": 4}, "val_accuracy")
    assert later["checkpoint_score"] < made["checkpoint_score"]  # the best epoch's is kept
    better = reportable({**metrics, "epoch": 5, "best_epoch": 5}, "val_accuracy")
    assert better["checkpoint_score"] > made["checkpoint_score"]
    with pytest.raises(AssertionError, match="not finite"):
        reportable({**metrics, "val_accuracy": float("nan")}, "val_accuracy")


def test_the_cause_of_a_failure_is_the_innermost_message() -> None:
    text = (
        "Failure # 1 (occurred at 2025-01-31_10-15-00)\n"
        "ray.train.WorkerGroupError: Training failed due to worker errors:\n"
        '  File "loop.py", line 243, in step\n    raise TrainingError(\n'
        "lscht_ray.errors.TrainingError: the loss at step 2 is nan: nothing was updated.\n"
        "The clips of that step:\n  a.mp4\n"
    )
    assert cause(text) == "TrainingError: the loss at step 2 is nan: nothing was updated."
    assert cause("") == "unknown: see the log file"
    died = (
        "ray.train.WorkerGroupError: Training failed due to worker errors:\n[Rank 0 Error Snippet]:\n"
        "A worker health check failed.\nThe actor died unexpectedly before finishing this task.\n"
    )
    exited = "The actor is dead because its worker process has died. Worker exit detail: Worker exits by a signal.\n"
    assert cause(died + exited) == "a worker died: Worker exits by a signal."
    short = "1 worker(s) were killed due to the node running low on memory. Memory was 3 GB used\n"
    assert cause(died + short) == f"a worker died: {short.strip()}"
    gone = "The actor died because its node has died. Node Id: 3c\n"
    assert cause(died + gone) == f"a worker died: {gone.strip()}"


def test_trials_share_a_gpu_as_their_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one has it alone; then as many as fit, which nobody had to say."""
    monkeypatch.setattr(cluster_room, "_nodes", lambda started: [cluster_room.Node(16, 2, frozenset(), head=False)])
    monkeypatch.setattr(cluster_room, "most_resources_when_scaled", dict)
    sweep = SweepConfig(resources=ResourcesConfig(gpus_per_worker="auto"))
    share = [0.0]
    room = cluster_room.Room(sweep, 30, lambda: share[0], started_here=False, say=str)
    assert (room(), room.gpus()) == (1, 1.0)
    share[0], room.looked = 0.28, -1e9
    assert (room(), room.gpus()) == (6, pytest.approx(1 / 3))
    share[0], room.looked = 0.95, -1e9
    assert (room(), room.gpus()) == (2, 1.0)
    with pytest.raises(ValidationError, match="only trials with one worker can share a GPU"):
        SweepConfig(resources=ResourcesConfig(gpus_per_worker=0.5, workers_per_trial=2))
