"""The ledger of a sweep, its budget and its live view."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lscht_ray.settings.sweep import BudgetConfig, SweepConfig
from lscht_ray.sweep.budget import Budget
from lscht_ray.sweep.folder import Sweep
from lscht_ray.sweep.judge import new_ledger
from lscht_ray.sweep.ledger import Ledger
from lscht_ray.sweep.results import conclude
from lscht_ray.sweep.summary import Summary
from lscht_ray.sweep.view import View


def filled(values: dict[str, tuple[float, ...]], rungs: tuple[int, ...] = (), before: float = 0.0) -> Ledger:
    ledger = Ledger("val_accuracy", "max", 4, rungs=rungs)
    for name, scores in values.items():
        ledger.start(name, {"lr": 1.0}, gpus=0.5)
        ledger.trials[name].before = before
        for epoch, value in enumerate(scores, start=1):
            ledger.report(name, {"epoch": epoch, "val_accuracy": value, "early_stopped": 0.0, "val_clips": 100})
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


def test_the_best_trial_can_be_repeated_where_each_has_its_own_seed(tmp_path: Path) -> None:
    """Its settings are enough only together with its seed."""
    for how, seeds in (("same", {}), ("per_trial", {"trial_00001": 42, "trial_00002": 43})):
        sweep = SweepConfig.model_validate({"trial_seed": how, "train": {"max_epochs": 1}, "trial_stopping": "none"})
        ledger = new_ledger(sweep)
        for name, accuracy in (("trial_00001", 0.5), ("trial_00002", 0.6)):
            ledger.start(name, {"lr": 1e-4})
            ledger.report(name, {"epoch": 1, "val_accuracy": accuracy, "early_stopped": 0.0, "val_clips": 90})
            ledger.end(name)
        summary = ledger.summary()
        assert {row["trial_id"]: row["seed"] for row in summary["trials"] if "seed" in row} == seeds
        assert summary["best"].get("seed") == seeds.get("trial_00002")
        screen = Console(file=io.StringIO(), width=200)
        conclude(Sweep(sweep, tmp_path, str(tmp_path), 2), ledger, tmp_path / "best_model.pt", screen)
        said = screen.file.getvalue()  # type: ignore[attr-defined]
        assert ("--seed 43" in said) == ("┃ seed " in said) == (how == "per_trial")


def test_how_sure_the_best_is_the_best() -> None:
    ledger = filled({"a": (0.80,), "b": (0.77,), "c": (0.70,)})
    best = ledger.summary()["best"]
    assert best["standard_error"] == pytest.approx(0.04)  # sqrt(0.8 x 0.2 / 100)
    assert best["within_a_standard_error"] == ["b"]


def test_the_pareto_front() -> None:
    ledger = Ledger("val_accuracy", "max", 1, second="seconds")
    for name, accuracy, seconds in (("best", 0.9, 9.0), ("quick", 0.8, 1.0), ("beaten", 0.8, 2.0), ("worst", 0.1, 9.5)):
        ledger.start(name, {})
        ledger.report(name, {"epoch": 1, "val_accuracy": accuracy, "seconds": seconds, "early_stopped": 0.0})
        ledger.end(name)
    assert ledger.summary()["pareto_front"] == ["best", "quick"]


def test_budgets() -> None:
    def used_up(ledger: Ledger, **limits: Any) -> str:
        budget = Budget(BudgetConfig(**limits), 2.0, ledger)
        budget.began -= 7200
        return budget.used_up() or ""

    ledger = filled({"a": (0.9,), "b": (0.5,), "c": (0.6,)}, before=3600.0)
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


def test_settings_that_are_unfit_end_a_sweep_only_where_ten_trials_show_nothing_else() -> None:
    def hopeless(*statuses: str) -> str | None:
        ledger = Ledger("val_accuracy", "max", 1)
        budget = Budget(BudgetConfig(), None, ledger)
        for number, status in enumerate(statuses):
            ledger.start(f"t{number:02d}", {})
            error = None if status == "completed" else "the loss is nan"
            ledger.end(f"t{number:02d}", error, for_its_settings=status == "unfit")
        return budget.hopeless()

    assert hopeless(*["unfit"] * 9) is None
    assert hopeless(*["unfit"] * 10) == "the loss is nan"
    assert hopeless("completed", *["unfit"] * 12) is None
    assert hopeless(*["failed"] * 3) == "the loss is nan"


def test_failures_before_a_restart_are_not_held_against_it() -> None:
    ledger = filled({"a": (), "b": (), "c": ()})
    budget = Budget(BudgetConfig(), None, ledger)
    assert budget.hopeless() is None


def test_the_live_view(tmp_path: Path) -> None:
    ledger = filled({"trial_00001": (0.5, 0.7, 0.6, 0.6), "trial_00002": ()}, rungs=(1, 2))
    ledger.start("trial_00003", {"lr": 1.0})
    ledger.report("trial_00003", {"epoch": 1, "val_accuracy": 0.2, "early_stopped": 0.0})
    limits: dict[str, Any] = {"hours": 2, "gpu_hours": 9, "money": 20, "trials_without_improvement": 5}
    shown = View(ledger, Budget(BudgetConfig(**limits), 3.0, ledger), 8, lambda: 2)
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


def test_how_much_memory_a_trial_takes_is_known_from_those_that_had_a_gpu_alone() -> None:
    ledger = Ledger("val_accuracy", "max", 1)
    for name, gpus, share in (("a", 1.0, 0.3), ("b", 0.5, 0.9), ("c", 1.0, 0.2)):
        ledger.start(name, {}, gpus)
        ledger.report(name, {"epoch": 1, "val_accuracy": 0.5, "early_stopped": 0.0, "memory_share": share})
    assert ledger.memory_share() == 0.3


def test_the_summary_has_each_trials_rungs() -> None:
    """The best epoch up to a rung, for every rung that the trial came to; each rung once."""
    rows = filled({"a": (0.5, 0.7, 0.6, 0.6), "b": (0.2,)}, rungs=(1, 3)).summary()["trials"]
    assert [row["rungs"] for row in rows] == [{1: 0.5, 3: 0.7}, {1: 0.2}]


def epoch(number: int, **values: float) -> dict[str, Any]:
    return {"epoch": number, "val_loss": 0.5, "seconds": 1.0, "early_stopped": 0.0, **values}


@pytest.mark.parametrize(
    ("epochs", "patience", "error", "cut_short", "status"),
    [
        (2, False, None, False, "pruned"),
        (2, False, None, True, "interrupted"),
        (2, True, None, True, "early_stopped"),
        (4, True, None, False, "early_stopped"),  # patience ended it at the last epoch
        (4, False, None, True, "completed"),
        (4, False, "why", False, "failed"),
    ],
)
def test_how_a_trial_ended(epochs: int, patience: bool, error: str | None, cut_short: bool, status: str) -> None:
    ledger = Ledger("val_loss", "min", 4)
    ledger.start("a", {})
    for number in range(1, epochs + 1):
        ledger.report("a", epoch(number, early_stopped=float(patience and number == epochs)))
    ledger.end("a", error, cut_short=cut_short)
    assert ledger.trials["a"].status == status


def test_seconds_and_gpu_hours_add_up_over_restarts_and_rest_in_between() -> None:
    ledger = Ledger("val_loss", "min", 4)
    ledger.start("a", {}, gpus=2.0)
    for seconds in (3600.0, 1800.0):
        ledger.start("a", {}, gpus=2.0)
        ledger.trials["a"].started -= seconds
        ledger.end("a", "why")
        ledger.trials["a"].started -= 99999.0  # long ago
        assert ledger.trials["a"].ended is not None
        ledger.trials["a"].ended -= 99999.0
    assert ledger.trials["a"].seconds == pytest.approx(5400, abs=5)
    assert ledger.gpu_hours == pytest.approx(3, abs=0.01)


def test_one_trial_is_interrupted_or_all_that_run() -> None:
    ledger = Ledger("val_loss", "min", 4)
    for name in "abc":
        ledger.start(name, {})
    ledger.end("c")
    ledger.interrupt("a")
    assert [record.status for record in ledger.in_order()] == ["interrupted", "running", "pruned"]
    assert [record.trial_id for record in ledger.ended()] == ["c"]
    ledger.interrupt()
    assert [record.status for record in ledger.in_order()] == ["interrupted", "interrupted", "pruned"]


def test_of_a_loss_less_is_better_everywhere() -> None:
    ledger = Ledger("val_loss", "min", 4, second="seconds", rungs=(2,))
    for name, losses, seconds in (
        ("a", (0.9, 0.4, 0.6), 1.0),
        ("b", (0.4, 0.4, 0.5), 2.0),
        ("c", (0.3, 0.9, 0.9), 3.0),
    ):
        ledger.start(name, {})
        for number, loss in enumerate(losses, start=1):
            ledger.report(name, epoch(number, val_loss=loss, seconds=seconds))
        ledger.end(name)
    summary = ledger.summary()
    assert summary["best"]["trial_id"] == "c"
    assert [row["metrics"]["epoch"] for row in summary["trials"]] == [2, 1, 1]  # of equal epochs the earliest
    assert [row["rungs"] for row in summary["trials"]] == [{2: 0.4}, {2: 0.4}, {2: 0.3}]
    assert summary["pareto_front"] == ["c", "a"]
    assert ledger.scores_at(2, without="c") == [0.4, 0.4]


@pytest.mark.parametrize("metric", ["val_accuracy", "val_top5_accuracy"])
def test_accuracies_have_a_standard_error_and_losses_none(metric: str) -> None:
    ledger = Ledger(metric, "max", 1)
    assert ledger.standard_error({metric: 0.8, "val_clips": 100}) == pytest.approx(0.04)
    assert Ledger("val_loss", "min", 1).standard_error({"val_loss": 0.8, "val_clips": 100}) is None


def test_a_report_is_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger("val_loss", "min", 4)
    ledger.start("a", {})
    ledger.trials["a"].heard = 0.0
    ledger.report("a", epoch(1))
    assert ledger.trials["a"].heard > 0


def test_a_trial_that_its_own_patience_ended_counts_at_later_rungs() -> None:
    """With the score that it ended with; another that was stopped at the first rung has not come to the second."""
    ledger = Ledger("val_accuracy", "max", 8, rungs=(2, 4))
    for name, scores, patience in (("patient", (0.5, 0.7), 1.0), ("stopped", (0.1, 0.2), 0.0)):
        ledger.start(name, {})
        for number, value in enumerate(scores, start=1):
            metrics = {"epoch": number, "val_accuracy": value, "early_stopped": patience * (number == 2)}
            ledger.report(name, metrics)
        ledger.end(name)
    assert (ledger.scores_at(2), ledger.scores_at(4)) == ([0.7, 0.2], [0.7])


@given(st.data())
def test_what_is_kept_as_epochs_come_is_what_all_epochs_say(data: st.DataObject) -> None:
    """Best epochs, scores, leader and counts, in any order of starts, reports, repeated epochs and ends."""
    higher = data.draw(st.booleans())
    ledger = Ledger("val_accuracy", "max" if higher else "min", 6)
    names = ["a", "b", "c"]
    for name in names:
        ledger.start(name, {}, gpus=1.0)
    for _ in range(data.draw(st.integers(0, 25))):
        name, action = data.draw(st.sampled_from(names)), data.draw(st.integers(0, 9))
        record = ledger.trials[name]
        if action == 0 and record.status == "running":
            ledger.end(name, data.draw(st.sampled_from([None, "why"])))
        elif action == 1:
            ledger.start(name, {})
        else:
            number = max(record.epochs, default=0) + (action > 2) or 1
            value = data.draw(st.integers(0, 5)) / 5
            ledger.report(name, {"epoch": number, "val_accuracy": value, "early_stopped": 0.0})
        ledger.leader()
        for record in ledger.trials.values():
            sign = -1 if higher else 1
            order = sorted(record.epochs.values(), key=lambda m: (sign * m["val_accuracy"], m["epoch"]))
            assert ledger.best_epoch(record) == (order[0] if order else None)
            for upto in range(8):
                known = [m["val_accuracy"] for number, m in record.epochs.items() if number <= upto]
                assert ledger.score(record, upto) == ((max if higher else min)(known) if known else None)
        assert ledger.leader() is next(iter(ledger.ranking()), None)
        assert {r.trial_id for r in ledger.running()} == {n for n, r in ledger.trials.items() if r.status == "running"}
        assert len(ledger.ended()) == 3 - len(ledger.running())
        assert ledger.gpu_hours == pytest.approx(sum(r.gpu_hours for r in ledger.trials.values()), abs=1e-3)


def test_the_summary_is_written_now_and_then_and_never_forgotten(tmp_path: Path) -> None:
    ledger, now = filled({"a": (0.5,)}), [0.0]
    summary = Summary(ledger, tmp_path, lambda: now[0])

    def written() -> int | None:
        file = tmp_path / "summary.json"
        found = len(json.loads(file.read_text())["trials"]) if file.is_file() else None
        file.unlink(missing_ok=True)
        return found

    summary.keep_up()
    assert written() is None  # nothing has changed
    summary.changed()
    assert written() == 1
    ledger.start("b", {})
    summary.changed()
    assert written() is None  # it was written a moment ago
    now[0] = 10.0
    summary.keep_up()
    assert written() == 2
    summary.keep_up()
    assert written() is None
