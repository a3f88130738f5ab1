"""Records each step's figures without making a GPU wait, and counts the steps that were not finite."""

from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import torch
from rich.console import Console
from torch import Tensor

from lscht_ray.artifacts.recorder import Recorder
from lscht_ray.errors import UnfitSettingsError
from lscht_ray.host.console import EpochProgress
from lscht_ray.training.state import Skipped

AT_ONCE = 16
"""Steps whose figures are fetched from a GPU together."""


class _Step(NamedTuple):
    number: int
    lr: float
    videos: tuple[str, ...]


class StepLog:
    """Takes the figures of steps and hands them to TensorBoard and the progress bar, at once or some steps later.

    Args:
        recorder: Writes TensorBoard's tags.
        progress: Shows the latest figures.
        console: Told of skipped steps.
        skipped: Counts skipped steps.
        most: Skipped steps in a row that end the run.
        wait: Whether to look at the figures of several steps together, as a GPU wants it.
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
        """Record a step.

        Args:
            number: Of the run, from 1.
            lr: The learning rate that it used.
            figures: Loss, accuracy and norm of the gradient, (3,).
            finite: () bool; whether the step was applied.
            videos: The clips' files, for the message where it was not.

        Raises:
            UnfitSettingsError: Too many steps in a row were not finite.
        """
        self._steps.append(_Step(number, lr, tuple(video for video in videos if video)))
        self._figures.append(torch.cat([figures, finite[None].float()]))
        if len(self._steps) >= self.at_once:
            self.flush()
        self.progress.advance(**self._shown)

    def flush(self) -> None:
        """Fetch and record the figures of the steps that were not looked at yet."""
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
        """End the run because of steps that were not finite.

        Raises:
            UnfitSettingsError: Always; it names the clips of the last such step.
        """
        listed = "\n  ".join(self._unusable)
        raise UnfitSettingsError(
            f"{why}: the run ends. A lower lr or gradient_clip may help.\n"
            f"The clips of the last such step (on this worker):\n  {listed}"
        )
