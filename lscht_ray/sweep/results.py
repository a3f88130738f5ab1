"""Prints what a sweep found: the table of trials, the best one, and what to do next."""

import math
import shlex
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from lscht_ray.artifacts import figures, places
from lscht_ray.host import console
from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.shown import counted, some
from lscht_ray.sweep.firsts import BASELINE
from lscht_ray.sweep.folder import Sweep
from lscht_ray.sweep.ledger import Ledger


def conclude(of: Sweep, ledger: Ledger, best: Path | None, screen: Console) -> None:
    """Print the table of trials, the best parameters, and what to do next."""
    sweep, folder, place = of.config, of.folder, of.place
    _table(sweep, ledger, screen)
    for record in ledger.trials.values():
        if record.error:
            screen.print(f"{record.trial_id} {record.status}: {record.error}")
    totals = ledger.totals()
    screen.print(
        f"{_epochs(totals, of.num_trials - len(ledger.trials))}; {_long(totals['trial_seconds'])} of trials"
        + (f", {totals['gpu_hours']:.3g} GPU hours" if totals["gpu_hours"] else "")
    )
    if best is None:
        lost = [f"the checkpoint of the best epoch of {r.trial_id} is missing or damaged" for r in ledger.ranking()]
        why = (lost or ["no trial finished an epoch"])[0]
        screen.print(f"{why}; see {folder / places.RAY_LOG} and {folder / places.SUMMARY}")
        return
    winner = ledger.ranking()[0]
    parameters = " ".join(f"--{name} {value}" for name, value in {**ledger.own(winner), **winner.params}.items())
    screen.print(f"best: {winner.trial_id} ({winner.origin})  {parameters}")
    for line in (*_doubts(sweep, ledger), *_unequal(ledger)):
        screen.print(line)
    logs = shlex.quote(f"{place}/{places.LOGS}")
    screen.print(f"results {folder / places.SUMMARY}\nTensorBoard: tensorboard --logdir {logs}")
    split = "test" if of.tested else "val"
    data = shlex.quote(sweep.train.data)
    screen.print(f"next: python -m lscht_ray.evaluate {shlex.quote(str(best))} --data {data} --split {split}")
    screen.print(f"  or: python -m lscht_ray.train --config {shlex.quote(str(best.parent / places.CONFIG))}")
    screen.print(against_baseline(ledger))


def _long(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _epochs(totals: dict[str, Any], not_begun: int) -> str:
    """How many epochs were run, were saved by stopping trials early, and are still to be done."""
    run, planned, saved = totals["epochs_run"], totals["epochs_planned"], totals["epochs_saved"]
    parts = [f"{run} of {counted(planned, 'epoch')} run"]
    if saved:
        parts.append(f"{saved} saved by stopping trials early ({saved / planned:.0%})")
    if planned - run - saved:
        parts.append(f"{planned - run - saved} not done")
    if not_begun > 0:
        parts.append(f"{counted(not_begun, 'trial')} not begun")
    return ", ".join(parts)


def against_baseline(ledger: Ledger) -> str:
    """Whether any trial beat the baseline, the settings of `train` as they stand, and by how much against the noise."""
    metric, ranking = ledger.metric, ledger.ranking()
    base = next((record for record in ledger.in_order() if record.origin == BASELINE), None)
    own = ledger.best_epoch(base) if base is not None else None
    if base is None or own is None:
        return "the baseline (the settings of train: as they stand) has no result to compare with"
    name = f"the baseline ({base.trial_id}: {metric} {own[metric]:.4f})"
    if len(base.epochs) < ledger.max_epochs and base.status == "pruned":
        name += f", which was stopped after {len(base.epochs)} of {counted(ledger.max_epochs, 'epoch')},"
    others = [record for record in ranking if record is not base]
    if not others:
        return f"there is nothing to compare {name} with"
    best = ledger.best_epoch(others[0])
    assert best is not None  # it is in the ranking
    gain = (best[metric] - own[metric]) * (1 if ledger.mode == "max" else -1)
    said = f"{others[0].trial_id} ({best[metric]:.4f})"
    if gain == 0 and ranking[0] is not base:
        return f"{said} is as good as {name.rstrip(',')}, with the lower val loss: nothing beat it"
    if gain <= 0:
        return f"no trial beat {name}; the next best is {said}"
    errors = [ledger.standard_error(metrics) for metrics in (best, own)]
    noise = math.hypot(*(error for error in errors if error is not None))
    if not noise:
        return f"{said} beat {name} by {gain:.4f}"
    verdict = "within the noise" if gain < figures.Z * noise else "more than the noise of two accuracies"
    return f"{said} beat {name} by {gain:.4f}: {verdict}, as the standard error of the difference is {noise:.4f}"


def _table(sweep: SweepConfig, ledger: Ledger, screen: Console) -> None:
    names = list(dict.fromkeys([*sweep.search_space, *sweep.own_settings(1)]))
    second = [ledger.second] if ledger.second else []
    rows = []
    for record in ledger.ranking() + [r for r in ledger.in_order() if not r.epochs]:
        top = ledger.best_epoch(record)
        settings = {**ledger.own(record), **record.params}
        shown = [console.short(settings[name]) if name in settings else "" for name in names]
        reached = figures.accuracy(top, sweep.metric) if top else None
        values = [f"{top[sweep.metric]:.4f}", reached.interval if reached else ""] if top else ["-", ""]
        values += [f"{top[name]:.4g}" if top else "-" for name in second]
        ended = [str(len(record.epochs)), f"{top['epoch']:.0f}" if top else "-"]
        rows.append([record.trial_id, *values, record.status, *shown, *ended, f"{record.seconds:.0f}"])
    found = [f"best {sweep.metric}", "95 % interval", *second]
    columns = ["trial", *found, "status", *names, "epochs", "at epoch", "seconds"]
    if rows:
        console.print_table(screen, "Trials, the best first", columns, rows, keep=1 + len(found))


def _doubts(sweep: SweepConfig, ledger: Ledger) -> Iterator[str]:
    """Say how sure it is that the best trial is the best."""
    winner = ledger.ranking()[0]
    top = ledger.best_epoch(winner)
    assert top is not None  # it is in the ranking
    error, reached = ledger.standard_error(top), figures.accuracy(top, sweep.metric)
    if reached is not None:
        yield f"{sweep.metric} {reached.text()} on {counted(top['val_clips'], 'clip')}"
    if error is not None:
        ties = ledger.ties()
        names = some(record.trial_id for record in ties)
        which = (
            f"{counted(len(ties), 'other trial is', 'other trials are')} within it: {names}"
            if ties
            else "no other trial is within it"
        )
        yield f"standard error {error:.4f}; {which}."
    if len(ledger.ranking()) > 1:
        yield f"It is the best of {len(ledger.ranking())} trials, so it looks better than it is: trust the test split"
    if ledger.second:
        front = ", ".join(record.trial_id for record in ledger.front())
        yield f"not beaten in both {sweep.metric} and {ledger.second}: {front}"
    history = [winner.epochs[epoch] for epoch in sorted(winner.epochs)]
    yield from figures.doubts(history, history.index(top) + 1, sweep.metric)


def _unequal(ledger: Ledger) -> Iterator[str]:
    """Warnings where trials were validated on other clips than others, or lost clips while they ran."""
    sizes, lost = defaultdict[int, list[str]](list), dict[str, int]()
    for record in ledger.in_order():
        counts = {int(epoch["val_clips"]) for epoch in record.epochs.values() if "val_clips" in epoch}
        for count in counts:
            sizes[count].append(record.trial_id)
        gone = [int(epoch.get("unreadable", 0)) for epoch in record.epochs.values()]
        if gone and max(gone) > min(gone):
            lost[record.trial_id] = max(gone) - min(gone)
    if len(sizes) > 1:
        groups = "; ".join(f"{counted(count, 'clip')}: {some(names)}" for count, names in sorted(sizes.items()))
        yield f"warning: not all trials were validated on the same clips, so they can't be compared ({groups})"
    if lost:
        named = some(f"{count} in {name}" for name, count in lost.items())
        yield f"warning: videos were lost while trials ran ({named}): see {places.UNREADABLE} in their folders"
