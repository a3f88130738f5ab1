"""Every setting of a sweep: what all trials share, what is searched, and with which means."""

import contextlib
from graphlib import CycleError, TopologicalSorter
from typing import Any, ClassVar, Literal, cast

from pydantic import Field, NonNegativeFloat, ValidationError, model_validator

from lscht_ray.settings.complaints import complaints
from lscht_ray.settings.data import MisfitError, Settings
from lscht_ray.settings.space import Dimension, default_space
from lscht_ray.settings.synonyms import suggestion
from lscht_ray.settings.train import METRIC_MODES, Metric, TrainConfig, idle


class SamplerConfig(Settings):
    """How Optuna proposes trials."""

    type: Literal["tpe", "random", "grid", "qmc", "gp", "cma"] = "tpe"
    """tpe (multivariate, constant liar), random, grid (every combination), qmc (Sobol'), gp (a Gaussian process) or cma
    (CMA-ES); the last three need the extra `samplers`. gp and cma draw what has a `when` at random, cma choices too."""
    seed: int = Field(42, ge=0)
    """Seed of the proposals: with one trial at a time, the same seed gives the same trials."""
    n_startup_trials: int = Field(10, ge=1)
    """Random trials before tpe, gp and cma learn from those that have ended, pruned ones included."""


class BudgetConfig(Settings):
    """What a sweep may cost. When it is used up, trials end after the epoch that they are in."""

    hours: float | None = Field(None, gt=0)
    """Hours by the clock since this start of the sweep."""
    gpu_hours: float | None = Field(None, gt=0)
    """GPU hours of all trials: their time times their GPUs."""
    money: float | None = Field(None, gt=0)
    """Cost of the GPU hours, at train.gpu_hour_price."""
    trials_without_improvement: int | None = Field(None, ge=1)
    """Finished trials since the best one changed."""


class AshaConfig(Settings):
    """How the ASHA scheduler stops weak trials (its stopping variant; max_t is the run's max_epochs)."""

    grace_period: int = Field(3, ge=1)
    """Epochs that every trial gets."""
    reduction_factor: float = Field(2.0, ge=1.01)
    """Of the trials that reach a rung, one in reduction_factor goes on."""


class ResourcesConfig(Settings):
    """What each trial takes from the cluster."""

    workers_per_trial: int = Field(1, ge=1)
    """Ray Train workers per trial; the global batch is batch_size x accumulation x this."""
    gpus_per_worker: NonNegativeFloat | Literal["auto"] | None = None
    """GPUs per worker, of which several one-worker trials may share one (0.5: two); auto: as many share one as the
    memory that the first trial takes allows; null: 1 where the cluster has any, else 0."""
    cpus_per_worker: float = Field(1.0, gt=0)
    """CPUs per worker (threads for the model and its data workers)."""
    max_concurrent_trials: int | None = Field(None, ge=1)
    """Trials at a time at most; null: as many as fit."""
    accelerator_type: str | None = None
    """Ray's name of the GPU a worker must get, such as A100."""
    dashboard: bool = True
    """Whether a Ray that is started here has its dashboard (on this machine only); it costs some CPU."""
    address: str = "auto"
    """Ray cluster: HOST:PORT joins that one; auto joins the one that RAY_ADDRESS names, or that you started on this
    machine with `ray start`, else it starts one of its own; local always does."""

    @property
    def threads(self) -> int:
        """Threads of a worker for the model."""
        return max(1, int(self.cpus_per_worker))


LEARNERS = ("tpe", "gp", "cma")
"""Samplers that learn from the trials before."""


class SweepConfig(Settings):
    """The settings of a sweep: what all trials share, what is searched, and with which means."""

    SECTIONS: ClassVar[dict[str, str]] = {"train": "Sweep"}
    FIRST: ClassVar[tuple[str, ...]] = (
        "train.NAME", "search_space", "metric", "num_trials", "start_from", "budget.hours", "budget.gpu_hours",
        "resources.gpus_per_worker", "resources.cpus_per_worker", "storage_path",
    )  # fmt: skip

    train: TrainConfig = TrainConfig()
    """Settings shared by all trials; the first trial is exactly these."""
    search_space: dict[str, Dimension] = Field(default_factory=default_space)
    """Searched settings by name (any setting of `train`)."""
    metric: Metric = "val_accuracy"
    """What decides which epoch of a trial, and which trial, is the best."""
    mode: Literal["max", "min"] = Field(cast(Any, None))  # always set: `_mode_follows`
    """max or min: whether more or less of it is better. It follows from `metric` and may be left out."""
    second_metric: Literal["seconds", "val_calibration_error"] | None = None
    """A second thing to minimise: the trials that none beats in both are shown. `metric` alone stops weak trials.
    seconds: what a trial's best epoch took, training and validation; others on the same machine make it longer."""
    trial_seed: Literal["same", "per_trial"] = "same"
    """same: all trials have train.seed, so that they differ in their settings alone, and the sweep seeks what is best
    for that seed; per_trial: the first has train.seed, each further one the next number."""
    num_trials: int = Field(30, ge=1)
    """Trials in all (of a grid: at most)."""
    start_from: list[str] = Field(default_factory=list)
    """Tried first, after `train` as it stands: recipes or sweep files, run folders, sweep folders (their best)."""
    warm_start: str | None = None
    """An earlier sweep's folder, whose finished trials the sampler is told of."""
    sampler: SamplerConfig = SamplerConfig()
    """How trials are proposed."""
    trial_stopping: Literal["asha", "median", "none"] = "asha"
    """How weak trials are stopped: asha, median (worse than the median of the others at that epoch), or none."""
    asha: AshaConfig = AshaConfig()
    """ASHA's rungs; its grace period is also median's."""
    budget: BudgetConfig = BudgetConfig()
    """What the sweep may cost at most."""
    resources: ResourcesConfig = ResourcesConfig()
    """What a trial takes."""
    trial_runner: Literal["auto", "torch_trainer", "in_actor"] = "auto"
    """torch_trainer: each trial starts workers of its own (several, or one); in_actor: one-worker trials run one after
    the other in processes that stay, which saves about 10 s each; auto: in_actor for one worker without a GPU."""
    study_storage: str | None = None
    """Database of the Optuna study, such as postgresql://user@host/name; null: study.db (SQLite) in the folder."""
    max_failures: int = Field(1, ge=0)
    """Times a trial is restarted from its last checkpoint after a crash."""
    storage_path: str = Field("models/checkpoints", min_length=1)
    """Where the sweep folder is made; on several nodes a folder that all of them see, or a URI such as
    s3://bucket/folder."""

    @model_validator(mode="before")
    @classmethod
    def _mode_follows(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("mode") is not None:
            return values
        metric = values.get("metric", cls.model_fields["metric"].default)
        return {**values, "mode": METRIC_MODES.get(metric, "max") if isinstance(metric, str) else "max"}

    @model_validator(mode="before")
    @classmethod
    def _default_space_fits(cls, values: Any) -> Any:
        """Widen the search space that nobody chose so that it holds the lr of `train`, and no lr below its min_lr."""
        default = {name: dimension.model_dump() for name, dimension in default_space().items()}
        if not isinstance(values, dict) or values.get("search_space", default) != default:
            return values
        train = values.get("train", {})
        settings = train if isinstance(train, dict) else train.model_dump()
        lowest, lr = (settings.get(name, TrainConfig.model_fields[name].default) for name in ("min_lr", "lr"))
        with contextlib.suppress(TypeError, ValueError):  # TrainConfig complains of what is no number
            low, high = max(3e-6, float(lowest)), max(5e-4, float(lr))
            if float(lowest) <= float(lr):  # else TrainConfig complains
                default["lr"] |= {"low": low, "high": max(high, 2 * low)}
        return {**values, "search_space": default}

    @model_validator(mode="after")
    def _fits_together(self) -> "SweepConfig":
        problems = [(f"search_space.{name}", problem) for name, problem in self._space_problems()]
        if self.mode != METRIC_MODES[self.metric]:
            text = f"{self.mode} seeks the worst {self.metric}: set mode: {METRIC_MODES[self.metric]}"
            problems.append(("mode", text))
        grace, epochs = self.asha.grace_period, self.train.max_epochs
        if self.trial_stopping != "none" and grace > epochs:
            problems.append(("asha.grace_period", f"{grace} epochs must not be above train.max_epochs ({epochs})"))
        if not self.search_space:
            problems.append(("search_space", "name at least one setting to search"))
        if self.budget.money is not None and not self.train.gpu_hour_price:
            problems.append(("budget.money", "what does a GPU hour cost? Set train.gpu_hour_price"))
        if self.trial_runner == "in_actor" and self.resources.workers_per_trial > 1:
            problems.append(("trial_runner", "in_actor has one worker per trial; use torch_trainer for several"))
        if self.second_metric and self.warm_start:
            text = "another sweep's scores tell nothing of second_metric; leave out one of them"
            problems.append(("warm_start", text))
        gpus, workers = self.resources.gpus_per_worker, self.resources.workers_per_trial
        if workers > 1 and (gpus == "auto" or (isinstance(gpus, float) and 0 < gpus < 1)):
            problems.append(("resources.gpus_per_worker", "only trials with one worker can share a GPU"))
        if self.second_metric and self.sampler.type == "cma":
            problems.append(("sampler.type", "cma seeks one thing only; use tpe for two"))
        if problems:
            raise MisfitError([(where, f"{where}: {text}") for where, text in problems])
        return self

    def _space_problems(self) -> list[tuple[str, str]]:
        base = self.train.model_dump()
        problems = self._condition_problems()
        for name, dimension in self.search_space.items():
            if name not in TrainConfig.model_fields:
                problems.append((name, "is no setting of train" + suggestion(name, TrainConfig.model_fields)))
                continue
            if name in ("best_metric", "early_stopping_metric"):
                problems.append((name, f"it is the sweep's metric ({self.metric}) in every trial: set metric"))
                continue
            if dimension.choices is None and not isinstance(base[name], int | float):
                hint = f"a range needs a number for the first trial, and train.{name} is {base[name]!r}"
                problems.append((name, hint))
                continue
            if not dimension.when.keys() <= TrainConfig.model_fields.keys():
                continue
            for value in dimension.examples():
                try:
                    beside = {other: v[0] if isinstance(v, list) and v else v for other, v in dimension.when.items()}
                    TrainConfig.model_validate(_without_idle({**base, **beside, name: value}))
                except ValidationError as error:
                    problems.append((name, f"not all of it can be used: {next(complaints(TrainConfig, error)).text}"))
            if dimension.choices is not None and not dimension.when and base[name] not in dimension.choices:
                hint = f"add train.{name} ({base[name]!r}), which the first trial uses, or change train.{name}"
                problems.append((name, f"{dimension.choices} is without the baseline: {hint}"))
        lr, min_lr = (self.search_space.get(name) for name in ("lr", "min_lr"))
        if lr is not None and min_lr is not None and max(min_lr.examples()) > min(lr.examples()):
            problems.append(("min_lr", f"it reaches above the lowest lr ({min(lr.examples()):g}): lower its high"))
        return problems

    def _condition_problems(self) -> list[tuple[str, str]]:
        problems = []
        for name, dimension in self.search_space.items():
            for other in dimension.when:
                if other not in TrainConfig.model_fields:
                    hint = suggestion(other, TrainConfig.model_fields)
                    problems.append((f"{name}.when", f"{other} is no setting of train{hint}"))
            if self.sampler.type == "grid":
                if dimension.when:
                    problems.append((name, "a grid has every combination: it can't have `when`"))
                try:
                    dimension.values()
                except ValueError as error:
                    problems.append((name, str(error)))
        try:
            self.in_order()
        except ValueError as error:
            problems.append(("when", str(error)))
        return problems

    def in_vain(self) -> list[str]:
        """Return in sentences what can have no effect. A new sweep is refused for it; one that has begun goes on."""
        found = []
        for name, dimension in self.search_space.items():
            for other, wanted in dimension.conditions.items():
                if not any(self._can_be(other, value) for value in wanted):
                    text = f"{other} is never {dimension.when[other]!r}, so {name} would never be searched"
                    found.append(f"search_space.{name}.when: {text}")
        if self.sampler.type == "cma" and len(self._searched_together()) < 2:
            found.append("sampler.type: cma needs two numbers to search that have no `when`; use tpe or gp")
        return found

    def _can_be(self, name: str, value: Any) -> bool:
        """Whether a trial can have this value of a setting."""
        if value == getattr(self.train, name):
            return True
        dimension = self.search_space.get(name)
        if dimension is None:
            return False
        if dimension.choices is not None:
            return value in dimension.choices
        assert dimension.low is not None and dimension.high is not None
        return isinstance(value, int | float) and dimension.low <= value <= dimension.high

    def sampler_notes(self, num_trials: int) -> list[str]:
        """Return in sentences what the sampler draws at random, though it is one that learns."""
        kind, first = self.sampler.type, self.sampler.n_startup_trials
        if kind not in LEARNERS:
            return []
        if num_trials <= first:
            when = f"sampler {kind} learns after {first} trials (sampler.n_startup_trials)"
            return [f"{when}: all {num_trials} are random"]
        names = [name for name in self.search_space if kind != "tpe" and name not in self._searched_together()]
        what = "numbers" if kind == "cma" else "settings"
        return (
            [f"sampler {kind} draws {', '.join(names)} at random: it learns of {what} without `when`"] if names else []
        )

    def _searched_together(self) -> list[str]:
        """The settings that gp and cma learn of: those of all trials; cma of numbers only."""
        together = {name: dimension for name, dimension in self.search_space.items() if not dimension.when}
        return [name for name, dimension in together.items() if self.sampler.type == "gp" or dimension.choices is None]

    def in_order(self) -> list[str]:
        """Return the searched settings, each after those that its `when` names.

        Raises:
            ValueError: They wait for each other.
        """
        place = {name: number for number, name in enumerate(self.search_space)}
        waits = TopologicalSorter({name: set(d.when) & place.keys() for name, d in self.search_space.items()})
        try:
            waits.prepare()
        except CycleError as error:
            raise ValueError(f"{', '.join(sorted(set(error.args[1])))} wait for each other") from None
        ordered: list[str] = []
        while waits.is_active():
            ready = waits.get_ready()
            ordered += sorted(ready, key=place.__getitem__)
            waits.done(*ready)
        return ordered

    def is_searched(self, name: str, params: dict[str, Any]) -> bool:
        """Return whether a setting is searched where those before it (`in_order`) have these values."""
        conditions = self.search_space[name].conditions
        return all(params.get(other, getattr(self.train, other)) in wanted for other, wanted in conditions.items())

    def searched(self, params: dict[str, Any]) -> list[str]:
        """Return the settings that are searched where the others have these values."""
        names: list[str] = []
        for name in self.in_order():
            if self.is_searched(name, {key: params[key] for key in names if key in params}):
                names.append(name)
        return names

    def grid(self) -> dict[str, list[Any]]:
        """Return every value of every searched setting."""
        return {name: dimension.values() for name, dimension in self.search_space.items()}

    def directions(self) -> list[Literal["minimize", "maximize"]]:
        """Return what Optuna is to do with each objective."""
        best: Literal["minimize", "maximize"] = "maximize" if self.mode == "max" else "minimize"
        return [best, "minimize"] if self.second_metric else [best]

    def in_effect(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return the value of every searched setting in a trial, those too that are not searched in it (`when`)."""
        config = self.trial_config(params)
        return {name: getattr(config, name) for name in self.search_space}

    def first_point(self) -> dict[str, Any]:
        """Return the searched settings as `train` gives them: the baseline, and the first trial of every sweep."""
        values = {name: getattr(self.train, name) for name in self.search_space}
        return {name: values[name] for name in self.searched(values)}

    def trial_config(self, params: dict[str, Any], number: int = 1) -> TrainConfig:
        """Return the settings of the trial of that number (from 1) with these sampled values.

        Raises:
            pydantic.ValidationError: The values contradict each other.
        """
        fixed = {"best_metric": self.metric, "early_stopping_metric": self.metric, "checkpoint_every": 0}
        own = self.own_settings(number)
        return TrainConfig.model_validate(_without_idle({**self.train.model_dump(), **fixed, **own, **params}))

    def own_settings(self, number: int) -> dict[str, int]:
        """Return what the trial of that number (from 1) has of its own besides the searched settings."""
        return {"seed": self.train.seed + number - 1} if self.trial_seed == "per_trial" else {}

    def problem(self, params: dict[str, Any]) -> str | None:
        """Return why a trial can't have these sampled values; None: it can."""
        try:
            self.trial_config(params)
        except ValidationError as error:
            return next(complaints(TrainConfig, error)).text
        return None


def _without_idle(values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings, with those that have no effect beside the others at their defaults."""
    return values | {name: TrainConfig.model_fields[name].default for name, _, _ in idle(values)}
