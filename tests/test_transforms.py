"""Augmentation: one draw per clip, equal on all frames, decided by the seed; evaluation against torchvision."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from lscht_ray.transforms import ClipFormat, EvaluationTransform, TrainingTransform

FORM = ClipFormat(32, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
AUGMENT = {"crop_scale_min": 0.5, "flip_probability": 0.5, "brightness": 0.4, "contrast": 0.4}


def clip(frames: int = 6, height: int = 48, width: int = 60) -> torch.Tensor:
    return torch.randint(0, 256, (frames, height, width, 3), generator=torch.Generator().manual_seed(3)).byte()


def test_equal_frames_stay_equal() -> None:
    same = clip(1).expand(6, -1, -1, -1)
    transform = TrainingTransform(FORM, **AUGMENT)
    for seed in range(20):
        made = transform(same, seed)
        assert made.shape == (6, 3, 32, 32)
        assert all(torch.equal(frame, made[0]) for frame in made)


def test_the_seed_decides_and_the_global_state_does_not_matter() -> None:
    transform, frames = TrainingTransform(FORM, **AUGMENT), clip()
    before = torch.get_rng_state()
    first = transform(frames, 7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(transform(frames, 7), first)
    assert not torch.equal(transform(frames, 8), first)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_flip_is_a_setting(probability: float) -> None:
    still = {"crop_scale_min": 1.0, "brightness": 0.0, "contrast": 0.0}
    flipped = TrainingTransform(FORM, flip_probability=probability, **still)
    never = TrainingTransform(FORM, flip_probability=0.0, **still)
    frames = clip(height=40, width=40)
    expected = never(frames, 5).flip(-1) if probability else never(frames, 5)
    assert torch.equal(flipped(frames, 5), expected)


def test_flip_happens_half_the_time() -> None:
    left = torch.zeros(1, 40, 40, 3, dtype=torch.uint8)
    left[:, :, :20] = 255
    transform = TrainingTransform(FORM, **{**AUGMENT, "crop_scale_min": 1.0})
    bright_left = [
        bool(made[..., :8].mean() > made[..., -8:].mean()) for made in (transform(left, s) for s in range(200))
    ]
    assert 70 < sum(bright_left) < 130


def test_evaluation_is_resize_and_centre_crop_of_each_frame() -> None:
    frames = clip()
    reference = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize(32, antialias=True),
            v2.CenterCrop(32),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(FORM.mean, FORM.std),
        ]
    )
    expected = torch.stack([reference(Image.fromarray(np.asarray(frame))) for frame in frames])
    # Pillow and torch round differently when they scale: at most one grey level.
    tolerance = 1.01 / 255 / min(FORM.std)
    torch.testing.assert_close(EvaluationTransform(FORM)(frames), expected, atol=tolerance, rtol=0)
