"""The font that pictures are labelled with."""

from pathlib import Path

import matplotlib


def with_accents() -> Path:
    """The file of a font with accents, which Pillow's own lacks: DejaVu Sans, that matplotlib brings."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
