"""The sweep's Optuna study: what was tried, with what result, and what to try next. It outlives the driver.

It is kept in a database that `optuna-dashboard` shows while the sweep runs.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
from optuna import distributions
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from lscht_ray.errors import InputError
from lscht_ray.settings.sweep import Dimension, SweepConfig
from lscht_ray.sweep import _samplers
from lscht_ray.sweep.ledger import Ledger, TrialRecord

NAME = "sweep"
TRIAL, STATUS, ORIGIN, ERROR, SECONDS, GPUS = "trial_id", "status", "origin", "error", "seconds", "gpus"
"""Attributes of Optuna's trials: our name, how it ended, where its settings come from, why it failed, what it took."""
ENDS = {
    "completed": TrialState.COMPLETE,
    "early_stopped": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "interrupted": TrialState.FAIL,
}
TRIES = 200
"""So many proposals in a row that can't be used mean that the search space holds next to none that can."""


@dataclass(frozen=True)
class Proposal:
    """Settings to try: the trial's name, the searched settings, where they come from."""

    trial_id: str
    params: dict[str, Any]
    origin: str = "sampler"


@dataclass(frozen=True)
class Past:
    """A trial as the study knows it: its scores by epoch, and how it ended (nothing where it did not)."""

    trial_id: str
    params: dict[str, Any]
    status: str
    scores: dict[int, float]
    seconds: float
    gpus: float
    error: str
    origin: str

    @property
    def unfinished(self) -> bool:
        """Whether it is to go on."""
        return self.status in ("", "interrupted")


class Study:
    """The study of one sweep.

    Args:
        sweep: Its settings.
        url: Of the database, as SQLAlchemy has it; None: in memory.
        num_trials: Trials in all.

    Raises:
        InputError: The database can't be used.
    """

    def __init__(self, sweep: SweepConfig, url: str | None, num_trials: int) -> None:
        self.sweep, self.num_trials = sweep, num_trials
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self.study = optuna.create_study(
                storage=url, study_name=NAME, directions=sweep.directions(), load_if_exists=True
            )
        except Exception as error:  # whatever the driver of that database raises
            raise InputError(f"the study's database {url} can't be used: {str(error).splitlines()[0]}") from None
        self.sampler = _samplers.Samplers(sweep)
        self.broken = ""
        """Why the database can't be written any more: then the sweep has to end."""
        self._running: dict[str, optuna.Trial] = {}
        self._reported: defaultdict[str, set[int]] = defaultdict(set)
        self._unfinished = self._take_up()

    def is_new(self) -> bool:
        """Whether nothing was asked or told yet."""
        return not self.study.get_trials(deepcopy=False)

    def enqueue(self, firsts: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Settings to try first, each with where it comes from, in a study that is new. A grid has its own order."""
        if self.sweep.sampler.type != "grid":
            for origin, params in firsts:
                self.study.enqueue_trial(params, user_attrs={ORIGIN: origin})

    def learn(self, others: Iterable[tuple[dict[str, Any], float, str]]) -> int:
        """Tell the sampler of trials of another sweep: settings, score and origin. How many could be used."""
        known = {trial.user_attrs.get(ORIGIN) for trial in self.study.get_trials(deepcopy=False)}
        learned = 0
        for params, score, origin in others:
            space = {
                name: distribution(self.sweep.search_space[name]) for name in params if name in self.sweep.search_space
            }
            inside = all(_holds(space[name], params[name]) for name in space)
            if origin in known or not inside or set(space) != set(self.sweep.searched(params)):
                continue
            values = {name: params[name] for name in space}
            self.study.add_trial(
                optuna.create_trial(params=values, distributions=space, value=score, user_attrs={ORIGIN: origin})
            )
            learned += 1
        return learned

    def ask(self) -> Proposal | None:
        """The next trial: one that was not finished, else a new one; None where there are enough.

        Raises:
            InputError: Nothing that the sampler proposes can be used.
        """
        if self.broken:
            return None
        if self._unfinished:
            return self._unfinished.pop(0)
        with self._writing():
            return self._new()
        return None

    def _new(self) -> Proposal | None:
        number = len(self.past()) + 1
        if number > self.num_trials or self.sampler.at_an_end(self.study):
            return None
        for attempt in range(TRIES):
            self.study.sampler = self.sampler.for_trial(number, attempt)
            trial = self.study.ask()
            params = self._suggest(trial)
            origin = trial.user_attrs.get(ORIGIN, "sampler")
            problem = self.sweep.problem(params)
            if problem is not None:
                self.study.tell(trial, state=TrialState.FAIL)
                continue
            proposal = Proposal(f"trial_{number:05d}", params, origin)
            trial.set_user_attr(TRIAL, proposal.trial_id)
            self._running[proposal.trial_id] = trial
            return proposal
        raise InputError(f"search_space: of {TRIES} proposals in a row none can be used; the last: {problem}")

    def _suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """A value for each setting that is searched beside the others."""
        params: dict[str, Any] = {}
        for name in self.sweep.in_order():
            dimension = self.sweep.search_space[name]
            if self.sweep.is_searched(name, params):
                params[name] = _suggested(trial, name, dimension)
        return params

    def report(self, trial_id: str, epoch: int, score: float) -> None:
        """A trial's best score so far, after an epoch."""
        trial = self._running.get(trial_id)
        if trial is not None and len(self.study.directions) == 1 and epoch not in self._reported[trial_id]:
            with self._writing():
                trial.report(score, epoch)
            self._reported[trial_id].add(epoch)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Within, a database that can't be written is noted, and not an end with a traceback."""
        try:
            yield
        except (optuna.exceptions.OptunaError, SQLAlchemyError) as error:
            cause = error.__cause__ or error
            self.broken = f"the study's database can't be written: {str(cause).splitlines()[0]}"

    def end(
        self, trial_id: str, status: str, scores: list[float] | None, seconds: float, error: str, gpus: float = 0.0
    ) -> None:
        """A trial ended; ``scores`` are its values, where it has any."""
        trial = self._running.pop(trial_id, None)
        if trial is None:
            return
        with self._writing():
            for key, value in ((STATUS, status), (SECONDS, round(seconds, 1)), (ERROR, error), (GPUS, gpus)):
                trial.set_user_attr(key, value)
            state = ENDS[status]
            if state is TrialState.FAIL or scores is None:
                self.study.tell(trial, state=TrialState.FAIL)
            elif state is TrialState.COMPLETE or len(self.study.directions) > 1:
                self.study.tell(trial, values=scores)
            else:
                self.study.tell(trial, state=state)

    def end_as(self, record: TrialRecord, ledger: Ledger) -> None:
        """A trial ended as its record says."""
        best = ledger.best_epoch(record)
        scores = [float(best[name]) for name in (ledger.metric, ledger.second) if name] if best else None
        self.end(record.trial_id, record.status, scores, record.seconds, record.error, record.gpus)

    def give_up(self, trial_id: str) -> None:
        """A trial that is not to go on, though it was not finished: it was stopped just when the driver was killed."""
        past = self.past()[trial_id]
        self._unfinished = [proposal for proposal in self._unfinished if proposal.trial_id != trial_id]
        self.end(trial_id, "pruned", [past.scores[max(past.scores)]], past.seconds, "", past.gpus)

    def put_back(self, trial_id: str) -> None:
        """A trial that runs is to be started again, before new ones."""
        past = self.past()[trial_id]
        self._unfinished.append(Proposal(trial_id, past.params, past.origin))

    def unfinished(self) -> set[str]:
        """The trials that are to go on."""
        return {proposal.trial_id for proposal in self._unfinished}

    def past(self) -> dict[str, Past]:
        """Every trial that has a name; of one that was begun several times the last beginning."""
        found = {}
        for trial in self.study.get_trials(deepcopy=False):
            name = trial.user_attrs.get(TRIAL)
            if name is not None:
                found[name] = _past(trial, name)
        return found

    def _take_up(self) -> list[Proposal]:
        """Trials that were begun and not finished begin again, as new ones of Optuna's with the same settings."""
        for trial in self._begun():
            if TRIAL not in trial.user_attrs:  # the driver was killed before it had its name
                fixed = trial.system_attrs.get("fixed_params")
                self.study.tell(trial.number, state=TrialState.FAIL)
                if fixed:
                    self.study.enqueue_trial(fixed, user_attrs={ORIGIN: trial.user_attrs.get(ORIGIN, "sampler")})
        unfinished = [past for past in self.past().values() if past.unfinished]
        still = {trial.user_attrs[TRIAL] for trial in self._begun()}
        for past in unfinished:
            if past.trial_id not in still:
                self.study.add_trial(
                    optuna.create_trial(
                        state=TrialState.RUNNING,
                        params=past.params,
                        distributions={name: distribution(self.sweep.search_space[name]) for name in past.params},
                        intermediate_values=past.scores,
                        user_attrs={TRIAL: past.trial_id, ORIGIN: past.origin},
                    )
                )
        for trial in self._begun():
            name = trial.user_attrs[TRIAL]
            self._running[name] = optuna.Trial(self.study, trial._trial_id)
            self._reported[name] = set(trial.intermediate_values)
        return [Proposal(past.trial_id, past.params, past.origin) for past in sorted(unfinished, key=_by_name)]

    def _begun(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def _by_name(past: Past) -> str:
    return past.trial_id


def _past(trial: FrozenTrial, name: str) -> Past:
    attributes = trial.user_attrs
    return Past(
        trial_id=name,
        params=dict(trial.params),
        status=attributes.get(STATUS, ""),
        scores=dict(trial.intermediate_values),
        seconds=float(attributes.get(SECONDS, 0.0)),
        gpus=float(attributes.get(GPUS, 0.0)),
        error=attributes.get(ERROR, ""),
        origin=attributes.get(ORIGIN, "sampler"),
    )


def _suggested(trial: optuna.Trial, name: str, dimension: Dimension) -> Any:
    wanted = distribution(dimension)
    if isinstance(wanted, distributions.CategoricalDistribution):
        return trial.suggest_categorical(name, wanted.choices)
    if isinstance(wanted, distributions.IntDistribution):
        return trial.suggest_int(name, wanted.low, wanted.high, step=wanted.step, log=wanted.log)
    assert isinstance(wanted, distributions.FloatDistribution)
    return trial.suggest_float(name, wanted.low, wanted.high, step=wanted.step, log=wanted.log)


def _holds(space: distributions.BaseDistribution, value: Any) -> bool:
    try:
        return bool(space._contains(space.to_internal_repr(value)))
    except (ValueError, TypeError):
        return False


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
