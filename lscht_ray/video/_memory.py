"""Limits the memory of a process that looks at videos, and tells whether it came near the limit (Linux only)."""

from pathlib import Path


def limit_memory(more: int) -> None:
    """Limit this process's address space to that many bytes more than it has now (Linux only)."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except (ImportError, OSError, ValueError):
        pass


def memory_ran_out(picture: int) -> bool:
    """Whether this process came so near to its limit that a picture of that many bytes did not fit.

    FFmpeg reports invalid data where it can't allocate a picture.
    """
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmPeak"))
    except (ImportError, OSError, StopIteration):
        return False
    return limit != resource.RLIM_INFINITY and peak + picture > limit


def near_the_limit() -> bool:
    """Whether this process ever came so near to its memory limit that the next file needs a fresh process."""
    try:
        import resource

        return memory_ran_out(resource.getrlimit(resource.RLIMIT_AS)[0] // 4)
    except ImportError:
        return False
