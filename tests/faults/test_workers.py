"""Two workers compute what one does, and go on bit for bit from wherever they were stopped."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from lscht_ray.artifacts import checkpoint, places
from lscht_ray.artifacts.recorder import Recorder, RunFolders
from lscht_ray.checking import survey
from lscht_ray.host.console import quiet_console
from lscht_ray.host.interrupt import StopRequest
from lscht_ray.host.watchdog import Watchdog
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training import build
from lscht_ray.training import run as training
from lscht_ray.training._gradient import apply, gradients
from lscht_ray.training.loop import validate
from lscht_ray.training.metrics import rank_and_world
from lscht_ray.training.parts import Reporting
from support.faults import Faults
from support.runs import RECIPE, same

pytestmark = pytest.mark.faults

PROCESSES = multiprocessing.get_context("forkserver")  # which imports torch once
PRELOADED = ["lscht_ray.training.run", "torch.utils.tensorboard"]


def worker(rank: int, meeting: Path, function: Callable[..., None], given: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    function(*given)
    dist.destroy_process_group()


def two_workers(folder: Path, function: Callable[..., None], *given: Any) -> list[int | None]:
    """Run a function in two processes that know of each other; how each ended."""
    PROCESSES.set_forkserver_preload(PRELOADED)
    meeting = folder / f"meeting{len(list(folder.glob('meeting*')))}"
    processes = [PROCESSES.Process(target=worker, args=(rank, meeting, function, given)) for rank in range(2)]
    for process in processes:
        process.start()
    processes[0].join(120)
    for process in processes[1:]:
        process.join(20 if processes[0].exitcode == 0 else 0.1)
        process.kill()
        process.join()
    return [process.exitcode for process in processes]


def settings(small: Path, folder: Path, **changes: Any) -> TrainConfig:
    given = {"model_name": "tiny", "num_frames": 4, "image_size": 24, "num_workers": 0, "cache_dir": str(folder / "c")}
    return TrainConfig(data=str(small), **{**given, **changes})


def gradient_of_a_step(config: TrainConfig, target: Path) -> None:
    """Save the gradient of the first step, as the optimizer sees it, and the figures of a validation."""
    rank, world = rank_and_world()
    found = survey.ready(config, quiet_console())
    build.seed_everything(0)
    wrap = DistributedDataParallel if world > 1 else lambda network: network
    parts, state, _ = build.build(config, found, quiet_console(), prepare_model=wrap)
    recorder = Recorder(RunFolders(target.parent, target.parent), quiet_console(), enabled=False)
    reporting = Reporting(recorder, quiet_console(), Watchdog(target.parent / "stacks.txt", list))
    val = validate(parts, state, reporting, "val")
    state.model.train()
    parts.train_loader.sampler.set_epoch(1)
    batch = next(iter(parts.train_loader))
    outcomes = gradients(parts, state, replace(batch, frames=batch.frames.clone()), 0, quiet_console())
    figures, _ = apply(parts, state, outcomes)
    gradient = {name: p.grad for name, p in state.network.named_parameters() if p.grad is not None}
    if rank == 0:
        torch.save({"gradient": gradient, "figures": figures, "val": val}, target)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"batch_size": 12}, {"batch_size": 6}),
        ({"batch_size": 12}, {"batch_size": 2, "accumulation": 3}),
        ({"batch_size": 10}, {"batch_size": 5}),  # rare glosses are not equally shared
        ({"batch_size": 14}, {"batch_size": 7}),  # the last places are padding
        ({"batch_size": 12, "class_balanced_sampling": True}, {"batch_size": 6, "class_balanced_sampling": True}),
    ],
)
def test_two_workers_gradient_is_ones(small: Path, tmp_path: Path, one: Any, two: Any) -> None:
    """With class weights: the mean of two workers' weighted means would differ by tens of per cent."""
    more = {"gradient_clip": 0.0, "class_weight_power": 1.0}
    gradient_of_a_step(settings(small, tmp_path, **more, **one), tmp_path / "one.pt")
    ended = two_workers(tmp_path, gradient_of_a_step, settings(small, tmp_path, **more, **two), tmp_path / "two.pt")
    assert ended == [0, 0]
    alone, together = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("one", "two"))
    for name, gradient in alone["gradient"].items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(together["gradient"][name], gradient, atol=1e-5 * scale, rtol=1e-4, msg=name)
    torch.testing.assert_close(together["figures"], alone["figures"], atol=1e-5, rtol=1e-4)
    assert together["val"]["count"] == alone["val"]["count"] == 6  # each clip once, though they share them unequally
    for name, value in alone["val"].items():
        assert together["val"][name] == pytest.approx(value, abs=1e-5)


class Killer(StopRequest):
    """Ends this process, in whatever way, after a step."""

    def __init__(self, step: int, number: int) -> None:
        self.step, self.kill = step, number

    def save_now(self, step: int) -> bool:
        if step == self.step:
            os.kill(os.getpid(), self.kill)
        return False


def share_of_a_run(config: TrainConfig, folder: Path, victim: int, step: int, number: int) -> None:
    """Train as one of two; the victim is killed after a step. Goes on from what is there."""
    from contextlib import nullcontext

    rank = dist.get_rank()
    folders = RunFolders(folder / "run", folder / "logs") if rank == 0 else RunFolders(folder / "r1", folder / "l1")
    folders.run.mkdir(parents=True, exist_ok=True)
    last = folder / "run" / places.LAST
    killer = Killer(step if rank == victim else 0, number)
    training.run(
        config,
        folders,
        screen=quiet_console(),
        hooks=training.Hooks(prepare_model=DistributedDataParallel, listen=lambda: nullcontext(killer)),
        resume_from=last if last.is_file() else None,
    )


@pytest.fixture(scope="module")
def shared_run(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two workers that was never stopped: 3 epochs of 3 steps."""
    folder = tmp_path_factory.mktemp("two")
    assert two_workers(folder, share_of_a_run, recipe(small), folder, -1, 0, 0) == [0, 0]
    return folder


def recipe(small: Path) -> TrainConfig:
    return TrainConfig(data=str(small), **{**RECIPE, "accumulation": 1, "checkpoint_every_steps": 1})


def test_killed_workers_go_on_bit_for_bit(small: Path, tmp_path: Path, shared_run: Path, faults: Faults) -> None:
    for victim, step, number in ((0, 2, signal.SIGKILL), (1, 4, signal.SIGSEGV), (0, 6, signal.SIGKILL)):
        name = f"one of two workers, in a step: {signal.Signals(number).name}"
        faults.provoke(name)
        ended = two_workers(tmp_path, share_of_a_run, recipe(small), tmp_path, victim, step, number)
        assert ended[victim] == -number
        assert checkpoint.newest(tmp_path / "run")[1] == []
    assert two_workers(tmp_path, share_of_a_run, recipe(small), tmp_path, -1, 0, 0) == [0, 0]
    assert same(shared_run, tmp_path)
    faults.survive(f"one of two workers, in a step: {signal.SIGKILL.name}", 2)
    faults.survive(f"one of two workers, in a step: {signal.SIGSEGV.name}")


def test_a_worker_that_stands_still_is_not_waited_for(
    small: Path, tmp_path: Path, shared_run: Path, faults: Faults
) -> None:
    """The other one's watchdog ends it, in a step that waits for ever; then both go on."""
    faults.provoke("SIGSTOP of one of two workers")
    config = recipe(small).model_copy(update={"step_seconds": 4.0})
    ended = two_workers(tmp_path, share_of_a_run, config, tmp_path, 1, 5, signal.SIGSTOP)
    assert ended == [1, -signal.SIGKILL]  # by the watchdog; by the test, as Ray does
    assert "distributed_c10d.py" in (tmp_path / "run" / "stacks.txt").read_text()
    assert two_workers(tmp_path, share_of_a_run, recipe(small), tmp_path, -1, 0, 0) == [0, 0]
    assert same(shared_run, tmp_path)
    faults.survive("SIGSTOP of one of two workers")


def test_other_numbers_of_workers_go_on_from_an_epochs_end_alone(small: Path, tmp_path: Path, shared_run: Path) -> None:
    from lscht_ray.errors import InputError

    full = checkpoint.load(shared_run / "run" / places.LAST)
    inside = {**full, "inside": 2, "history": full["history"][:2]}
    checkpoint.save(inside, tmp_path / "inside.pt")
    with pytest.raises(InputError, match="from inside an epoch of 2 workers: go on with as many"):
        training.run(
            recipe(small),
            RunFolders(tmp_path / "run", tmp_path / "logs"),
            screen=quiet_console(),
            resume_from=tmp_path / "inside.pt",
        )
