"""Class weights against scikit-learn, the criterion against torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from lscht_ray.model.loss import Criterion, class_similarity, class_weights


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=200))
def test_weights_are_balanced_weights_scaled_to_mean_one(labels: list[int]) -> None:
    weights = class_weights(labels, 12).numpy()
    classes = np.unique(labels)
    reference = compute_class_weight("balanced", classes=classes, y=np.array(labels))
    np.testing.assert_allclose(weights[classes], reference / reference.mean(), rtol=1e-5)
    assert weights[np.setdiff1d(np.arange(12), classes)].sum() == 0
    assert weights[classes].mean() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_quotient_is_torch_cross_entropy(smoothing: float) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(32, 7), torch.randint(0, 7, (32,))
    weights = class_weights(labels.tolist(), 7)
    total, weight = Criterion(weights, smoothing)(logits, labels, torch.ones(32, dtype=torch.bool))
    reference = torch.nn.functional.cross_entropy(logits, labels, weights, label_smoothing=smoothing)
    torch.testing.assert_close(total / weight, reference)


def test_shares_of_a_batch_add_up_and_masked_clips_count_for_nothing() -> None:
    torch.manual_seed(1)
    logits, labels = torch.randn(9, 4), torch.randint(0, 4, (9,))
    criterion = Criterion(torch.tensor([0.5, 1.0, 2.0, 0.1]), 0.1)
    whole = criterion(logits, labels, torch.ones(9, dtype=torch.bool))
    first = criterion(logits[:5], labels[:5], torch.ones(5, dtype=torch.bool))
    mask = torch.tensor([True] * 4 + [False])
    padded = (torch.cat([logits[5:], torch.full((1, 4), 1e4)]), torch.cat([labels[5:], torch.tensor([0])]), mask)
    second = criterion(*padded)
    torch.testing.assert_close(first[0] + second[0], whole[0])
    torch.testing.assert_close(first[1] + second[1], whole[1])


@pytest.mark.parametrize("power", [0.25, 0.5, 1.0, 2.0])
def test_the_power_of_the_counts(power: float) -> None:
    labels = [0] * 8 + [1] * 2 + [3]
    weights = class_weights(labels, 5, power)
    assert float(weights[1] / weights[0]) == pytest.approx(4**power)
    assert float(weights[3] / weights[0]) == pytest.approx(8**power)
    assert weights[[0, 1, 3]].mean() == pytest.approx(1)
    assert torch.equal(weights[[2, 4]], torch.zeros(2))
    assert torch.equal(class_weights(labels, 5, 0), torch.ones(5))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_mixture_of_two_classes_is_the_mixture_of_their_losses(smoothing: float) -> None:
    """The weighted loss is linear in the target, and so is the weight: as if each share were a clip of its own."""
    torch.manual_seed(0)
    logits, first, second = torch.randn(6, 4), torch.randint(0, 4, (6,)), torch.randint(0, 4, (6,))
    criterion, mask = Criterion(torch.tensor([0.5, 1.0, 2.0, 0.1]), smoothing), torch.ones(6, dtype=torch.bool)
    one_hot = torch.nn.functional.one_hot
    mixed = criterion(logits, 0.3 * one_hot(first, 4) + 0.7 * one_hot(second, 4).float(), mask)
    apart = [criterion(logits, labels, mask) for labels in (first, second)]
    for value, a, b in zip(mixed, *apart, strict=True):
        torch.testing.assert_close(value, 0.3 * a + 0.7 * b)


def test_soft_targets_without_weights_are_torchs() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(6, 4), torch.rand(6, 4).softmax(1)
    total, weight = Criterion(torch.ones(4), 0.1)(logits, targets, torch.ones(6, dtype=torch.bool))
    reference = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=0.1)
    torch.testing.assert_close(total / weight, reference)


def test_smoothing_by_similarity_gives_more_to_near_classes() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.0]], requires_grad=True)
    rows = class_similarity(embeddings, 0.5)
    cosine = torch.nn.functional.cosine_similarity(embeddings[:, None], embeddings[None], dim=2).detach()
    expected = torch.exp(cosine[0, 1:] / 0.5) / torch.exp(cosine[0, 1:] / 0.5).sum()
    torch.testing.assert_close(rows[0], torch.tensor([0.0, *expected.tolist()]))
    torch.testing.assert_close(rows.sum(1), torch.ones(3))
    assert not rows.requires_grad
    assert torch.equal(class_similarity(torch.ones(1, 2), 0.5), torch.ones(1, 1))
    logits, labels, mask = torch.randn(2, 3), torch.tensor([0, 2]), torch.ones(2, dtype=torch.bool)
    total, _ = Criterion(torch.ones(3), 0.3)(logits, labels, mask, rows)
    targets = 0.7 * torch.nn.functional.one_hot(labels, 3) + 0.3 * rows[labels]
    torch.testing.assert_close(total, torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
