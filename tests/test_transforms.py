"""Augmentation: drawn once per clip, equal on all frames, against torchvision's own operations."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import RandomResizedCrop, v2
from torchvision.transforms.v2 import functional as F

from lscht_ray.clips.augmentation import Augmentation, Draw, EvalCrop, draw, packed_draw, seen
from lscht_ray.clips.batch import Batch
from lscht_ray.clips.transforms import (
    ClipFormat,
    EvaluationTransform,
    TrainingTransform,
    colour_matrices,
    coloured,
    cropped,
    erased,
    shown,
    turned,
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


def test_a_gpus_crop_is_a_cpus_within_a_grey_level() -> None:
    """A GPU's kernel computes in float32, as a CPU's does for such numbers; a CPU's for bytes rounds at each step."""
    clips, draws = [clip(), clip(height=40, width=72, seed=8), clip(height=90, width=40, seed=9)], []
    for n, c in enumerate(clips):
        draws.append(drawn(n, Augmentation(crop_scale_min=0.3), c.shape[1], c.shape[2]))
    made, exact = cropped(clips, draws, 32), cropped([c.float() for c in clips], draws, 32)
    assert (made - exact.round()).abs().max() <= 1
    assert (made - exact).abs().mean() < 0.4


@pytest.mark.gpu
@pytest.mark.parametrize("rotation", [0.0, 10.0])
def test_clips_augmented_on_a_gpu_are_those_of_a_cpu_within_two_grey_levels(rotation: float) -> None:
    """One of the crop, one of the colours after it."""
    clips = [clip(), clip(height=40, width=72, seed=8), clip(height=90, width=40, seed=9)]
    settings = Augmentation(crop_scale_min=0.3, saturation=0.2, hue=0.05, rotation=rotation, erasing_probability=0.5)
    draws = [drawn(n, settings, *c.shape[1:3]) for n, c in enumerate(clips)]
    here = TrainingTransform(FORM, settings)(batch(*clips, draws=draws))
    there = TrainingTransform(FORM, settings)(batch(*clips, draws=draws).to(torch.device("cuda"))).cpu()
    grey = 1 / 255 / torch.tensor(FORM.std)[:, None, None]
    assert ((here - there).abs() / grey).max() <= 2
    shown_here = EvaluationTransform(FORM)(batch(*clips))
    shown_there = EvaluationTransform(FORM)(batch(*clips).to(torch.device("cuda"))).cpu()
    assert ((shown_here - shown_there).abs() / grey).max() <= 1.01


@pytest.mark.parametrize("angle", [5.0, -12.0])
def test_rotation_is_torchvisions_within_a_grey_level_inside(angle: float) -> None:
    picture = clip(height=64, width=64).permute(0, 3, 1, 2)
    made = turned(picture, angle, (0, 0, 64, 64))
    expected = F.rotate(picture, angle, interpolation=v2.InterpolationMode.BILINEAR).float()
    inside = (slice(None), slice(None), slice(12, 52), slice(12, 52))
    torch.testing.assert_close(made[inside], expected[inside], atol=1.0, rtol=0)


def test_a_picture_is_turned_about_the_middle_of_its_crop_and_antialiased_as_any_other() -> None:
    """A crop of a picture turned by 0.001 degrees is the crop; beyond the picture its edge goes on."""
    box = (4, 10, 40, 44)
    still, hardly = (cropped([clip()], [Draw(*box, angle=angle)], 16)[0] for angle in (0.0, 0.001))
    torch.testing.assert_close(still, hardly, atol=1.0, rtol=0)
    grey = torch.full((1, 48, 60, 3), 90, dtype=torch.uint8)
    assert (cropped([grey], [Draw(0, 0, 48, 48, angle=30.0)], 16) - 90).abs().max() < 1e-3


CROPS: tuple[EvalCrop, ...] = ("centre", "letterbox", "squash")
SHAPES = [(64, 64), (72, 128), (128, 72), (48, 64), (20, 90)]


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_training_shows_what_evaluation_shows(crop: EvalCrop, height: int, width: int) -> None:
    """The same part in the same shape, at random smaller, and rarely as a whole: as torchvision crops a square."""
    top, left, high, wide = seen(height, width, crop)
    settings = Augmentation(crop_scale_min=0.5, eval_crop=crop)
    boxes = np.array([drawn(seed, settings, height, width)[:4] for seed in range(1500)])
    assert (boxes[:, 0] >= top).all() and (boxes[:, 1] >= left).all()
    assert (boxes[:, 0] + boxes[:, 2] <= top + high).all() and (boxes[:, 1] + boxes[:, 3] <= left + wide).all()
    torch.manual_seed(0)
    square = torch.zeros(1, 600, 600)
    theirs = np.array([RandomResizedCrop.get_params(square, [0.5, 1.0], [3 / 4, 4 / 3]) for _ in range(1500)]) / 600
    ours = boxes / np.array([high, wide, high, wide])
    for share in (lambda b: b[:, 2] * b[:, 3], lambda b: np.log(b[:, 3] / b[:, 2])):
        np.testing.assert_allclose(np.mean(share(ours)), np.mean(share(theirs)), atol=0.02)
        np.testing.assert_allclose(np.std(share(ours)), np.std(share(theirs)), atol=0.03)
    whole = (boxes == [top, left, high, wide]).all(1).mean()
    assert whole < 0.05
    spread = boxes[:, 1] + boxes[:, 3] / 2 - (left + wide / 2)
    assert abs(spread.mean()) < 0.02 * wide and spread.std() > 0.04 * wide


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize(("height", "width"), SHAPES[:4])
def test_a_crop_of_all_that_evaluation_shows_is_evaluations_picture(crop: EvalCrop, height: int, width: int) -> None:
    picture = clip(1, height, width)
    all_of_it = Draw(*seen(height, width, crop))
    trained, evaluated = cropped([picture], [all_of_it], 32)[0], shown(picture.permute(0, 3, 1, 2), 32, crop).float()
    bars = evaluated.sum(1, keepdim=True) == 0
    assert bars.any() == (crop == "letterbox" and height != width)
    near = torch.nn.functional.max_pool2d(bars.float(), 3, 1, 1) > 0  # where a picture ends, its edge is blended
    difference = torch.where(near, 0.0, (trained - evaluated).abs())
    assert difference.max() <= 5
    assert difference.mean() < 1.5
    assert trained[bars.expand_as(trained)].float().mean() < 25 if bars.any() else True


def test_all_of_a_wide_picture_is_in_a_letterbox_and_in_a_squash_and_its_middle_in_the_centre() -> None:
    """A bright column at the left edge of 16:9: hands beyond the centre square are not seen there."""
    picture = torch.full((1, 3, 90, 160), 50, dtype=torch.uint8)
    picture[..., :8] = 250
    columns = {crop: shown(picture, 32, crop).float().amax((0, 1, 2)) for crop in CROPS}
    assert columns["centre"].max() == 50
    assert columns["squash"][0] == columns["letterbox"][0] == 250
    assert (columns["squash"][3:] < 60).all()
    rows = shown(picture, 32, "letterbox").float().amax((0, 1, 3))
    assert [int(row > 0) for row in rows] == [0] * 7 + [1] * 18 + [0] * 7  # 32 x 9 / 16 = 18 rows of picture


def test_of_randaugments_operations_each_is_applied_with_its_probability() -> None:
    """timm and VideoMAE apply each of n drawn operations with probability 0.5: of four, two on average."""
    transform = TrainingTransform(FORM, Augmentation(randaugment_ops=4, randaugment_probability=0.5))
    counts = []

    def count(clip: Tensor) -> Tensor:
        counts.append(transform.randaugment.num_ops)
        return clip

    transform.randaugment.forward = count
    for seed in range(600):
        transform._randaugmented(torch.zeros(1, 3, 8, 8), Draw(0, 0, 8, 8, seed=float(seed)))
    share = {number: counts.count(number) / 600 for number in (1, 2, 3, 4)}
    expected = {number: math.comb(4, number) / 16 for number in (1, 2, 3, 4)}
    assert share == pytest.approx(expected, abs=0.05)
    assert len(counts) / 600 == pytest.approx(15 / 16, abs=0.03)  # else nothing is applied


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


def test_an_erased_rectangle_may_be_noise_of_each_pixel_and_frame() -> None:
    """As in VideoMAE's and timm's random erasing in mode "pixel": normal, with the clips' own scale."""
    d = Draw(0, 0, 1, 1, erase_height=1.0, erase_width=1.0, seed=7.0)
    made, again = (erased(torch.ones(1, 4, 3, 32, 32), [d], "noise")[0] for _ in range(2))
    assert torch.equal(made, again)
    assert not torch.equal(made, erased(torch.ones(1, 4, 3, 32, 32), [d._replace(seed=8.0)], "noise")[0])
    assert (float(made.mean()), float(made.std())) == pytest.approx((0, 1), abs=0.03)
    assert torch.corrcoef(made.flatten(1))[0, 1].abs() < 0.1


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
        assert 6 <= left <= left + width <= 54  # within the square in the middle of 60
        assert height * width >= 0.5 * 48 * 48 * 0.9


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
