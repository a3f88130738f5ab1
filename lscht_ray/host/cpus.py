"""The CPUs of this machine."""

import os


def usable_cpus() -> int:
    """Return how many CPUs this process may use: those of its affinity mask where the system has one, else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
