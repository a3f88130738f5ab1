"""What a new driver makes of the trials of one that was killed: each goes on, or has ended, as if nothing happened."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from lscht_ray.artifacts import places
from lscht_ray.artifacts.storage import Storage
from lscht_ray.cluster.driver import Ending, Search
from lscht_ray.errors import InputError
from lscht_ray.host.console import quiet_console
from lscht_ray.settings.sweep import AshaConfig, SweepConfig
from lscht_ray.settings.train import TrainConfig
from lscht_ray.sweep import judge, winner
from lscht_ray.sweep.folder import Sweep, settle
from lscht_ray.sweep.judge import Judge
from lscht_ray.sweep.ledger import Ledger
from lscht_ray.sweep.record import TrialRecord
from support.studies import new_study

CONFIG = SweepConfig(train=TrainConfig(max_epochs=4), asha=AshaConfig(grace_period=2), num_trials=3)
COUNTS = dict.fromkeys(("step", "unreadable", "micro_batch", "skipped_steps", "train_clips", "val_clips"), 1)


class Killed:
    """A driver that was killed: its study is in the folder, and what its trials wrote down of their epochs."""

    def __init__(self, folder: Path, config: SweepConfig = CONFIG) -> None:
        self.folder, self.config = folder, config
        self.study = new_study(folder, config, config.num_trials)
        self.ledger = Ledger(config.metric, config.mode, config.train.max_epochs, second=config.second_metric)
        self.judge = Judge(config, self.ledger, self.study)

    def trial(self, *scores: float, heard: int | None = None) -> str:
        """A trial wrote down these epochs, of which the driver heard the first so many (None: all)."""
        proposal = self.study.ask()
        assert proposal is not None
        self.ledger.start(proposal.trial_id, proposal.params)
        lines = []
        for epoch, score in enumerate(scores, start=1):
            best = max(scores[:epoch])
            metrics = {"epoch": epoch, "val_accuracy": score, "best_val_accuracy": best, "seconds": 1.0, **COUNTS}
            lines.append(json.dumps(metrics))
            if heard is None or epoch <= heard:
                self.judge.goes_on(proposal.trial_id, epoch, best)
                self.ledger.report(proposal.trial_id, metrics)
                self.study.report(proposal.trial_id, epoch, best)
        file = self.folder / places.trial(proposal.trial_id) / places.METRICS
        file.parent.mkdir(parents=True)
        file.write_text("".join(line + "\n" for line in lines))
        return proposal.trial_id

    def end(self, trial_id: str) -> None:
        self.ledger.end(trial_id)
        self.study.end(self.ledger.trials[trial_id], self.ledger)


def taken_up(folder: Path, config: SweepConfig = CONFIG) -> Search:
    """The next driver, before it starts Ray."""
    sweep = Sweep(config, folder, str(folder), config.num_trials)
    ledger = Ledger(
        config.metric, config.mode, config.train.max_epochs, second=config.second_metric, rungs=judge.rungs(config)
    )
    search = Search(sweep, Storage(str(folder)), ledger, quiet_console(), lambda said: 1)
    search.take_up()
    return search


def statuses(search: Search) -> list[str]:
    return [record.status for record in search.ledger.in_order()]


def goes_on(search: Search) -> list[str]:
    """The trials that are started again, before new ones."""
    names = []
    while (proposal := search.study.ask()) is not None and proposal.trial_id in search.ledger.trials:
        names.append(proposal.trial_id)
    return names


@pytest.mark.parametrize("heard", [4, 3])
def test_a_trial_whose_last_epoch_is_done_is_never_pruned(tmp_path: Path, heard: int) -> None:
    """Killed after a trial's last epoch, however weak it is: the undisturbed sweep would have called it completed."""
    driver = Killed(tmp_path)
    driver.end(driver.trial(0.5, 0.5, 0.9, 0.9))
    driver.trial(0.6, 0.6, 0.6, 0.6, heard=heard)  # good enough at the rung, epoch 2
    driver.trial(0.5)
    search = taken_up(tmp_path)
    assert statuses(search) == ["completed", "interrupted", "interrupted"]
    assert goes_on(search) == ["trial_00002", "trial_00003"]
    search.ledger.start("trial_00002", {})
    search.ledger.end("trial_00002")  # it has nothing left to do
    assert search.ledger.trials["trial_00002"].status == "completed"


def test_a_trial_that_was_judged_too_weak_just_before_is_pruned(tmp_path: Path) -> None:
    driver = Killed(tmp_path)
    driver.end(driver.trial(0.9, 0.9, 0.9, 0.9))
    driver.trial(0.1, 0.1)
    search = taken_up(tmp_path)
    assert statuses(search) == ["completed", "pruned"]
    assert goes_on(search) == []
    assert search.study.past()["trial_00002"].status == "pruned"
    assert search.ledger.trials["trial_00002"].seconds == pytest.approx(2.0, abs=0.1)


def test_an_epoch_that_nobody_heard_of_is_judged_now(tmp_path: Path) -> None:
    driver = Killed(tmp_path)
    driver.end(driver.trial(0.9, 0.9, 0.9, 0.9))
    driver.trial(0.1, 0.1, heard=1)
    driver.trial(0.95, 0.95, heard=1)
    search = taken_up(tmp_path)
    assert statuses(search) == ["completed", "pruned", "interrupted"]
    assert [row["rungs"] for row in search.ledger.summary()["trials"]] == [{2: 0.9}, {2: 0.1}, {2: 0.95}]


def test_a_trial_that_was_let_on_is_not_judged_again_by_what_came_later(tmp_path: Path) -> None:
    """At its rung it was the only one; those that came after it were better."""
    driver = Killed(tmp_path)
    driver.trial(0.2, 0.2)
    driver.end(driver.trial(0.9, 0.9, 0.9, 0.9))
    search = taken_up(tmp_path)
    assert statuses(search) == ["interrupted", "completed"]
    assert goes_on(search) == ["trial_00001"]


def test_with_two_objectives_only_the_last_epoch_is_judged(tmp_path: Path) -> None:
    """Optuna keeps no scores by epoch then."""
    config = SweepConfig(
        train=TrainConfig(max_epochs=4), asha=AshaConfig(grace_period=2), num_trials=3, second_metric="seconds"
    )
    driver = Killed(tmp_path, config)
    driver.end(driver.trial(0.9, 0.9, 0.9, 0.9))
    driver.trial(0.1, 0.1, 0.1, heard=0)  # at the rung it was let on, whatever the reason
    driver.trial(0.1, 0.1, heard=0)
    assert statuses(taken_up(tmp_path, config)) == ["completed", "interrupted", "pruned"]


def test_a_list_of_epochs_that_is_cut_off_is_read_up_to_there(tmp_path: Path) -> None:
    driver = Killed(tmp_path)
    name = driver.trial(0.5, 0.6)
    file = tmp_path / places.trial(name) / places.METRICS
    file.write_text(file.read_text()[:-20])
    search = taken_up(tmp_path)
    assert list(search.ledger.trials[name].epochs) == [1]


def test_a_trial_that_never_reported_begins_again(tmp_path: Path) -> None:
    driver = Killed(tmp_path)
    proposal: Any = driver.study.ask()
    search = taken_up(tmp_path)
    assert statuses(search) == ["interrupted"]
    assert goes_on(search) == [proposal.trial_id]


def test_what_a_trial_took_and_why_it_failed_outlives_its_driver(tmp_path: Path) -> None:
    """GPU hours, and so money, and the causes of failures; of a trial that was killed the seconds of its epochs."""
    driver = Killed(tmp_path)
    killed, failed = driver.trial(0.5, 0.5), driver.trial(0.5)
    driver.ledger.trials[failed].gpus, driver.ledger.trials[failed].before = 0.5, 7200.0
    driver.ledger.end(failed, "no memory")
    driver.study.end(driver.ledger.trials[failed], driver.ledger)
    search = taken_up(tmp_path)
    one, other = (search.ledger.trials[name] for name in (failed, killed))
    assert (one.status, one.error, one.gpus) == ("failed", "no memory", 0.5)
    assert one.gpu_hours == pytest.approx(1, abs=0.01)
    assert (other.status, other.seconds) == ("interrupted", pytest.approx(2, abs=0.5))
    assert other.origin == "train"


def test_an_epoch_that_nobody_heard_of_counts_by_the_best_until_there(tmp_path: Path) -> None:
    """A trial that was good before its rung is not pruned; and the study is told of that epoch's score."""
    driver = Killed(tmp_path)
    driver.end(driver.trial(0.8, 0.8, 0.8, 0.8))
    peaked = driver.trial(0.9, 0.1, heard=1)
    search = taken_up(tmp_path)
    assert statuses(search) == ["completed", "interrupted"]
    assert search.study.past()[peaked].scores == {1: 0.9, 2: 0.9}


def test_of_a_loss_the_smaller_one_goes_on_from_a_rung(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"metric": "val_loss", "mode": "min"})
    study = new_study(tmp_path, config, 3)
    ledger = Ledger("val_loss", "min", 4)
    rule = Judge(config, ledger, study)
    going_on = {}
    for score in (0.5, 0.9, 0.4):
        proposal = study.ask()
        assert proposal is not None
        ledger.start(proposal.trial_id, proposal.params)
        going_on[score] = rule.goes_on(proposal.trial_id, 2, score)
        ledger.report(proposal.trial_id, {"epoch": 2, "val_loss": score})
    assert going_on == {0.5: True, 0.9: False, 0.4: True}


def test_nothing_after_a_line_that_is_cut_off_is_read(tmp_path: Path) -> None:
    """A worker that started again elsewhere may have gone on in the same file."""
    driver = Killed(tmp_path)
    name = driver.trial(0.5, 0.6, 0.7)
    file = tmp_path / places.trial(name) / places.METRICS
    first, second, third = file.read_text().splitlines()
    file.write_text(f"{first}\n{second[:-20]}\n{third}\n")
    assert list(taken_up(tmp_path).ledger.trials[name].epochs) == [1]


@pytest.mark.parametrize(
    ("ending", "found_best", "code"),
    [
        (Ending(), True, 0),
        (Ending(), False, 1),
        (Ending(cause="no memory"), True, 1),
        (Ending(reason="budget.hours"), True, 0),
        (Ending(interrupted=signal.SIGINT), True, 130),
        (Ending(interrupted=signal.SIGHUP), True, 129),
        (Ending(lost="the Ray cluster is gone"), True, 1),
    ],
)
def test_the_exit_code_of_a_sweep(ending: Ending, found_best: bool, code: int) -> None:
    assert ending.exit_code(found_best=found_best) == code


def test_a_sweep_goes_on_with_a_larger_budget_but_not_with_another_search(tmp_path: Path) -> None:
    def settled(**changes: Any) -> int:
        config = SweepConfig.model_validate(CONFIG.model_dump() | changes)
        return settle(config, tmp_path, str(tmp_path), None, new=not (tmp_path / places.SWEEP).exists())

    settled(budget={"hours": 0.004})
    assert settled(budget={"hours": 1}, resources={"cpus_per_worker": 2}, max_failures=3) == CONFIG.num_trials
    with pytest.raises(InputError, match="metric: was val_accuracy, now val_loss"):
        settled(metric="val_loss", mode="min")


@pytest.mark.parametrize(
    ("written", "device"), [('{"device": "cuda:0"}', "cuda:0"), ('{"devi', "auto"), (None, "auto")]
)
def test_the_best_trials_settings_say_its_device_where_it_wrote_it_down(
    tmp_path: Path, written: str | None, device: str
) -> None:
    if written is not None:
        Storage(str(tmp_path)).write_text(f"{places.trial('trial_00001')}/{places.CONFIG}", written)
    settings = winner._settings(CONFIG, TrialRecord("trial_00001", {"lr": 2e-3}), Storage(str(tmp_path)), 3)
    assert (settings["device"], settings["num_classes"], settings["lr"]) == (device, 3, 2e-3)
    assert TrainConfig.model_validate(settings) == CONFIG.trial_config({"lr": 2e-3})
