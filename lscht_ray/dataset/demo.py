"""Draws the demo data set: real H.264 files of signers whose hands go once around a circle.

The gloss decides only where the hands start and which way they turn. All glosses show the same pictures, each for the
same share of the time, in another order: a single picture doesn't tell the gloss, only the motion does.
"""

import colorsys
import csv
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from lscht_ray.errors import InputError
from lscht_ray.host.files import cache_folder

DEMO = "demo"
VERSION = 1
PIXELS, FPS = 64, 15
GLOSSES: dict[str, tuple[float, int]] = {
    # Where the hands start (degrees: 0 farthest from the body, 90 lowest) and which way they turn.
    "desde arriba, hacia afuera": (-90.0, 1),
    "desde arriba, hacia adentro": (-90.0, -1),
    "desde abajo, hacia adentro": (90.0, 1),
    "desde abajo, hacia afuera": (90.0, -1),
    "señal al centro, hacia arriba": (180.0, 1),
    "señal al centro, hacia abajo": (180.0, -1),
}
CLIPS: dict[str, tuple[int, ...]] = {
    # Per split, the clips of each gloss: unbalanced, as real sets are.
    "train": (72, 64, 52, 44, 36, 32),
    "val": (12, 11, 10, 9, 9, 9),
    "test": (12, 11, 10, 9, 9, 9),
}
SIGNERS = {"train": range(0, 16), "val": range(16, 20), "test": range(20, 24)}


@dataclass(frozen=True)
class Signer:
    """How a signer looks and moves.

    Attributes:
        size: Factor of all lengths.
        centre: Between the hands' circles, (x, y) as shares of the picture's side.
        seconds: Duration of a performance.
        skin: Colour (red, green, blue), each 0 to 1.
        shirt: Colour.
        wall: Colour of the background.
    """

    size: float
    centre: tuple[float, float]
    seconds: float
    skin: tuple[float, float, float]
    shirt: tuple[float, float, float]
    wall: tuple[float, float, float]


def draw_signer(number: int, seed: int) -> Signer:
    """The signer of that number, the same for the same seed."""
    rng = np.random.default_rng((seed, 1, number))
    hue = rng.uniform(0, 1)
    return Signer(
        size=rng.uniform(0.9, 1.1),
        centre=(rng.uniform(0.45, 0.55), rng.uniform(0.52, 0.6)),
        seconds=rng.uniform(0.7, 1.2),
        skin=colorsys.hsv_to_rgb(rng.uniform(0.04, 0.09), rng.uniform(0.2, 0.5), rng.uniform(0.7, 1.0)),
        shirt=colorsys.hsv_to_rgb(hue, rng.uniform(0.4, 0.9), rng.uniform(0.15, 0.4)),
        wall=colorsys.hsv_to_rgb((hue + 0.5) % 1, rng.uniform(0.2, 0.5), rng.uniform(0.15, 0.35)),
    )


def hand_positions(signer: Signer, gloss: str, progress: float, jitter: float = 0.0) -> list[tuple[float, float]]:
    """Where the two hands are, as (x, y) in shares of the picture's side. They mirror each other.

    Args:
        signer: Whose hands they are.
        gloss: Which motion they make.
        progress: How much of the motion is done, 0 to 1.
        jitter: Degrees between the gloss's starting point and that of this performance.
    """
    start, turn = GLOSSES[gloss]
    angle = np.deg2rad(start + jitter + turn * 360.0 * progress)
    y = signer.centre[1] + signer.size * (0.05 + 0.3 * np.sin(angle))
    outwards = signer.size * (0.26 + 0.16 * np.cos(angle))
    return [(signer.centre[0] - outwards, float(y)), (signer.centre[0] + outwards, float(y))]


def draw_clip(signer: Signer, gloss: str, seed: tuple[int, ...]) -> NDArray[np.uint8]:
    """Draw one performance, uint8 (T, PIXELS, PIXELS, 3). T depends on the signer's speed and varies a little."""
    rng = np.random.default_rng(seed)
    frames = round(FPS * signer.seconds * rng.uniform(0.85, 1.15))
    jitter = rng.uniform(-12, 12)
    y, x = np.mgrid[0:PIXELS, 0:PIXELS] / PIXELS
    still = np.broadcast_to(np.array(signer.wall), (PIXELS, PIXELS, 3)).copy()
    head = (signer.centre[0], signer.centre[1] - 0.36 * signer.size)
    paint_disc(still, x, y, (signer.centre[0], 0.95), 0.45 * signer.size, signer.shirt)
    paint_disc(still, x, y, head, 0.11 * signer.size, signer.skin)
    clip = np.empty((frames, PIXELS, PIXELS, 3), np.uint8)
    for t in range(frames):
        picture = still.copy()
        for hand in hand_positions(signer, gloss, t / frames, jitter):
            paint_disc(picture, x, y, hand, 0.12 * signer.size, signer.skin)
        picture += rng.normal(0, 0.01, picture.shape)
        clip[t] = (picture.clip(0, 1) * 255).round()
    return clip


def paint_disc(
    picture: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    centre: tuple[float, float],
    radius: float,
    colour: tuple[float, float, float],
) -> None:
    """Paint a disc with a soft edge. All lengths are in heights of the picture.

    Args:
        picture: float64 (H, W, 3), 0 to 1; is changed.
        x: Where its pixels are, from its left edge, (H, W).
        y: The same from its upper edge.
        centre: Of the disc, (x, y).
        radius: Of the disc.
        colour: Of the disc.
    """
    cover = ((radius - np.hypot(x - centre[0], y - centre[1])) * len(picture) + 0.5).clip(0, 1)
    touched = np.ix_(cover.any(1), cover.any(0))
    picture[touched] += cover[touched][..., None] * (np.array(colour) - picture[touched])


def write_video(path: Path, clip: NDArray[np.uint8]) -> None:
    """Write uint8 (T, H, W, 3) frames as H.264; the same frames give the same bytes."""
    with av.open(str(path), "w") as container:
        # x264's macroblock tree sums floats by AVX-512 where there is one, and not always in the same way.
        options = {"crf": "18", "preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.height, stream.width = clip.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def make(folder: Path, seed: int, on_clip: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Draw the whole data set into a new folder: ``videos/*.mp4`` and ``manifest.csv``.

    Args:
        folder: It appears only once it is whole.
        seed: Equal seeds give equal files.
        on_clip: Called after each clip with the number of clips drawn and of all clips.

    Raises:
        InputError: The folder exists already, or can't be written.
    """
    if folder.exists():
        raise InputError(f"{folder} is there already: choose another folder, or remove it")
    building = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        (building / "videos").mkdir(parents=True)
        rows = _draw_all(building, seed, on_clip)
        with (building / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("path", "label", "split", "signer"), *rows])
        if not folder.exists():
            building.rename(folder)
    except OSError as error:
        raise InputError(f"{folder} can't be written: {error.strerror}; choose another folder") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _draw_all(folder: Path, seed: int, on_clip: Callable[[int, int], None]) -> list[tuple[str, str, str, str]]:
    planned = [
        (split, gloss)
        for split, counts in CLIPS.items()
        for gloss, count in zip(GLOSSES, counts, strict=True)
        for _ in range(count)
    ]
    rows = []
    for number, (split, gloss) in enumerate(planned):
        signer = int(np.random.default_rng((seed, 2, number)).choice(list(SIGNERS[split])))
        path = f"videos/{number:05d}.mp4"
        write_video(folder / path, draw_clip(draw_signer(signer, seed), gloss, (seed, 3, number)))
        rows.append((path, gloss, split, f"signer{signer:02d}"))
        on_clip(number + 1, len(planned))
    return rows


def demo_folder(seed: int = 0) -> Path:
    """The demo data set's folder, in the cache folder."""
    return cache_folder() / f"demo-v{VERSION}-seed{seed}"


def demo_data(seed: int = 0, on_clip: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Draw the demo data set on first use; return its folder."""
    folder = demo_folder(seed)
    if not (folder / "manifest.csv").is_file():
        make(folder, seed, on_clip)
    return folder
