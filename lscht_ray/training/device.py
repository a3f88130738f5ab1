"""The device a run computes on, and the compute type it can do there."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

from lscht_ray.errors import InputError

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


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


def choose_precision(wish: str, device: torch.device) -> Precision:
    """The compute type: as asked; for ``auto`` bf16 on a GPU whose hardware has it, fp16 on an older one, else fp32.

    Raises:
        InputError: The device has no such type.
    """
    if wish == "auto":
        if device.type != "cuda":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if wish in ("fp16", "tf32") and device.type != "cuda":
        raise InputError(f"--precision {wish} needs an NVIDIA GPU; on {device.type} use fp32 or bf16")
    return wish  # type: ignore[return-value]  # the settings allow nothing else


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """The context in which the model computes."""
    half = HALF.get(precision)
    return torch.autocast(device.type, half) if half is not None else nullcontext()


def settle(device: torch.device, precision: Precision) -> None:
    """Make the device the current one, and let fp32 arithmetic use the tensor cores' TF32 (10 bits of mantissa) or not.

    Events and pinned copies belong to the current GPU.
    """
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def memory_share(device: torch.device) -> float:
    """The share of a GPU's memory that is in use, by whatever process; 0 for other devices."""
    if device.type != "cuda":
        return 0.0
    free, whole = torch.cuda.mem_get_info(device)
    return 1 - free / whole


def random_state(device: torch.device) -> list[torch.Tensor]:
    """The states of the random generators that a step on the device draws from."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def set_random_state(device: torch.device, states: list[torch.Tensor]) -> None:
    """Set these generators to saved states."""
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device, or this machine, has no memory left."""
    # The last is what oneDNN says on a CPU when it can't make a kernel, which is mostly for want of memory.
    texts = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "could not create a primitive")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(text in str(error) for text in texts)
