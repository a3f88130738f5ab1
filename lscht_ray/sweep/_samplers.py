"""Optuna's samplers, by the names of the settings."""

import uuid
import warnings
from importlib.util import find_spec

import optuna

from lscht_ray.errors import InputError
from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.sweep import _optuna_internals

NEEDS = {"qmc": ("scipy",), "gp": ("scipy",), "cma": ("scipy", "cmaes")}
"""Libraries that a sampler needs beyond Optuna's own requirements; the extra `samplers` brings them."""


class Samplers:
    """The sampler for each trial.

    What it draws depends on the seed, the trial's number and the trials before, and on nothing that only the driver
    remembers: a sweep that is resumed proposes what it would have proposed.
    """

    def __init__(self, sweep: SweepConfig) -> None:
        self.sweep, self.config = sweep, sweep.sampler
        missing = [name for name in NEEDS.get(self.config.type, ()) if find_spec(name) is None]
        if missing:
            raise InputError(
                f'sampler.type {self.config.type} needs {" and ".join(missing)}: pip install "lscht_ray[samplers]"'
            )
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self._kept = self._whole_sweep()

    def for_trial(self, number: int, attempt: int = 0) -> optuna.samplers.BaseSampler:
        """The sampler that proposes a trial; ``attempt`` counts proposals for it that could not be used."""
        if self._kept is not None:
            return self._kept
        seed = (self.config.seed * 1_000_003 + number * 1_009 + attempt) % 2**32
        if self.config.type == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if self.config.type == "gp":
            return _optuna_internals.GPOfPruned(seed=seed, n_startup_trials=self.config.n_startup_trials)
        return optuna.samplers.TPESampler(
            seed=seed,
            multivariate=True,
            group=any(dimension.when for dimension in self.sweep.search_space.values()),
            constant_liar=True,
            n_startup_trials=self.config.n_startup_trials,
        )

    def at_an_end(self, study: optuna.Study) -> bool:
        """Whether a grid has no combination left."""
        return isinstance(self._kept, _optuna_internals.EndlessGrid) and self._kept.is_exhausted(study)

    def _whole_sweep(self) -> optuna.samplers.BaseSampler | None:
        """A sampler whose proposals build on each other: grid, low-discrepancy sequence or evolution; else None."""
        if self.config.type == "grid":
            return _optuna_internals.EndlessGrid(self.sweep.grid(), seed=self.config.seed)
        if self.config.type == "qmc":
            return optuna.samplers.QMCSampler(seed=self.config.seed, scramble=True)
        if self.config.type == "cma":
            # Optuna keeps CMA-ES' state as a pickle in the database, which anybody who can write there could replace:
            # a sweep that is resumed begins with a new distribution instead of loading one.
            sampler = _optuna_internals.CmaEsOfPruned(
                seed=self.config.seed, n_startup_trials=self.config.n_startup_trials
            )
            _optuna_internals.own_cma_state(sampler, uuid.uuid4().hex[:8])
            return sampler
        return None
