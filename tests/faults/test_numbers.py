"""Steps whose loss or gradient is not finite: skipped, counted, and never what is kept."""

import io
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from lscht_ray.artifacts import checkpoint, places
from lscht_ray.artifacts.recorder import RunFolders
from lscht_ray.errors import TrainingError
from lscht_ray.host.interrupt import StopRequest
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training import run as training
from support.faults import Faults
from support.runs import RECIPE

pytestmark = pytest.mark.faults


class Poisoned(torch.nn.Module):
    """A network whose training answers are not finite at some steps (from 1; the tiny recipe has 3 an epoch)."""

    def __init__(self, network: torch.nn.Module, steps: range, poison: float) -> None:
        super().__init__()
        self.network, self.steps, self.poison, self.calls = network, steps, poison, 0

    def forward(self, pixel_values: torch.Tensor) -> Any:
        out = self.network(pixel_values=pixel_values)
        self.calls += 1
        if (self.calls + 1) // 2 in self.steps:  # two micro-batches a step
            out.logits = out.logits * self.poison
        return out


def run(folder: Path, small: Path, said: io.StringIO, steps: range, poison: float = math.nan, **changes: Any) -> Any:
    last = folder / "run" / places.LAST
    return training.run(
        TrainConfig(data=str(small), **{**RECIPE, **changes}),
        RunFolders(folder / "run", folder / "logs"),
        screen=Console(file=said, width=300),
        hooks=training.Hooks(prepare_model=lambda network: Poisoned(network, steps, poison)),
        resume_from=last if last.is_file() else None,
    )


def test_only_steps_in_a_row_end_a_run(small: Path, tmp_path: Path, faults: Faults) -> None:
    faults.provoke("every second step's loss is not finite")
    said = io.StringIO()
    outcome = run(tmp_path, small, said, range(2, 10, 2), max_skipped_steps=2)
    assert outcome.history[-1]["skipped_steps"] == 4
    assert said.getvalue().count("(1 in a row, 2 end the run)") == 4
    faults.survive("every second step's loss is not finite")


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_step_that_is_not_finite_is_skipped_and_counted(
    small: Path, tmp_path: Path, faults: Faults, poison: float
) -> None:
    faults.provoke("a step's loss is not finite")
    said = io.StringIO()
    outcome = run(tmp_path, small, said, range(5, 6), poison)
    assert [epoch["skipped_steps"] for epoch in outcome.history] == [0, 1, 1]
    assert [epoch["train_clips"] for epoch in outcome.history] == [12, 8, 12]
    assert said.getvalue().count("the loss at step 5 is nan: the step was skipped (1 in a row, 10 end the run)") == 1
    full = checkpoint.load(tmp_path / "run" / places.LAST)
    assert all(torch.isfinite(value).all() for part in ("model", "ema") for value in full[part].values())
    assert all(math.isfinite(value) for epoch in outcome.history for value in epoch.values())
    faults.survive("a step's loss is not finite")


def test_too_many_in_a_row_end_the_run_and_name_the_clips(small: Path, tmp_path: Path, faults: Faults) -> None:
    """Across epochs, and across a stop: what was counted is kept."""
    faults.provoke("every step's loss is not finite")
    said = io.StringIO()
    with pytest.raises(TrainingError, match=r"at step 8 is nan(.|\n)*number 4 in a row(.|\n)*\.mp4") as raised:
        run(tmp_path, small, said, range(5, 100), max_skipped_steps=4)
    assert sum(line.endswith(".mp4") for line in str(raised.value).splitlines()) == 4
    assert said.getvalue().count("the step was skipped") == 3
    full = checkpoint.load(tmp_path / "run" / places.LAST)
    assert (full["epoch"], full["skipped"]) == (2, [2, 2])
    with pytest.raises(TrainingError, match=r"at step 8 is nan(.|\n)*number 4 in a row"):
        run(tmp_path, small, said, range(1, 100), max_skipped_steps=4)
    faults.survive("every step's loss is not finite")


def test_an_epoch_without_a_finite_step_ends_the_run(small: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"not one step of epoch 2 was finite(.|\n)*\.mp4"):
        run(tmp_path, small, io.StringIO(), range(4, 7))


def test_a_model_whose_answers_are_not_finite_is_never_kept(small: Path, tmp_path: Path, faults: Faults) -> None:
    """Weights that are finite and answers that are not: the learning rate was too high in the last step."""
    faults.provoke("validation is not finite")

    networks: list[Any] = []

    class Ruin(StopRequest):
        """Makes the weights too large after the last step of epoch 2."""

        def save_now(self, step: int) -> bool:
            if step == 6:
                with torch.no_grad():
                    networks[0].classifier.weight.mul_(1e38)
            return False

    def remember(network: torch.nn.Module) -> torch.nn.Module:
        networks.append(network)
        return network

    plain = {**RECIPE, "ema_decay": 0.0, "mixup": 0.0, "cutmix": 0.0}
    with pytest.raises(TrainingError, match=r"the validation loss is .*outputs are not finite"):
        training.run(
            TrainConfig(data=str(small), **plain),
            RunFolders(tmp_path / "run", tmp_path / "logs"),
            screen=Console(file=io.StringIO()),
            hooks=training.Hooks(prepare_model=remember, listen=lambda: nullcontext(Ruin())),
        )
    for name in (places.BEST, places.LAST):
        kept = checkpoint.load(tmp_path / "run" / name)
        assert kept["epoch"] == 1
        assert float(kept["model"]["classifier.weight"].abs().max()) < 1e3
    faults.survive("validation is not finite")
