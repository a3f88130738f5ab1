"""Loading: only the head is new; everything else is named."""

import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import VideoMAEConfig, VideoMAEImageProcessor
from transformers.models.videomae import (
    VideoMAEForPreTraining,
    VideoMAEForVideoClassification,
    VideoMAEModel,
    modeling_videomae,
)

from lscht_ray.errors import InputError
from lscht_ray.model._transformers_internals import position_table
from lscht_ray.model.positions import Grid, interpolated
from lscht_ray.model.videomae import IMAGENET_MEAN, TINY, build, rebuild

GLOSSES = ("casa", "mañana", "tú")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A pretrained VideoMAE of 3 other classes, as `save_pretrained` writes it."""
    torch.manual_seed(0)
    model = VideoMAEForVideoClassification(VideoMAEConfig(**TINY, num_labels=3))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)  # no bias is zero by chance: some versions lose the query and value biases
    model.save_pretrained(tmp_path / "pretrained")
    VideoMAEImageProcessor(image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6]).save_pretrained(
        tmp_path / "pretrained"
    )
    return tmp_path / "pretrained"


def test_only_the_head_is_new(checkpoint: Path) -> None:
    built = build(str(checkpoint), GLOSSES, num_frames=16, seed=1)
    saved, loaded = load_file(checkpoint / "model.safetensors"), built.model.state_dict()
    for letter, name in (("q", "query"), ("v", "value")):
        stem = "videomae.encoder.layer.0.attention.attention."
        assert torch.equal(loaded[f"{stem}{name}.bias"], saved[f"{stem}{letter}_bias"])
    saved = VideoMAEForVideoClassification.from_pretrained(checkpoint).state_dict()
    assert saved.keys() == loaded.keys()
    for key, value in loaded.items():
        assert torch.equal(value, saved[key]) != key.startswith("classifier."), key
    assert built.mean == pytest.approx((0.1, 0.2, 0.3))
    assert built.std == pytest.approx((0.4, 0.5, 0.6))
    assert "new head for 3 glosses" in built.origin


def test_gloss_maps_live_in_the_models_config(checkpoint: Path, tmp_path: Path) -> None:
    built = build(str(checkpoint), GLOSSES, num_frames=16)
    built.model.save_pretrained(tmp_path / "own")
    config = VideoMAEConfig.from_pretrained(tmp_path / "own")
    assert config.id2label == dict(enumerate(GLOSSES))
    assert config.label2id == {gloss: label for label, gloss in enumerate(GLOSSES)}


def test_the_seed_decides_the_new_weights(checkpoint: Path) -> None:
    def head(seed: int) -> torch.Tensor:
        return build(str(checkpoint), GLOSSES, num_frames=16, seed=seed).model.classifier.weight

    assert torch.equal(head(1), head(1))
    assert not torch.equal(head(1), head(2))


def test_another_number_of_frames_and_pixels(checkpoint: Path) -> None:
    model = build(str(checkpoint), GLOSSES, num_frames=8, image_size=36).model
    assert model(pixel_values=torch.zeros(2, 8, 3, 36, 36)).logits.shape == (2, 3)
    with pytest.raises(InputError, match="multiple of the model's patch size, 12: 36 or 48"):
        build(str(checkpoint), GLOSSES, num_frames=8, image_size=37)


@pytest.mark.parametrize("change", ["drop", "add", "reshape"])
def test_anything_else_missing_or_unexpected_is_named(checkpoint: Path, change: str) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    key = "videomae.encoder.layer.1.output.dense.weight"
    assert key in weights
    if change == "drop":
        del weights[key]
    elif change == "reshape":
        weights[key] = torch.zeros(3, 3)
    else:
        weights[key := "decoder.strange.weight"] = torch.zeros(2)
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=key):
        build(str(checkpoint), GLOSSES, num_frames=16)


@pytest.mark.parametrize("kind", [VideoMAEForPreTraining, VideoMAEModel])
def test_a_self_supervised_checkpoint_is_taken_without_its_decoder(tmp_path: Path, kind: type) -> None:
    """As on the hub, where `use_mean_pooling` is false: the library alone would classify by the first token."""
    torch.manual_seed(0)
    config = VideoMAEConfig(**TINY, decoder_num_hidden_layers=1, decoder_hidden_size=32, decoder_num_attention_heads=2)
    model = kind(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(tmp_path / "bare")
    assert json.loads((tmp_path / "bare" / "config.json").read_text())["use_mean_pooling"] is False
    built = build(str(tmp_path / "bare"), GLOSSES, num_frames=16)
    assert "self-supervised: its decoder is not" in built.origin
    assert "new norm and head for 3 glosses" in built.origin
    theirs = VideoMAEForVideoClassification.from_pretrained(tmp_path / "bare", use_mean_pooling=True, num_labels=3)
    theirs.classifier.load_state_dict(built.model.classifier.state_dict())
    clip = torch.randn(2, 16, 3, 48, 48)
    ours = built.model.eval()(pixel_values=clip).logits
    torch.testing.assert_close(ours, theirs.eval()(pixel_values=clip).logits, atol=1e-6, rtol=0)
    again = rebuild(built.model.config.to_dict(), built.model.state_dict())
    assert torch.equal(again.eval()(pixel_values=clip).logits, ours)
    weights = load_file(tmp_path / "bare" / "model.safetensors")
    gone = next(key for key in weights if "encoder.layer.1.output.dense.weight" in key)
    del weights[gone]
    save_file(weights, tmp_path / "bare" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"encoder\.layer\.1\.output\.dense\.weight"):
        build(str(tmp_path / "bare"), GLOSSES, num_frames=16)


def test_the_heads_first_weights_may_be_small(checkpoint: Path) -> None:
    one, other = (build(str(checkpoint), GLOSSES, num_frames=16, head_init_scale=scale).model for scale in (1.0, 0.001))
    torch.testing.assert_close(one.classifier.weight * 0.001, other.classifier.weight)


BEFORE = Grid(4, 6, 6)


@pytest.mark.parametrize("now", [(4, 12, 12), (4, 3, 3), (8, 6, 6), (8, 9, 9), (2, 4, 4)])
def test_a_position_means_the_same_part_of_a_clip_in_another_grid(now: tuple[int, int, int]) -> None:
    """Each tubelet's position is most like that of the tubelet that was there before; numbered anew, few are."""
    width, grid = 256, Grid(*now)
    old, anew = position_table(math.prod(BEFORE), width)[0], position_table(math.prod(grid), width)[0]
    stretched = interpolated(old[None], BEFORE, grid)[0]
    assert stretched.shape == anew.shape

    def right(table: torch.Tensor) -> float:
        most_like = F.normalize(table, dim=1) @ F.normalize(old, dim=1).T
        found = most_like.argmax(dim=1).tolist()
        hits = 0
        for number, nearest in enumerate(found):
            there = (number // (grid.h * grid.w), number // grid.w % grid.h, number % grid.w)
            was = (nearest // (BEFORE.h * BEFORE.w), nearest // BEFORE.w % BEFORE.h, nearest % BEFORE.w)
            middles = [(place + 0.5) / size for place, size in zip(there, grid, strict=True)]
            before = [(place + 0.5) / size for place, size in zip(was, BEFORE, strict=True)]
            reach = [0.51 * (1 / size + 1 / other) for size, other in zip(BEFORE, grid, strict=True)]
            hits += all(abs(a - b) <= r for a, b, r in zip(middles, before, reach, strict=True))
        return hits / len(found)

    assert right(stretched) == 1.0
    assert right(anew) < 0.5


def test_the_same_grid_has_the_same_positions() -> None:
    table = position_table(math.prod(BEFORE), 32)
    assert torch.equal(interpolated(table, BEFORE, BEFORE), table)


def test_positions_of_a_checkpoint_are_stretched_and_stay_so(checkpoint: Path, tmp_path: Path) -> None:
    """Over saving, loading and further runs: they always mean the grid that the weights were trained on first."""

    def table(model: VideoMAEForVideoClassification) -> torch.Tensor:
        return model.videomae.embeddings.position_embeddings

    same = build(str(checkpoint), GLOSSES, num_frames=16)
    assert torch.equal(table(same.model), position_table(8 * 4 * 4, 96))
    assert "stretched" not in same.origin and not hasattr(same.model.config, "position_grid")
    other = build(str(checkpoint), GLOSSES, num_frames=8, image_size=24)
    assert "positions stretched to another size or number of frames" in other.origin
    expected = interpolated(position_table(8 * 4 * 4, 96), Grid(8, 4, 4), Grid(4, 2, 2))
    assert torch.equal(table(other.model), expected)
    assert torch.equal(table(rebuild(other.model.config.to_dict(), other.model.state_dict())), expected)
    other.model.save_pretrained(tmp_path / "again")
    back = build(str(tmp_path / "again"), GLOSSES, num_frames=16, image_size=48).model
    assert torch.equal(table(back), position_table(8 * 4 * 4, 96))
    larger = build(str(tmp_path / "again"), GLOSSES, num_frames=16, image_size=96).model
    assert torch.equal(table(larger), interpolated(position_table(8 * 4 * 4, 96), Grid(8, 4, 4), Grid(8, 8, 8)))
    anew = build(str(checkpoint), GLOSSES, num_frames=8, image_size=24, stretch=False).model
    assert torch.equal(table(anew), position_table(4 * 2 * 2, 96))


def test_no_network_and_no_copy_says_how_to_give_a_folder() -> None:
    with pytest.raises(InputError, match="copy the checkpoint's folder") as caught:
        build("MCG-NJU/videomae-base-finetuned-kinetics", GLOSSES, num_frames=16)
    assert "--model_name /path/to/that/folder" in str(caught.value)


def test_other_models_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.json"):
        build(str(tmp_path), GLOSSES, num_frames=16)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match="bert"):
        build(str(tmp_path), GLOSSES, num_frames=16)


def test_a_model_comes_back_from_its_config_and_weights() -> None:
    built = build("tiny", GLOSSES, num_frames=4, image_size=24)
    assert built.mean == IMAGENET_MEAN
    again = rebuild(built.model.config.to_dict(), built.model.state_dict())
    clip = torch.randn(2, 4, 3, 24, 24)
    built.model.eval()
    again.eval()
    assert torch.equal(built.model(pixel_values=clip).logits, again(pixel_values=clip).logits)


@pytest.mark.parametrize(("positions", "width"), [(1568, 768), (10, 96), (7, 5)])
def test_the_position_table_is_the_librarys_to_the_bit(positions: int, width: int) -> None:
    expected = modeling_videomae.get_sinusoid_encoding_table(positions, width)
    assert torch.equal(position_table(positions, width), expected)


def test_the_position_table_is_a_buffer_and_no_weight(tmp_path: Path) -> None:
    built = build("tiny", ("a", "b"), num_frames=4).model
    plain = VideoMAEForVideoClassification(built.config)
    assert built.state_dict().keys() == plain.state_dict().keys()
    assert "videomae.embeddings.position_embeddings" in dict(built.named_buffers())
    plain.load_state_dict(built.state_dict())
    clip = torch.randn(2, 4, 3, 48, 48)
    assert torch.equal(built.eval()(pixel_values=clip).logits, plain.eval()(pixel_values=clip).logits)


def test_tubelets_in_bf16_are_the_convolution_as_a_product() -> None:
    built = build("tiny", ("a", "b"), num_frames=4).model
    projection = built.videomae.embeddings.patch_embeddings.projection
    clip = torch.randn(2, 3, 4, 48, 48)
    exact = torch.nn.functional.conv3d(clip, projection.weight, projection.bias, stride=projection.stride).detach()
    assert torch.equal(projection(clip), exact)
    with torch.autocast("cpu", torch.bfloat16):
        quick = projection(clip)
    assert quick.dtype == torch.bfloat16
    assert quick.shape == exact.shape
    # bf16 keeps 8 bits: the product of 864 of them is right to about 1 %.
    torch.testing.assert_close(quick.float(), exact, atol=0.05 * exact.abs().max().item(), rtol=0)
    quick.float().sum().backward()
    assert projection.weight.grad is not None
