"""The sweep's Optuna study: what was tried, with what result, and what to try next. It outlives the driver.

It is kept in a database that `optuna-dashboard` shows while the sweep runs.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna import distributions
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from lscht_ray.artifacts import places
from lscht_ray.errors import InputError
from lscht_ray.settings.space import Dimension
from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.settings.train import TrainConfig
from lscht_ray.sweep import _database, _optuna_internals, _samplers
from lscht_ray.sweep.firsts import Known
from lscht_ray.sweep.ledger import Ledger
from lscht_ray.sweep.record import Status, TrialRecord

TRIAL, STATUS, ORIGIN, ERROR, SECONDS, GPUS = "trial_id", "status", "origin", "error", "seconds", "gpus"
"""Attributes of Optuna's trials: our name, how it ended, where its settings come from, why it failed, what it took."""
STOPPED = "stopped"
"""Attribute of a trial that was judged too weak to go on, written before anybody stops it."""
ENDS = {
    "completed": TrialState.COMPLETE,
    "early_stopped": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "unfit": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "interrupted": TrialState.FAIL,
}
TRIES = 200
"""So many proposals in a row that can't be used mean that the search space holds next to none that can."""


@dataclass(frozen=True)
class Proposal:
    """A trial to run.

    Attributes:
        trial_id: Its name.
        params: The searched settings and their values.
        config: All of its settings.
        origin: Where the searched ones come from.
    """

    trial_id: str
    params: dict[str, Any]
    config: TrainConfig
    origin: str = "sampler"


@dataclass(frozen=True)
class Past:
    """A trial as the database has it.

    Attributes:
        trial_id: Its name.
        params: The searched settings and their values.
        status: How it ended (`record.Status`); empty where it did not.
        stopped: Whether it was judged too weak to go on.
        scores: Its scores by epoch.
        seconds: How long it ran.
        gpus: How many GPUs it took.
        error: Why it failed; empty where it did not.
        origin: Where its settings come from.
    """

    trial_id: str
    params: dict[str, Any]
    status: Status | Literal[""]
    stopped: bool
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

    Attributes:
        broken: Why the database can't be written any more, so that the sweep has to end; empty: it can.

    Raises:
        InputError: The database can't be used.
    """

    def __init__(self, sweep: SweepConfig, url: str | None, num_trials: int) -> None:
        self.sweep, self.num_trials = sweep, num_trials
        self.study = _database.opened(sweep, url)
        self.sampler = _samplers.Samplers(sweep)
        self.broken = ""
        self._running: dict[str, optuna.Trial] = {}
        self._reported: defaultdict[str, set[int]] = defaultdict(set)
        self._unfinished = self._take_up()
        self._names = set(self.past())
        """Of all trials so far: reading them anew for each trial would cost more with every one."""

    def is_new(self) -> bool:
        """Whether nothing was asked or told yet."""
        return not self.study.get_trials(deepcopy=False)

    def enqueue(self, firsts: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Have a new study try these settings first, each given with where it comes from.

        A grid keeps its own order.
        """
        if self.sweep.sampler.type != "grid":
            for origin, params in firsts:
                self.study.enqueue_trial(params, user_attrs={ORIGIN: origin})

    def learn(self, others: Iterable[Known]) -> int:
        """Tell the sampler of trials of another sweep, each as it ended; how many could be used."""
        seen = {trial.user_attrs.get(ORIGIN) for trial in self.study.get_trials(deepcopy=False)}
        learned = 0
        for known in others:
            values = {name: value for name, value in known.params.items() if name in self.sweep.search_space}
            if known.origin in seen or set(values) != set(self.sweep.searched(known.params)):
                continue
            try:
                trial = optuna.create_trial(
                    state=TrialState.PRUNED if known.pruned else TrialState.COMPLETE,
                    params=values,
                    distributions=self._space(values),
                    value=known.score,
                    intermediate_values={known.epochs: known.score},
                    user_attrs={ORIGIN: known.origin},
                )
            except (ValueError, TypeError):  # a value outside of this sweep's search space
                continue
            self.study.add_trial(trial)
            learned += 1
        return learned

    def _space(self, params: dict[str, Any]) -> dict[str, distributions.BaseDistribution]:
        return {name: distribution(self.sweep.search_space[name]) for name in params}

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
        number = len(self._names) + 1
        if number > self.num_trials or self.sampler.at_an_end(self.study):
            return None
        for attempt in range(TRIES):
            self.study.sampler = self.sampler.for_trial(number, attempt)
            trial = self.study.ask()
            params = self._suggest(trial)
            problem = self.sweep.problem(params)
            if problem is not None:
                self.study.tell(trial, state=TrialState.FAIL)
                continue
            proposal = self._proposal(places.trial_id(number), params, trial.user_attrs.get(ORIGIN, "sampler"))
            trial.set_user_attr(TRIAL, proposal.trial_id)
            self._names.add(proposal.trial_id)
            self._running[proposal.trial_id] = trial
            return proposal
        raise InputError(f"search_space: of {TRIES} proposals in a row none can be used; the last: {problem}")

    def _proposal(self, trial_id: str, params: dict[str, Any], origin: str) -> Proposal:
        return Proposal(trial_id, params, self.sweep.trial_config(params, places.trial_number(trial_id)), origin)

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

    def stop(self, trial_id: str) -> None:
        """Remember that a trial was judged too weak to go on, should the driver be killed before it has ended."""
        trial = self._running.get(trial_id)
        if trial is not None:
            with self._writing():
                trial.set_user_attr(STOPPED, True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Within, a database that can't be written is noted in ``broken`` instead of ending with a traceback."""
        try:
            yield
        except (optuna.exceptions.OptunaError, SQLAlchemyError) as error:
            cause = error.__cause__ or error
            self.broken = f"the study's database can't be written: {str(cause).splitlines()[0]}"

    def end(self, record: TrialRecord, ledger: Ledger) -> None:
        """A trial ended as its record in the ledger says."""
        trial = self._running.pop(record.trial_id, None)
        if trial is None:
            return
        self._unfinished = [proposal for proposal in self._unfinished if proposal.trial_id != record.trial_id]
        took = {SECONDS: round(record.seconds, 1), GPUS: record.gpus}
        with self._writing():
            for key, value in {STATUS: record.status, ERROR: record.error, **took}.items():
                trial.set_user_attr(key, value)
            state, best, several = ENDS[record.status], ledger.best_epoch(record), len(self.study.directions) > 1
            if record.status == "unfit" and best is None and not several:
                self._report_nothing(trial, ledger)
            elif state is TrialState.FAIL or best is None:
                self.study.tell(trial, state=TrialState.FAIL)
            elif state is TrialState.COMPLETE or several:
                names = [ledger.metric, *([ledger.second] if ledger.second else [])]
                self.study.tell(trial, values=[float(best[name]) for name in names])
            else:
                self.study.tell(trial, state=state)

    def _report_nothing(self, trial: optuna.Trial, ledger: Ledger) -> None:
        """Tell of a trial whose settings were unfit from the start, so that samplers keep away from them.

        It has reached what no trial can fall below: no right answer, or the largest loss that any has shown.
        """
        losses = [float(m[ledger.metric]) for r in ledger.trials.values() for m in r.epochs.values()]
        lowest = 0.0 if ledger.mode == "max" else max(losses, default=None)
        if lowest is not None:
            trial.report(lowest, 0)
        self.study.tell(trial, state=TrialState.PRUNED)

    def put_back(self, record: TrialRecord) -> None:
        """A trial that runs is to be started again, before new ones."""
        self._unfinished.append(self._proposal(record.trial_id, record.params, record.origin))

    def past(self) -> dict[str, Past]:
        """Every trial that has a name; of one that was begun several times the last beginning."""
        trials = {}
        for trial in self.study.get_trials(deepcopy=False):
            name = trial.user_attrs.get(TRIAL)
            if name is not None:
                trials[name] = _past(trial, name)
        return trials

    def _take_up(self) -> list[Proposal]:
        """Have trials that were begun and not finished begin again, as new ones of Optuna's with the same settings."""
        for trial in self._begun():
            if TRIAL not in trial.user_attrs:
                self._begin_nameless_again(trial)
        unfinished = [past for past in self.past().values() if past.unfinished]
        still = {trial.user_attrs[TRIAL] for trial in self._begun()}
        for past in unfinished:
            if past.trial_id not in still:
                self.study.add_trial(
                    optuna.create_trial(
                        state=TrialState.RUNNING,
                        params=past.params,
                        distributions=self._space(past.params),
                        intermediate_values=past.scores,
                        user_attrs={TRIAL: past.trial_id, ORIGIN: past.origin},
                    )
                )
        for trial in self._begun():
            name = trial.user_attrs[TRIAL]
            self._running[name] = _optuna_internals.running_trial(self.study, trial)
            self._reported[name] = set(trial.intermediate_values)
        unfinished.sort(key=lambda past: past.trial_id)
        return [self._proposal(past.trial_id, past.params, past.origin) for past in unfinished]

    def _begin_nameless_again(self, trial: FrozenTrial) -> None:
        """A trial whose driver was killed before it had its name; what was to be tried first is not lost."""
        self.study.tell(trial.number, state=TrialState.FAIL)
        params = _optuna_internals.enqueued_params(trial)
        if params:
            self.study.enqueue_trial(params, user_attrs={ORIGIN: trial.user_attrs.get(ORIGIN, "sampler")})

    def _begun(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def _past(trial: FrozenTrial, name: str) -> Past:
    attributes = trial.user_attrs
    return Past(
        trial_id=name,
        params=dict(trial.params),
        status=attributes.get(STATUS, ""),
        stopped=bool(attributes.get(STOPPED)),
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


def distribution(dimension: Dimension) -> distributions.BaseDistribution:
    """The searched range as Optuna describes it."""
    if dimension.choices is not None:
        return distributions.CategoricalDistribution(dimension.choices)
    assert dimension.low is not None and dimension.high is not None
    if dimension.type in ("int", "logint"):
        step = int(dimension.step or 1)
        low, high = int(dimension.low), int(dimension.high)
        return distributions.IntDistribution(low, high, log=dimension.type == "logint", step=step)
    log = dimension.type == "loguniform"
    return distributions.FloatDistribution(dimension.low, dimension.high, log=log, step=dimension.step)
