"""What a short trial costs in processes that stay, and as a TorchTrainer with workers of its own.

    python benchmarks/starts.py [--trials 8] [--rounds 1]

Sweeps of the demo, one trial at a time, two epochs each. Seconds per trial, from its start to the next one's, and the
ratio; several rounds are interleaved, and medians quoted.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

RUNNERS = ("torch_trainer", "in_actor")


def seconds_per_trial(runner: str, trials: int, folder: Path) -> float:
    """Run a sweep; its trials' time divided by their number."""
    flags = {
        "train.max_epochs": 2,
        "num_trials": trials,
        "trial_runner": runner,
        "trial_stopping": "none",
        "resources.max_concurrent_trials": 1,
        "resources.address": "local",
        "storage_path": folder / runner,
    }
    command = [
        sys.executable,
        "-m",
        "lscht_ray.tune",
        "--quiet",
        *(f"--{name}={value}" for name, value in flags.items()),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    summary = json.loads(max((folder / runner).glob("*/summary.json")).read_text())
    return float(summary["trial_seconds"]) / trials


def main() -> None:
    """Compare both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1)
    flags = parser.parse_args()
    screen = Console()
    took: dict[str, list[float]] = {runner: [] for runner in RUNNERS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(flags.rounds):
            for runner in RUNNERS:
                took[runner].append(seconds_per_trial(runner, flags.trials, Path(folder) / str(number)))
                screen.print(f"round {number + 1}  {runner}: {took[runner][-1]:.2f} s a trial")
    ratios = [new / old for old, new in zip(*took.values(), strict=True)]
    screen.print(
        f"in_actor / torch_trainer: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
        f"{flags.trials} trials of 2 epochs"
    )


if __name__ == "__main__":
    main()
