"""What a training step costs: our loop, Hugging Face's Trainer, and a bare PyTorch loop; then ours under Ray Train.

    python benchmarks/training.py [--data DATA] [--rounds 5] [--no_ray | --only_ray]

All of them train the same VideoMAE from the same weights on the same batches of the same loader, with the same
augmentation, precision, optimizer and clipping; only the loop differs. They take turns, round after round; what is
printed are medians over the rounds of clips per second and of the rounds' ratios. Every measurement runs in this
process but for Ray's and those it is compared with, which run in processes of their own with one thread each. On a GPU
it also prints the share of the card's matrix peak, measured by a large product, that training reaches.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from needs import need
from transformers import VideoMAEConfig
from transformers.models.videomae import VideoMAEForVideoClassification

from lscht_ray.artifacts.recorder import Recorder, RunFolders
from lscht_ray.checking import survey
from lscht_ray.host.console import quiet_console
from lscht_ray.host.watchdog import Watchdog
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training import build, plan
from lscht_ray.training.build import Built
from lscht_ray.training.loop import train_one_epoch
from lscht_ray.training.parts import Reporting

SIZES: dict[str, dict[str, Any]] = {
    "small": {"image_size": 96, "hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 4},
    "base": {"image_size": 224, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
}


def checkpoint(folder: Path, size: str) -> Path:
    """A VideoMAE of that size with random weights, as a folder of transformers."""
    settings = SIZES[size]
    config = VideoMAEConfig(**settings, intermediate_size=4 * settings["hidden_size"], num_labels=2)
    VideoMAEForVideoClassification(config).save_pretrained(folder / size)
    return folder / size


def built(config: TrainConfig, prepare: Callable[[torch.nn.Module], torch.nn.Module] = lambda m: m) -> Built:
    """A run with those settings, built."""
    found = survey.ready(config, quiet_console())
    build.seed_everything(0)
    return build.build(config, found, quiet_console(), prepare_model=prepare)


def ours(run: Built) -> None:
    """An epoch of our loop, with its metrics, checks and progress."""
    recorder = Recorder(RunFolders(Path(), Path()), quiet_console(), enabled=False)
    reporting = Reporting(recorder, quiet_console(), Watchdog(Path(), list))
    train_one_epoch(run.parts, run.state, reporting, 1, 1)


def bare(run: Built) -> None:
    """The least that trains: forward, loss, backward, clipping, step."""
    run.state.model.train()
    run.parts.train_loader.sampler.set_epoch(1)
    optimizer, weights = run.state.optimizer, run.parts.criterion.weights
    for batch in run.parts.train_loader:
        moved = batch.to(run.parts.device)
        pixel_values = run.parts.augment(moved)
        with run.parts.autocast():
            logits = run.state.model(pixel_values=pixel_values).logits.float()
        loss = torch.nn.functional.cross_entropy(logits, moved.labels, weights, label_smoothing=0.1)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        torch.nn.utils.clip_grad_norm_(run.state.model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    if run.parts.device.type == "cuda":
        torch.cuda.synchronize()


class _Loader:
    """Our loader's batches as Trainer wants them: the same collation and augmentation."""

    def __init__(self, run: Built) -> None:
        self.run = run

    def __len__(self) -> int:
        return len(self.run.parts.train_loader)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for batch in self.run.parts.train_loader:
            moved = batch.to(self.run.parts.device)
            yield {"pixel_values": self.run.parts.augment(moved), "labels": moved.labels}


def trainer(run: Built) -> Callable[[], None]:
    """An epoch of Hugging Face's Trainer; it is made once, so that only training is measured."""
    from transformers import Trainer, TrainingArguments  # which needs accelerate

    class OnOurBatches(Trainer):  # type: ignore[misc]  # transformers has no types
        def get_train_dataloader(self) -> Any:
            return _Loader(run)

    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        num_train_epochs=1,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        bf16=run.parts.precision == "bf16",
        use_cpu=run.parts.device.type == "cpu",
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        remove_unused_columns=False,
    )
    trains = OnOurBatches(model=run.state.network, args=arguments, train_dataset=[0])
    return lambda: (run.parts.train_loader.sampler.set_epoch(1), trains.train(), None)[-1]


def timed(run: Callable[[], object], clips: int, device: torch.device) -> float:
    """Clips per second."""
    started = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clips / (time.perf_counter() - started)


@contextmanager
def peak_memory(device: torch.device) -> Iterator[list[int]]:
    """Bytes at most in use within: a GPU's by torch's count, else what this process has of the machine (Linux)."""
    found = [0]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        yield found
        found[0] = torch.cuda.max_memory_allocated()
        return
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    yield found
    lines = Path("/proc/self/status").read_text().splitlines()
    found[0] = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


# ---------------------------------------------------------------- with and without Ray, in processes of their own


def epochs_here(settings: dict[str, Any], prepare: Any = None) -> list[float]:
    """Seconds per step of our loop in this process, for each epoch after the first."""
    torch.set_num_threads(1)
    run = built(TrainConfig.model_validate(settings["config"]), prepare or (lambda model: model))
    seconds = []
    for _ in range(settings["epochs"] + 1):
        started = time.perf_counter()
        ours(run)
        seconds.append((time.perf_counter() - started) / run.parts.batches(run.parts.train_loader))
    return seconds[1:]


def without_ray(settings: dict[str, Any]) -> float:
    """Seconds per step in plain processes: torch's own launcher and gloo."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(settings, file)
        file.flush()
        command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={settings['workers']}"]
        command += ["--standalone", __file__, "--worker", file.name]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return statistics.median(json.loads(said.splitlines()[-1]))


def worker(file: str) -> int:
    """One of those processes."""
    import torch.distributed as dist

    settings = json.loads(Path(file).read_text())
    dist.init_process_group("gloo")
    wrap = torch.nn.parallel.DistributedDataParallel if dist.get_world_size() > 1 else None
    seconds = epochs_here(settings, wrap)
    if dist.get_rank() == 0:
        print(json.dumps(seconds))
    dist.destroy_process_group()
    return 0


def with_ray(settings: dict[str, Any]) -> float:
    """Seconds per step in the workers of a TorchTrainer."""
    import ray.train
    import ray.train.torch

    with tempfile.TemporaryDirectory() as folder:

        def train(given: dict[str, Any]) -> None:
            found = epochs_here(given, ray.train.torch.prepare_model)
            if ray.train.get_context().get_world_rank() == 0:
                Path(folder, "seconds.json").write_text(json.dumps(found))

        ray.train.torch.TorchTrainer(
            train,
            train_loop_config=settings,
            torch_config=ray.train.torch.TorchConfig(backend="gloo"),
            scaling_config=ray.train.ScalingConfig(num_workers=settings["workers"]),
            run_config=ray.train.RunConfig(storage_path=folder, name="benchmark"),
        ).fit()
        return statistics.median(json.loads(Path(folder, "seconds.json").read_text()))


def compare_ray(config: TrainConfig, rounds: int) -> None:
    """Print what Ray Train adds to a step."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, logging_level="error", address="local")
    print(f"\nseconds per step without and with Ray Train, one thread a worker; medians of {rounds} rounds")
    for workers in (1, 2):
        settings = {"config": config.model_dump(mode="json"), "workers": workers, "epochs": 4}
        pairs = [(without_ray(settings), with_ray(settings)) for _ in range(rounds)]
        plain, under = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
        ratios = sorted(b / a for a, b in pairs)
        spread = f"({ratios[0]:.3f} to {ratios[-1]:.3f})"
        shown = f"{plain * 1e3:8.1f} ms  {under * 1e3:8.1f} ms"
        print(f"{workers} worker(s): {shown}   ratio {statistics.median(ratios):.3f} {spread}   goal below 1.03")
    ray.shutdown()


def matrix_peak(device: torch.device) -> float:
    """FLOP/s of a large product in bf16."""
    a = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
    best = float("inf")
    for _ in range(10):
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(10):
            a @ a
        torch.cuda.synchronize()
        best = min(best, (time.perf_counter() - started) / 10)
    return 2 * 8192**3 / best


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="demo")
    parser.add_argument("--size", choices=sorted(SIZES), default="base" if torch.cuda.is_available() else "small")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=12, help="per measurement")
    parser.add_argument("--no_ray", action="store_true")
    parser.add_argument("--only_ray", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.worker:
        return worker(flags.worker)
    if not flags.only_ray:
        need("accelerate")
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            data=flags.data,
            model_name=str(checkpoint(Path(folder), flags.size)),
            batch_size=flags.batch_size,
            num_workers=0,
            early_stopping=False,
        )
        if not flags.only_ray:
            compare_loops(config, flags)
        if not flags.no_ray:
            shorter = {"batch_size": flags.batch_size // 2, "limit_batches": flags.steps}
            compare_ray(config.model_copy(update=shorter), flags.rounds)
    return 0


def compare_loops(config: TrainConfig, flags: argparse.Namespace) -> None:
    """Print clips per second of the three loops."""
    ready = {name: built(config) for name in ("bare", "ours", "trainer")}
    for run in ready.values():
        dataset = run.parts.train_loader.dataset
        dataset.clips = dataset.clips[: flags.steps * flags.batch_size]
        run.parts.train_loader.sampler.length = len(dataset)
    clips, device = len(dataset), run.parts.device
    runs: dict[str, Callable[[], object]] = {
        "bare": lambda: bare(ready["bare"]),
        "ours": lambda: ours(ready["ours"]),
        "trainer": trainer(ready["trainer"]),
    }
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    memory: dict[str, float] = {}
    for number in range(flags.rounds + 1):
        for name, epoch in runs.items():
            with peak_memory(device) as peak:
                speed = timed(epoch, clips, device)
            if number:  # the first round warms up
                speeds[name].append(speed)
            memory[name] = peak[0] / 2**30
        print(f"round {number} of {flags.rounds}", file=sys.stderr)
    print(f"{flags.size}, {device}, {run.parts.precision}, batch {flags.batch_size}, {clips} clips a measurement")
    for name in runs:
        print(f"{name:8} {statistics.median(speeds[name]):9.2f} clips/s   peak memory {memory[name]:.2f} GiB")
    for other, goal in (("bare", 0.97), ("trainer", 1.0)):
        ratios = sorted(a / b for a, b in zip(speeds["ours"], speeds[other], strict=True))
        spread = f"({ratios[0]:.3f} to {ratios[-1]:.3f})"
        print(f"ours / {other}: {statistics.median(ratios):.3f} {spread}   goal {goal}")
    if device.type == "cuda":
        network = build.build_model(config, ("a", "b"))
        flops = plan.count_flops(network, config.num_frames)[1] * statistics.median(speeds["ours"])
        peak_flops = matrix_peak(device)
        print(f"{flops / 1e12:.1f} of {peak_flops / 1e12:.1f} TFLOP/s: {flops / peak_flops:.1%}   goal 50 %")


if __name__ == "__main__":
    sys.exit(main())
