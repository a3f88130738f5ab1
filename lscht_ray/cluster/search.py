"""What Ray Tune asks of us: the next trial, and whether one goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray.tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from lscht_ray.cluster.trial import proposal_of, trial_name
from lscht_ray.sweep.judge import Judge
from lscht_ray.sweep.study import Study

SCORE = "best_score"
"""What stops trials: the best value of the sweep's metric so far in that trial."""


class Proposals(Searcher):  # type: ignore[misc]  # Ray has no types
    """Hands the study's proposals to Tune, as many at a time as there is room for.

    Args:
        study: The study.
        room: How many trials may run now; nodes may have joined.
        gpus: How many GPUs a worker of the next trial gets.
    """

    def __init__(self, study: Study, room: Callable[[], int], gpus: Callable[[], float]) -> None:
        super().__init__(metric=SCORE, mode="max")
        self.study, self.room, self.gpus = study, room, gpus
        self.running: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune saves this object, and nobody reads it."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial and its GPUs; None: nothing for now; FINISHED: there are no more."""
        if len(self.running) >= max(1, self.room()):
            return None
        proposal = self.study.ask()
        if proposal is None:  # a trial that runs may have to be started again
            return None if self.running else str(Searcher.FINISHED)
        self.running.add(trial_id)
        return {"proposal": proposal, "gpus": self.gpus()}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial ended; `watch` tells the study what it found."""
        del result, error
        self.running.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Write an empty file: the study is in its database."""
        Path(checkpoint_path).write_text("")

    def restore(self, checkpoint_path: str) -> None:
        """Refuse: nothing of Tune's is read from a sweep's folder.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("a sweep goes on with a new Tuner on the same study")


class Stopping(FIFOScheduler):  # type: ignore[misc]  # Ray has no types
    """Has Tune stop the trials that the judge finds too weak.

    Tune's own schedulers keep their facts to themselves and don't save them (ray-project/ray issue 30838); the judge
    reads the ledger, which is filled again from the study.
    """

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self.judge = judge

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Whether a trial goes on after an epoch. What is no epoch of ours (Tune's first result) stops nobody."""
        if "epoch" in result and SCORE in result:
            name = proposal_of(trial).trial_id
            if not self.judge.goes_on(name, int(result["epoch"]), float(result[SCORE])):
                return str(TrialScheduler.STOP)
        return str(TrialScheduler.CONTINUE)


def tune_config(proposals: Proposals, stopping: Stopping, *, reuse_actors: bool) -> ray.tune.TuneConfig:
    """How Tune runs the sweep. The searcher knows metric and mode: naming them here too is an error."""
    return ray.tune.TuneConfig(
        search_alg=proposals,
        scheduler=stopping,
        num_samples=-1,
        trial_name_creator=trial_name,
        trial_dirname_creator=trial_name,
        reuse_actors=reuse_actors,
    )
