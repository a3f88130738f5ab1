"""Where the cluster touches what Ray does not promise to keep; tests/test_internals_ray.py checks each reach.

Read in Ray 2.60.0.
"""

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray._common.utils
import ray._private.services
import ray._private.state
import ray._private.utils
import ray.train.torch
import ray.util
from ray._raylet import PlacementGroupID
from ray.util.placement_group import PlacementGroup

HEAD = "node:__internal_head__"
"""A resource that the head node alone has.

https://github.com/ray-project/ray/blob/ray-2.60.0/python/ray/_private/ray_constants.py (``HEAD_NODE_RESOURCE_NAME``)
"""
ACCELERATOR = "accelerator_type:"
"""How the name of the resource begins that every node with a GPU of some type has.

https://github.com/ray-project/ray/blob/ray-2.60.0/python/ray/_private/ray_constants.py
"""
ENDED_FOR_MEMORY = "killed due to the node running low on memory"
"""In Ray's errors where its memory monitor ended a worker; there is no type of error for it in Train and Tune."""
DATASETS, CLEANER = "DatasetsCallback", "PlacementGroupCleanerCallback"
"""Train's own callbacks that hand out Ray datasets, and that free a stopped trial's place through the dashboard.

https://github.com/ray-project/ray/blob/ray-2.60.0/python/ray/train/v2/api/data_parallel_trainer.py
"""


class LeanTrainer(ray.train.torch.TorchTrainer):  # type: ignore[misc]  # Ray has no types
    """A TorchTrainer without the helper processes that a trial has no use for: each costs seconds of its start.

    https://github.com/ray-project/ray/blob/ray-2.60.0/python/ray/train/v2/api/data_parallel_trainer.py
    (``_create_default_callbacks``)

    Args:
        needless: The class names of Train's own callbacks to leave out.
        settings: As for TorchTrainer.
    """

    def __init__(self, *arguments: Any, needless: frozenset[str], **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.needless = needless

    def _create_default_callbacks(self) -> list[Any]:
        callbacks: list[Any] = super()._create_default_callbacks()
        return [callback for callback in callbacks if type(callback).__name__ not in self.needless]


@contextmanager
def in_their_own_group() -> Iterator[None]:
    """Within, the processes that Ray starts get a process group of their own.

    Signals to this process's group, as of a terminal that is closed and of `timeout`, would end them before this
    process could save. Where the kernel doesn't end them with this process, Ray needs them in its group.

    https://github.com/ray-project/ray/blob/ray-2.60.0/python/ray/_private/services.py (``start_ray_process``)
    """
    services = ray._private.services
    popen = services.ConsolePopen
    if sys.platform != "win32" and ray._private.utils.detect_fate_sharing_support():
        services.ConsolePopen = partial(popen, process_group=0)
    try:
        yield
    finally:
        services.ConsolePopen = popen


def most_resources_when_scaled() -> dict[str, float]:
    """What the cluster may grow to by its autoscaler's configuration; nothing where it has none.

    https://github.com/ray-project/ray/blob/ray-2.60.0/python/ray/_private/state.py
    (``get_max_resources_from_cluster_config``)
    """
    return dict(ray._private.state.state.get_max_resources_from_cluster_config() or {})


def remove_placement_group(number: str) -> None:
    """Free a placement group that another process made; ``number`` is its id in hexadecimal digits.

    https://github.com/ray-project/ray/blob/ray-2.60.0/python/ray/util/placement_group.py
    """
    ray.util.remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(number))))


def started_by_hand() -> str | None:
    """The address of the cluster that this user's last `ray start` on this machine made or joined, if it still runs.

    https://github.com/ray-project/ray/blob/ray-2.60.0/python/ray/_private/services.py (``find_bootstrap_address``)
    """
    file = Path(ray._common.utils.get_ray_address_file(None))
    if not file.is_file() or (hasattr(os, "getuid") and file.stat().st_uid != os.getuid()):
        return None
    ray._private.services.find_gcs_addresses.cache_clear()
    address = ray._private.services.find_bootstrap_address(None)
    return str(address) if address in ray._private.services.find_gcs_addresses() else None


def can_ask_tune_to_stop() -> bool:
    """Whether Tune has begun to listen for the signal of `ask_tune_to_stop`."""
    return callable(signal.getsignal(signal.SIGUSR1))


def ask_tune_to_stop() -> None:
    """Have Tune end its trials and return from ``fit``, as it does on SIGUSR1.

    https://github.com/ray-project/ray/blob/ray-2.60.0/python/ray/tune/tune.py (``_setup_signal_catching``)
    """
    signal.raise_signal(signal.SIGUSR1)


def cause(text: str) -> str:
    """The message of the innermost exception in a chain of tracebacks that Ray wrote down, or how a worker ended.

    Ray has no field for either: a trial's error is text.
    """
    raised = re.findall(r"^(?:[\w]+\.)*(\w*(?:Error|Exception|Interrupt): .+)$", text, re.MULTILINE)
    if raised and not str(raised[-1]).endswith("worker errors:"):
        return str(raised[-1])[:500]
    endings = r"(?:Worker exit detail: |^(?=.*low on memory|The actor died because ))(.+)$"
    ends = re.findall(endings, text, re.MULTILINE)
    return f"a worker died: {ends[-1]}"[:500] if ends else "unknown: see the log file"
