"""Runs a sweep, new or resumed: the driver of Ray Tune.

All that a sweep needs to go on is in its folder as plain data: its settings (sweep.json), the study (a database), each
trial's metrics and checkpoints. Tune's own files are not read.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray.tune
from rich.console import Console

from lscht_ray.artifacts import places, recorder
from lscht_ray.artifacts.storage import Storage
from lscht_ray.clips import fill
from lscht_ray.cluster import actor, connect, search, trial, watch
from lscht_ray.host import console
from lscht_ray.host.files import write_json
from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.sweep import budget, firsts, ledger, results, study, view, winner
from lscht_ray.sweep.plan import rungs

THREAD_SECONDS = "60"
"""Time for a stopped trial to leave a process that the next one is to run in."""


@dataclass
class Sweep:
    """A sweep in its folder.

    Attributes:
        config: Its settings, paths absolute.
        folder: The local folder.
        place: The same for all nodes: a folder or a URI.
        num_trials: Trials in all.
        driver: Stands for this driver among those that the sweep has had.
    """

    config: SweepConfig
    folder: Path
    place: str
    num_trials: int
    driver: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def url(self) -> str:
        """Of the study's database."""
        return self.config.study_storage or f"sqlite:///{self.folder / places.STUDY}"


def run(sweep: Sweep, screen: Console, *, quiet: bool = False) -> int:
    """Run the trials that are to be run, and put the best model into the folder; the exit code."""
    storage = Storage(sweep.place)
    book = ledger.Ledger(sweep.config.metric, sweep.config.mode, sweep.config.train.max_epochs)
    book.second = sweep.config.second_metric
    decoded = fill.decodes(sweep.config.train)
    screen.print(
        f"sweep folder {sweep.folder}\nRay's own messages go to {sweep.folder / places.RAY_LOG}\nstarting Ray ..."
    )
    with console.chatter_to(sweep.folder / places.RAY_LOG) as real:
        shown = console.quiet_console() if quiet else real
        stop = _Outcome()
        try:
            _search(sweep, storage, book, shown, stop)
        except KeyboardInterrupt:
            stop.interrupted = True
        book.interrupt()
        best, decodes = None, fill.decodes(sweep.config.train) - decoded
        try:
            best = winner.keep_best(sweep.config, book, storage, sweep.folder)
            summary = book.summary(str(best) if best else None) | {"decodes": decodes, **stop.figures(sweep, book)}
            write_json(sweep.folder / places.SUMMARY, summary)
            if sweep.place != str(sweep.folder):
                storage.put(sweep.folder, "")
        except OSError as error:
            real.print(f"warning: the results can't be written to {sweep.folder}: {error}")
    if sweep.config.train.cache != "off":
        screen.print(f"clip cache of this node: {decodes} videos decoded for {len(book.trials)} trials")
    results.conclude(sweep.config, book, sweep.folder, sweep.place, best, screen)
    for line in stop.lines(sweep):
        screen.print(line)
    if stop.interrupted:
        return 130
    return 0 if best and not stop.cause else 1


@dataclass
class _Outcome:
    """How the search ended."""

    interrupted: bool = False
    reason: str = ""
    cause: str = ""

    def lines(self, sweep: Sweep) -> list[str]:
        unfinished = f"go on with: python -m lscht_ray.tune --resume {sweep.folder}"
        if self.cause:
            return [f"error: every trial failed for one cause, so the sweep was stopped: {self.cause}"]
        if self.reason:
            return [f"the sweep has ended: {self.reason}; {unfinished}"]
        return [unfinished] if self.interrupted else []

    def figures(self, sweep: Sweep, book: ledger.Ledger) -> dict[str, Any]:
        price = sweep.config.train.gpu_hour_price
        cost = {"cost": round(book.gpu_hours * price, 2)} if price is not None else {}
        return {
            **cost,
            "ended_by": self.reason or self.cause or ("Ctrl-C" if self.interrupted else ""),
        }


def _search(sweep: Sweep, storage: Storage, book: ledger.Ledger, screen: Console, outcome: _Outcome) -> None:
    config = sweep.config
    known = study.Study(config, sweep.url, sweep.num_trials)
    if known.is_new():
        known.enqueue(firsts.points(config))
        learned = known.learn(firsts.warm_start(config.warm_start, config.metric)) if config.warm_start else 0
        if learned:
            screen.print(f"warm start: the sampler knows {learned} trials of {config.warm_start}")
    _take_up(sweep, storage, known, book)
    limits = budget.Budget(config.budget, config.train.gpu_hour_price, book)
    while _tune(sweep, storage, known, book, limits, screen, outcome):
        screen.print("starting Ray again ...")
    book.interrupt()
    for record in book.trials.values():
        known.end_as(record, book)
    if storage.is_local:
        shutil.rmtree(Path(storage.base, places.TUNE), ignore_errors=True)


def _tune(
    sweep: Sweep,
    storage: Storage,
    known: study.Study,
    book: ledger.Ledger,
    limits: budget.Budget,
    screen: Console,
    outcome: _Outcome,
) -> bool:
    """Run Tune on what is to be done; whether it must be run again, since a trial was ended for its memory."""
    config = sweep.config
    stopping = search.scheduler(config, known.past())
    for name in sorted(getattr(stopping, "doomed", set()) & known.unfinished()):
        known.give_up(name)
        book.trials[name].status = "pruned"
    again = False
    with connect.connected(config.resources) as started_here, tempfile.TemporaryDirectory() as scratch:
        storage.write_text(places.DRIVER, sweep.driver)
        room = connect.Room(config, sweep.num_trials, book.memory_share, started_here=started_here)
        planned = room.found
        screen.print(f"{planned.description}\n{sweep.num_trials} trials of at most {config.train.max_epochs} epochs")
        stop = watch.Stop(limits, known)

        def note_rungs() -> None:
            if isinstance(stopping, search.ReplayingASHA):
                book.rungs = stopping.rungs()

        def on_end(record: ledger.TrialRecord) -> None:
            note_rungs()
            try:
                write_json(sweep.folder / places.SUMMARY, book.summary())
                _write_hparams(storage, record, book)
            except OSError as error:
                screen.print(f"warning: {sweep.folder} can't be written: {error}")

        watching = watch.Watch(book, known, storage, sweep.driver, screen, on_end)
        proposals = search.Proposals(known, room, room.gpus)
        tuner = ray.tune.Tuner(
            _trainable(sweep, storage, planned),
            tune_config=search.tune_config(proposals, stopping, reuse_actors=planned.in_actor),
            run_config=ray.tune.RunConfig(
                name=f"tune_{uuid.uuid4().hex[:8]}",
                storage_path=scratch if started_here else f"{storage.root}/{places.TUNE}",
                verbose=0,
                callbacks=[watching],
                stop=stop,
                failure_config=ray.tune.FailureConfig(max_failures=_tune_failures(config, planned)),
            ),
        )
        with (
            _stopping_cleanly(screen) as signals,
            view.live(book, limits, screen, sweep.num_trials, room, rungs(config)),
        ):
            watching.stopping = lambda: bool(signals or stop.reason or stop.cause)
            try:
                tuner.fit()
            except Exception as error:  # of several types: Tune has none for it, and gives up
                if trial.ENDED_FOR_MEMORY not in str(error):
                    raise
                watching.on_tune_error(error)
                again = True
        watching.release()
        note_rungs()
        outcome.interrupted, outcome.reason, outcome.cause = bool(signals), stop.reason, stop.cause
    return again and not outcome.interrupted


def _tune_failures(config: SweepConfig, planned: connect.Plan) -> int:
    """Times that Tune starts a trial again: under Ray Train, which does so itself, once more for its own process."""
    return config.max_failures if planned.in_actor else min(1, config.max_failures)


def _trainable(sweep: Sweep, storage: Storage, planned: connect.Plan) -> Any:
    shared = {"sweep": sweep.config, "storage": storage.root, "driver": sweep.driver}
    if planned.in_actor:
        os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = THREAD_SECONDS
        resources = sweep.config.resources

        def place_of(proposal: dict[str, Any]) -> ray.tune.PlacementGroupFactory:
            wanted = trial.worker_resources(resources.cpus_per_worker, proposal["gpus"])
            kind = {f"accelerator_type:{resources.accelerator_type}": 0.001} if resources.accelerator_type else {}
            return ray.tune.PlacementGroupFactory([wanted | kind])

        return ray.tune.with_resources(ray.tune.with_parameters(actor.run_in_actor, **shared), place_of)
    place = ray.tune.PlacementGroupFactory([trial.DRIVER_RESOURCES])
    return ray.tune.with_resources(ray.tune.with_parameters(trial.run_trial, **shared), place)


def _take_up(sweep: Sweep, storage: Storage, known: study.Study, book: ledger.Ledger) -> None:
    """Enter the trials of earlier drivers: what they reported, and what they had no time to."""
    for past in known.past().values():
        lines = (storage.read_text(f"{places.trial(past.trial_id)}/{places.METRICS}") or "").splitlines()
        record = ledger.TrialRecord(past.trial_id, past.params, origin=past.origin, error=past.error, gpus=past.gpus)
        for metrics in _readable(lines):
            record.epochs[int(metrics["epoch"])] = ledger.epoch_metrics(metrics)
            if past.unfinished:
                known.report(past.trial_id, int(metrics["epoch"]), float(metrics[f"best_{sweep.config.metric}"]))
        spent = sum(float(epoch["seconds"]) for epoch in record.epochs.values())
        record.before = past.seconds or spent
        record.status = past.status or "interrupted"  # type: ignore[assignment]  # the study holds our own words
        book.enter(record)


def _readable(lines: list[str]) -> Iterator[dict[str, Any]]:
    """The epochs in a list that may be cut off: it was copied when the driver was killed."""
    for line in lines:
        try:
            metrics = json.loads(line)
        except ValueError:
            return
        yield metrics


def _write_hparams(storage: Storage, record: ledger.TrialRecord, book: ledger.Ledger) -> None:
    """TensorBoard's HPARAMS entry of a trial, beside its other events."""
    best = book.best_epoch(record)
    if best is None:
        return
    figures = {name: value for name, value in best.items() if name.startswith("val_")}
    with tempfile.TemporaryDirectory() as folder:
        recorder.write_hparams(Path(folder), record.params, figures)
        storage.put(Path(folder), places.trial_logs(record.trial_id))


@contextmanager
def _stopping_cleanly(screen: Console) -> Iterator[list[int]]:
    """Within, the first Ctrl-C has Tune end its trials and return; the second ends at once. Yields the signals seen."""
    seen: list[int] = []

    def on_signal(number: int, frame: Any) -> None:
        seen.append(number)
        if len(seen) > 1 or not callable(signal.getsignal(signal.SIGUSR1)):
            raise KeyboardInterrupt
        text = "stopping: ending the trials, then writing what was found (Ctrl-C again ends at once)"
        threading.Thread(target=screen.print, args=(text,)).start()  # here it might come within another print
        signal.raise_signal(signal.SIGUSR1)  # which Tune takes as the wish to stop

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)
