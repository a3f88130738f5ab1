"""What can be said of Ray's surroundings before ray is imported. Imports no ray itself."""

import os
import tempfile
from pathlib import Path

from lscht_ray.settings.sweep import ResourcesConfig

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
