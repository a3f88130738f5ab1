"""The device a run computes on, and the compute type it can do there."""

import torch

from lscht_ray.errors import InputError


def choose_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is the first GPU, else the CPU.

    Raises:
        InputError: It is no device's name, or this machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device {name}: allowed are auto, cpu, mps, cuda and cuda:N") from None
    count = torch.cuda.device_count() if device.type == "cuda" else int(torch.backends.mps.is_available())
    if device.type not in ("cpu", "cuda", "mps") or (device.type != "cpu" and (device.index or 0) >= count):
        raise InputError(f"--device {name}: torch sees {count} such devices here; --device cpu works anywhere")
    return device


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether to compute in bf16: as asked, or (``auto``) on a GPU whose hardware can."""
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bf16"
