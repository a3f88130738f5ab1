"""Search spaces, the study, samplers and what stops trials, without a cluster."""

import io
import json
import re
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from pydantic import ValidationError
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from rich.console import Console

from lscht_ray.artifacts.storage import Storage
from lscht_ray.cluster import connect, search
from lscht_ray.cluster.watch import Watch, cause
from lscht_ray.cluster.worker import reportable
from lscht_ray.errors import InputError
from lscht_ray.settings.sweep import AshaConfig, BudgetConfig, Dimension, ResourcesConfig, SamplerConfig, SweepConfig
from lscht_ray.settings.train import TrainConfig
from lscht_ray.sweep import firsts, study
from lscht_ray.sweep._samplers import Samplers
from lscht_ray.sweep.budget import Budget
from lscht_ray.sweep.ledger import Ledger, TrialRecord
from lscht_ray.sweep.rescue import Rescue
from lscht_ray.sweep.study import Study
from lscht_ray.sweep.view import View


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "uniform", "low": 0, "high": 1}, FloatDistribution(0, 1)),
        ({"type": "loguniform", "low": 1e-5, "high": 1}, FloatDistribution(1e-5, 1, log=True)),
        ({"type": "quniform", "low": 0, "high": 1, "step": 0.25}, FloatDistribution(0, 1, step=0.25)),
        ({"type": "int", "low": 2, "high": 8}, IntDistribution(2, 8)),
        ({"type": "logint", "low": 2, "high": 8}, IntDistribution(2, 8, log=True)),
        ({"type": "choice", "choices": [1, "a"]}, CategoricalDistribution([1, "a"])),
    ],
)
def test_distributions(given: dict[str, Any], expected: object) -> None:
    assert study.distribution(Dimension.model_validate(given)) == expected


def new_study(folder: Path, sweep: SweepConfig, num_trials: int = 20) -> Study:
    made = Study(sweep, f"sqlite:///{folder / 'study.db'}", num_trials)
    if made.is_new():
        made.enqueue(firsts.points(sweep))
    return made


def run_some(made: Study, count: int, status: str = "completed") -> list[dict[str, Any]]:
    """Ask for trials and tell a result that depends on their settings alone."""
    asked = []
    for _ in range(count):
        proposal = made.ask()
        assert proposal is not None
        asked.append({"trial_id": proposal.trial_id, **proposal.params})
        score = 1 - abs(float(proposal.params["lr"]) - 1e-4) * 1e3
        made.report(proposal.trial_id, 1, score)
        made.end(proposal.trial_id, status, [score] * len(made.study.directions), 1.0, "")
    return asked


def test_the_users_own_setting_is_first_and_the_seed_repeats_the_rest(tmp_path: Path) -> None:
    sweep = SweepConfig(train=TrainConfig(lr=7e-5))
    rows = []
    for name in ("one", "again"):
        (tmp_path / name).mkdir()
        rows.append(run_some(new_study(tmp_path / name, sweep), 14))
    assert rows[0] == rows[1]
    assert rows[0][0] == {"trial_id": "trial_00001", "lr": 7e-5, "weight_decay": 0.05, "label_smoothing": 0.1}
    assert len({row["lr"] for row in rows[0]}) == 14
    other = new_study(tmp_path, sweep.model_copy(update={"sampler": SamplerConfig(seed=1)}))
    assert run_some(other, 2)[1] != rows[0][1]


@pytest.mark.parametrize("kind", ["tpe", "random", "qmc", "gp"])
def test_a_study_that_is_opened_again_proposes_what_it_would_have(tmp_path: Path, kind: str) -> None:
    """Whenever its driver is killed: what is proposed depends on what is in the database alone."""
    sweep = SweepConfig(sampler=SamplerConfig(type=kind, n_startup_trials=4))  # type: ignore[arg-type]
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = run_some(new_study(tmp_path / "whole", sweep), 9)
    cut = []
    for count in (1, 4, 2, 2):
        cut += run_some(new_study(tmp_path / "cut", sweep), count)
    assert cut == whole


def test_every_sampler_seeks(tmp_path: Path) -> None:
    for kind in ("tpe", "random", "qmc", "gp", "cma"):
        folder = tmp_path / kind
        folder.mkdir()
        sweep = SweepConfig(sampler=SamplerConfig(type=kind, n_startup_trials=3))  # type: ignore[arg-type]
        assert len(run_some(new_study(folder, sweep), 8)) == 8


def test_a_grid_has_every_combination_once(tmp_path: Path) -> None:
    space = {
        "lr": Dimension(type="choice", choices=[1e-4, 1e-3]),
        "batch_size": Dimension(type="int", low=8, high=16, step=8),
        "label_smoothing": Dimension(type="quniform", low=0, high=0.2, step=0.1),
    }
    sweep = SweepConfig(search_space=space, sampler=SamplerConfig(type="grid"))
    made = new_study(tmp_path, sweep, 50)
    seen = set()
    while (proposal := made.ask()) is not None:
        seen.add(tuple(sorted(proposal.params.items())))
        made.end(proposal.trial_id, "completed", [0.5], 1.0, "")
    assert len(seen) == 12
    assert len(made.past()) == 12
    with pytest.raises(ValidationError, match="a grid needs values that can be counted"):
        SweepConfig(sampler=SamplerConfig(type="grid"))


def test_conditional_settings_are_searched_where_they_matter(tmp_path: Path) -> None:
    space = {
        "lora_alpha": Dimension(type="uniform", low=8, high=32, when={"lora_rank": [4, 8]}),
        "lora_rank": Dimension(type="choice", choices=[0, 4, 8]),
        "lr": Dimension(type="loguniform", low=1e-5, high=1e-3),
    }
    sweep = SweepConfig(search_space=space)
    assert sweep.first_point() == {"lora_rank": 0, "lr": 1e-4}
    rows = run_some(new_study(tmp_path, sweep), 16)
    assert {row["lora_rank"] for row in rows} == {0, 4, 8}
    assert all(("lora_alpha" in row) == (row["lora_rank"] > 0) for row in rows)
    with pytest.raises(ValidationError, match="lora_rnk is no setting of train: did you mean lora_rank"):
        SweepConfig(search_space={"lora_alpha": Dimension(type="uniform", low=8, high=32, when={"lora_rnk": 4})})
    with pytest.raises(ValidationError, match="lr, weight_decay wait for each other"):
        SweepConfig(
            search_space={
                "lr": Dimension(type="loguniform", low=1e-5, high=1e-3, when={"weight_decay": 0.05}),
                "weight_decay": Dimension(type="uniform", low=0, high=1, when={"lr": 1e-4}),
            }
        )


def test_candidates_that_can_not_be_used_are_not_run(tmp_path: Path) -> None:
    """batch_size 1 can't be mixed: such a pair is proposed again, and no number is left out."""
    space = {
        "batch_size": Dimension(type="choice", choices=[1, 16]),
        "mixup": Dimension(type="choice", choices=[0.0, 0.8]),
        "lr": Dimension(type="loguniform", low=1e-5, high=1e-3),
    }
    made = new_study(tmp_path, SweepConfig(search_space=space, sampler=SamplerConfig(type="random")))
    rows = run_some(made, 20)
    assert not [row for row in rows if row["batch_size"] == 1 and row["mixup"]]
    assert [row["trial_id"] for row in rows] == [f"trial_{number:05d}" for number in range(1, 21)]
    assert made.ask() is None


def test_the_study_says_how_trials_ended(tmp_path: Path) -> None:
    made = new_study(tmp_path, SweepConfig())
    for status in ("completed", "pruned", "failed", "early_stopped", "interrupted"):
        proposal = made.ask()
        assert proposal is not None
        for epoch in (1, 2, 2):  # the last one again, after a restart
            made.report(proposal.trial_id, epoch, epoch / 10)
        made.end(
            proposal.trial_id, status, None if status == "failed" else [0.2], 3.0, "why" if status == "failed" else ""
        )
    kept = optuna.load_study(study_name=study.NAME, storage=f"sqlite:///{tmp_path / 'study.db'}").trials
    states = [trial.state for trial in kept]
    assert states == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.COMPLETE,
        TrialState.FAIL,
    ]
    assert all(trial.intermediate_values == {1: 0.1, 2: 0.2} for trial in kept)
    again = new_study(tmp_path, SweepConfig())
    taken_up = again.ask()
    assert taken_up is not None
    assert taken_up.trial_id == "trial_00005"
    assert taken_up.params == kept[4].params
    assert again.past()["trial_00005"].scores == {1: 0.1, 2: 0.2}
    assert again.past()["trial_00003"].error == "why"
    again.end("trial_00005", "completed", [0.3], 5.0, "")
    following = again.ask()
    assert following is not None
    assert following.trial_id == "trial_00006"


def test_a_driver_killed_before_a_trial_has_its_name_loses_no_first_point(tmp_path: Path) -> None:
    made = new_study(tmp_path, SweepConfig(train=TrainConfig(lr=7e-5)))
    trial = made.study.ask()
    trial.suggest_float("lr", 3e-6, 5e-4, log=True)
    again = new_study(tmp_path, SweepConfig(train=TrainConfig(lr=7e-5)))
    first = again.ask()
    assert first is not None
    assert (first.trial_id, first.params["lr"]) == ("trial_00001", 7e-5)


def test_no_pickle_in_the_database_is_read(tmp_path: Path) -> None:
    """CMA-ES keeps its state as a pickle: one that somebody put there is not loaded."""
    sweep = SweepConfig(sampler=SamplerConfig(type="cma", n_startup_trials=2))
    run_some(new_study(tmp_path, sweep), 12)
    evil = f"cposix\nsystem\n(S'touch {tmp_path}/was_here'\ntR.".encode().hex()
    with sqlite3.connect(tmp_path / "study.db") as database:
        keys = [row[0] for row in database.execute("select key from trial_system_attributes")]
        assert any("optimizer" in key for key in keys)
        database.execute(
            "update trial_system_attributes set value_json = ? where key like '%optimizer%'", (json.dumps(evil),)
        )
        database.execute("update trial_system_attributes set key = 'cma:optimizer:0' where key like '%optimizer%:0'")
    run_some(new_study(tmp_path, sweep), 3)
    assert not (tmp_path / "was_here").exists()


def test_what_is_tried_first_and_known_from_another_sweep(tmp_path: Path) -> None:
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    trials = [
        {"trial_id": f"trial_{n:05d}", "params": params, "status": status, "metrics": {"val_accuracy": n / 10}}
        for n, params, status in (
            (1, {"lr": 2e-4, "weight_decay": 0.1, "label_smoothing": 0.2}, "completed"),
            (2, {"lr": 3e-4, "weight_decay": 0.1, "label_smoothing": 0.2}, "failed"),
            (3, {"lr": 0.9, "weight_decay": 0.1, "label_smoothing": 0.2}, "pruned"),  # outside of this space
        )
    ]
    content = {"metric": "val_accuracy", "best": {"params": trials[0]["params"]}, "trials": trials}
    (earlier / "summary.json").write_text(json.dumps(content))
    (earlier / "sweep.json").write_text(json.dumps({"train": {"lr": 1e-4}}))
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"lr": 5e-5, "mixup": 0.8}))
    space = {name: Dimension(type="loguniform", low=1e-5, high=0.3) for name in ("lr", "weight_decay")}
    space |= {"label_smoothing": Dimension(type="uniform", low=0, high=0.3)}
    sweep = SweepConfig(
        search_space=space, start_from=["recipes/brettmann.yaml", str(run), str(earlier)], warm_start=str(earlier)
    )
    found = dict(firsts.points(sweep))
    assert found["train"]["lr"] == 1e-4
    assert found["recipes/brettmann.yaml"]["lr"] == 1e-5
    assert found[str(run)] == {"lr": 5e-5, "weight_decay": 0.05, "label_smoothing": 0.1}
    assert found[str(earlier)] == trials[0]["params"]
    made = new_study(tmp_path, sweep)
    assert made.learn(firsts.warm_start(str(earlier), "val_accuracy")) == 1
    assert made.learn(firsts.warm_start(str(earlier), "val_accuracy")) == 0  # told once
    assert [row["lr"] for row in run_some(made, 4)] == [1e-4, 1e-5, 5e-5, 2e-4]
    assert "trial_00005" not in made.past()
    (run / "config.json").write_text(json.dumps({"lr": 0.9}))
    with pytest.raises(InputError, match=r"its lr \(0.9\) is outside of search_space.lr"):
        firsts.points(sweep)
    with pytest.raises(InputError, match="that sweep sought val_accuracy, this one seeks val_loss"):
        list(firsts.warm_start(str(earlier), "val_loss"))
    with pytest.raises(InputError, match="no sweep folder"):
        list(firsts.warm_start(str(run), "val_loss"))


def test_tpe_is_multivariate_with_a_constant_liar() -> None:
    made = Samplers(SweepConfig()).for_trial(1)
    assert isinstance(made, optuna.samplers.TPESampler)
    assert made._multivariate
    assert made._constant_liar


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

    book, screen = Ledger("val_accuracy", "max", 30), Console(file=io.StringIO())
    watching = Watch(book, made, storage, "a driver", screen, ended.append)
    said = tmp_path / "error.txt"
    said.write_text("OutOfMemoryError: 5 worker(s) were killed due to the node running low on memory.\n")
    at_once = []
    for number in "abcd":
        proposal = proposals.suggest(number)
        assert isinstance(proposal, dict)
        assert proposal["trial_id"] == "trial_00001"
        running: Any = SimpleNamespace(config=proposal, error_file=str(said))
        watching.on_trial_start(0, [], running)
        at_once.append(Rescue(storage, "trial_00001").clips_at_once())
        proposals.on_trial_complete(number, error=True)
        watching.on_trial_error(0, [], running)
    assert at_once == [None, 4, 2, 1]
    assert proposals.suggest("e") == Searcher.FINISHED
    assert [record.status for record in ended] == ["failed"]
    assert [trial.state for trial in made.study.trials] == [TrialState.FAIL]


class FakeTrial:
    """What the schedulers look at of one of Tune's trials."""

    def __init__(self, name: str) -> None:
        self.trial_id, self.config = f"ray's own {name}", {"trial_id": name}


def trial(name: str) -> Any:
    return FakeTrial(name)


def report(asha: Any, which: Any, epoch: int, value: float) -> str:
    return str(asha.on_trial_result(None, which, {"epoch": epoch, search.SCORE: value}))


ASHA = SweepConfig(train=TrainConfig(max_epochs=4), asha=AshaConfig(grace_period=2))


def test_asha_counts_our_epochs_and_lets_the_last_one_end_by_itself() -> None:
    asha = search.scheduler(ASHA, {})
    good, bad = trial("good"), trial("bad")
    for one in (good, bad):
        asha.on_trial_add(None, one)
    for epoch in (1, 2, 3, 4):
        assert report(asha, good, epoch, 0.9) == TrialScheduler.CONTINUE
    assert report(asha, bad, 1, 0.1) == TrialScheduler.CONTINUE  # within the grace period
    assert report(asha, bad, 2, 0.1) == TrialScheduler.STOP
    assert asha.rungs() == {4: {"good": 0.9}, 2: {"good": 0.9, "bad": 0.1}}


def past(name: str, scores: dict[int, float], status: str = "") -> study.Past:
    return study.Past(name, {}, status, scores, 1.0, 0.0, "", "sampler")


def test_asha_knows_its_rungs_after_a_restart() -> None:
    before = {"good": past("good", {1: 0.9, 2: 0.9, 3: 0.9}), "late": past("late", {1: 0.1, 2: 0.1})}
    asha = search.scheduler(ASHA, before)
    assert asha.doomed == {"late"}  # the driver was killed before it could stop it
    bad, good = trial("bad"), trial("good")
    asha.on_trial_add(None, bad)
    asha.on_trial_add(None, good)
    assert report(asha, bad, 2, 0.1) == TrialScheduler.STOP
    assert report(asha, good, 3, 0.9) == TrialScheduler.CONTINUE  # an epoch that it repeats


def test_median_and_none() -> None:
    median = search.scheduler(ASHA.model_copy(update={"trial_stopping": "median"}), {})
    trials = [trial(name) for name in "abcd"]
    for epoch in (1, 2, 3):
        actions = [report(median, one, epoch, value) for one, value in zip(trials, (0.9, 0.8, 0.7, 0.1), strict=True)]
    assert actions == ["CONTINUE", "CONTINUE", "CONTINUE", "STOP"]
    none = search.scheduler(ASHA.model_copy(update={"trial_stopping": "none"}), {})
    assert report(none, trials[0], 2, 0.0) == TrialScheduler.CONTINUE


def test_only_finite_floats_are_reported() -> None:
    metrics = {"epoch": 3, "val_accuracy": 0.5, "best_val_accuracy": 0.6, "early_stopped": False}
    made = reportable(metrics, "val_accuracy", True)
    assert all(type(value) is float for value in made.values())
    assert made["best_score"] == 0.6
    later = reportable({**metrics, "epoch": 4}, "val_accuracy", True)
    assert later["checkpoint_score"] < made["checkpoint_score"]  # of equal epochs the earlier one is kept
    with pytest.raises(AssertionError, match="not finite"):
        reportable({**metrics, "val_accuracy": float("nan")}, "val_accuracy", True)


def filled(values: dict[str, tuple[float, ...]], epochs: int = 4, **more: Any) -> Ledger:
    ledger = Ledger("val_accuracy", "max", epochs)
    for name, scores in values.items():
        ledger.start(name, {"lr": 1.0}, gpus=0.5)
        for epoch, value in enumerate(scores, start=1):
            ledger.report(name, {"epoch": epoch, "val_accuracy": value, "early_stopped": 0.0, "val_clips": 100, **more})
        ledger.end(name, None if scores else "out of memory")
    return ledger


def test_the_ledger_judges_by_the_best_epoch() -> None:
    ledger = filled({"peaked": (0.2, 0.9, 0.1), "steady": (0.5, 0.6, 0.7, 0.6), "silent": ()})
    summary = ledger.summary("best/best_model.pt")
    assert summary["best"]["trial_id"] == "peaked"
    assert summary["best"]["metrics"]["epoch"] == 2
    rows = {row["trial_id"]: (row["status"], row["epochs"]) for row in summary["trials"]}
    assert rows == {"peaked": ("pruned", 3), "steady": ("completed", 4), "silent": ("failed", 0)}
    assert (summary["epochs_planned"], summary["epochs_run"]) == (12, 7)


def test_how_sure_the_best_is_the_best() -> None:
    ledger = filled({"a": (0.80,), "b": (0.77,), "c": (0.70,)})
    best = ledger.summary()["best"]
    assert best["standard_error"] == pytest.approx(0.04)  # sqrt(0.8 x 0.2 / 100)
    assert best["within_a_standard_error"] == ["b"]


def test_the_pareto_front() -> None:
    ledger = Ledger("val_accuracy", "max", 1)
    ledger.second = "seconds"
    for name, accuracy, seconds in (("best", 0.9, 9.0), ("quick", 0.8, 1.0), ("beaten", 0.8, 2.0), ("worst", 0.1, 9.5)):
        ledger.start(name, {})
        ledger.report(name, {"epoch": 1, "val_accuracy": accuracy, "seconds": seconds, "early_stopped": 0.0})
        ledger.end(name)
    assert ledger.summary()["pareto_front"] == ["best", "quick"]


def test_two_objectives_in_the_study(tmp_path: Path) -> None:
    sweep = SweepConfig(second_metric="seconds")
    made = new_study(tmp_path, sweep)
    run_some(made, 12)
    assert all(len(trial.values) == 2 for trial in made.study.trials)
    assert made.study.best_trials


def test_budgets() -> None:
    def used_up(ledger: Ledger, **limits: Any) -> str:
        budget = Budget(BudgetConfig(**limits), 2.0, ledger)
        budget.began -= 7200
        return budget.used_up() or ""

    ledger = filled({"a": (0.9,), "b": (0.5,), "c": (0.6,)})
    for record in ledger.trials.values():
        record.before = 3600.0
    assert used_up(ledger, hours=3, gpu_hours=2, money=4, trials_without_improvement=3) == ""
    assert "2 hours have passed" in used_up(ledger, hours=2)
    assert "1.5 GPU hours have been used" in used_up(ledger, gpu_hours=1.5)
    assert "3.00 have been spent" in used_up(ledger, money=3)
    assert "the last 2 trials" in used_up(ledger, trials_without_improvement=2)


def test_trials_that_all_fail_for_one_cause() -> None:
    def hopeless(*errors: str) -> str | None:
        ledger = Ledger("val_accuracy", "max", 1)
        budget = Budget(BudgetConfig(), None, ledger)
        for number, error in enumerate(errors):
            ledger.start(f"t{number}", {})
            ledger.end(f"t{number}", error or None)
        return budget.hopeless()

    assert hopeless("no file /a/1", "no file /a/2") is None
    assert hopeless("no file /a/1", "no file /a/2", "no file /a/3") == "no file /a/1"
    assert hopeless("no file", "no memory", "no file") is None
    assert hopeless("", "no file", "no file", "no file") is None


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


def test_failures_before_a_restart_are_not_held_against_it() -> None:
    ledger = filled({"a": (), "b": (), "c": ()})
    budget = Budget(BudgetConfig(), None, ledger)
    assert budget.hopeless() is None


def test_the_live_view(tmp_path: Path) -> None:
    ledger = filled({"trial_00001": (0.5, 0.7, 0.6, 0.6), "trial_00002": ()})
    ledger.start("trial_00003", {"lr": 1.0})
    ledger.report("trial_00003", {"epoch": 1, "val_accuracy": 0.2, "early_stopped": 0.0})
    limits: dict[str, Any] = {"hours": 2, "gpu_hours": 9, "money": 20, "trials_without_improvement": 5}
    shown = View(ledger, Budget(BudgetConfig(**limits), 3.0, ledger), 8, lambda: 2, [1, 2])
    said = io.StringIO()
    Console(file=said, width=200).print(shown.render())
    lines = said.getvalue().splitlines()
    assert [line.split()[:4] for line in lines[1:3]] == [
        ["trial_00003", "1/4", "2", "0.2000"],
        ["trial_00001", "4/4", "0.7000", "2"],
    ]
    used = "0 of 2 hours, 0 of 9 GPU hours, 0.00 of 20 spent, 1 of 5 trials without improvement"
    for part in ("1 completed, 1 failed, 1 running of 8", "min left"):
        assert part in lines[-1]
    assert re.sub(r"\d\.?\d*e-\d+", "0", lines[-1]).split("  |  ")[1] == used


def test_trials_share_a_gpu_as_their_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one has it alone; then as many as fit, which nobody had to say."""
    monkeypatch.setattr(connect, "_nodes", lambda started: [connect.Node(16, 2, frozenset(), head=False)])
    monkeypatch.setattr(connect.ray._private.state.state, "get_max_resources_from_cluster_config", lambda: None)
    sweep = SweepConfig(resources=ResourcesConfig(gpus_per_worker="auto"))
    share = [0.0]
    room = connect.Room(sweep, 30, lambda: share[0], started_here=False)
    assert (room(), room.gpus()) == (1, 1.0)
    share[0], room.looked = 0.28, -1e9
    assert (room(), room.gpus()) == (6, pytest.approx(1 / 3))
    share[0], room.looked = 0.95, -1e9
    assert (room(), room.gpus()) == (2, 1.0)
    with pytest.raises(ValidationError, match="only trials with one worker can share a GPU"):
        SweepConfig(resources=ResourcesConfig(gpus_per_worker=0.5, workers_per_trial=2))


def test_how_much_memory_a_trial_takes_is_known_from_those_that_had_a_gpu_alone() -> None:
    ledger = Ledger("val_accuracy", "max", 1)
    for name, gpus, share in (("a", 1.0, 0.3), ("b", 0.5, 0.9), ("c", 1.0, 0.2)):
        ledger.start(name, {}, gpus)
        ledger.report(name, {"epoch": 1, "val_accuracy": 0.5, "early_stopped": 0.0, "memory_share": share})
    assert ledger.memory_share() == 0.3
