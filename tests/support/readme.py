"""README as a contract: what it lists is compared with what is there."""

import re
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def documented(folder: str) -> set[str]:
    """Return the names of files and folders that README lists below a folder."""
    block = README.partition(f"{folder}/\n")[2].partition("\n```")[0].partition("\nruns/")[0]
    return set(re.findall(r"^[├└]── ([\w.]+)", block, re.MULTILINE))
