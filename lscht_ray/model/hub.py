"""Whether a model's name can be had from the hub, found out in seconds and before torch is imported."""

import difflib
import os
import socket
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from lscht_ray.errors import InputError

PUBLISHED = (
    "MCG-NJU/videomae-base",
    "MCG-NJU/videomae-base-finetuned-kinetics",
    "MCG-NJU/videomae-base-finetuned-ssv2",
    "MCG-NJU/videomae-large",
    "MCG-NJU/videomae-large-finetuned-kinetics",
)
"""VideoMAE's own checkpoints on the hub: what a name without its owner may mean."""
SECONDS = 5.0
WITHOUT_NETWORK = (
    "without a network, copy the checkpoint's folder (config.json, model.safetensors, preprocessor_config.json)\n"
    "  to this machine and give --model_name /path/to/that/folder; --model_name tiny needs none"
)


def environment(name: str) -> dict[str, str]:
    """Environment variables with which a model's files are found: without a network in the hub's cache alone.

    Args:
        name: As for `videomae.build`.

    Raises:
        InputError: It is no name of a model, or the model is not in the cache and the hub can't be reached.
    """
    if name == "tiny" or Path(name).expanduser().exists():
        return {}
    _check_name(name)
    if os.environ.get("HF_HUB_OFFLINE") or _reachable():
        return {}
    if _is_cached(name):
        return {"HF_HUB_OFFLINE": "1"}
    raise InputError(
        f"--model_name {name}: there is no such folder here, and the hub ({_host()[0]}) can't be reached\n"
        f"  {WITHOUT_NETWORK}"
    )


def _check_name(name: str) -> None:
    """Refuse what is no name on the hub.

    Raises:
        InputError: With what was probably meant.
    """
    if name.startswith(("http://", "https://")):
        parts = urlsplit(name).path.strip("/").split("/")
        raise InputError(f"--model_name {name}: give the name, not the address: --model_name {'/'.join(parts[:2])}")
    if Path(name).suffix in (".pt", ".pth", ".safetensors", ".bin", ".ckpt"):
        raise InputError(f"--model_name {name}: there is no such file")
    if "/" not in name:
        near = difflib.get_close_matches(name.lower(), ["tiny", *(full.partition("/")[2] for full in PUBLISHED)], n=1)
        meant = [full for full in ("tiny", *PUBLISHED) if near and full.rpartition("/")[2] == near[0]]
        raise InputError(
            f"--model_name {name}: there is no such folder, and names on the hub are OWNER/NAME"
            + (f": did you mean {meant[0]}?" if meant else f", as in {PUBLISHED[1]}")
        )


def _host() -> tuple[str, int]:
    address = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    return address.hostname or "", address.port or (80 if address.scheme == "http" else 443)


def _is_cached(name: str) -> bool:
    """Whether the hub's library has the model already; its folders are a documented layout.

    https://huggingface.co/docs/huggingface_hub/guides/manage-cache (the library itself reads its settings as it is
    imported, and so must not be imported before they are set)
    """
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub"))
    return any(cache.glob(f"models--{name.replace('/', '--')}/snapshots/*/config.json"))


def _reachable() -> bool:
    """Whether the hub answers; through a proxy that is not asked."""
    if any(kind in urllib.request.getproxies() for kind in ("http", "https", "all")):
        return True
    try:
        with socket.create_connection(_host(), timeout=SECONDS):
            return True
    except OSError:
        return False
