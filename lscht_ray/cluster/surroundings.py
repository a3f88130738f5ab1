"""What can be said of Ray's surroundings before ray is imported. Imports no ray itself."""

import os
import tempfile
from pathlib import Path

from lscht_ray.settings.sweep import ResourcesConfig


def variables() -> dict[str, str]:
    """Environment variables with which a cluster is joined that asks for the token, as `ray start` makes one.

    A cluster that asks for none takes it too. Nothing where the user chose a mode, or where there is no token yet: Ray
    makes one for the first cluster that it starts (https://docs.ray.io/en/latest/ray-security/token-auth.html). Ray
    reads them when it is imported.
    """
    given = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if "RAY_AUTH_MODE" in os.environ or not (given or (Path.home() / ".ray" / "auth_token").is_file()):
        return {}
    return {"RAY_AUTH_MODE": "token"}


def trains_here(resources: ResourcesConfig) -> bool:
    """Whether it is sure that trials run on this machine alone, since no cluster will be joined."""
    folder = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray"
    may_join = bool(os.environ.get("RAY_ADDRESS")) or (folder / "ray_current_cluster").exists()
    return resources.address == "local" or (resources.address == "auto" and not may_join)
