"""The GPUs of this machine, counted without torch, whose import takes seconds."""

import ctypes
import sys
from pathlib import Path


def nvidia_gpus() -> int | None:
    """Return how many NVIDIA GPUs a process here can use (0: none); None where that can't be told.

    It asks the driver's own library, as torch does, and so heeds CUDA_VISIBLE_DEVICES.
    """
    if sys.platform != "linux" or Path("/dev/kfd").exists():  # AMD's GPUs are called cuda by torch, too
        return None
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    try:
        if library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(count)):
            return 0
    except AttributeError:
        return None
    return count.value
