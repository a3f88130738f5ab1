"""Writes down each step's figures without having a GPU wait for it, and counts the steps that were not finite."""

from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import torch
from rich.console import Console
from torch import Tensor

from lscht_ray.artifacts.recorder import Recorder
from lscht_ray.errors import TrainingError
from lscht_ray.host.console import EpochProgress
from lscht_ray.training.state import Skipped

AT_ONCE = 16
"""So many steps' figures are fetched from a GPU at once."""


class _Step(NamedTuple):
    number: int
    lr: float
    videos: tuple[str, ...]


class StepLog:
    """Takes the figures of steps and hands them to TensorBoard and the progress bar, at once or some steps later.

    Args:
        recorder: Writes TensorBoard's tags.
        progress: The bar.
        console: Where skipped steps are said.
        skipped: Counts them.
        most: So many in a row end the run.
        wait: Whether to look at several steps at once, for a GPU.
    """

    def __init__(
        self,
        recorder: Recorder,
        progress: EpochProgress,
        console: Console,
        skipped: Skipped,
        most: int,
        *,
        wait: bool,
    ) -> None:
        self.recorder, self.progress, self.console = recorder, progress, console
        self.skipped, self.most = skipped, most
        self.at_once = AT_ONCE if wait else 1
        self._steps: list[_Step] = []
        self._figures: list[Tensor] = []
        self._shown: dict[str, float] = {}
        self._unusable: tuple[str, ...] = ()

    def add(self, number: int, lr: float, figures: Tensor, finite: Tensor, videos: Sequence[str]) -> None:
        """Take a step: its number from 1, its loss, accuracy and gradient norm (3,), and whether they are finite.

        Raises:
            TrainingError: Too many steps in a row were not finite.
        """
        self._steps.append(_Step(number, lr, tuple(video for video in videos if video)))
        self._figures.append(torch.cat([figures, finite[None].float()]))
        if len(self._steps) >= self.at_once:
            self.flush()
        self.progress.advance(**self._shown)

    def flush(self) -> None:
        """Look at the steps that were not looked at yet."""
        steps, self._steps = self._steps, []
        if not steps:
            return
        figures, self._figures = torch.stack(self._figures).tolist(), []
        for step, (loss, accuracy, norm, finite) in zip(steps, figures, strict=True):
            if not finite:
                self._skip(step, loss, norm)
                continue
            self.skipped.in_a_row = 0
            self.recorder.batch(step.number, loss, accuracy, step.lr)
            self._shown = {"loss": loss, "acc": accuracy, "lr": step.lr}

    def _skip(self, step: _Step, loss: float, norm: float) -> None:
        self.skipped.total += 1
        self.skipped.in_a_row += 1
        self._unusable = step.videos
        what, value = ("loss", loss) if loss - loss != 0 else ("gradient norm", norm)
        text = f"the {what} at step {step.number} is {value}: the step was skipped"
        if self.skipped.in_a_row < self.most:
            self.console.print(f"warning: {text} ({self.skipped.in_a_row} in a row, {self.most} end the run)")
            return
        self.give_up(f"{text}, number {self.most} in a row (max_skipped_steps)")

    def give_up(self, why: str) -> NoReturn:
        """End the run for its steps that were not finite.

        Raises:
            TrainingError: Always; it names the clips of the last such step.
        """
        listed = "\n  ".join(self._unusable)
        raise TrainingError(
            f"{why}: the run ends. A lower lr or gradient_clip may help.\n"
            f"The clips of the last such step (on this worker):\n  {listed}"
        )
