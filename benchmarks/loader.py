"""What a clip costs: decoding, the cache, augmentation, and whole loaders, against the way of a plain train.py.

    python benchmarks/loader.py DATA [--rounds 5]

DATA is any data set that `train` takes. Everything is measured in turn, round after round, on the same clips; what is
printed are medians over the rounds, of CPU time (all processes) and of wall time per clip, and the medians of the
rounds' ratios. On a GPU clips are augmented there; "augmented here" adds what that costs on this CPU. Takes under 5
minutes on two cores with 64 clips; a temporary cache is made and removed.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from needs import need
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as v1
from torchvision.transforms import v2

from lscht_ray.checking import survey
from lscht_ray.clips import fill, reader
from lscht_ray.clips.batch import joined
from lscht_ray.clips.dataset import ClipDataset, ClipReader, Position
from lscht_ray.clips.loader import build_loader
from lscht_ray.clips.transforms import ClipFormat, TrainingTransform
from lscht_ray.dataset import annotations
from lscht_ray.dataset.samples import Clip
from lscht_ray.host.console import quiet_console
from lscht_ray.settings.train import TrainConfig
from lscht_ray.video.frames import evaluation_indices

FRAMES, SIZE = 16, 224
CPU = torch.device("cpu")
SEED_AUGMENTATION = v1.Compose(
    [
        v1.RandomResizedCrop(SIZE, scale=(0.8, 1.0)),
        v1.RandomHorizontalFlip(),
        v1.ColorJitter(brightness=0.2, contrast=0.2),
        v1.ToTensor(),
        v1.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
)
"""As a plain train.py does it: with PIL, and drawn anew for each frame."""


def decord_frames(video: str, width: int = -1, height: int = -1) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Sixteen frames with decord, believing its count."""
    import decord

    reader = decord.VideoReader(video, num_threads=1, width=width, height=height)
    frames: np.ndarray[Any, np.dtype[np.uint8]] = reader.get_batch(evaluation_indices(len(reader), FRAMES)).asnumpy()
    return frames


class PlainDataset(Dataset[torch.Tensor]):
    """decord, then PIL per frame."""

    def __init__(self, videos: list[str]) -> None:
        self.videos = videos

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.stack([SEED_AUGMENTATION(Image.fromarray(frame)) for frame in decord_frames(self.videos[index])])


class Case:
    """One thing to measure."""

    def __init__(self, name: str, run: Callable[[], object]) -> None:
        self.name, self.run = name, run
        self.cpu: list[float] = []
        self.wall: list[float] = []

    def measure(self, count: int) -> None:
        """Once, over so many clips."""
        cpu, wall = _cpu(), time.perf_counter()
        self.run()
        self.cpu.append((_cpu() - cpu) / count * 1e3)
        self.wall.append((time.perf_counter() - wall) / count * 1e3)


def _cpu() -> float:
    """CPU seconds of this process, its children that live (data workers) and those that are done."""
    import resource

    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    total = sum(each.ru_utime + each.ru_stime for each in usage)
    for child in multiprocessing.active_children():
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="data set")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=16)
    flags = parser.parse_args()
    need("decord")
    torch.set_num_threads(1)
    quiet = quiet_console()
    with tempfile.TemporaryDirectory(dir=Path.home()) as folder:
        config = TrainConfig(data=flags.data, cache="disk", cache_dir=folder, num_frames=FRAMES)
        form = ClipFormat(SIZE, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        found = survey.trusted(annotations.read_named(screen=quiet, **config.data_settings()), config, quiet)
        root = found.annotations.root
        chosen = found.clips[:: max(1, len(found.clips) // flags.clips)][: flags.clips]
        filled = {
            kind: fill.fill(
                root, chosen, config.model_copy(update={"pixel_format": kind}), form.decoded_short_side, quiet
            )
            for kind in ("rgb", "yuv420")
        }
        cases = _cases(root, chosen, filled, config, form, flags.batch_size)
        for case in cases:
            case.run()  # once without measuring: files come into the page cache
        for number in range(flags.rounds):
            for case in cases:
                case.measure(len(chosen))
            print(f"round {number + 1} of {flags.rounds}", file=sys.stderr)
    _print(cases, len(chosen))
    return 0


def _cases(
    root: Path,
    clips: tuple[Clip, ...],
    filled: dict[str, fill.Filled],
    config: TrainConfig,
    form: ClipFormat,
    batch_size: int,
) -> list[Case]:
    videos = [str(clip.video) for clip in clips]
    augmentation = reader.augmentation(config)

    def dataset(cache: fill.Filled | None = None) -> ClipDataset:
        clip_reader = ClipReader(form.decoded_short_side, pixel_format="rgb", cache=cache.cache if cache else None)
        sampling = reader.sampling(config, training=True)
        return ClipDataset(clips, reader=clip_reader, sampling=sampling, seed=0, augmentation=augmentation)

    plain, cached = dataset(), dataset(filled["rgb"])
    decoded = [plain[Position(1, index)] for index in range(len(videos))]
    raw = [clip.frames[0].reshape(FRAMES, *clip.sizes[0].tolist(), 3) for clip in decoded]
    batches = [joined(decoded[start : start + batch_size]) for start in range(0, len(decoded), batch_size)]
    ours = TrainingTransform(form, augmentation)
    v2_clip = v2.Compose(
        [
            v2.RandomResizedCrop(SIZE, scale=(0.8, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.2, contrast=0.2),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(form.mean, form.std),
        ]
    )

    def read(kind: str) -> Callable[[], object]:
        cache = filled[kind].cache
        assert cache is not None
        keys = [clip.key for clip in clips]
        most = max(entry.frames.shape[1] for key in keys if (entry := cache.entry(key)) is not None)
        ring = np.zeros((batch_size, FRAMES, most), np.uint8)  # as the loader's buffers

        def run() -> None:
            for number, key in enumerate(keys):
                entry = cache.entry(key)
                assert entry is not None
                entry.take(evaluation_indices(len(entry.times), FRAMES), ring[number % batch_size])

        return run

    def build() -> None:
        with tempfile.TemporaryDirectory(dir=Path.home()) as folder:
            quiet, fresh = quiet_console(), config.model_copy(update={"cache_dir": folder})
            result = fill.fill(root, clips, fresh, form.decoded_short_side, quiet)
            assert result.complete
            result.cache.release()  # type: ignore[union-attr]  # it is complete

    def whole(kind: str, augment: bool) -> Callable[[], object]:
        settings: dict[str, Any] = {"batch_size": batch_size, "num_workers": 2, "shuffle": True, "device": CPU}
        how = {"cached": kind != "decoded", "on_device": kind == "memory"}
        loader = build_loader(cached if how["cached"] else plain, **settings, **how)

        def run() -> None:
            for batch in loader:
                if augment:
                    ours(batch)

        return run

    plain_loader = DataLoader(
        PlainDataset(videos), batch_size=batch_size, shuffle=True, num_workers=2, persistent_workers=True
    )

    def seeds_way() -> None:
        for _ in plain_loader:
            pass

    return [
        Case("decode: decord", lambda: [decord_frames(video) for video in videos]),
        Case("decode: PyAV, counted", lambda: [plain[Position(1, index)] for index in range(len(videos))]),
        Case("cache: build (all frames)", build),
        Case("cache: read, rgb", read("rgb")),
        Case("cache: read, yuv420", read("yuv420")),
        Case(
            "augment: PIL per frame",
            lambda: [torch.stack([SEED_AUGMENTATION(Image.fromarray(f.numpy())) for f in c]) for c in raw],
        ),
        Case("augment: torchvision v2 per clip", lambda: [v2_clip(c.permute(0, 3, 1, 2)) for c in raw]),
        Case("augment: ours, batched", lambda: [ours(batch) for batch in batches]),
        Case("loader: seed's way (decord, PIL)", seeds_way),
        Case("loader: ours, decoded", whole("decoded", False)),
        Case("loader: ours, decoded, and augmented here", whole("decoded", True)),
        Case("loader: ours, cached on disk", whole("disk", False)),
        Case("loader: ours, cached on disk, and augmented here", whole("disk", True)),
        Case("loader: ours, cache in the device's memory", whole("memory", False)),
    ]


SEED = "loader: seed's way (decord, PIL)"
RATIOS = [
    ("decode: decord", "decode: PyAV, counted", None),
    ("decode: PyAV, counted", "cache: read, rgb", 50),
    ("decode: decord", "cache: read, rgb", 50),
    ("decode: PyAV, counted", "cache: read, yuv420", None),
    ("augment: PIL per frame", "augment: ours, batched", None),
    ("augment: torchvision v2 per clip", "augment: ours, batched", None),
    (SEED, "loader: ours, decoded", 3),
    (SEED, "loader: ours, decoded, and augmented here", 3),
    (SEED, "loader: ours, cached on disk", 20),
    (SEED, "loader: ours, cached on disk, and augmented here", 20),
    (SEED, "loader: ours, cache in the device's memory", 20),
]


def _print(cases: list[Case], count: int) -> None:
    by_name = {case.name: case for case in cases}
    print(f"{count} clips of {FRAMES} frames; medians of {len(cases[0].cpu)} rounds; ms per clip")
    print(f"{'':50}{'CPU':>9}{'wall':>9}")
    for case in cases:
        print(f"{case.name:50}{statistics.median(case.cpu):9.2f}{statistics.median(case.wall):9.2f}")
    print("\nratios of CPU time per clip (clips/s/core), median and range over the rounds")
    for slow, quick, goal in RATIOS:
        ratios = sorted(a / max(b, 1e-9) for a, b in zip(by_name[slow].cpu, by_name[quick].cpu, strict=True))
        wanted = f"   goal {goal}x" if goal else ""
        shown = f"{statistics.median(ratios):7.1f}x  ({ratios[0]:.1f} to {ratios[-1]:.1f})"
        print(f"{shown}  {quick}  against  {slow}{wanted}")


if __name__ == "__main__":
    sys.exit(main())
