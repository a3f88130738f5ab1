"""Class weights against scikit-learn, the criterion against torch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from lscht_ray.loss import Criterion, class_weights


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
