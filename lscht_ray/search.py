"""Search space, Optuna sampler and ASHA scheduler from a SweepConfig."""

from typing import Any

import optuna
import ray.tune
from optuna import distributions
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from lscht_ray.sweepconfig import Dimension, SamplerConfig, SweepConfig

SCORE = "best_score"
"""What ASHA and Optuna see of an epoch: the best value of the sweep's metric so far in that trial."""


def distribution(dimension: Dimension) -> distributions.BaseDistribution:
    """Optuna's name for a searched range."""
    if dimension.choices is not None:
        return distributions.CategoricalDistribution(dimension.choices)
    assert dimension.low is not None and dimension.high is not None
    if dimension.type in ("int", "logint"):
        step = int(dimension.step or 1)
        low, high = int(dimension.low), int(dimension.high)
        return distributions.IntDistribution(low, high, log=dimension.type == "logint", step=step)
    log = dimension.type == "loguniform"
    return distributions.FloatDistribution(dimension.low, dimension.high, log=log, step=dimension.step)


def sampler(config: SamplerConfig) -> optuna.samplers.BaseSampler:
    """The sampler that proposes trials."""
    if config.type == "random":
        return optuna.samplers.RandomSampler(seed=config.seed)
    return optuna.samplers.TPESampler(
        seed=config.seed, multivariate=True, constant_liar=True, n_startup_trials=config.n_startup_trials
    )


def searcher(sweep: SweepConfig) -> OptunaSearch:
    """Optuna as Tune's search algorithm; its first point is the sweep's own settings."""
    return OptunaSearch(
        space={name: distribution(dimension) for name, dimension in sweep.search_space.items()},
        sampler=sampler(sweep.sampler),
        points_to_evaluate=[sweep.first_point()],
        metric=SCORE,
        mode=sweep.mode,
    )


class ReplayingASHA(ASHAScheduler):  # type: ignore[misc]  # Ray has no types
    """ASHA that knows its rungs after a restore: Tune doesn't save them (github.com/ray-project/ray/issues/30838).

    A trial that comes back with reported results has them entered into its bracket again.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.reported: dict[str, list[dict[str, Any]]] = {}

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Enter a trial, and what it reported before."""
        super().on_trial_add(tune_controller, trial)
        for result in self.reported.get(trial.trial_id, []):
            self._trial_info[trial.trial_id].on_result(trial, result[self._time_attr], result[self._metric])


def scheduler(sweep: SweepConfig) -> TrialScheduler:
    """ASHA over our own epochs, or nothing that stops trials.

    ``max_t`` is one more than the epochs: at the last one ASHA would end a trial that is about to end by itself, which
    ends Tune's driver with an error.
    """
    if not sweep.asha.enabled:
        return FIFOScheduler()
    return ReplayingASHA(
        time_attr="epoch",
        metric=SCORE,
        mode=sweep.mode,
        grace_period=sweep.asha.grace_period,
        reduction_factor=sweep.asha.reduction_factor,
        max_t=sweep.train.max_epochs + 1,
    )


def tune_config(sweep: SweepConfig, concurrent: int, name_trial: Any) -> ray.tune.TuneConfig:
    """How Tune runs the sweep. Metric and mode are known to searcher and scheduler: twice is an error."""
    return ray.tune.TuneConfig(
        search_alg=searcher(sweep),
        scheduler=scheduler(sweep),
        num_samples=sweep.num_trials,
        max_concurrent_trials=concurrent,
        trial_name_creator=name_trial,
        trial_dirname_creator=name_trial,
    )
