"""The machine around a run: a clock that is set back, memory that is short, names that no folder can have."""

import multiprocessing
import os
import re
import resource
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from rich.console import Console

from lscht_ray.artifacts import checkpoint, places, recorder
from lscht_ray.host.files import slug
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training import run as training
from support.doors import FAST, Door, run_folder
from support.faults import Faults
from support.runs import RECIPE, same

pytestmark = pytest.mark.faults

CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
/* The time of day goes back by an hour after every 300 looks at it. */
static long looks;
static long back(void) { return 3600 * (__sync_add_and_fetch(&looks, 1) / 300); }
int clock_gettime(clockid_t id, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int r = real(id, t);
    if (r == 0 && id == CLOCK_REALTIME) t->tv_sec -= back();
    return r;
}
time_t time(time_t *out) {
    struct timespec t; clock_gettime(CLOCK_REALTIME, &t); if (out) *out = t.tv_sec; return t.tv_sec;
}
int gettimeofday(struct timeval *v, void *zone) {
    struct timespec t; clock_gettime(CLOCK_REALTIME, &t); v->tv_sec = t.tv_sec; v->tv_usec = t.tv_nsec / 1000; return 0;
}
"""


def test_a_clock_that_is_set_back(small: Path, tmp_path: Path, faults: Faults) -> None:
    """For the training process and its data workers; the run is the same, and its times are no negative ones."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here to make a clock that goes back")
    (tmp_path / "clock.c").write_text(CLOCK)
    library = tmp_path / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "clock.c", "-ldl"], check=True)
    faults.provoke("clock set back, again and again")
    flags = ["--data", str(small), *FAST, "--num_workers", "1", "--cache", "off", "--max_epochs", "3"]
    said = {}
    for name, environment in (("plain", {}), ("back", {"LD_PRELOAD": str(library)})):
        place = ["--checkpoint_dir", str(tmp_path / name / "models"), "--log_dir", str(tmp_path / name / "runs")]
        result = subprocess.run(
            [sys.executable, "-m", "lscht_ray.train", *flags, *place],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        said[name] = [float(seconds) for seconds in re.findall(r"\((-?[\d.]+) s, lr", result.stdout)]
    runs = [checkpoint.load(next((tmp_path / name / "models").iterdir()) / places.LAST) for name in said]
    assert all((runs[0]["model"][key] == runs[1]["model"][key]).all() for key in runs[0]["model"])
    assert all(0 < seconds < 3000 for seconds in said["back"])  # a step back is 3600 s
    faults.survive("clock set back, again and again")


def test_a_clock_that_is_set_back_meets_no_other_folder(tmp_path: Path) -> None:
    now = datetime(2026, 1, 31, 10, 15)
    made = [recorder.new_folder([str(tmp_path)], "run", time)[0] for time in (now, datetime(2026, 2, 1), now)]
    assert len(set(made)) == 3


def limited_run(data: Path, folder: Path, megabytes: int | None, clips_at_once: int | None = None) -> None:
    """Train in a process that may have so much more memory once its model is built."""

    def limit(network: object) -> object:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        if megabytes is not None:
            resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20, resource.RLIM_INFINITY))
        return network

    given = {"batch_size": 12, "accumulation": 1, "num_frames": 16, "image_size": 144, "mixup": 0.0, "cutmix": 0.0}
    config = TrainConfig(data=str(data), **{**RECIPE, **given, "attention": "eager", "max_epochs": 1})
    folders = recorder.RunFolders(folder / "run", folder / "logs")
    hooks = training.Hooks(prepare_model=limit)
    with (folder / "said").open("w") as file:
        screen = Console(file=file, width=300)
        outcome = training.run(config, folders, screen=screen, hooks=hooks, most_at_once=clips_at_once)
    assert outcome.history[0]["train_clips"] == 12


@pytest.mark.parametrize("megabytes", [600, 1000])
def test_a_memory_limit(small: Path, tmp_path: Path, faults: Faults, megabytes: int) -> None:
    """Fewer clips at a time, and the same weights as where it had been as many from the start."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["lscht_ray.training.run", "torch.utils.tensorboard"])
    faults.provoke("memory limit")

    def run(name: str, *limits: int | None) -> str:
        (tmp_path / name).mkdir()
        process = processes.Process(target=limited_run, args=(small, tmp_path / name, *limits))
        process.start()
        process.join(120)
        process.kill()
        assert process.exitcode == 0, (tmp_path / name / "said").read_text()
        return (tmp_path / name / "said").read_text()

    said = run("limited", megabytes)
    found = re.findall(r"step 1: out of memory; now (\d+) clips at a time, the global batch stays", said)
    assert found, said
    run("smaller", None, int(found[-1]))
    assert same(tmp_path / "limited", tmp_path / "smaller")
    faults.survive("memory limit")


def test_names_of_folders_are_ascii_and_stay_where_they_belong(small: Path, door: Door, tmp_path: Path) -> None:
    assert slug("señas de Chile, v2") == "senas-de-Chile-v2"
    for evil in ("../../../etc", "/etc/passwd", "..", ".hidden", "a\0b", "con/tra", "手話", "~/x", "-rf"):
        name = slug(evil)
        assert re.fullmatch(r"|[A-Za-z0-9][A-Za-z0-9._-]*", name), name
        assert (tmp_path / (name or "run")).resolve().parent == tmp_path
    assert len(slug("x" * 300)) == 80
    flags = ("--data", small, *FAST, "--max_epochs", 1, "--run_name", "../Señas mañana")
    result = door("train", *flags, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    folder = run_folder(tmp_path)
    assert re.fullmatch(r"Senas-manana_\d{8}_\d{6}", folder.name)
    assert (tmp_path / "runs" / folder.name).is_dir()
    assert "mañana" in checkpoint.load(folder / places.BEST)["glosses"]
