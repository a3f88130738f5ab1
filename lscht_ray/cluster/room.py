"""Works out how many trials fit on a Ray cluster, before anything runs and while nodes join and go."""

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import ray

from lscht_ray.cluster._ray_internals import ACCELERATOR, HEAD, most_resources_when_scaled
from lscht_ray.cluster.trial import DRIVER_RESOURCES
from lscht_ray.errors import InputError
from lscht_ray.host.cpus import usable_cpus
from lscht_ray.host.neighbours import fair_gpus, fair_share, others
from lscht_ray.settings.sweep import ResourcesConfig, SweepConfig
from lscht_ray.shown import counted

SAFE_SHARE = 0.9
"""Of a GPU's memory, for the trials that share it."""


@dataclass(frozen=True)
class Node:
    """What one node of the cluster offers; the trials' own processes run on the head node."""

    cpus: float
    gpus: float
    accelerators: frozenset[str]
    head: bool


@dataclass(frozen=True)
class Plan:
    """How the sweep runs on the cluster.

    Attributes:
        concurrent: Trials at a time.
        gpus_per_worker: GPUs that a worker gets.
        in_actor: Whether trials run in Tune's own processes, which stay (`actor`).
        description: One line that says so.
    """

    concurrent: int
    gpus_per_worker: float
    in_actor: bool
    description: str


class Room:
    """How many trials may run now: as set, and as the cluster has room for, where nodes may have joined or gone.

    Args:
        sweep: The sweep.
        num_trials: Trials in all.
        share: Says the largest share of a GPU's memory that a trial has taken, 0 where none is known yet.
        started_here: Whether the cluster was.
        say: Prints a line.
    """

    SECONDS = 5.0
    """The cluster is looked at again after so long."""

    def __init__(
        self,
        sweep: SweepConfig,
        num_trials: int,
        share: Callable[[], float],
        *,
        started_here: bool,
        say: Callable[[str], object],
    ) -> None:
        self.sweep, self.num_trials, self.share, self.started_here = sweep, num_trials, share, started_here
        self.say = say
        self.looked, self.plan_now = -math.inf, plan(sweep, num_trials, started_here=started_here)
        self.neighbours = list[int]()
        self._look_around()

    def look(self) -> Plan:
        """What fits now."""
        if time.monotonic() - self.looked > self.SECONDS:
            self.looked = time.monotonic()
            self._look_around()
            with contextlib.suppress(InputError):  # for now nothing fits
                share = self.share()
                self.plan_now = plan(self.sweep, self.num_trials, started_here=self.started_here, share=share)
        return self.plan_now

    def _look_around(self) -> None:
        """Say where another sweep begins or ends to share this machine."""
        neighbours = others() if self.started_here else []
        if neighbours != self.neighbours:
            self.neighbours = neighbours
            which = f"(process {', '.join(map(str, neighbours))})"
            now = f"another sweep runs on this machine {which}" if neighbours else "the other sweep has ended"
            there = sum(node.gpus for node in _nodes(started_here=True, shared=False))
            gpus = f" and {fair_gpus(there):g} of {there:g} GPUs" if there > 1 else ""
            only = "; the GPU is for both" if there == 1 and neighbours else ""
            self.say(f"{now}: {fair_share()} of {usable_cpus()} CPUs{gpus} are for this one{only}")

    def __call__(self) -> int:
        """How many trials, at least 1: one, as long as it is to show what it takes."""
        plan_now = self.look()
        unknown = self.sweep.resources.gpus_per_worker == "auto" and plan_now.gpus_per_worker and not self.share()
        return 1 if unknown else plan_now.concurrent

    def gpus(self) -> float:
        """How many GPUs a worker of the next trial gets."""
        return self.look().gpus_per_worker


def plan(sweep: SweepConfig, num_trials: int, *, started_here: bool, share: float = 0.0) -> Plan:
    """What fits on the connected cluster.

    ``share``: Of a GPU's memory that a trial is known to take; 0: that is not known.

    Raises:
        InputError: Not even one trial fits; the message says what the cluster has.
    """
    resources = sweep.resources
    nodes = _nodes(started_here)
    autoscaled = most_resources_when_scaled()
    has_gpus = any(node.gpus for node in nodes) or bool(autoscaled.get("GPU"))
    if isinstance(resources.gpus_per_worker, float):
        gpus = resources.gpus_per_worker
    elif resources.gpus_per_worker == "auto" and has_gpus and share:
        gpus = 1 / max(1, int(SAFE_SHARE / share))
    else:
        gpus = float(has_gpus)
    in_actor = sweep.trial_runner == "in_actor" or (
        sweep.trial_runner == "auto" and resources.workers_per_trial == 1 and not gpus
    )
    at_once = trials_that_fit if in_actor else most_trials
    fitting = max(at_once(nodes, resources, gpus), _fit_when_scaled(autoscaled, resources, gpus))
    if not fitting and started_here:  # of what other sweeps leave not even one fits: then one runs beside theirs
        fitting = min(1, at_once(_nodes(started_here, shared=False), resources, gpus))
    needs = f"{counted(resources.workers_per_trial, 'worker')} of {resources.cpus_per_worker:g} CPU"
    needs += f" and {gpus:g} GPU" if gpus else ""
    needs += f" ({resources.accelerator_type})" if resources.accelerator_type else ""
    has = _describe(nodes, autoscaled)
    if fitting == 0:
        raise InputError(
            f"a trial needs {needs}, but the cluster has {has}:\n"
            "  lower resources.workers_per_trial, cpus_per_worker or gpus_per_worker, or join a larger cluster"
        )
    wanted = resources.max_concurrent_trials or fitting
    concurrent = min(wanted, fitting, num_trials)
    capped = f" (max_concurrent_trials {wanted} would not fit)" if wanted > fitting else ""
    where = "a local Ray" if started_here else "the running Ray cluster"
    how = "in processes that stay" if in_actor else "in workers of its own"
    text = f"{where}: {has}; {counted(concurrent, 'trial')} at a time{capped}, each {needs}, {how}"
    return Plan(concurrent, gpus, in_actor, text)


def _nodes(started_here: bool, *, shared: bool = True) -> list[Node]:
    """The cluster's nodes; of one that was started here without the CPUs set aside for the trials' own processes.

    ``shared``: Without the CPUs and GPUs that are for other sweeps on this machine.
    """
    own = fair_share() if shared else usable_cpus()
    nodes = []
    for info in ray.nodes():
        if info["Alive"]:
            offered = info["Resources"]
            kinds = [name.removeprefix(ACCELERATOR) for name in offered if name.startswith(ACCELERATOR)]
            cpus = float(own) if started_here else offered.get("CPU", 0.0)
            head = HEAD in offered and not started_here
            gpus = offered.get("GPU", 0.0)
            nodes.append(Node(cpus, fair_gpus(gpus) if started_here and shared else gpus, frozenset(kinds), head))
    return nodes


def most_trials(nodes: list[Node], resources: ResourcesConfig, gpus: float) -> int:
    """How many trials can run at once, when each one's own process takes its share of the head node first."""
    for count in range(trials_that_fit(nodes, resources, gpus), 0, -1):
        taken = count * DRIVER_RESOURCES["CPU"]
        left = [replace(node, cpus=node.cpus - taken) if node.head else node for node in nodes]
        if trials_that_fit(left, resources, gpus) >= count:
            return count
    return 0


def trials_that_fit(nodes: list[Node], resources: ResourcesConfig, gpus: float) -> int:
    """How many trials can have all their workers at once; a worker's CPUs and GPUs must be on one node."""
    slots = 0
    for node in nodes:
        if resources.accelerator_type and resources.accelerator_type not in node.accelerators:
            continue
        by_gpu = math.floor(node.gpus / gpus + 1e-9) if gpus else math.inf
        slots += int(max(0, min(math.floor(node.cpus / resources.cpus_per_worker + 1e-9), by_gpu)))
    return slots // resources.workers_per_trial


def _fit_when_scaled(autoscaled: dict[str, Any], resources: ResourcesConfig, gpus: float) -> int:
    """The same for the nodes that the autoscaler may add, of which only totals are known."""
    if not autoscaled:
        return 0
    node = Node(
        autoscaled.get("CPU", 0), autoscaled.get("GPU", 0), frozenset([resources.accelerator_type or ""]), False
    )
    return trials_that_fit([node], resources, gpus)


def _describe(nodes: list[Node], autoscaled: dict[str, Any]) -> str:
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    kinds = sorted({kind for node in nodes for kind in node.accelerators})
    text = f"{counted(len(nodes), 'node')}, {cpus:g} CPU for workers, {gpus:g} GPU" + (
        f" ({', '.join(kinds)})" if kinds else ""
    )
    if autoscaled:
        text += f", up to {autoscaled.get('CPU', 0):g} CPU and {autoscaled.get('GPU', 0):g} GPU when scaled up"
    return text
