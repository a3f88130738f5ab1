"""Where tokens are: VideoMAE's fixed table of sines and cosines, stretched where a model sees another grid of tubelets.

Legend: D width of a token; a grid (t, h, w) is tubelets in time, patches from top to bottom and from left to right.
"""

from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor

POSITION_GRID = "position_grid"
"""In a model's configuration: the grid of tubelets that its weights were trained on, where its clips have another.
transformers keeps what it doesn't know there; its own models take no notice of it."""


class Grid(NamedTuple):
    """The tubelets of a clip: in time, from top to bottom, and from left to right."""

    t: int
    h: int
    w: int


def grid_of(config: Any) -> Grid:
    """The grid of the clips that a VideoMAEConfig describes."""
    side = config.image_size // config.patch_size
    return Grid(config.num_frames // config.tubelet_size, side, side)


def interpolated(table: Tensor, before: Grid, now: Grid) -> Tensor:
    """Stretch a position table to another grid, so that a position still means the same part of a clip.

    VideoMAE numbers all tokens of a clip in a row, and gives the number's sines and cosines: in another grid the same
    number is another place. As in VideoMAE v2 (arXiv 2303.16727) and InternVideo (arXiv 2212.03191): bicubic in space,
    then linear in time, corners not aligned.

    Args:
        table: (1, t h w, D), for ``before``.
        before: The grid that the table was made for.
        now: The grid of the clips that are to be seen.

    Returns:
        (1, t h w, D), for ``now``.
    """
    width = table.shape[2]
    cells = table.reshape(before.t, before.h, before.w, width).permute(0, 3, 1, 2)  # (t, D, h, w)
    if before[1:] != now[1:]:
        cells = F.interpolate(cells, now[1:], mode="bicubic", align_corners=False)
    line = cells.permute(1, 2, 3, 0).reshape(width, now.h * now.w, before.t)  # (D, h w, t)
    if before.t != now.t:
        line = F.interpolate(line, now.t, mode="linear", align_corners=False)
    return line.permute(2, 1, 0).reshape(1, -1, width)
