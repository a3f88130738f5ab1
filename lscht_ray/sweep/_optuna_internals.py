"""Where the sweep touches what Optuna does not promise to keep; tests/test_internals.py checks each reach.

Read in Optuna 5.0.0.
"""

from typing import Any, cast

import optuna
from optuna.trial import FrozenTrial


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


def own_cma_state(sampler: optuna.samplers.CmaEsSampler, name: str) -> None:
    """Have a CMA-ES sampler keep its state under a name of its own, so that it never loads another process's pickle.

    https://github.com/optuna/optuna/blob/v5.0.0/optuna/samplers/_cmaes.py (``_attr_prefix``)
    """
    cast(Any, sampler)._attr_prefix = f"cma{name}:"
