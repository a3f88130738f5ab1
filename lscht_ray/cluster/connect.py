"""Joins a Ray cluster, or starts one on this machine."""

import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import ray

from lscht_ray.cluster import _ray_internals
from lscht_ray.cluster.trial import DRIVER_RESOURCES
from lscht_ray.cluster.worker import WATCHER
from lscht_ray.errors import InputError
from lscht_ray.host import gpus, neighbours
from lscht_ray.host.cpus import usable_cpus
from lscht_ray.host.environment import environment
from lscht_ray.settings.sweep import ResourcesConfig

WORKER_ENVIRONMENT = {
    # How often Train's controller looks for reports: the default of 2 s would be most of a short epoch.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
}
DRIVER_ENVIRONMENT = {
    # Tune's own TensorBoard, CSV and JSON files would repeat ours under other names.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Ctrl-C is ours to take (tune.py): Tune's handler would not tell us that it was pressed.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}
OWN_ENVIRONMENT = {
    # A machine of one's own is not taken away with a notice: nobody needs to watch for one.
    WATCHER: "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
}
"""For a cluster that is started here."""


@contextmanager
def connected(resources: ResourcesConfig) -> Iterator[bool]:
    """A Ray cluster for as long as the block lasts; yields whether it was started here, and so ends with the block.

    Raises:
        InputError: There is no cluster at the address that was given.
    """
    with ExitStack() as stack:
        stack.enter_context(environment(WORKER_ENVIRONMENT | DRIVER_ENVIRONMENT))
        started = not _joined(resources)
        if started:
            stack.enter_context(environment(OWN_ENVIRONMENT))
            place = stack.enter_context(neighbours.announced())
            stack.enter_context(environment(neighbours.visible_gpus(place, gpus.nvidia_gpus() or 0)))
            _start(resources)
        _guard_token()
        # Ray's helpers ask the cluster at RAY_ADDRESS: another one on this machine would answer in place of ours.
        stack.enter_context(environment({"RAY_ADDRESS": ray.get_runtime_context().gcs_address}))
        stack.callback(ray.shutdown)
        yield started


def _joined(resources: ResourcesConfig) -> bool:
    """Join the cluster that was asked for; False where one is to be started here instead.

    Raises:
        InputError: No cluster answers at the address that was given.
    """
    address, source = resources.address, "resources.address"
    if address == "local":
        return False
    if address == "auto" and os.environ.get("RAY_ADDRESS"):
        address, source = os.environ["RAY_ADDRESS"], "RAY_ADDRESS"
    elif address == "auto":
        # Not Ray's own "auto": it would take any cluster, also the private one of another sweep or of a notebook.
        found = _ray_internals.started_by_hand()
        if found is None:
            return False
        address, source = found, "`ray start` on this machine"
    try:
        ray.init(address=address, runtime_env={"env_vars": WORKER_ENVIRONMENT})
        return True
    except ConnectionError as error:
        raise InputError(
            f"{source}: no Ray cluster answers at {address} ({error})\n"
            "  --resources.address local starts one of its own on this machine"
        ) from None


def _start(resources: ResourcesConfig) -> None:
    """Start a cluster on this machine.

    It has a few logical CPUs more than the machine: the trials' own processes, which mostly wait, live on them.
    """
    cpus = usable_cpus() + math.ceil(usable_cpus() * DRIVER_RESOURCES["CPU"])
    with _ray_internals.in_their_own_group():
        ray.init(address="local", num_cpus=cpus, include_dashboard=resources.dashboard, dashboard_host="127.0.0.1")


def _guard_token() -> None:
    """Make Ray's authentication token readable for its user alone: Ray writes it readable for everybody."""
    token = Path.home() / ".ray" / "auth_token"
    if token.is_file():
        token.chmod(0o600)
