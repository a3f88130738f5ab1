"""Opens the study's database, and names in it what optuna-dashboard shows."""

import warnings

import optuna

from lscht_ray.errors import InputError
from lscht_ray.settings.sweep import SweepConfig

NAME = "sweep"


def opened(sweep: SweepConfig, url: str | None) -> optuna.Study:
    """The study in a database, which is made where it is not there yet.

    Args:
        sweep: The sweep's settings.
        url: Of the database; None: it is kept in memory.

    Raises:
        InputError: The database can't be used.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(storage=url, study_name=NAME, directions=sweep.directions(), load_if_exists=True)
        names: list[str] = [sweep.metric, *([sweep.second_metric] if sweep.second_metric else [])]
        if study.metric_names != names:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names(names)
    except Exception as error:  # whatever the driver of that database raises
        raise InputError(f"the study's database {url} can't be used: {str(error).splitlines()[0]}") from None
    return study
