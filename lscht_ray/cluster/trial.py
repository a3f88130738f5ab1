"""What one Tune trial does: builds and fits the TorchTrainer."""

from typing import Any

import ray.train
import ray.train.torch
import ray.tune
from ray.tune.integration.ray_train import TuneReportCallback

from lscht_ray.artifacts import places
from lscht_ray.artifacts.storage import Storage
from lscht_ray.cluster._ray_internals import CLEANER, DATASETS, ENDED_FOR_MEMORY, HEAD, LeanTrainer
from lscht_ray.cluster.report import CHECKPOINT_SCORE, WorkOrder
from lscht_ray.cluster.worker import train_worker
from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.settings.train import TrainConfig
from lscht_ray.sweep.rescue import Rescue
from lscht_ray.sweep.study import Proposal

CONTROLLER_FAILURES = 3
"""Times a trainer may fail to get its workers or lose its controller; Ray's own default is to try for ever."""
DRIVER_RESOURCES = {"CPU": 0.1, HEAD: 0.001}
"""What the trial's own process takes, on the head node: so it never takes a worker's place."""


def proposal_of(trial: Any) -> Proposal:
    """The study's proposal that a Tune trial runs."""
    proposal: Proposal = trial.config["proposal"]
    return proposal


def trial_name(trial: Any) -> str:
    """The trial's name: trial_00001, trial_00002, ... in the order of their proposal."""
    return proposal_of(trial).trial_id


def work_order(proposal: Proposal, sweep: SweepConfig, storage: str, driver: str) -> WorkOrder:
    """What the workers of a trial are to do."""
    return WorkOrder(
        config=proposal.config,
        trial_id=proposal.trial_id,
        storage=storage,
        threads=sweep.resources.threads,
        driver=driver,
    )


def run_trial(trial: dict[str, Any], sweep: SweepConfig, storage: str, driver: str) -> None:
    """Train as proposed; a trial that starts again goes on from its last checkpoint.

    One whose settings have proved unfit ends here: `watch` finds the reason in the storage.

    Out of memory, it starts again with half as many clips at a time: Ray retries some such failures, and not all.

    Args:
        trial: The proposal, and how many GPUs a worker gets (`search.Proposals`).
        sweep: The sweep, its paths absolute.
        storage: The sweep's folder or URI.
        driver: Who asks for it.
    """
    order = work_order(trial["proposal"], sweep, storage, driver)
    rescue = Rescue(Storage(storage), order.trial_id)
    while True:
        rescue.mend()
        before = rescue.clips_at_once()
        try:
            _trainer(order, sweep, trial["gpus"]).fit()
            return
        except ray.train.TrainingFailedError as error:
            if rescue.unfit():
                return
            if ENDED_FOR_MEMORY in str(error):
                halve(rescue, order.config)
            if rescue.clips_at_once() == before:
                raise


def halve(rescue: Rescue, config: TrainConfig) -> bool:
    """Have the trial's next start take half as many clips at a time; whether that is possible."""
    now = rescue.clips_at_once() or config.batch_size
    if not isinstance(now, int) or now < 2:
        return False
    rescue.halve(now)
    return True


def _trainer(order: WorkOrder, sweep: SweepConfig, gpus_per_worker: float) -> LeanTrainer:
    resources, trial_id = sweep.resources, order.trial_id
    return LeanTrainer(
        train_worker,
        # Where there is no dashboard the cleaner can't work; `watch` frees places with and without it.
        needless=frozenset([DATASETS] if resources.dashboard else [DATASETS, CLEANER]),
        train_loop_config={"order": order},
        # One worker talks to nobody: gloo, so that several such trials can share a GPU. Else Ray chooses.
        torch_config=ray.train.torch.TorchConfig(backend="gloo" if resources.workers_per_trial == 1 else None),
        scaling_config=ray.train.ScalingConfig(
            num_workers=resources.workers_per_trial,
            use_gpu=gpus_per_worker > 0,
            resources_per_worker=worker_resources(resources.cpus_per_worker, gpus_per_worker),
            accelerator_type=resources.accelerator_type,
        ),
        run_config=ray.train.RunConfig(
            # A restarted trial finds its checkpoints by (storage_path, name).
            name=trial_id,
            storage_path=f"{order.storage}/{places.TRIALS}",
            checkpoint_config=ray.train.CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute=CHECKPOINT_SCORE, checkpoint_score_order="max"
            ),
            failure_config=ray.train.FailureConfig(
                max_failures=sweep.max_failures, controller_failure_limit=CONTROLLER_FAILURES
            ),
            callbacks=[TuneReportCallback()],
        ),
    )


def worker_resources(cpus: float, gpus: float) -> dict[str, float]:
    """What one worker asks of Ray."""
    return {"CPU": cpus, **({"GPU": gpus} if gpus else {})}
