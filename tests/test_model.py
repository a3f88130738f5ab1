"""Loading: only the head is new; everything else is named."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import VideoMAEConfig, VideoMAEImageProcessor
from transformers.models.videomae import VideoMAEForVideoClassification, modeling_videomae

from lscht_ray.errors import InputError
from lscht_ray.model._transformers_internals import position_table
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
    with pytest.raises(InputError, match="multiple of the patch size"):
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
