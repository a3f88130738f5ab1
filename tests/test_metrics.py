"""The figures against scikit-learn, whatever the batches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, top_k_accuracy_score

from lscht_ray.model.loss import Criterion
from lscht_ray.training.metrics import Tally


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 17), st.integers(0, 10**6))
def test_against_scikit_learn(clips: int, batch: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = 8
    logits = torch.from_numpy(rng.normal(size=(clips, classes)).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, 5, clips))  # classes 5 to 7 have no clips
    tally, criterion = Tally(classes), Criterion(torch.ones(classes), 0.0)
    for some, answers in zip(logits.split(batch), labels.split(batch), strict=True):
        mask = torch.ones(len(some), dtype=torch.bool)
        tally.add(some, answers, mask, *criterion(some, answers, mask))
    result = tally.result()
    true, scores = labels.numpy(), logits.double().softmax(dim=1).numpy()
    predicted = scores.argmax(axis=1)
    assert result["count"] == clips
    assert result["accuracy"] == pytest.approx(accuracy_score(true, predicted))
    assert result["top5_accuracy"] == pytest.approx(top_k_accuracy_score(true, scores, k=5, labels=range(classes)))
    present = np.isin(predicted, true)
    recalls = [np.mean(predicted[true == c] == c) for c in np.unique(true)]
    assert result["mean_class_accuracy"] == pytest.approx(np.mean(recalls))
    if present.all() and len(recalls) > 1:  # of a single class scikit-learn suspects a mistake
        assert result["mean_class_accuracy"] == pytest.approx(balanced_accuracy_score(true, predicted))
    sure, error = scores.max(axis=1), 0.0
    for low in range(15):
        here = (sure * 15).astype(int).clip(max=14) == low
        if here.any():
            error += here.mean() * abs((predicted[here] == true[here]).mean() - sure[here].mean())
    assert result["calibration_error"] == pytest.approx(error, abs=1e-6)
    assert result["loss"] == pytest.approx(log_loss(true, scores, labels=range(classes)), rel=1e-4)


def test_masked_clips_are_in_no_figure() -> None:
    logits, labels = torch.eye(3), torch.tensor([0, 1, 0])
    mask = torch.tensor([True, True, False])
    tally = Tally(3)
    tally.add(logits, labels, mask, *Criterion(torch.ones(3), 0.0)(logits, labels, mask))
    assert tally.result()["accuracy"] == 1
    assert tally.result()["count"] == 2


def test_no_clip_gives_finite_figures() -> None:
    assert all(np.isfinite(value) for value in Tally(3).result().values())
