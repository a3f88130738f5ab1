"""Other processes of this machine."""

import psutil


def is_alive(process: int) -> bool:
    """Whether there is a process of that number, whoever it belongs to."""
    return bool(psutil.pid_exists(process))
