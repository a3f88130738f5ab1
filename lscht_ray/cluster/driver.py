"""Runs a sweep, new or resumed: the driver of Ray Tune.

All that a sweep needs to go on is in its folder as plain data: its settings (sweep.json), the study (a database), each
trial's metrics and checkpoints. Tune's own files are not read.
"""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import ray.tune
from rich.console import Console

from lscht_ray.artifacts import places, recorder
from lscht_ray.artifacts.storage import Storage
from lscht_ray.clips import fill
from lscht_ray.cluster import _ray_internals, actor, connect, loss, trial
from lscht_ray.cluster.room import Plan, Room
from lscht_ray.cluster.search import Proposals, Stopping, tune_config
from lscht_ray.cluster.watch import Stop, Watch
from lscht_ray.host import console, interrupt
from lscht_ray.host.environment import environment
from lscht_ray.host.files import write_json
from lscht_ray.shown import counted
from lscht_ray.sweep import firsts, judge, results, view, winner
from lscht_ray.sweep.budget import Budget
from lscht_ray.sweep.ending import Ending
from lscht_ray.sweep.folder import Sweep
from lscht_ray.sweep.judge import Judge
from lscht_ray.sweep.ledger import Ledger, epoch_metrics
from lscht_ray.sweep.record import TrialRecord
from lscht_ray.sweep.study import Past, Study
from lscht_ray.sweep.summary import Summary

ENDING_UNHEARD = {"TUNE_DISABLE_STRICT_METRIC_CHECKING": "1"}
"""Tune's switch for trials that end without a report, as one does whose settings prove unfit in its first epoch."""
STAYING = {"TUNE_FUNCTION_THREAD_TIMEOUT_S": "60"}
"""Time for a stopped trial to leave a process that the next one is to run in."""


def run(sweep: Sweep, screen: Console, *, quiet: bool = False, decoded: int = 0) -> int:
    """Run the trials that are to be run, and put the best model into the folder; the exit code.

    ``decoded``: Videos in this node's cache (`fill.decodes`) before the data set was looked at.
    """
    config, log = sweep.config, sweep.folder / places.RAY_LOG
    ledger, storage = judge.new_ledger(config), Storage(sweep.place)
    for line in config.sampler_notes(sweep.num_trials):
        screen.print(line)
    screen.print(f"sweep folder {sweep.folder}\nRay's own messages go to {log}\nstarting Ray ...")
    with console.chatter_to(log) as real:

        def finish(ending: Ending) -> int:
            ledger.interrupt()
            decodes = fill.decodes(config.train) - decoded
            best = _keep_results(sweep, storage, ledger, {"decodes": decodes, **ending.figures(sweep, ledger)}, real)
            if config.train.cache != "off":
                real.print(
                    f"clip cache of this node: {counted(decodes, 'clip')} decoded"
                    f" for {counted(len(ledger.trials), 'trial')}"
                )
            results.conclude(sweep, ledger, best, real)
            for line in ending.lines(sweep):
                real.print(line)
            return ending.exit_code(found_best=best is not None)

        def lose(cluster: str, asked: int) -> int:
            with suppress(IndexError):  # there is no live view
                real.clear_live()
            # Who was asked to stop may lose the cluster to the same signal: a service manager sends it to all.
            code = finish(Ending(asked) if asked else Ending(lost=cluster))
            (sweep.folder / places.LOCK).unlink(missing_ok=True)  # this process ends at once
            return code

        try:
            ending = Search(sweep, storage, ledger, console.quiet_console() if quiet else real, lose).run()
        except KeyboardInterrupt as stopped:
            ending = Ending(stopped.number if isinstance(stopped, interrupt.Ended) else signal.SIGINT)
        return finish(ending)


def _keep_results(
    sweep: Sweep, storage: Storage, ledger: Ledger, figures: dict[str, Any], screen: Console
) -> Path | None:
    """Put the best model and the summary into the folder; where the model is, None where there is none."""
    best = None
    try:
        best = winner.keep_best(sweep.config, ledger, storage, sweep.folder)
        write_json(sweep.folder / places.SUMMARY, ledger.summary(str(best) if best else None) | figures)
        if sweep.place != str(sweep.folder):
            storage.put(sweep.folder, "")
    except OSError as error:
        screen.print(f"warning: the results can't be written to {sweep.folder}: {error}")
    return best


class Search:
    """The search of one sweep: its study, and Tune's runs over it.

    Args:
        sweep: The sweep.
        storage: Its place.
        ledger: Is filled with what its trials did before, and do now.
        screen: Where lines are printed.
        on_loss: Gets what became of the cluster, where it is lost, and the number of the signal that this process got
            before, 0 where none; the process then ends with the code it returns.
    """

    def __init__(
        self, sweep: Sweep, storage: Storage, ledger: Ledger, screen: Console, on_loss: Callable[[str, int], int]
    ) -> None:
        self.sweep, self.config = sweep, sweep.config
        self.storage, self.ledger, self.screen = storage, ledger, screen
        self.study = Study(sweep.config, sweep.url, sweep.num_trials)
        self.judge = Judge(sweep.config, ledger, self.study)
        self.summary = Summary(ledger, sweep.folder)
        self.on_loss = on_loss

    def run(self) -> Ending:
        """Run the trials that are to be run; of a sweep that goes on, those that have not ended."""
        if self.study.is_new():
            self._begin()
        self.take_up()
        limits = Budget(self.config.budget, self.config.train.gpu_hour_price, self.ledger)
        while (ending := self._run_tune(limits)).again:
            self.screen.print("starting Ray again ...")
        self.ledger.interrupt()
        for record in self.ledger.trials.values():
            self.study.end(record, self.ledger)
        if self.storage.is_local:
            shutil.rmtree(Path(self.storage.base, places.TUNE), ignore_errors=True)
        return ending

    def _begin(self) -> None:
        """Tell a new study what to try first, and what is known from another sweep."""
        self.study.enqueue(firsts.points(self.config))
        earlier = self.config.warm_start
        learned = self.study.learn(firsts.warm_start(earlier, self.config.metric)) if earlier else 0
        if learned:
            self.screen.print(f"warm start: the sampler knows {counted(learned, 'trial')} of {earlier}")

    def take_up(self) -> None:
        """Enter the trials of earlier drivers: what they reported, and what they had no time to report."""
        unjudged: dict[str, list[dict[str, Any]]] = {}
        for name, past in sorted(self.study.past().items()):
            lines = (self.storage.read_text(f"{places.trial(name)}/{places.METRICS}") or "").splitlines()
            epochs = list(_readable(lines))
            if past.unfinished and not past.stopped:
                # Of two objectives the study knows no scores by epoch: a trial that went on had been judged.
                judged = epochs[:-1] if self.config.second_metric else [e for e in epochs if e["epoch"] in past.scores]
                unjudged[name] = epochs[len(judged) :]
                epochs = judged
            self.ledger.enter(_record(name, past, epochs))
        for name, epochs in unjudged.items():
            self._judge(self.ledger.trials[name], epochs)
        for record in self.ledger.trials.values():
            if record.status == "pruned":
                self.study.end(record, self.ledger)

    def _judge(self, record: TrialRecord, epochs: list[dict[str, Any]]) -> None:
        """Judge what a trial did while nobody listened: its driver was killed just then, or it was itself."""
        for metrics in epochs:
            epoch, score = int(metrics["epoch"]), float(metrics[f"best_{self.config.metric}"])
            if not self.judge.goes_on(record.trial_id, epoch, score):
                self.ledger.prune(record.trial_id)
            self.ledger.report(record.trial_id, epoch_metrics(metrics))
            self.study.report(record.trial_id, epoch, score)

    def _run_tune(self, limits: Budget) -> Ending:
        """Run Tune on what is to be done."""
        signals: list[int] = []
        stop = Stop(limits, self.study)
        with ExitStack() as stack:
            started_here = stack.enter_context(connect.connected(self.config.resources))
            stack.enter_context(loss.noticed(lambda lost: self.on_loss(lost, signals[0] if signals else 0)))
            scratch = stack.enter_context(tempfile.TemporaryDirectory())
            self.storage.write_text(places.DRIVER, self.sweep.driver)
            room = Room(
                self.config,
                self.sweep.num_trials,
                self.ledger.memory_share,
                started_here=started_here,
                say=self.screen.print,
            )
            planned = room.plan_now
            self.screen.print(
                f"{planned.description}\n"
                f"{counted(self.sweep.num_trials, 'trial')} of at most {counted(self.config.train.max_epochs, 'epoch')}"
            )
            watch = Watch(
                self.ledger,
                self.study,
                self.storage,
                self.sweep.driver,
                self.screen,
                self._on_end,
                self._keep_up,
                stopping=lambda: bool(signals or stop.reason or stop.cause),
            )
            stack.enter_context(environment(ENDING_UNHEARD | (STAYING if planned.in_actor else {})))
            tuner = ray.tune.Tuner(
                self._trainable(planned),
                tune_config=tune_config(
                    Proposals(self.study, room, room.gpus), Stopping(self.judge), reuse_actors=planned.in_actor
                ),
                run_config=ray.tune.RunConfig(
                    name=f"tune_{uuid.uuid4().hex[:8]}",
                    storage_path=scratch if started_here else f"{self.storage.root}/{places.TUNE}",
                    verbose=0,
                    callbacks=[watch],
                    stop=stop,
                    failure_config=ray.tune.FailureConfig(max_failures=self._tune_failures(planned)),
                ),
            )
            with (
                _stopping_cleanly(self.screen, signals),
                view.live(self.ledger, limits, self.screen, self.sweep.num_trials, room),
            ):
                again = _fit(tuner, watch)
            watch.release()
        return Ending(signals[0] if signals else 0, stop.reason, stop.cause, again=again and not signals)

    def _on_end(self, record: TrialRecord) -> None:
        """A trial has ended: write down what is known now."""
        try:
            self.summary.changed()
            self._write_hparams(record)
        except OSError as error:
            self._warn(error)

    def _keep_up(self) -> None:
        """Now and then: write down what is known, where that was not done at once."""
        try:
            self.summary.keep_up()
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        self.screen.print(f"warning: {self.sweep.folder} can't be written: {error}")

    def _write_hparams(self, record: TrialRecord) -> None:
        """Add TensorBoard's HPARAMS entry of a trial beside its other events."""
        best = self.ledger.best_epoch(record)
        if best is None:
            return
        with tempfile.TemporaryDirectory() as folder:
            recorder.write_hparams(Path(folder), self.ledger.own(record) | self.config.in_effect(record.params), best)
            self.storage.put(Path(folder), places.trial_logs(record.trial_id))

    def _tune_failures(self, planned: Plan) -> int:
        """Times that Tune starts a trial again; under Ray Train, which does so itself, once for its own process."""
        return self.config.max_failures if planned.in_actor else min(1, self.config.max_failures)

    def _trainable(self, planned: Plan) -> Any:
        """What Tune runs for each trial, and what that takes."""
        shared = {"sweep": self.config, "storage": self.storage.root, "driver": self.sweep.driver}
        if not planned.in_actor:
            place = ray.tune.PlacementGroupFactory([trial.DRIVER_RESOURCES])
            return ray.tune.with_resources(ray.tune.with_parameters(trial.run_trial, **shared), place)
        resources = self.config.resources

        def place_of(settings: dict[str, Any]) -> ray.tune.PlacementGroupFactory:
            wanted = trial.worker_resources(resources.cpus_per_worker, settings["gpus"])
            if resources.accelerator_type:
                wanted[f"{_ray_internals.ACCELERATOR}{resources.accelerator_type}"] = 0.001
            return ray.tune.PlacementGroupFactory([wanted])

        return ray.tune.with_resources(ray.tune.with_parameters(actor.run_in_actor, **shared), place_of)


def _fit(tuner: ray.tune.Tuner, watch: Watch) -> bool:
    """Run Tune; whether it gave up because a trial was ended for its memory, so that it must run again."""
    try:
        tuner.fit()
        return False
    except Exception as error:  # of several types: Tune has none for it
        if _ray_internals.ENDED_FOR_MEMORY not in str(error):
            raise
        watch.on_tune_error(error)
        return True


def _record(name: str, past: Past, epochs: list[dict[str, Any]]) -> TrialRecord:
    """What the ledger keeps of a trial that ran before."""
    return TrialRecord(
        name,
        past.params,
        past.origin,
        status="pruned" if past.stopped and past.unfinished else past.status or "interrupted",
        epochs={int(metrics["epoch"]): epoch_metrics(metrics) for metrics in epochs},
        error=past.error,
        gpus=past.gpus,
        before=past.seconds or sum(float(metrics["seconds"]) for metrics in epochs),
    )


def _readable(lines: list[str]) -> Iterator[dict[str, Any]]:
    """The epochs in a list up to a line that is cut off."""
    for line in lines:
        try:
            metrics = json.loads(line)
        except ValueError:
            return
        yield metrics


@contextmanager
def _stopping_cleanly(screen: Console, seen: list[int]) -> Iterator[None]:
    """Within, the first Ctrl-C, SIGTERM or SIGHUP has Tune end its trials and return; the second ends at once.

    Args:
        screen: Where it is said that the sweep ends.
        seen: Gets the numbers of the signals.
    """

    def on_signal(number: int, frame: Any) -> None:
        seen.append(number)
        interrupt.hung_up(number, printing)
        if len(seen) > 1 or not _ray_internals.can_ask_tune_to_stop():
            raise interrupt.Ended(seen[0])
        text = "stopping: ending the trials, then writing what was found (Ctrl-C again ends at once)"
        threading.Thread(target=screen.print, args=(text,)).start()  # here it might come within another print
        _ray_internals.ask_tune_to_stop()

    printing = interrupt.terminals()
    with interrupt.handled(interrupt.listened_to(), on_signal):
        yield
