"""What VideoMAE's backbone gives its head, and a VideoMAE that takes that in place of clips.

Legend: B clips, T frames, C colours, H and W pixels, D width of a feature.
"""

from typing import Any, cast

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput


def features_of(network: torch.nn.Module, pixel_values: Tensor) -> Tensor:
    """The features of clips (B, T, C, H, W) before the norm and the head: (B, D), the mean over tokens or the first."""
    videomae = cast(Any, network)
    tokens: Tensor = videomae.videomae(pixel_values).last_hidden_state
    return tokens.mean(dim=1) if videomae.fc_norm is not None else tokens[:, 0]


def take_features(network: torch.nn.Module) -> None:
    """Have a VideoMAE take features (B, 1, D) in place of pixel_values (B, T, C, H, W), which it still takes, too.

    Its head makes a mean over tokens, or takes the first: of one token both are that token.
    """
    backbone = cast(Any, network).videomae
    forward = backbone.forward

    def either(pixel_values: Tensor, *arguments: Any, **settings: Any) -> Any:
        if pixel_values.ndim == 3:
            return BaseModelOutput(last_hidden_state=cast(Any, pixel_values))
        return forward(pixel_values, *arguments, **settings)

    backbone.forward = either
