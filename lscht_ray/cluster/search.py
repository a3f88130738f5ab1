"""What Ray Tune asks of us: the next trial, and whether one goes on."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import ray.tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from lscht_ray.cluster.trial import trial_name
from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.sweep.study import Past, Study

SCORE = "best_score"
"""What stops trials: the best value of the sweep's metric so far in that trial."""
FEW = 3
"""A median of fewer trials says nothing."""


class Proposals(Searcher):  # type: ignore[misc]  # Ray has no types
    """Hands the study's proposals to Tune, as many at a time as there is room for.

    ``room`` says how many trials may run now, for nodes may have joined; ``gpus`` what a worker of the next one gets.
    """

    def __init__(self, study: Study, room: Callable[[], int], gpus: Callable[[], float]) -> None:
        super().__init__(metric=SCORE, mode="max")
        self.study, self.room, self.gpus = study, room, gpus
        self.running: set[str] = set()

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's settings, nothing for now, or that there are no more."""
        if len(self.running) >= max(1, self.room()):
            return None
        proposal = self.study.ask()
        if proposal is None:  # one that runs may have to be started again
            return None if self.running else str(Searcher.FINISHED)
        self.running.add(trial_id)
        return {**asdict(proposal), "gpus": self.gpus()}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial ended; what it found is told to the study by `watch`."""
        del result, error
        self.running.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is in its database."""
        Path(checkpoint_path).write_text("")

    def restore(self, checkpoint_path: str) -> None:
        """Nothing is read from a sweep's folder but the study.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("a sweep goes on with a new Tuner on the same study")


class ReplayingASHA(ASHAScheduler):  # type: ignore[misc]  # Ray has no types
    """ASHA that knows its rungs from the trials before: Tune doesn't save them (ray-project/ray issue 30838).

    Args:
        past: The scores by epoch of each trial that ran before, by its name.
    """

    def __init__(self, past: dict[str, dict[int, float]], **settings: Any) -> None:
        super().__init__(**settings)
        self.doomed: set[str] = set()
        for name in sorted(past):
            self._replay(name, past[name])

    def _replay(self, name: str, scores: dict[int, float]) -> None:
        action = TrialScheduler.CONTINUE
        for epoch in sorted(scores):
            action = self._brackets[0].on_result(SimpleNamespace(trial_id=name), epoch, self._metric_op * scores[epoch])
        if action == TrialScheduler.STOP:
            self.doomed.add(name)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Whether a trial goes on. In the rungs it has its name, which is the same after a restart."""
        if self._time_attr not in result or self._metric not in result:
            return str(TrialScheduler.CONTINUE)
        value = self._metric_op * result[self._metric]
        named = SimpleNamespace(trial_id=trial_name(trial))
        return str(self._brackets[0].on_result(named, result[self._time_attr], value))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """A trial ended by itself: its last result is in the rungs already."""
        self._trial_info.pop(trial.trial_id, None)

    def rungs(self) -> dict[int, dict[str, float]]:
        """Each rung's epoch, and the scores of the trials that came there."""
        bracket = self._brackets[0]
        return {int(epoch): {k: self._metric_op * v for k, v in scores.items()} for epoch, scores in bracket._rungs}


class Median(FIFOScheduler):  # type: ignore[misc]
    """Stops a trial whose best score so far is worse than the median of the others' at that epoch.

    (Golovin et al. 2017, Vizier.) Ray's own pauses trials, which ours have no use for.

    Args:
        past: The scores by epoch of each trial that ran before, by its name.
        grace: Epochs that every trial gets.
        sign: -1 where less is better.
    """

    def __init__(self, past: dict[str, dict[int, float]], *, grace: int, sign: float) -> None:
        super().__init__()
        self.scores = {name: dict(scores) for name, scores in past.items()}
        self.grace, self.sign = grace, sign

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Whether a trial goes on."""
        if "epoch" not in result or SCORE not in result:
            return str(TrialScheduler.CONTINUE)
        name, epoch = trial_name(trial), int(result["epoch"])
        self.scores.setdefault(name, {})[epoch] = float(result[SCORE])
        others = [scores[epoch] for other, scores in self.scores.items() if other != name and epoch in scores]
        if epoch < self.grace or len(others) < FEW or self.sign * (result[SCORE] - median(others)) >= 0:
            return str(TrialScheduler.CONTINUE)
        return str(TrialScheduler.STOP)


def scheduler(sweep: SweepConfig, past: dict[str, Past]) -> TrialScheduler:
    """What stops weak trials, over our own epochs.

    ASHA's ``max_t`` is one more than the epochs: at the last one it would end a trial that is about to end by itself,
    which ends Tune's driver with an error.
    """
    if sweep.trial_stopping == "none":
        return FIFOScheduler()
    grace, scores = sweep.asha.grace_period, {name: trial.scores for name, trial in past.items()}
    if sweep.trial_stopping == "median":
        return Median(scores, grace=grace, sign=1.0 if sweep.mode == "max" else -1.0)
    return ReplayingASHA(
        scores,
        time_attr="epoch",
        metric=SCORE,
        mode=sweep.mode,
        grace_period=grace,
        reduction_factor=sweep.asha.reduction_factor,
        max_t=sweep.train.max_epochs + 1,
    )


def tune_config(proposals: Proposals, stopping: TrialScheduler, *, reuse_actors: bool) -> ray.tune.TuneConfig:
    """How Tune runs the sweep. Metric and mode are known to searcher and scheduler: twice is an error."""
    return ray.tune.TuneConfig(
        search_alg=proposals,
        scheduler=stopping,
        num_samples=-1,
        trial_name_creator=trial_name,
        trial_dirname_creator=trial_name,
        reuse_actors=reuse_actors,
    )
