"""Where the sweep touches what Optuna does not promise to keep; tests/test_internals.py checks each reach.

Read in Optuna 5.0.0.
"""

import copy
from collections.abc import Container
from typing import Any, cast

import optuna
from optuna.trial import FrozenTrial, TrialState


def running_trial(study: optuna.Study, trial: FrozenTrial) -> optuna.Trial:
    """The live object of a trial that another process began: ``Study.ask`` returns one only for a new trial.

    https://github.com/optuna/optuna/blob/v5.0.0/optuna/trial/_trial.py (``Trial.__init__``)
    """
    return optuna.Trial(study, cast(Any, trial)._trial_id)


def enqueued_params(trial: FrozenTrial) -> dict[str, Any]:
    """The settings that ``Study.enqueue_trial`` fixed for a trial, none of which may have been suggested yet.

    https://github.com/optuna/optuna/blob/v5.0.0/optuna/study/study.py (``enqueue_trial``)
    """
    return dict(trial.system_attrs.get("fixed_params") or {})


class EndlessGrid(optuna.samplers.GridSampler):
    """A grid whose end is asked for with ``is_exhausted``.

    Optuna's own ends ``Study.optimize`` after its last trial, and raises where nothing runs that.
    https://github.com/optuna/optuna/blob/v5.0.0/optuna/samplers/_grid.py (``after_trial``)
    """

    def after_trial(self, *arguments: Any) -> None:
        """Do nothing."""


class _AllCount:
    """A study in which pruned trials are complete, with the score that they ended with.

    https://github.com/optuna/optuna/blob/v5.0.0/optuna/study/study.py (``_get_trials``)
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        trials = cast(Any, self._study)._get_trials(deepcopy=deepcopy, use_cache=use_cache)
        counted = [_complete(trial) if trial.state is TrialState.PRUNED else trial for trial in trials]
        return [trial for trial in counted if states is None or trial.state in states]


def _complete(trial: FrozenTrial) -> FrozenTrial:
    """The same trial as complete, where it has a score."""
    if trial.values is None:
        return trial
    twin = copy.copy(trial)
    twin.state = TrialState.COMPLETE
    return twin


class _OfPruned(optuna.samplers.BaseSampler):
    """Has a sampler learn from pruned trials: under ASHA most are, and Optuna's own gp and cma ignore them.

    CMA-ES' ``consider_pruned_trials`` does the like, but finds no search space before a trial is complete.

    https://github.com/optuna/optuna/blob/v5.0.0/optuna/samplers/_gp/sampler.py and _cmaes.py (``sample_relative``)
    """

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, optuna.distributions.BaseDistribution]:
        """What is proposed together, by pruned trials as well."""
        taught = cast(Any, _AllCount(study))
        return super().infer_relative_search_space(taught, trial)  # type: ignore[safe-super]  # a sampler comes next

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, optuna.distributions.BaseDistribution],
    ) -> dict[str, Any]:
        """The next settings."""
        taught = cast(Any, _AllCount(study))
        return super().sample_relative(taught, trial, search_space)  # type: ignore[safe-super]  # a sampler comes next


class GPOfPruned(_OfPruned, optuna.samplers.GPSampler):
    """A Gaussian process that learns from pruned trials, too."""


class CmaEsOfPruned(_OfPruned, optuna.samplers.CmaEsSampler):
    """An evolution strategy that learns from pruned trials, too."""


def own_cma_state(sampler: optuna.samplers.CmaEsSampler, name: str) -> None:
    """Have a CMA-ES sampler keep its state under a name of its own, so that it never loads another process's pickle.

    https://github.com/optuna/optuna/blob/v5.0.0/optuna/samplers/_cmaes.py (``_attr_prefix``)
    """
    cast(Any, sampler)._attr_prefix = f"cma{name}:"
