"""Says beside an exported model how its clips were made, in words and as a program."""

from pathlib import Path
from string import Template
from typing import Any

TEXT = Path(__file__).with_name("exported.md")
CROPS = {
    "centre": "to a short side of {size} pixels, and cut to the square in its middle,",
    "letterbox": "to a long side of {size} pixels, and put into the middle of a black square",
    "squash": "to a square, whatever its shape,",
}

PROCESSORS = {
    "centre": "cuts its pictures likewise; its frames are for you to choose",
    "letterbox": "has no black bars: it squashes pictures to squares",
    "squash": "squashes its pictures likewise; its frames are for you to choose",
}
"""What transformers' own preprocessing does, `preprocessor_config.json`, by `eval_crop`."""
UNLIKE = {
    "crop_to_bbox": (True, "pictures were cut to the annotated box of the signer"),
    "pixel_format": ("yuv420", "decoded pictures were kept with colours at half the resolution"),
    "decoder": ("decord", "videos were decoded with decord"),
    "salvage": (True, "of damaged videos the good frames were used"),
}
"""Settings that make other clips where they have these values, and what they do."""


def write(content: dict[str, Any], folder: Path) -> None:
    """Write README.md and predict.py.

    Args:
        content: What `checkpoint.load` returned.
        folder: Of the exported model.

    Raises:
        OSError: They can't be written.
    """
    given, config = content["clip_format"], content["config"]
    size, crop = given["image_size"], given.get("eval_crop", "centre")
    by_time = config.get("sampling", "frame") == "time"
    stretched = content["model_config"].get("position_grid")
    unlike = [words for name, (value, words) in UNLIKE.items() if config.get(name) == value]
    text = Template(TEXT.read_text(encoding="utf-8")).substitute(
        count=len(content["glosses"]),
        num_frames=content["model_config"]["num_frames"],
        parts="of its time" if by_time else "of its frames",
        by_time=by_time,
        short_side=given.get("short_side") or size * 8 // 7,
        image_size=size,
        eval_crop=crop,
        processor=f"transformers' own `VideoMAEImageProcessor.from_pretrained` {PROCESSORS[crop]}.",
        crop_in_words=CROPS[crop].format(size=size),
        mean=[*given["mean"]],
        std=[*given["std"]],
        exceptions=f"Besides, {' and '.join(unlike)}, which the program below does not do.\n\n" if unlike else "",
        but=", but for that" if unlike else "",
        positions="Its positions are stretched, which `from_pretrained` alone does not do." if stretched else "",
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
    (folder / "predict.py").write_text(text.partition("```python\n")[2].rpartition("```")[0], encoding="utf-8")
