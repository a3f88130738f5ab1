"""How soon a sweep finds the best settings, with our defaults and with others: on learning curves, not on videos.

    python benchmarks/tuner.py [--repeats 50] [--val_clips 60]
    python benchmarks/tuner.py --fit SWEEP_FOLDER    # the constants below, from a sweep that stopped no trial

A trial's accuracy after an epoch is modelled as a(u) - (a(u) - c) exp(-r(u) epoch), plus noise of the trial and of the
epoch; the latter is that of an accuracy over so many validation clips (the demo has 60, WLASL-100 338). u are the
searched settings between 0 and 1; a falls with the squared distance from the best settings, r depends on the learning
rate. The constants were fitted to short runs of the demo. What is compared is the study, the samplers and the rules
that stop trials as a sweep uses them, with workers that run side by side and take one unit of time for an epoch.
"""

import argparse
import heapq
import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from needs import need
from rich.console import Console
from rich.progress import track

from lscht_ray.host.console import print_table
from lscht_ray.settings.space import Dimension
from lscht_ray.settings.sweep import AshaConfig, SamplerConfig, SweepConfig
from lscht_ray.settings.train import TrainConfig
from lscht_ray.sweep import firsts
from lscht_ray.sweep.judge import Judge
from lscht_ray.sweep.ledger import Ledger
from lscht_ray.sweep.study import Study

SPACE = {
    "lr": Dimension(type="loguniform", low=3e-4, high=5e-3),
    "weight_decay": Dimension(type="loguniform", low=0.005, high=0.3),
    "label_smoothing": Dimension(type="uniform", low=0.0, high=0.3),
}
EPOCHS = 12
CURVES: dict[str, Any] = {
    "top": 0.74,
    "chance": 0.08,
    "best": [0.443, 1.0, 0.385],
    "width": [1.213, 7.389, 3.764],
    "rate": 0.308,
    "rate_of_lr": -0.04,
    "trial_noise": 0.015,
    "epoch_noise": 0.057,
}
"""Fitted to 27 trials of 12 epochs of the demo (tiny model, quasi-random settings, nothing stopped)."""
DEMO_CLIPS = 60
WITHIN = 0.01
"""Of the best: what a sweep is to find."""


def unit(params: dict[str, float]) -> np.ndarray:
    """Settings as numbers between 0 and 1."""
    values = []
    for name, dimension in SPACE.items():
        low, high, value = float(dimension.low or 0), float(dimension.high or 1), params[name]
        if dimension.type == "loguniform":
            low, high, value = math.log(low), math.log(high), math.log(value)
        values.append((value - low) / (high - low))
    return np.array(values)


def curve(u: np.ndarray, epochs: np.ndarray, constants: dict[str, Any]) -> np.ndarray:
    """The accuracy without noise after each of these epochs."""
    away = ((u - np.array(constants["best"])) / np.array(constants["width"])) ** 2
    top = constants["chance"] + (constants["top"] - constants["chance"]) * math.exp(-away.sum())
    rate = constants["rate"] * math.exp(constants["rate_of_lr"] * (u[0] - 0.5))
    return top - (top - constants["chance"]) * np.exp(-rate * epochs)


@dataclass(frozen=True)
class Way:
    """One way to search."""

    name: str
    sampler: str
    stopping: str
    grace: int = 3
    factor: float = 2.0

    def sweep(self, seed: int) -> SweepConfig:
        """The sweep that searches so."""
        grace = min(self.grace, EPOCHS)
        return SweepConfig(
            train=TrainConfig(max_epochs=EPOCHS, lr=2e-3),
            search_space=SPACE,
            sampler=SamplerConfig(type=self.sampler, seed=seed),
            trial_stopping=self.stopping,
            asha=AshaConfig(grace_period=grace, reduction_factor=self.factor),
        )


WAYS = (
    Way("random, nothing stopped", "random", "none"),
    Way("random + Ray's default ASHA (grace 1, reduction 4)", "random", "asha", 1, 4.0),
    Way("random + ASHA (grace 3, reduction 2)", "random", "asha"),
    Way("TPE + Ray's default ASHA (grace 1, reduction 4)", "tpe", "asha", 1, 4.0),
    Way("TPE + ASHA (grace 2, reduction 2)", "tpe", "asha", 2),
    Way("TPE + median", "tpe", "median"),
    Way("TPE + ASHA (grace 3, reduction 2): our defaults", "tpe", "asha"),
)


class Running:
    """A trial and its curve."""

    def __init__(self, name: str, params: dict[str, float], rng: np.random.Generator, noise: float) -> None:
        self.trial_id = name
        self.true = curve(unit(params), np.arange(1, EPOCHS + 1), CURVES)
        offset = rng.normal(0, CURVES["trial_noise"])
        self.seen = self.true + offset + rng.normal(0, CURVES["epoch_noise"] * noise, EPOCHS)
        self.best = -math.inf


def run(way: Way, seed: int, workers: int, most: int, goal: float, noise: float) -> int | None:
    """Epochs, over all trials, until the trial that looks best is within reach of the best there is; or None."""
    sweep, rng = way.sweep(seed), np.random.default_rng((seed, 7))
    study = Study(sweep, None, 10**6)
    study.enqueue(firsts.points(sweep))
    ledger = Ledger(sweep.metric, sweep.mode, EPOCHS)
    judge = Judge(sweep, ledger, study)
    queue: list[tuple[int, int, Running, int]] = []
    leader: Running | None = None
    spent = turn = 0

    def begin(time: int) -> None:
        nonlocal turn
        proposal = study.ask()
        assert proposal is not None
        turn += 1
        ledger.start(proposal.trial_id, proposal.params)
        heapq.heappush(queue, (time + 1, turn, Running(proposal.trial_id, proposal.params, rng, noise), 1))

    for _ in range(workers):
        begin(0)
    while spent < most:
        time, _, trial, epoch = heapq.heappop(queue)
        spent += 1
        trial.best = max(trial.best, float(trial.seen[epoch - 1]))
        study.report(trial.trial_id, epoch, trial.best)
        if leader is None or trial.best > leader.best:
            leader = trial
        goes_on = judge.goes_on(trial.trial_id, epoch, trial.best)
        ledger.report(trial.trial_id, {"epoch": epoch, sweep.metric: trial.best})
        if true_best(leader) >= goal:
            return spent
        if not goes_on or epoch == EPOCHS:
            ledger.end(trial.trial_id)
            study.end(ledger.trials[trial.trial_id], ledger)
            begin(time)
        else:
            turn += 1
            heapq.heappush(queue, (time + 1, turn, trial, epoch + 1))
    return None


def true_best(leader: Running) -> float:
    """The noise-free accuracy at the epoch where a trial looked best so far."""
    return float(leader.true[int(np.argmax(leader.seen >= leader.best - 1e-12))])


def fit(folder: Path) -> dict[str, Any]:
    """The constants that describe a sweep's trials best (least squares)."""
    need("scipy")
    from scipy.optimize import least_squares

    runs = []
    for file in sorted((folder / "trials").glob("*/metrics.jsonl")):
        config = json.loads((file.parent / "config.json").read_text())
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        runs.append((unit({name: config[name] for name in SPACE}), np.array([e["val_accuracy"] for e in lines])))

    def unpack(x: np.ndarray) -> dict[str, Any]:
        return {
            "top": float(x[0]),
            "chance": float(x[1]),
            "best": x[2:5].tolist(),
            "width": np.exp(x[5:8]).tolist(),
            "rate": float(np.exp(x[8])),
            "rate_of_lr": float(x[9]),
        }

    def residuals(x: np.ndarray) -> np.ndarray:
        made = unpack(x)
        return np.concatenate([curve(u, np.arange(1, len(seen) + 1), made) - seen for u, seen in runs])

    start = np.array([0.8, 0.2, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, -1.5, 0.5])
    low = np.array([0.3, 0.0, 0.0, 0.0, 0.0, -1.5, -1.5, -1.5, -4.0, -3.0])
    high = np.array([1.0, 0.4, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 1.0, 3.0])
    constants = unpack(least_squares(residuals, start, bounds=(low, high)).x)
    off = [seen - curve(u, np.arange(1, len(seen) + 1), constants) for u, seen in runs]
    constants["trial_noise"] = float(np.std([each.mean() for each in off]))
    constants["epoch_noise"] = float(np.std(np.concatenate([each - each.mean() for each in off])))
    return {name: np.round(value, 3).tolist() for name, value in constants.items()}


def main() -> None:
    """Compare the ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--val_clips", type=int, default=DEMO_CLIPS)
    parser.add_argument("--most", type=int, default=1200, help="epochs after which a search has failed")
    parser.add_argument("--fit", type=Path, help="fit the constants to the trials of this sweep, and end")
    flags = parser.parse_args()
    screen = Console()
    if flags.fit:
        screen.print(json.dumps(fit(flags.fit), indent=4))
        return
    best = curve(np.array(CURVES["best"]), np.array([EPOCHS]), CURVES)[0]
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 41)] * 3), axis=-1).reshape(-1, 3)
    best = max(best, max(float(curve(u, np.array([EPOCHS]), CURVES)[0]) for u in grid))
    noise = math.sqrt(DEMO_CLIPS / flags.val_clips)
    rows = []
    for way in WAYS:
        seeds = track(range(flags.repeats), description=way.name, console=screen, transient=True)
        found = [run(way, seed, flags.workers, flags.most, best - WITHIN, noise) for seed in seeds]
        epochs = [flags.most if each is None else each for each in found]
        quarters = statistics.quantiles(epochs, n=4)
        share = sum(each is not None for each in found) / len(found)
        rows.append(
            [way.name, f"{statistics.median(epochs):.0f}", f"{quarters[0]:.0f} to {quarters[2]:.0f}", f"{share:.0%}"]
        )
    title = f"Epochs until the leading trial is within {WITHIN:.0%} of the best ({best:.3f}), {flags.repeats} repeats"
    print_table(screen, title, ["way", "median", "middle half", f"got there within {flags.most}"], rows)


if __name__ == "__main__":
    main()
