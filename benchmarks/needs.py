"""What a benchmark compares with must be installed: otherwise it ends with one message."""

import sys
from importlib.util import find_spec

ADVICE = {
    "accelerate": 'pip install -e ".[benchmarks]"',
    "scipy": 'pip install -e ".[benchmarks]"',
    "decord": "pip install decord, which exists for x86-64 machines alone",
}


def need(module: str) -> None:
    """End the program, with what to type, where a library is missing."""
    if find_spec(module) is None:
        sys.exit(f"error: this benchmark needs {module}: {ADVICE[module]}")
