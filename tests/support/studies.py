"""Studies and ledgers as a driver has them, without a cluster."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.sweep import firsts
from lscht_ray.sweep.judge import Judge, rungs
from lscht_ray.sweep.ledger import Ledger
from lscht_ray.sweep.record import Status, TrialRecord
from lscht_ray.sweep.study import Study


def new_study(folder: Path | None, sweep: SweepConfig, num_trials: int = 20) -> Study:
    """The study in a folder, or in memory: a new one knows what to try first."""
    study = Study(sweep, f"sqlite:///{folder / 'study.db'}" if folder is not None else None, num_trials)
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


def simulated(study: Study, curve: Callable[[dict[str, Any]], list[float]], fails: bool = False) -> Ledger:
    """Run all trials one after the other, each as a list of scores; where one is shorter, the trial then proves unfit.

    ``fails``: It fails instead, as if its machine were to blame.
    """
    sweep = study.sweep
    ledger = Ledger(sweep.metric, sweep.mode, sweep.train.max_epochs, rungs=rungs(sweep))
    judge = Judge(sweep, ledger, study)
    while (proposal := study.ask()) is not None:
        name, scores, best, stopped = proposal.trial_id, curve(proposal.params), float("-inf"), False
        ledger.start(name, proposal.params)
        for epoch, score in enumerate(scores, start=1):
            best = max(best, score)
            stopped = not judge.goes_on(name, epoch, best)
            ledger.report(name, {"epoch": epoch, sweep.metric: score, "early_stopped": 0.0})
            study.report(name, epoch, best)
            if stopped:
                break
        diverged = not stopped and len(scores) < sweep.train.max_epochs
        ledger.end(name, "the loss is nan" if diverged else None, for_its_settings=not fails)
        study.end(ledger.trials[name], ledger)
    return ledger
