"""What a model learns of 16:9 clips with each `eval_crop`, where signs happen inside the centre square and beyond it.

    python benchmarks/crops.py [--seeds 3] [--variants middle edge wide other] [--crops centre letterbox squash]

Each clip shows a signer in the middle of the picture, whose hands go once around a circle on either side. As in the
demo, the gloss decides only where the hands start and which way they turn. The variants differ in where the circles
are: `middle`: all inside the centre square; `edge`: all beyond it, at the left and the right edge of the picture;
`wide`: anywhere from the one to the other, so that the hands are beyond it for about half of the time; `other`: as
`middle`, but that the validation clips are 4:3, as a webcam's. Signer, speed, starting point, colours and noise are
drawn for each clip; no signer is in both splits.

Every seed draws clips of its own and trains the `tiny` model on them, once with each crop. A run's accuracy is the
median over its last three epochs, on clips that it was not trained on. What letterbox loses depends on how long a model
this small is trained, and on how much (--epochs, --train_clips). Takes about 25 minutes on one core.
"""

import argparse
import csv
import math
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from lscht_ray.clips.augmentation import seen
from lscht_ray.dataset.demo import GLOSSES, Signer, draw_signer, paint_disc, write_video
from lscht_ray.host.console import print_table, quiet_console
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training.run import train_here

HEIGHT, WIDTH, WEBCAM, FRAMES = 90, 160, 120, 16
VARIANTS = {"middle": (0.27, 0.27), "edge": (0.72, 0.72), "wide": (0.27, 0.72), "other": (0.27, 0.27)}
"""From the body to the middle of a circle, at least and at most; all lengths are in heights of the picture."""
CROPS = ("centre", "letterbox", "squash")
CIRCLE, HAND = (0.1, 0.28), 0.09
"""Half of a circle's width and height (beyond the centre square is no room for a wider one), and a hand's radius."""
SIGNERS = {"train": range(0, 64), "val": range(64, 96)}


@dataclass(frozen=True)
class Sign:
    """How the sign of one clip is made.

    Attributes:
        signer: Who makes it.
        gloss: What it means.
        out: From the body to the middle of a circle.
        speed: Exponent of the time: below 1 it begins quickly and ends slowly.
        jitter: Degrees between the gloss's starting point and this one.
        width: Of the picture, in pixels.
    """

    signer: Signer
    gloss: str
    out: float
    speed: float
    jitter: float
    width: int

    @property
    def body(self) -> float:
        """Where the body is, from the picture's left edge."""
        return self.width / HEIGHT / 2 + 0.4 * (self.signer.centre[0] - 0.5)

    def hands(self, number: int) -> list[tuple[float, float]]:
        """Where the hands are in a frame, (x, y) from the picture's upper left corner. They mirror each other."""
        start, turn = GLOSSES[self.gloss]
        angle = math.radians(start + self.jitter + turn * 360 * (number / FRAMES) ** self.speed)
        across = self.out + CIRCLE[0] * math.cos(angle)
        return [(self.body + x, self.signer.centre[1] - 0.02 + CIRCLE[1] * math.sin(angle)) for x in (-across, across)]

    def beyond(self) -> float:
        """The share of the time that a hand's middle is outside the centre square."""
        _, left, _, width = seen(HEIGHT, self.width, "centre")
        places = [x * HEIGHT for number in range(FRAMES) for x, _ in self.hands(number)]
        return statistics.mean(not left <= x < left + width for x in places)


def draw_sign(variant: str, gloss: str, split: str, rng: np.random.Generator, seed: int) -> Sign:
    """Draw how the sign of a clip is made."""
    signer = draw_signer(int(rng.choice(list(SIGNERS[split]))), seed)
    width = WEBCAM if variant == "other" and split == "val" else WIDTH
    return Sign(signer, gloss, rng.uniform(*VARIANTS[variant]), rng.uniform(0.75, 1.33), rng.uniform(-12, 12), width)


def draw_clip(sign: Sign, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw the clip, uint8 (FRAMES, HEIGHT, the sign's width, 3)."""
    signer, body = sign.signer, sign.body
    y, x = np.mgrid[0:HEIGHT, 0 : sign.width] / HEIGHT

    clip, noise = np.empty((FRAMES, HEIGHT, sign.width, 3), np.uint8), rng.uniform(0.005, 0.03)
    still = np.tile(np.array(signer.wall), (HEIGHT, sign.width, 1))
    paint_disc(still, x, y, (body, 1.0), 0.4 * signer.size, signer.shirt)
    paint_disc(still, x, y, (body, signer.centre[1] - 0.3 * signer.size), 0.1 * signer.size, signer.skin)
    for number in range(FRAMES):
        picture = still.copy()
        for hand in sign.hands(number):
            paint_disc(picture, x, y, hand, HAND * signer.size, signer.skin)
        picture += rng.normal(0, noise, picture.shape)
        clip[number] = (picture.clip(0, 1) * 255).round()
    return clip


def make(folder: Path, variant: str, seed: int, counts: dict[str, int]) -> float:
    """Draw a data set into a new folder; return the share of the time that hands are outside the centre square."""
    folder.mkdir(parents=True)
    planned = [(split, gloss) for split, count in counts.items() for gloss in GLOSSES for _ in range(count)]
    rows, shares = [("path", "label", "split")], []
    for number, (split, gloss) in enumerate(planned):
        rng = np.random.default_rng((seed, list(VARIANTS).index(variant), number))
        sign = draw_sign(variant, gloss, split, rng, seed)
        write_video(folder / f"{number:05d}.mp4", draw_clip(sign, rng))
        rows.append((f"{number:05d}.mp4", gloss, split))
        shares.append(sign.beyond())
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return statistics.mean(shares)


def accuracy(data: Path, crop: str, seed: int, settings: dict[str, Any]) -> float:
    """Train on a data set with that crop; the median of the last three epochs' validation accuracies."""
    settings = settings | {name: str(data / name / crop) for name in ("checkpoint_dir", "log_dir")}
    config = TrainConfig(
        data=str(data),
        eval_crop=crop,
        seed=seed,
        model_name="tiny",
        num_frames=8,
        batch_size=8,
        lr=2e-3,
        class_weighted=False,
        early_stopping=False,
        cache="disk",
        cache_dir=str(data / "cache"),
        checkpoint_every=0,
        device="cpu",
        **settings,
    )
    history = train_here(config, quiet_console()).history
    return statistics.median(float(epoch["val_accuracy"]) for epoch in history[-3:])


def standard_error(rows: list[list[float]]) -> float:
    """Of a mean over the seeds, in points, from the spread within all rows: a single row has too few seeds to say."""
    return 100 * math.sqrt(statistics.mean(statistics.variance(row) for row in rows) / len(rows[0]))


def main() -> None:
    """Draw, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--image_size", type=int, default=48)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--crops", nargs="+", choices=CROPS, default=list(CROPS))
    parser.add_argument("--train_clips", type=int, default=40, help="of each gloss")
    parser.add_argument("--val_clips", type=int, default=40, help="of each gloss")
    flags = parser.parse_args()
    screen, started = Console(), time.monotonic()
    torch.set_num_threads(1)
    counts = {"train": flags.train_clips, "val": flags.val_clips}
    settings = {"max_epochs": flags.epochs, "image_size": flags.image_size}
    rows, spreads, gap_spreads = list[list[str]](), list[list[float]](), list[list[float]]()
    for variant in flags.variants:
        shares, found = [], {crop: list[float]() for crop in flags.crops}
        for seed in range(flags.seeds):
            with tempfile.TemporaryDirectory() as folder:
                data = Path(folder) / "clips"
                shares.append(make(data, variant, seed, counts))
                for crop, values in found.items():
                    values.append(accuracy(data, crop, seed, settings))
                    shown = f"{variant}, seed {seed}, {crop}: {values[-1]:.1%}"
                    screen.print(f"{time.monotonic() - started:4.0f} s  {shown}", highlight=False)
        for crop, values in found.items():
            gaps = [value - first for value, first in zip(values, found[flags.crops[0]], strict=True)]
            spreads += [values]
            gap_spreads += [gaps] if crop != flags.crops[0] else []
            between, gap = f"{min(values):.1%} to {max(values):.1%}", f"{100 * statistics.mean(gaps):+.1f}"
            figures = [f"{statistics.median(values):.1%}", between, f"{statistics.mean(values):.1%}", gap]
            rows.append([variant, f"{statistics.mean(shares):.0%}", crop, *figures])
    drawn = f"{counts['train']} training and {counts['val']} validation clips of each of {len(GLOSSES)} glosses"
    title = f"Validation accuracy (chance {1 / len(GLOSSES):.1%}), {flags.seeds} seeds\n{drawn}, {flags.epochs} epochs"
    columns = ["variant", "beyond", "crop", "median", "over the seeds", "mean", f"minus {flags.crops[0]}"]
    print_table(screen, f"{title}, {flags.image_size} pixels", columns, rows)
    if flags.seeds > 1:
        gap = f"; of a mean difference to {flags.crops[0]}: {standard_error(gap_spreads):.1f}" if gap_spreads else ""
        screen.print(f"standard error of a mean: {standard_error(spreads):.1f} points{gap}", highlight=False)


if __name__ == "__main__":
    main()
