"""`python -m lscht_ray.demo`: draws the demo data set, real mp4 files of moving hands."""

import sys
from pathlib import Path

from lscht_ray.dataset import demo
from lscht_ray.errors import InputError
from lscht_ray.host import console
from lscht_ray.settings.parser import Parser

HELP = """\
python -m lscht_ray.demo [--output FOLDER] [--seed NUMBER]: draws the demo data set, real mp4 files of moving hands.

  --output FOLDER  a new folder; without it the cache folder that --data demo uses
  --seed NUMBER    equal seeds give equal files (a whole number from 0 on; default 0)"""


def main(argv: list[str]) -> int:
    """Run the door."""
    if {"-h", "--help"} & set(argv):
        print(HELP)
        return 0
    parser = Parser(prog="python -m lscht_ray.demo", description=__doc__)
    parser.add_argument("--output", type=Path, help="a new folder (default: the cache folder that --data demo uses)")
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal files (default: 0)")
    flags = parser.parse_args(argv)
    if flags.seed < 0:
        raise InputError(f"--seed must be a whole number from 0 on (given: {flags.seed})")
    screen = console.new_console()
    total = sum(sum(counts) for counts in demo.CLIPS.values())
    with console.EpochProgress(screen, "drawing clips", total) as progress:
        if flags.output:
            folder = flags.output.expanduser().resolve()
            demo.make(folder, flags.seed, lambda done, total: progress.advance())
        else:
            folder = demo.demo_data(flags.seed, lambda done, total: progress.advance())
    screen.print(f"demo data set: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(console.door(main))
