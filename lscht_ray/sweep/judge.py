"""Stops weak trials: applies the sweep's rule to what the ledger knows, and has the study remember who was stopped."""

from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.sweep import asha
from lscht_ray.sweep.ledger import Ledger
from lscht_ray.sweep.study import Study


def rungs(sweep: SweepConfig) -> list[int]:
    """The epochs at which ASHA stops trials; none where something else stops them."""
    if sweep.trial_stopping != "asha":
        return []
    return asha.ladder(sweep.asha.grace_period, sweep.asha.reduction_factor, sweep.train.max_epochs)


def new_ledger(sweep: SweepConfig) -> Ledger:
    """The ledger of a sweep, without a trial yet."""
    return Ledger(
        sweep.metric,
        sweep.mode,
        sweep.train.max_epochs,
        second=sweep.second_metric,
        rungs=rungs(sweep),
        own_settings=sweep.own_settings,
    )


class Judge:
    """Decides after each epoch of a trial whether it goes on."""

    def __init__(self, sweep: SweepConfig, ledger: Ledger, study: Study) -> None:
        self.sweep, self.ledger, self.study = sweep, ledger, study
        self.rungs = rungs(sweep)

    def goes_on(self, trial_id: str, epoch: int, score: float) -> bool:
        """Whether a trial goes on; the study is told of one that doesn't before anybody stops it.

        An epoch that the ledger has heard of before was judged before: a restarted trial repeats it.

        Args:
            trial_id: The trial.
            epoch: The epoch that it has finished, from 1.
            score: The best value of the sweep's metric in the trial so far.
        """
        record = self.ledger.trials.get(trial_id)
        if record is not None and epoch in record.epochs:
            return True
        higher, factor = self.sweep.mode == "max", self.sweep.asha.reduction_factor
        good = True
        if self.sweep.trial_stopping == "median" and epoch >= self.sweep.asha.grace_period:
            others = self.ledger.scores_at(epoch, without=trial_id)
            good = asha.as_good_as_the_median(score, others, higher_is_better=higher)
        elif epoch in self.rungs:
            others = self.ledger.scores_at(epoch, without=trial_id)
            good = asha.among_the_best(score, others, factor, higher_is_better=higher)
        if not good:
            self.study.stop(trial_id)
        return good
