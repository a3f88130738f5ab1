"""Mixup and cutmix, against their formulas and torchvision's."""

import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from lscht_ray.mix import Mixer

CLIPS = torch.rand(6, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
ALL = torch.ones(6, dtype=torch.bool)


def mixer(**settings: float) -> Mixer:
    return Mixer(**{"mixup": 0.0, "cutmix": 0.0, "probability": 1.0, "num_classes": 3, "seed": 5, **settings})  # type: ignore[arg-type]


def test_mixup_blends_whole_clips_and_targets_alike() -> None:
    mixed, targets = mixer(mixup=0.8)(CLIPS, LABELS, ALL, 3)
    share = targets[1, 1]  # clip 1 has a part of clip 0
    assert 0 < share < 1
    torch.testing.assert_close(mixed, share * CLIPS + (1 - share) * CLIPS.roll(1, 0))
    hard = torch.nn.functional.one_hot(LABELS, 3).float()
    torch.testing.assert_close(targets, share * hard + (1 - share) * hard.roll(1, 0))


def test_cutmix_pastes_one_rectangle_into_all_frames_and_counts_it() -> None:
    for number in range(20):
        mixed, targets = mixer(cutmix=1.0)(CLIPS, LABELS, ALL, number)
        foreign = mixed != CLIPS
        assert torch.equal(foreign, foreign[:1, :1, :1].expand_as(foreign))  # one rectangle for all
        assert torch.equal(mixed[foreign], CLIPS.roll(1, 0)[foreign])
        share = foreign[0, 0, 0].float().mean()
        torch.testing.assert_close(targets[1], torch.tensor([share, 1 - share, 0]))


def test_it_is_torchvisions() -> None:
    torch.manual_seed(0)
    reference, shares = v2.MixUp(alpha=0.8, num_classes=3)(tv_tensors.Video(CLIPS), LABELS)
    own = mixer(mixup=0.8, seed=0)
    own.ways[0] = lambda clips, labels: (reference, shares)  # type: ignore[assignment,return-value]
    assert torch.equal(own(CLIPS, LABELS, ALL, 0)[0], reference.as_subclass(torch.Tensor))


def test_the_draw_depends_on_seed_and_number_alone() -> None:
    one = mixer(mixup=0.8, cutmix=1.0)
    first = one(CLIPS, LABELS, ALL, 3)[0]
    torch.rand(7)
    state = torch.get_rng_state()
    assert torch.equal(one(CLIPS, LABELS, ALL, 3)[0], first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(one(CLIPS, LABELS, ALL, 4)[0], first)
    assert not torch.equal(mixer(mixup=0.8, cutmix=1.0, seed=6)(CLIPS, LABELS, ALL, 3)[0], first)


def test_masked_clips_are_left_alone_and_mixed_into_none() -> None:
    mask = torch.tensor([True, False, True, True, False, True])
    mixed, targets = mixer(mixup=0.8)(CLIPS, LABELS, mask, 1)
    assert torch.equal(mixed[~mask], CLIPS[~mask])
    valid, share = CLIPS[mask], targets[0, 0]
    torch.testing.assert_close(mixed[mask], share * valid + (1 - share) * valid.roll(1, 0))
    torch.testing.assert_close(targets.sum(1), torch.ones(6))


@pytest.mark.parametrize("settings", [{}, {"mixup": 0.8, "probability": 0.0}])
def test_without_it_targets_are_the_labels(settings: dict[str, float]) -> None:
    mixed, targets = mixer(**settings)(CLIPS, LABELS, ALL, 1)
    assert torch.equal(mixed, CLIPS)
    assert torch.equal(targets.argmax(1), LABELS)
    assert torch.equal(targets.max(1).values, torch.ones(6))


def test_the_probability_is_kept_and_both_ways_come() -> None:
    one = mixer(mixup=0.8, cutmix=1.0, probability=0.5)
    kinds = []
    for number in range(300):
        mixed, _ = one(CLIPS, LABELS, ALL, number)
        changed = (mixed != CLIPS).float().mean()
        kinds.append("none" if changed == 0 else "mixup" if changed == 1 else "cutmix")
    assert 115 < kinds.count("none") < 185  # half of 300, four standard deviations (and empty rectangles)
    assert min(kinds.count("mixup"), kinds.count("cutmix")) > 40
