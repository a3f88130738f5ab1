"""Every use of VideoMAE in transformers beyond its public interface, each with a test in tests/test_internals.py.

Read in transformers 5.24.0:
https://github.com/huggingface/transformers/blob/v5.24.0/src/transformers/models/videomae/modeling_videomae.py

Legend: B clips, C colours, T frames, H x W pixels, D width of a token.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from transformers.models.videomae import VideoMAEForVideoClassification, modeling_videomae

from lscht_ray.model.positions import POSITION_GRID, Grid, grid_of, interpolated


def position_table(positions: int, width: int) -> Tensor:
    """VideoMAE's table of sines and cosines, float32 (1, positions, width), without a loop over its cells."""
    column = np.arange(width)
    angles = np.arange(positions)[:, None] / np.power(10000, 2 * (column // 2) / width)
    angles[:, 0::2], angles[:, 1::2] = np.sin(angles[:, 0::2]), np.cos(angles[:, 1::2])
    return torch.from_numpy(angles).float()[None]


@contextmanager
def quick_table() -> Iterator[None]:
    """Have transformers build models with `position_table` (line 80: get_sinusoid_encoding_table, used at 106)."""
    original = modeling_videomae.get_sinusoid_encoding_table
    modeling_videomae.get_sinusoid_encoding_table = position_table
    try:
        yield
    finally:
        modeling_videomae.get_sinusoid_encoding_table = original


def quicken(model: VideoMAEForVideoClassification) -> VideoMAEForVideoClassification:
    """Make a model quicker in place; its weights keep their names, and it computes the same.

    The position table (line 106) becomes a buffer, which moves to the device once and not at every step; where the
    configuration names the grid that the weights were trained on, it is that grid's, stretched. The convolution that
    makes the tokens (line 157) becomes `Tubelets`.
    """
    embeddings = model.videomae.embeddings
    table, trained_on = embeddings.position_embeddings, getattr(model.config, POSITION_GRID, None)
    if trained_on is not None:
        before, width = Grid(*trained_on), model.config.hidden_size
        table = interpolated(position_table(math.prod(before), width), before, grid_of(model.config))
    del embeddings.position_embeddings
    embeddings.register_buffer("position_embeddings", table, persistent=False)
    patches = embeddings.patch_embeddings
    patches.projection = Tubelets.of(patches.projection)
    return model


class Tubelets(torch.nn.Conv3d):
    """The convolution that makes tokens of tubelets; in bf16 as the matrix product that it is.

    Its kernel never overlaps, so both are the same sum; the kernels of bf16 convolutions are slow.
    """

    @classmethod
    def of(cls, convolution: torch.nn.Conv3d) -> "Tubelets":
        """The same convolution, with the same parameters."""
        size, stride = convolution.kernel_size, convolution.stride
        channels = convolution.in_channels, convolution.out_channels
        tubelets = cls(*channels, size, stride, device="meta")  # type: ignore[arg-type]  # torch says int, ...
        tubelets.weight, tubelets.bias = convolution.weight, convolution.bias
        return tubelets

    def forward(self, clips: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, D, T / tubelet, H / patch, W / patch)."""
        kind = clips.device.type
        half = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
        if not (half and torch.get_autocast_dtype(kind) == torch.bfloat16) and clips.dtype != torch.bfloat16:
            return super().forward(clips)
        grid = [size // kernel for size, kernel in zip(clips.shape[2:], self.kernel_size, strict=True)]
        (t, h, w), (a, b, c) = grid, self.kernel_size
        parts = clips.reshape(*clips.shape[:2], t, a, h, b, w, c)
        tubelets = parts.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4)  # (B, t, h, w, C * a * b * c)
        tokens = torch.nn.functional.linear(tubelets, self.weight.flatten(1), self.bias)
        return tokens.permute(0, 4, 1, 2, 3)
