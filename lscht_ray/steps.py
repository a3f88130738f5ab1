"""Writes down each step's figures without having a GPU wait for it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lscht_ray.console import EpochProgress
from lscht_ray.errors import TrainingError
from lscht_ray.recorder import Recorder

AT_ONCE = 16
"""So many steps' figures are fetched from a GPU at once."""


class _Step(NamedTuple):
    number: int
    lr: float
    videos: tuple[str, ...]


class StepLog:
    """Takes the figures of steps and hands them to TensorBoard and the progress bar, at once or some steps later."""

    def __init__(self, recorder: Recorder, progress: EpochProgress, *, wait: bool) -> None:
        self.recorder, self.progress = recorder, progress
        self.at_once = AT_ONCE if wait else 1
        self._steps: list[_Step] = []
        self._figures: list[Tensor] = []
        self._shown: dict[str, float] = {}

    def add(self, number: int, lr: float, figures: Tensor, finite: Tensor, videos: Sequence[str]) -> None:
        """Take a step: its number from 1, its loss, accuracy and gradient norm (3,), and whether they are finite.

        Raises:
            TrainingError: A step was not finite: it changed nothing, but training can't go on.
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
                _not_finite(step, loss, norm)
            self.recorder.batch(step.number, loss, accuracy, step.lr)
            self._shown = {"loss": loss, "acc": accuracy, "lr": step.lr}


def _not_finite(step: _Step, loss: float, norm: float) -> None:
    what, value = ("loss", loss) if loss - loss != 0 else ("gradient norm", norm)
    listed = "\n  ".join(step.videos)
    raise TrainingError(
        f"the {what} at step {step.number} is {value}: nothing was updated. A lower lr or gradient_clip may help.\n"
        f"The clips of that step (on this worker):\n  {listed}"
    )
