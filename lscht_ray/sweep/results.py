"""Prints what a sweep found: the table of trials, the best one, and what to do next."""

import shlex
from pathlib import Path

from rich.console import Console

from lscht_ray.artifacts import places
from lscht_ray.host import console
from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.shown import some
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
    saved = 1 - totals["epochs_run"] / max(1, totals["epochs_planned"])
    screen.print(
        f"{totals['epochs_run']} of {totals['epochs_planned']} epochs run ({saved:.0%} saved), "
        f"{totals['trial_seconds'] / 3600:.3g} hours of trials, {totals['gpu_hours']:.3g} GPU hours"
    )
    if best is None:
        lost = [f"the checkpoint of the best epoch of {r.trial_id} is missing or damaged" for r in ledger.ranking()]
        why = (lost or ["no trial finished an epoch"])[0]
        screen.print(f"{why}; see {folder / places.RAY_LOG} and {folder / places.SUMMARY}")
        return
    winner = ledger.ranking()[0]
    parameters = " ".join(f"--{name} {value}" for name, value in {**ledger.own(winner), **winner.params}.items())
    screen.print(f"best: {winner.trial_id} ({winner.origin})  {parameters}")
    _doubts(sweep, ledger, screen)
    logs = shlex.quote(f"{place}/{places.LOGS}")
    screen.print(f"results {folder / places.SUMMARY}\nTensorBoard: tensorboard --logdir {logs}")
    split = "test" if of.tested else "val"
    data = shlex.quote(sweep.train.data)
    screen.print(f"next: python -m lscht_ray.evaluate {shlex.quote(str(best))} --data {data} --split {split}")
    screen.print(f"  or: python -m lscht_ray.train --config {shlex.quote(str(best.parent / places.CONFIG))}")


def _table(sweep: SweepConfig, ledger: Ledger, screen: Console) -> None:
    names = list(dict.fromkeys([*sweep.search_space, *sweep.own_settings(1)]))
    second = [ledger.second] if ledger.second else []
    rows = []
    for record in ledger.ranking() + [r for r in ledger.in_order() if not r.epochs]:
        top = ledger.best_epoch(record)
        values = {**ledger.own(record), **record.params}
        shown = [console.short(values[name]) if name in values else "" for name in names]
        figures = (
            [f"{top[sweep.metric]:.4f}", *(f"{top[name]:.4g}" for name in second), f"{top['epoch']:.0f}"] if top else []
        )
        ended = [record.status, str(len(record.epochs))]
        rows.append([record.trial_id, *shown, *ended, *(figures or ["-"] * (2 + len(second))), f"{record.seconds:.0f}"])
    columns = ["trial", *names, "status", "epochs", f"best {sweep.metric}", *second, "at epoch", "seconds"]
    screen.print(console.table("Trials, the best first", columns, rows))


def _doubts(sweep: SweepConfig, ledger: Ledger, screen: Console) -> None:
    """Print how sure it is that the best trial is the best."""
    top = ledger.best_epoch(ledger.ranking()[0])
    error = ledger.standard_error(top) if top else None
    if top is not None and error is not None:
        ties = ledger.ties()
        names = some(record.trial_id for record in ties)
        which = f"{len(ties)} other trial(s) are within it: {names}" if ties else "no other trial is within it"
        screen.print(
            f"{sweep.metric} {top[sweep.metric]:.4f}, standard error {error:.4f} ({top['val_clips']} clips); {which}.\n"
            f"It is the best of {len(ledger.ranking())} trials, so it looks better than it is: trust the test split"
        )
    if ledger.second:
        front = ", ".join(record.trial_id for record in ledger.front())
        screen.print(f"not beaten in both {sweep.metric} and {ledger.second}: {front}")
