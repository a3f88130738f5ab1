"""What the driver of a sweep computes for each trial, as the number of trials grows: no Ray, no model, no videos.

    python benchmarks/driver.py [--trials 2000] [--sampler random]

Everything is done that a sweep does between an epoch's report and the next trial: the study (a SQLite database), the
ledger, ASHA's decisions, the budget, the line on the screen, summary.json. CPU seconds per trial are printed for each
stretch of the sweep. The sampler's own share grows with the trials that it learns from, so it is counted apart.
"""

import argparse
import io
import itertools
import math
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from rich.console import Console

from lscht_ray.host.console import print_table
from lscht_ray.settings.sweep import AshaConfig, BudgetConfig, SamplerConfig, SweepConfig
from lscht_ray.settings.train import TrainConfig
from lscht_ray.sweep import firsts
from lscht_ray.sweep.budget import Budget
from lscht_ray.sweep.judge import Judge, new_ledger
from lscht_ray.sweep.study import Study
from lscht_ray.sweep.summary import Summary

EPOCHS = 30
AT_ONCE = 8
"""Trials that run side by side."""
STEPS = 5
"""Steps of Tune's loop for each report."""


def run(trials: int, sampler: str, folder: Path) -> dict[str, list[float]]:
    """CPU seconds of each trial's share: in the sampler, and in all the rest."""
    sweep = SweepConfig(
        train=TrainConfig(max_epochs=EPOCHS, gpu_hour_price=2.0),
        sampler=SamplerConfig(type=sampler),
        asha=AshaConfig(grace_period=3),
        budget=BudgetConfig(gpu_hours=1e9, money=1e9, trials_without_improvement=10**9),
    )
    study = Study(sweep, f"sqlite:///{folder / 'study.db'}", trials)
    study.enqueue(firsts.points(sweep))
    ledger = new_ledger(sweep)
    judge, budget, summary = Judge(sweep, ledger, study), Budget(sweep.budget, 2.0, ledger), Summary(ledger, folder)
    rng, screen = np.random.default_rng(0), Console(file=io.StringIO())
    running: dict[str, tuple[np.ndarray, int]] = {}
    spent: dict[str, list[float]] = defaultdict(list)
    asked = rest = 0.0
    while True:
        began = time.process_time()
        while len(running) < AT_ONCE and (proposal := study.ask()) is not None:
            ledger.start(proposal.trial_id, proposal.params, 1.0, proposal.origin)
            away = abs(math.log10(proposal.params["lr"]) + 4)
            top = 0.8 - 0.2 * away + rng.normal(0, 0.02)
            curve = top * (1 - 0.9 ** np.arange(1, EPOCHS + 1)) + rng.normal(0, 0.02, EPOCHS)
            running[proposal.trial_id] = (curve, 0)
        asked += time.process_time() - began
        if not running:
            return spent
        for name, (curve, done) in list(running.items()):
            began = time.process_time()
            epoch, score = done + 1, float(curve[: done + 1].max())
            metrics = {"epoch": epoch, sweep.metric: float(curve[done]), "val_clips": 338, "seconds": 30.0}
            goes_on = judge.goes_on(name, epoch, score)
            ledger.report(name, metrics | {"early_stopped": 0.0})
            study.report(name, epoch, score)
            leader = ledger.leader()
            assert leader is not None
            screen.print(f"{name} epoch {epoch}: best {(ledger.best_epoch(leader) or {})[sweep.metric]:.4f}")
            running[name] = (curve, epoch)
            for _ in range(STEPS):
                assert not budget.used_up() and not budget.hopeless()
                summary.keep_up()
            ended = not goes_on or epoch == EPOCHS
            if ended:
                ledger.end(name)
                study.end(ledger.trials[name], ledger)
                screen.print(f"{name}: {len(ledger.ended())} done")
                summary.changed()
                del running[name]
            rest += time.process_time() - began
            if ended:
                spent["sampler"].append(asked)
                spent["rest"].append(rest)
                asked = rest = 0.0


def main() -> None:
    """Print the cost per trial by stretches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--sampler", default="random", choices=("random", "tpe"))
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        spent = run(flags.trials, flags.sampler, Path(folder))
    edges = [0, *(edge for edge in (50, 100, 200, 500, 1000, 2000, 5000) if edge < flags.trials), flags.trials]
    rows = []
    for first, last in itertools.pairwise(edges):
        means = {name: 1000 * float(np.mean(values[first:last])) for name, values in spent.items()}
        base = 1000 * float(np.mean(spent["rest"][:50]))
        row = [f"{first + 1} to {last}", f"{means['sampler']:.1f}", f"{means['rest']:.1f}"]
        rows.append([*row, f"{means['rest'] / base:.2f}"])
    title = f"CPU milliseconds per trial ({flags.sampler})"
    print_table(Console(), title, ["trials", "sampler", "all the rest", "of the first 50"], rows)


if __name__ == "__main__":
    main()
