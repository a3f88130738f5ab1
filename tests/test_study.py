"""Search spaces, the study and its samplers."""

import json
import math
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from pydantic import ValidationError

from lscht_ray.errors import InputError
from lscht_ray.settings.space import Dimension
from lscht_ray.settings.sweep import AshaConfig, SamplerConfig, SweepConfig
from lscht_ray.settings.train import TrainConfig
from lscht_ray.sweep import firsts, study
from lscht_ray.sweep._samplers import Samplers
from lscht_ray.sweep.ledger import Ledger
from lscht_ray.sweep.record import Status
from lscht_ray.sweep.study import Study
from support.studies import end, new_study, simulated


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


def run_some(made: Study, count: int, status: Status = "completed") -> list[dict[str, Any]]:
    """Ask for trials and tell a result that depends on their settings alone."""
    asked = []
    for _ in range(count):
        proposal = made.ask()
        assert proposal is not None
        asked.append({"trial_id": proposal.trial_id, **proposal.params})
        score = 1 - abs(float(proposal.params["lr"]) - 1e-4) * 1e3
        made.report(proposal.trial_id, 1, score)
        end(made, proposal.trial_id, status, score)
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
        end(made, proposal.trial_id, "completed", 0.5)
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
    statuses: tuple[Status, ...] = ("completed", "pruned", "failed", "early_stopped", "interrupted")
    for status in statuses:
        proposal = made.ask()
        assert proposal is not None
        for epoch in (1, 2, 2):  # the last one again, after a restart
            made.report(proposal.trial_id, epoch, epoch / 10)
        failed = status == "failed"
        end(made, proposal.trial_id, status, None if failed else 0.2, "why" if failed else "")
    kept = optuna.load_study(study_name="sweep", storage=f"sqlite:///{tmp_path / 'study.db'}").trials
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
    end(again, "trial_00005", "completed", 0.3)
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
    others = {"weight_decay": 0.1, "label_smoothing": 0.2}
    trials = [
        {
            "trial_id": f"trial_{n:05d}",
            "params": {"lr": lr, **others},
            "status": status,
            "epochs": n,
            "metrics": {"val_accuracy": n / 10},
        }
        for n, lr, status in (
            (1, 2e-4, "completed"),
            (2, 3e-4, "failed"),
            (3, 0.9, "pruned"),  # outside of this space
            (4, 4e-4, "pruned"),
            (5, 5e-4, "interrupted"),
            (6, 6e-4, "unfit"),
            (7, 7e-4, "early_stopped"),
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
    assert made.learn(firsts.warm_start(str(earlier), "val_accuracy")) == 4
    assert made.learn(firsts.warm_start(str(earlier), "val_accuracy")) == 0  # told once
    told = {trial.params["lr"]: trial for trial in made.study.trials if trial.state.is_finished()}
    assert {lr: (trial.state, trial.value, trial.last_step) for lr, trial in told.items()} == {
        2e-4: (TrialState.COMPLETE, 0.1, 1),
        4e-4: (TrialState.PRUNED, 0.4, 4),
        6e-4: (TrialState.PRUNED, 0.6, 6),
        7e-4: (TrialState.COMPLETE, 0.7, 7),
    }
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


def test_two_objectives_in_the_study(tmp_path: Path) -> None:
    sweep = SweepConfig(second_metric="seconds")
    made = new_study(tmp_path, sweep)
    run_some(made, 12)
    assert all(len(trial.values) == 2 for trial in made.study.trials)
    assert made.study.best_trials


def test_where_a_trial_comes_from_is_known_however_often_it_was_interrupted(tmp_path: Path) -> None:
    for _ in range(3):
        driver = new_study(tmp_path, SweepConfig())
        proposal = driver.ask()
        assert proposal is not None
        assert (proposal.trial_id, proposal.origin) == ("trial_00001", "train")
        end(driver, proposal.trial_id, "interrupted", 0.5)


def climbing(params: dict[str, Any]) -> list[float]:
    """Eight epochs towards an accuracy that falls with the distance from lr 1e-4 (in powers of ten)."""
    away = abs(math.log10(params["lr"]) + 4)
    return [(0.9 - 0.3 * away) * (1 - 0.5**epoch) for epoch in range(1, 9)]


def asha_sweep(kind: str, **train: Any) -> SweepConfig:
    space = {
        "lr": Dimension(type="loguniform", low=3e-6, high=1e-2),
        "weight_decay": Dimension(type="loguniform", low=0.005, high=0.3),
    }
    given: dict[str, Any] = {"max_epochs": 8, "lr": 5e-3, **train}
    asha = AshaConfig(grace_period=2, reduction_factor=2)
    return SweepConfig(
        train=TrainConfig(**given), search_space=space, asha=asha, sampler=SamplerConfig(type=kind, seed=3)
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["tpe", "gp", "cma"])
def test_every_sampler_learns_from_the_trials_that_asha_stops(kind: str) -> None:
    """Few trials are complete under ASHA: a sampler that learned from those alone proposed what random does."""
    found = {}
    for name in (kind, "random"):
        ledger = simulated(new_study(None, asha_sweep(name), 30), climbing)
        found[name] = [record.params for record in ledger.in_order()]
    counts = Counter(record.status for record in ledger.trials.values())
    assert counts["completed"] < 10 < counts["pruned"]
    assert not [a for a, b in zip(found[kind][11:], found["random"][11:], strict=True) if a == b]
    away = {name: np.median([abs(math.log10(p["lr"]) + 4) for p in tried[20:]]) for name, tried in found.items()}
    assert away[kind] < 0.7 * away["random"]


@pytest.mark.parametrize(("epochs", "kind"), [(0, "tpe"), (1, "tpe"), (0, "gp")])
def test_where_training_diverges_is_not_proposed_again_and_again(epochs: int, kind: str) -> None:
    """Above lr 1e-4 trials end with a loss that is not finite, from the start or after an epoch."""

    def diverging(params: dict[str, Any]) -> list[float]:
        return [0.2] * epochs if params["lr"] > 1e-4 else climbing(params)

    diverged = {}
    for fails in (True, False):
        study = new_study(None, asha_sweep(kind), 40)
        ledger = simulated(study, diverging, fails)
        diverged[fails] = sum(bool(record.error) for record in ledger.in_order()[10:])
        states = {trial.user_attrs["trial_id"]: trial.state for trial in study.study.trials}
        for record in ledger.trials.values():
            if record.error:
                assert states[record.trial_id] is (TrialState.FAIL if fails else TrialState.PRUNED)
    assert diverged[False] <= 13
    assert diverged[False] < 0.7 * diverged[True]


def test_of_a_loss_unfit_trials_reached_the_worst_that_any_has(tmp_path: Path) -> None:
    study = new_study(tmp_path, SweepConfig(metric="val_loss"))
    ledger = Ledger("val_loss", "min", 4)
    for name, error in (("trial_00001", None), ("trial_00002", "the loss is nan")):
        proposal = study.ask()
        assert proposal is not None
        ledger.start(name, proposal.params)
        if error is None:
            ledger.report(name, {"epoch": 1, "val_loss": 2.5, "early_stopped": 0.0})
        ledger.end(name, error, for_its_settings=True)
        study.end(ledger.trials[name], ledger)
    last = study.study.trials[-1] if study.study.trials[-1].state.is_finished() else study.study.trials[1]
    assert (last.state, last.intermediate_values) == (TrialState.PRUNED, {0: 2.5})


def test_in_a_sweep_patience_watches_what_trials_are_judged_by() -> None:
    sweep = SweepConfig(metric="val_mean_class_accuracy")
    assert sweep.trial_config({"lr": 1e-4}).early_stopping_metric == "val_mean_class_accuracy"
    assert sweep.trial_config({"lr": 1e-4}).best_metric == "val_mean_class_accuracy"
    choices = {"early_stopping_metric": Dimension(type="choice", choices=["val_loss", "val_accuracy"])}
    with pytest.raises(ValidationError, match=r"it is the sweep's metric \(val_accuracy\) in every trial"):
        SweepConfig(search_space=choices)


def test_what_can_have_no_effect_is_named() -> None:
    lr, mixup = Dimension(type="loguniform", low=1e-5, high=1e-3), Dimension(type="choice", choices=[0.0, 0.8])

    def sweep(kind: str, **searched: Dimension) -> SweepConfig:
        return SweepConfig.model_validate({"sampler": {"type": kind}, "search_space": {"lr": lr, **searched}})

    def probability(wanted: object, name: str = "mixup") -> Dimension:
        return Dimension(type="uniform", low=0.2, high=1, when={name: wanted})

    never = sweep("tpe", mixup=mixup, mix_probability=probability([0.5, 0.7]), cutmix=probability(0.1, "mixup"))
    assert never.in_vain() == [
        "search_space.mix_probability.when: mixup is never [0.5, 0.7], so mix_probability would never be searched",
        "search_space.cutmix.when: mixup is never 0.1, so cutmix would never be searched",
    ]
    assert len(sweep("tpe", mix_probability=probability(0.8)).in_vain()) == 1  # train.mixup is 0, and not searched
    assert sweep("tpe", mixup=mixup, mix_probability=probability([0.5, 0.8])).in_vain() == []
    assert sweep("gp", mixup=mixup).in_vain() == []
    assert "cma needs two numbers" in sweep("cma", mixup=mixup).in_vain()[0]


def test_what_a_sampler_draws_at_random_is_said() -> None:
    def notes(kind: str, num_trials: int) -> list[str]:
        space = {
            "lr": {"type": "loguniform", "low": 1e-5, "high": 1e-3},
            "weight_decay": {"type": "loguniform", "low": 1e-3, "high": 1e-1},
            "mixup": {"type": "choice", "choices": [0.0, 0.8]},
            "mix_probability": {"type": "uniform", "low": 0.2, "high": 1, "when": {"mixup": 0.8}},
        }
        sweep = SweepConfig.model_validate({"sampler": {"type": kind}, "search_space": space})
        return sweep.sampler_notes(num_trials)

    few = "sampler {} learns after 10 trials (sampler.n_startup_trials): all 10 are random"
    assert [notes(kind, 10) for kind in ("tpe", "gp", "cma", "random", "qmc")] == [
        *([few.format(kind)] for kind in ("tpe", "gp", "cma")), [], []
    ]  # fmt: skip
    assert notes("tpe", 11) == []
    assert notes("gp", 11) == ["sampler gp draws mix_probability at random: it learns of settings without `when`"]
    assert notes("cma", 11) == [
        "sampler cma draws mixup, mix_probability at random: it learns of numbers without `when`"
    ]


def test_trials_have_one_seed_or_each_its_own(tmp_path: Path) -> None:
    """The first trial is the baseline as it stands; one that goes on after a restart keeps its seed."""
    for how, seeds in (("same", [7, 7, 7]), ("per_trial", [7, 8, 9])):
        folder = tmp_path / how
        folder.mkdir()
        sweep = SweepConfig(train=TrainConfig(seed=7), trial_seed=how)  # type: ignore[arg-type]
        study = new_study(folder, sweep)
        proposals = [study.ask() for _ in range(3)]
        assert [proposal.config.seed for proposal in proposals if proposal] == seeds
        again = new_study(folder, sweep).ask()
        assert again is not None and again.config.seed == seeds[0]


def test_the_dashboard_finds_the_metrics_by_their_names(tmp_path: Path) -> None:
    """optuna-dashboard shows these, and the trials' own names among their attributes."""
    for name, second, names in (
        ("one", None, ["val_accuracy"]),
        ("two", "seconds", ["val_accuracy", "seconds"]),
    ):
        (tmp_path / name).mkdir()
        made = new_study(tmp_path / name, SweepConfig(second_metric=second))  # type: ignore[arg-type]
        assert made.study.metric_names == names
        made.ask()
        assert made.study.get_trials()[0].user_attrs["trial_id"] == "trial_00001"
        assert new_study(tmp_path / name, SweepConfig(second_metric=second)).study.metric_names == names  # type: ignore[arg-type]


def test_settings_that_a_trial_does_not_search_have_a_value_too() -> None:
    space = {
        "mixup": Dimension(type="choice", choices=[0.0, 0.8]),
        "mix_probability": Dimension(type="uniform", low=0.2, high=1.0, when={"mixup": 0.8}),
        "lr": Dimension(type="loguniform", low=1e-5, high=1e-3),
    }
    sweep = SweepConfig(search_space=space)
    assert sweep.in_effect({"mixup": 0.0, "lr": 2e-4}) == {"mixup": 0.0, "mix_probability": 1.0, "lr": 2e-4}
    whole = {"mixup": 0.8, "mix_probability": 0.5, "lr": 2e-4}
    assert sweep.in_effect(whole) == whole
