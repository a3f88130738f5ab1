"""Ray's authentication token, which must be switched on before ray is imported. Imports no ray itself."""

import os
from pathlib import Path


def variables() -> dict[str, str]:
    """Environment variables with which a cluster is joined that asks for the token, as `ray start` makes one.

    A cluster that asks for none takes it too. Nothing where the user chose a mode, or where there is no token yet: Ray
    makes one for the first cluster that it starts (https://docs.ray.io/en/latest/ray-security/token-auth.html).
    """
    given = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if "RAY_AUTH_MODE" in os.environ or not (given or (Path.home() / ".ray" / "auth_token").is_file()):
        return {}
    return {"RAY_AUTH_MODE": "token"}
