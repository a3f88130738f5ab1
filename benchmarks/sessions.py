"""What a long recording of many signs costs: seconds to look at it, to fill the cache, and to train an epoch without.

    python benchmarks/sessions.py [--minutes 30] [--signs 10 50 200] [--width 640] [--height 360]

A recording is drawn once (noise that moves, 25 frames a second, a key frame every 10 seconds); each number of signs
gets a table of its own, with signs of 1.2 seconds spread evenly. `from its start` is what decoding it anew for every
sign costs, as whatever does not know where a sign begins must do: one sign in the middle is measured, and multiplied.
"""

import argparse
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from lscht_ray.checking import survey
from lscht_ray.clips import fill, reader
from lscht_ray.clips.dataset import ClipDataset, Position
from lscht_ray.clips.transforms import ClipFormat
from lscht_ray.dataset.annotations import read
from lscht_ray.host.console import quiet_console
from lscht_ray.model import shape
from lscht_ray.settings.train import TrainConfig
from lscht_ray.video.decode import decode

FPS, GOP, SIGN_SECONDS, SHORT_SIDE = 25, 250, 1.2, 256


def draw(path: Path, minutes: float, width: int, height: int) -> None:
    """Draw the recording."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (height + 64, width + 64, 3)).astype(np.uint8)
    noise = noise // 8 * 8
    with av.open(str(path), "w") as container:
        options = {"g": str(GOP), "preset": "veryfast", "crf": "32"}
        stream = container.add_stream("libx264", FPS, width=width, height=height, pix_fmt="yuv420p", options=options)
        for number in range(int(minutes * 60 * FPS)):
            down, right = int(32 + 31 * np.sin(number / 40)), int(32 + 31 * np.cos(number / 25))
            picture = np.ascontiguousarray(noise[down : down + height, right : right + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def table(folder: Path, seconds: float, signs: int) -> Path:
    """Write the table of so many signs."""
    file = folder / f"signs_{signs}.csv"
    starts = np.linspace(1, seconds - 3, signs)
    lines = [f"session.mp4;sign{k % 5};{s:.2f};{s + SIGN_SECONDS:.2f}" for k, s in enumerate(starts)]
    file.write_text("\n".join(["path;label;start;end", *lines]), encoding="utf-8")
    return file


def measure(file: Path, cache: Path) -> dict[str, float]:
    """Seconds of each step, with one table."""
    columns = {"start": "start", "end": "end", "unit": "second"}
    config = TrainConfig.model_validate(
        {"data": str(file), "columns": columns, "cache": "disk", "cache_dir": str(cache), "short_side": SHORT_SIDE}
    )
    screen, took = quiet_console(), {}
    annotated = read(**config.data_settings())

    started = time.monotonic()
    clips = survey.trusted(annotated, config, screen).clips
    took["look"] = time.monotonic() - started

    started = time.monotonic()
    filled = fill.fill(annotated.root, clips, config, SHORT_SIDE, screen)
    assert filled.complete
    took["fill"] = time.monotonic() - started

    clip_format = ClipFormat(224, shape.IMAGENET_MEAN, shape.IMAGENET_STD, SHORT_SIDE, "rgb", "squash")
    for name, clip_cache in (("epoch, cached", filled.cache), ("epoch, without", None)):
        dataset = ClipDataset(
            clips,
            reader=reader.reader(config, clip_format, clip_cache),
            sampling=reader.sampling(config, training=True),
            seed=0,
            augmentation=reader.augmentation(config),
        )
        started = time.monotonic()
        for number in range(len(dataset)):
            dataset[Position(1, number)]
        took[name] = time.monotonic() - started

    middle = clips[len(clips) // 2]
    started = time.monotonic()
    decode(middle.video, lambda times: np.arange(len(times) // 2, len(times) // 2 + 16), short_side=SHORT_SIDE)
    took["from its start"] = (time.monotonic() - started) * len(clips)
    return took


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="length of the recording")
    parser.add_argument("--signs", type=int, nargs="+", default=[10, 50, 200], help="numbers of signs")
    parser.add_argument("--width", type=int, default=640, help="of the recording, in pixels")
    parser.add_argument("--height", type=int, default=360, help="of the recording, in pixels")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        print(f"drawing {args.minutes:g} minutes of {args.width}x{args.height} pixels ...", flush=True)
        (folder / "set").mkdir()
        draw(folder / "set" / "session.mp4", args.minutes, args.width, args.height)
        size = (folder / "set" / "session.mp4").stat().st_size / 2**20
        print(f"{size:.0f} MB\n")
        names = ("look", "fill", "epoch, cached", "epoch, without", "from its start")
        print("signs | " + " | ".join(f"{name:>14}" for name in names) + "   (seconds)")
        for signs in args.signs:
            file = table(folder / "set", args.minutes * 60, signs)
            took = measure(file, folder / f"cache_{signs}")
            print(f"{signs:5} | " + " | ".join(f"{took[name]:14.1f}" for name in names), flush=True)


if __name__ == "__main__":
    main()
