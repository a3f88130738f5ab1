"""What can be said of Ray's surroundings before ray is imported. Imports no ray itself."""

import os
import tempfile
from pathlib import Path

from lscht_ray.errors import InputError
from lscht_ray.host import gpus
from lscht_ray.host.cpus import usable_cpus
from lscht_ray.settings.sweep import ResourcesConfig
from lscht_ray.shown import counted

METHOD = "/ray.rpc.NodeInfoGcsService/GetClusterId"
"""What is asked of a cluster's head: anybody may ask, unless it wants a token.

https://github.com/ray-project/ray/blob/ray-2.60.0/src/ray/protobuf/gcs_service.proto
"""
SECONDS = 5.0


def variables(resources: ResourcesConfig) -> dict[str, str]:
    """Environment variables with which a cluster is joined that asks for a token, as `ray start` makes one.

    Ray reads them as it is imported, and sends the token only where they say so; in a cluster that asks for none a
    driver with the token gets no worker (https://docs.ray.io/en/latest/ray-security/token-auth.html). Nothing where the
    user chose a mode.
    """
    address = _address(resources)
    if address is None or "RAY_AUTH_MODE" in os.environ or not _asks_for_token(address):
        return {}
    return {"RAY_AUTH_MODE": "token"}


def trains_here(resources: ResourcesConfig) -> bool:
    """Whether it is sure that trials run on this machine alone, since no cluster will be joined."""
    return _address(resources) is None


def check(resources: ResourcesConfig) -> None:
    """Refuse what this machine hasn't, where trials run on it alone: Ray takes long to start before it says so.

    Raises:
        InputError: A worker wants more CPUs or GPUs than there are.
    """
    if not trains_here(resources):
        return
    wrong = []
    if gpus.nvidia_gpus() == 0:
        if isinstance(resources.gpus_per_worker, float) and resources.gpus_per_worker:
            wrong.append(f"resources.gpus_per_worker {resources.gpus_per_worker:g}: this machine has no NVIDIA GPU")
        if resources.accelerator_type:
            wrong.append(f"resources.accelerator_type {resources.accelerator_type}: this machine has no NVIDIA GPU")
    if resources.cpus_per_worker > usable_cpus():
        has = counted(usable_cpus(), "CPU")
        wrong.append(f"resources.cpus_per_worker {resources.cpus_per_worker:g}: this machine has {has}")
    if wrong:
        fewer = min(resources.cpus_per_worker, usable_cpus())
        raise InputError(
            "\n".join(wrong)
            + "\n  on this machine alone: --resources.accelerator_type null --resources.gpus_per_worker 0"
            f" --resources.cpus_per_worker {fewer:g}; or --resources.address HOST:PORT of a cluster that has it"
        )


def _address(resources: ResourcesConfig) -> str | None:
    """The address of the cluster that may be joined."""
    if resources.address != "auto":
        return None if resources.address == "local" else resources.address
    if os.environ.get("RAY_ADDRESS"):
        return os.environ["RAY_ADDRESS"]
    file = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray" / "ray_current_cluster"
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _asks_for_token(address: str) -> bool:
    """Whether a cluster's head refuses who brings no token."""
    import grpc

    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(METHOD)(b"", timeout=SECONDS)
        except grpc.RpcError as error:
            return bool(error.code() == grpc.StatusCode.UNAUTHENTICATED)
    return False
