"""Augmentation: drawn once per clip, equal on all frames, against torchvision's own operations."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from lscht_ray.clips.batch import Batch
from lscht_ray.clips.transforms import (
    Augmentation,
    ClipFormat,
    Draw,
    EvaluationTransform,
    TrainingTransform,
    affine_sampled,
    colour_matrices,
    coloured,
    cropped,
    draw,
    erased,
    packed_draw,
    unpacked,
)

FORM = ClipFormat(32, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
STRONG = Augmentation(
    crop_scale_min=0.5,
    brightness=0.4,
    contrast=0.4,
    saturation=0.3,
    hue=0.1,
    rotation=10,
    randaugment_ops=2,
    erasing_probability=0.5,
)


def clip(frames: int = 6, height: int = 48, width: int = 60, seed: int = 3) -> Tensor:
    """Smooth noise, away from black and white, so that nothing is cut off."""
    rough = torch.rand(frames, 3, 6, 6, generator=torch.Generator().manual_seed(seed)) * 120 + 60
    smooth = torch.nn.functional.interpolate(rough, (height, width), mode="bilinear")
    return smooth.round().byte().permute(0, 2, 3, 1).contiguous()


def batch(*clips: Tensor, draws: list[Draw] | None = None) -> Batch:
    most = max(c[0].numel() for c in clips)
    frames = torch.zeros(len(clips), len(clips[0]), most, dtype=torch.uint8)
    for row, c in zip(frames, clips, strict=True):
        row[:, : c[0].numel()] = c.flatten(1)
    sizes = torch.tensor([c.shape[1:3] for c in clips])
    drawn = [packed_draw(d, *c.shape[1:3]) for d, c in zip(draws or [None] * len(clips), clips, strict=True)]
    return Batch(
        frames,
        sizes,
        torch.from_numpy(np.stack(drawn)),
        torch.zeros(len(clips), dtype=torch.long),
        torch.ones(len(clips), dtype=torch.bool),
        ("",) * len(clips),
    )


def drawn(seed: int, settings: Augmentation = STRONG, height: int = 48, width: int = 60) -> Draw:
    return draw(settings, np.random.default_rng(seed), height, width)


def test_equal_frames_stay_equal_whatever_is_drawn() -> None:
    same = clip(1).expand(6, -1, -1, -1)
    transform = TrainingTransform(FORM, STRONG)
    for seed in range(20):
        (made,) = transform(batch(same, draws=[drawn(seed)]))
        assert made.shape == (6, 3, 32, 32)
        assert all(torch.equal(frame, made[0]) for frame in made)


def test_a_clip_does_not_depend_on_its_neighbours_or_on_the_global_state() -> None:
    clips = [clip(), clip(height=40, width=64, seed=4), clip(height=70, width=48, seed=5)]
    draws = [drawn(n, height=c.shape[1], width=c.shape[2]) for n, c in enumerate(clips)]
    transform = TrainingTransform(FORM, STRONG)
    before = torch.get_rng_state()
    together = transform(batch(*clips, draws=draws))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    for one, c, d in zip(together, clips, draws, strict=True):
        torch.testing.assert_close(transform(batch(c, draws=[d]))[0], one, atol=2e-2, rtol=0)
    shown = [EvaluationTransform(FORM)(batch(*clips))[n] for n in range(3)]
    assert all(torch.equal(EvaluationTransform(FORM)(batch(c))[0], s) for c, s in zip(clips, shown, strict=True))


def test_the_quick_crop_is_torchvisions() -> None:
    for seed in range(5):
        d = drawn(seed, Augmentation(crop_scale_min=0.3))
        expected = F.resized_crop(
            clip().permute(0, 3, 1, 2), *(int(side) for side in d[:4]), size=[32, 32], antialias=True
        )
        expected = F.horizontal_flip(expected) if d.flip else expected
        assert torch.equal(cropped([clip()], [d], 32)[0], expected.float())


def test_the_batched_sampling_is_torchvisions_crop_within_a_hundredth_of_a_grey_level() -> None:
    clips, draws = [clip(), clip(height=40, width=72, seed=8)], []
    for n, c in enumerate(clips):
        draws.append(drawn(n, Augmentation(crop_scale_min=0.3), c.shape[1], c.shape[2]))
    made = affine_sampled(clips, draws, 32)
    for one, c, d in zip(made, clips, draws, strict=True):
        box = [int(side) for side in d[:4]]
        expected = F.resized_crop(c.permute(0, 3, 1, 2).float(), *box, size=[32, 32], antialias=False)
        expected = F.horizontal_flip(expected) if d.flip else expected
        torch.testing.assert_close(one, expected, atol=0.01, rtol=0)


@pytest.mark.parametrize("angle", [5.0, -12.0])
def test_rotation_is_torchvisions_within_two_grey_levels_inside(angle: float) -> None:
    picture = clip(height=64, width=64)
    made = affine_sampled([picture], [Draw(0, 0, 64, 64, angle=angle)], 64)[0]
    expected = F.rotate(picture.permute(0, 3, 1, 2), angle, interpolation=v2.InterpolationMode.BILINEAR).float()
    inside = (slice(None), slice(None), slice(12, 52), slice(12, 52))
    torch.testing.assert_close(made[inside], expected[inside], atol=2.0, rtol=0)


@pytest.mark.parametrize(
    ("settings", "reference"),
    [
        ({"brightness": 1.2}, lambda x: F.adjust_brightness(x, 1.2)),
        ({"contrast": 0.7}, lambda x: F.adjust_contrast(x, 0.7)),
        ({"saturation": 0.5}, lambda x: F.adjust_saturation(x, 0.5)),
        (
            {"brightness": 0.9, "contrast": 1.2, "saturation": 0.8},
            lambda x: F.adjust_saturation(F.adjust_contrast(F.adjust_brightness(x, 0.9), 1.2), 0.8),
        ),
    ],
)
def test_colours_are_torchvisions_within_a_grey_level(settings: dict[str, float], reference: Any) -> None:
    """Tolerance: 0.5 of 255, since the grey weights of torchvision add up to 0.9999."""
    pictures = clip().permute(0, 3, 1, 2).float()
    d = Draw(0, 0, 48, 60, **settings)
    made = coloured(pictures[None].clone(), *colour_matrices([d]))[0]
    expected = reference(pictures / 255) * 255
    torch.testing.assert_close(made, expected, atol=0.5, rtol=0)


def test_hue_keeps_the_luma_and_turns_the_colours_as_torchvision_does() -> None:
    red = torch.tensor([180.0, 90.0, 90.0]).reshape(1, 1, 3, 1, 1)
    for turns in (0.05, -0.1, 0.2):
        made = coloured(red.clone(), *colour_matrices([Draw(0, 0, 1, 1, hue=turns)])).flatten()
        weights = torch.tensor([0.299, 0.587, 0.114])
        assert made @ weights == pytest.approx(float(red.flatten() @ weights), abs=0.5)
        wanted = F.adjust_hue(red[0, 0] / 255, turns).flatten() * 255

        def colour_angle(rgb: Tensor) -> float:
            i = float(rgb @ torch.tensor([0.596, -0.274, -0.322]))
            return math.atan2(float(rgb @ torch.tensor([0.211, -0.523, 0.312])), i)

        moved, expected = (
            colour_angle(made) - colour_angle(red.flatten()),
            colour_angle(wanted) - colour_angle(red.flatten()),
        )
        assert abs(math.remainder(abs(moved) - abs(expected), 2 * math.pi)) < 0.5
    whole = coloured(red.clone(), *colour_matrices([Draw(0, 0, 1, 1, hue=1.0)]))
    torch.testing.assert_close(whole, red, atol=1e-2, rtol=0)


def test_erasing_covers_the_drawn_rectangle_on_every_frame() -> None:
    d = Draw(0, 0, 1, 1, erase_top=0.25, erase_left=0.5, erase_height=0.25, erase_width=0.25)
    made = erased(torch.ones(2, 4, 3, 32, 32), [d, Draw(0, 0, 1, 1)])
    assert made[0, :, :, 8:16, 16:24].abs().sum() == 0
    assert made[0].sum() == made[1].sum() - 4 * 3 * 8 * 8


def test_draws_follow_the_settings_and_the_seed() -> None:
    assert drawn(1) == drawn(1) != drawn(2)
    plain = Augmentation(crop_scale_min=1, flip_probability=0, brightness=0, contrast=0)
    d = draw(plain, np.random.default_rng(0), 40, 40)
    assert d[4:14] == Draw(0, 0, 40, 40)[4:14]
    flips = sum(drawn(seed).flip for seed in range(400))
    assert 150 < flips < 250
    for seed in range(200):
        top, left, height, width = drawn(seed)[:4]
        assert 0 <= top <= top + height <= 48
        assert 0 <= left <= left + width <= 60
        assert height * width >= 0.5 * 48 * 60 * 0.9


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
    torch.testing.assert_close(EvaluationTransform(FORM)(batch(frames))[0], expected, atol=tolerance, rtol=0)


def test_clips_of_several_sizes_in_one_batch_come_out_as_they_went_in() -> None:
    clips = [clip(), clip(height=20, width=90)]
    assert all(torch.equal(a, b) for a, b in zip(unpacked(batch(*clips), "rgb"), clips, strict=True))
