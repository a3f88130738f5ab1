"""`python -m lscht_ray`: names the doors."""

import difflib
import sys
from importlib.metadata import PackageNotFoundError, version

from lscht_ray.errors import InputError
from lscht_ray.host import console

DOORS = {
    "check": "what is wrong with a data set, before a GPU hour is spent on it",
    "train": "one run: a model from your clips",
    "evaluate": "what a trained model is worth on a split",
    "tune": "a sweep: many runs, and the best of them (alone: the demo, in two minutes)",
    "demo": "draws the demo data set",
}
"""The programs of the package, each with what it does."""


def main(argv: list[str]) -> int:
    """Run the door."""
    if argv[:1] == ["--version"]:
        try:
            print(f"lscht_ray {version('lscht_ray')}")
        except PackageNotFoundError:
            print("lscht_ray, not installed")
        return 0
    asked = [word for word in argv if word not in ("-h", "--help")]
    if asked:
        near = difflib.get_close_matches(asked[0].lower(), DOORS, n=1, cutoff=0.4)
        command = f"python -m lscht_ray.{near[0] if near else 'DOOR'} {' '.join(asked[1:])}".strip()
        raise InputError(f"python -m lscht_ray {asked[0]}: type {command}\n{_listed()}")
    print(f"lscht_ray fine-tunes VideoMAE for isolated sign language recognition.\n{_listed()}")
    return 0


def _listed() -> str:
    lines = [f"  python -m lscht_ray.{name:9} {text}" for name, text in DOORS.items()]
    return "\n".join(["The programs, each with --help:", *lines])


if __name__ == "__main__":
    sys.exit(console.door(main))
