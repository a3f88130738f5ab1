"""Studies and ledgers as a driver has them, without a cluster."""

from pathlib import Path

from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.sweep import firsts
from lscht_ray.sweep.ledger import Ledger, Status, TrialRecord
from lscht_ray.sweep.study import Study


def new_study(folder: Path, sweep: SweepConfig, num_trials: int = 20) -> Study:
    """The study in a folder: a new one knows what to try first."""
    study = Study(sweep, f"sqlite:///{folder / 'study.db'}", num_trials)
    if study.is_new():
        study.enqueue(firsts.points(sweep))
    return study


def end(study: Study, trial_id: str, status: Status, score: float | None, error: str = "") -> None:
    """A trial of one epoch ends so; without a score it reported nothing."""
    sweep = study.sweep
    ledger = Ledger(sweep.metric, sweep.mode, sweep.train.max_epochs, second=sweep.second_metric)
    metrics = {"epoch": 1, sweep.metric: score, "seconds": 1.0, "val_calibration_error": 0.1}
    epochs = {} if score is None else {1: metrics}
    study.end(TrialRecord(trial_id, {}, status=status, epochs=epochs, error=error, ended=0.0), ledger)
