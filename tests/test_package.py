"""What a plain `pip install .` brings along."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_every_module_and_every_shipped_sweep(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    sweeps = {
        f"lscht_ray/tune_configs/{path.relative_to(ROOT / 'tune_configs')}"
        for path in ROOT.glob("tune_configs/**/*.yaml")
    }
    modules = {f"lscht_ray/{path.name}" for path in (ROOT / "lscht_ray").glob("*.py")}
    assert names >= sweeps | modules | {"lscht_ray/py.typed"}
    assert not any(name.startswith("tests/") for name in names)
