"""Mixup and cutmix, against their formulas."""

import pytest
import torch

from lscht_ray.clips.mix import Mixer

CLIPS = torch.rand(6, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
ALL = torch.ones(6, dtype=torch.bool)


def mixer(**settings: float) -> Mixer:
    return Mixer(**{"mixup": 0.0, "cutmix": 0.0, "probability": 1.0, "num_classes": 3, "seed": 5, **settings})  # type: ignore[arg-type]


def partner(clips: torch.Tensor, mixed: torch.Tensor, clip: int) -> tuple[int, float]:
    """Which other clip a clip was blended with, and how much of itself was left."""
    for other in range(len(clips)):
        apart = clips[clip] - clips[other]
        share = float(((mixed[clip] - clips[other]) * apart).sum() / (apart**2).sum()) if other != clip else 1.0
        if other != clip and torch.allclose(mixed[clip], share * clips[clip] + (1 - share) * clips[other], atol=1e-5):
            return other, share
    raise AssertionError(f"clip {clip} is no blend")


def test_mixup_blends_whole_clips_and_targets_alike() -> None:
    mixed, targets = mixer(mixup=0.8)(CLIPS, LABELS, ALL, 3)
    partners = [partner(CLIPS, mixed, clip) for clip in range(6)]
    assert sorted(other for other, _ in partners) == list(range(6))  # each clip is given once
    assert len({round(share, 4) for _, share in partners}) == 1
    hard = torch.nn.functional.one_hot(LABELS, 3).float()
    for clip, (other, share) in enumerate(partners):
        assert other != clip
        torch.testing.assert_close(targets[clip], share * hard[clip] + (1 - share) * hard[other])


def test_cutmix_pastes_one_rectangle_into_all_frames_and_counts_it() -> None:
    for number in range(20):
        mixed, targets = mixer(cutmix=1.0)(CLIPS, LABELS, ALL, number)
        foreign = mixed != CLIPS
        assert torch.equal(foreign, foreign[:1, :1, :1].expand_as(foreign))  # one rectangle for all
        pasted = foreign[0, 0, 0]
        if not pasted.any():
            continue
        for clip in range(6):
            (other,) = [o for o in range(6) if torch.equal(mixed[clip][..., pasted], CLIPS[o][..., pasted])]
            share = 1 - pasted.float().mean()
            expected = torch.zeros(3)
            expected[LABELS[clip]] += share
            expected[LABELS[other]] += 1 - share
            torch.testing.assert_close(targets[clip], expected)


def test_views_of_one_clip_are_not_always_mixed_with_each_other() -> None:
    """Repeated clips are neighbours; a fixed pairing of neighbours would blend half of them with themselves."""
    twice = CLIPS[:3].repeat_interleave(2, 0) + 0.01 * torch.randn(6, 1, 1, 1, 1)
    labels = LABELS[:3].repeat_interleave(2)
    alone = 0
    for number in range(50):
        _, targets = mixer(mixup=0.8)(twice, labels, ALL, number)
        alone += int((targets.max(1).values > 0.9999).sum())
    assert alone < 0.35 * 300  # by chance a fifth, and shares that are nearly 1


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
    assert {partner(CLIPS, mixed, clip)[0] for clip in mask.nonzero()[:, 0].tolist()} == {0, 2, 3, 5}
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
