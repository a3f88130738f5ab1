"""Says for which clips a checkpoint was made, without importing the model where that can be avoided."""

import json
from pathlib import Path
from typing import Any

from lscht_ray.errors import InputError

IMAGE_SIZE = 224
"""Height and width in pixels of the clips of VideoMAE's published checkpoints."""
PATCH_SIZE = 16
"""Height and width in pixels of their patches."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of each colour, 0 to 1: how these clips are normalised."""

TINY: dict[str, Any] = {
    "image_size": 48,
    "patch_size": 12,
    "hidden_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 384,
    # The library's 0.02 leaves a model this small at chance for dozens of epochs.
    "initializer_range": 0.15,
    "use_mean_pooling": False,
}
"""Configuration of the model that is called `tiny`."""


def patch_size(name: str) -> int | None:
    """Height and width in pixels of a model's patches; None where its config is not on this machine."""
    if name == "tiny":
        return int(TINY["patch_size"])
    try:
        return int(json.loads((Path(name).expanduser() / "config.json").read_text(encoding="utf-8"))["patch_size"])
    except (OSError, ValueError, TypeError, KeyError):
        return PATCH_SIZE if name.startswith("MCG-NJU/videomae-") else None


def image_size(name: str) -> int | None:
    """Height and width in pixels of the clips that a model takes; None where the model can't be found.

    Args:
        name: As for `videomae.build`.
    """
    if name == "tiny":
        return int(TINY["image_size"])
    try:
        return int(json.loads((Path(name).expanduser() / "config.json").read_text(encoding="utf-8"))["image_size"])
    except (OSError, ValueError, TypeError, KeyError):  # on the hub, an earlier run of ours, or no model
        from lscht_ray.model import videomae

        try:
            return videomae.input_of(name).image_size
        except InputError:  # building the model reports it
            return None


def wrong_size(size: int, patch: int) -> str:
    """Why pictures can't have that size, and which sizes are near."""
    below = size // patch * patch
    near = f"{below} or {below + patch}" if below >= 16 else str(below + patch)
    return f"image_size {size} must be a multiple of the model's patch size, {patch}: {near}"
