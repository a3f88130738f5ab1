"""One-worker trials in Tune's own processes, which stay and run one trial after the other: no start-up for each."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray.tune

from lscht_ray.cluster.report import Report
from lscht_ray.cluster.trial import work_order
from lscht_ray.cluster.worker import carry_out
from lscht_ray.settings.data import DataConfig
from lscht_ray.settings.sweep import SweepConfig

if TYPE_CHECKING:
    from lscht_ray.checking.usable import ClipSet


def run_in_actor(trial: dict[str, Any], sweep: SweepConfig, storage: str, driver: str) -> None:
    """Train with these sampled settings in this process: the same loop and the same checkpoints as under Ray Train.

    Args:
        trial: The proposal (`search.Proposals`).
        sweep: The sweep, its paths absolute.
        storage: The sweep's folder or URI.
        driver: Who asks for it.
    """
    order = work_order(trial["proposal"], sweep, storage, driver)
    # Videos may be lost or mended while a sweep runs: a process keeps the data set as its first trial found it.
    clip_set = _looked_at(order.config.model_dump_json(include=set(DataConfig.model_fields)))
    carry_out(order, _TuneReport, order.config.device, clip_set=clip_set)


@lru_cache(maxsize=2)
def _looked_at(settings: str) -> ClipSet:
    """The data set of these settings, which a process looks at once."""
    from lscht_ray.host.console import new_console
    from lscht_ray.settings.train import TrainConfig
    from lscht_ray.training.data import ready

    return ready(TrainConfig.model_validate(json.loads(settings)), new_console())


class _TuneReport(Report):
    """Tells Tune of an epoch; the checkpoint is kept before, without Ray's help."""

    def tell(self, report: dict[str, Any]) -> None:
        """Report an epoch without a checkpoint."""
        ray.tune.report(report)

    def tell_with_checkpoint(self, report: dict[str, Any], folder: Path, name: str) -> None:
        """Keep the folder under that name, and report the epoch."""
        try:
            self.rescue.keep_epoch(folder, name, int(report["best_epoch"]))
        except OSError as error:
            self.complain(error)
        self.tell(report)

    def untold(self, history: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The last epoch: the process may have ended before it was heard of."""
        return history[-1:]
