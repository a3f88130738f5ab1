"""The learning rate of every step, and which parameters decay."""

import pytest
import torch

from lscht_ray.optim import WarmupCosine, build_optimizer


def schedule(**settings: float) -> WarmupCosine:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=9.0)
    values = {"peak": 1.0, "min_lr": 0.1, "warmup_ratio": 0.3, "total_steps": 10, **settings}
    return WarmupCosine(optimizer, **values)  # type: ignore[arg-type]


def test_every_step() -> None:
    # 3 of 10 steps warm up: quarters of the peak. Then 7 steps: the cosine at 0, 1/6, ... 1 of half a turn.
    cosine = [1.0, 0.9330127018922194, 0.75, 0.5, 0.25, 0.0669872981077807, 0.0]
    expected = [0.25, 0.5, 0.75, *(0.1 + 0.9 * c for c in cosine)]
    made = schedule()
    seen = []
    for _ in range(10):
        seen.append(made.optimizer.param_groups[0]["lr"])
        assert made.lr == seen[-1]
        made.optimizer.step()
        made.step()
    assert seen == pytest.approx(expected, abs=1e-12)


def test_agrees_with_torch_cosine_after_the_warm_up() -> None:
    made = schedule(warmup_ratio=0.0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=9, eta_min=0.1)
    for step in range(10):
        assert made.lr_at(step) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()


@pytest.mark.parametrize("total", [1, 2, 3, 7, 100])
def test_first_step_is_neither_zero_nor_the_peak(total: int) -> None:
    made = schedule(warmup_ratio=0.1, total_steps=total)
    assert 0 < made.lr_at(0) < made.peak
    assert all(made.min_lr <= made.lr_at(step) <= made.peak for step in range(made.warmup_steps, total + 5))


def test_goes_on_from_its_state() -> None:
    first, second = schedule(), schedule()
    for _ in range(5):
        first.step()
    second.load_state_dict(first.state_dict())
    assert second.lr == first.lr == second.optimizer.param_groups[0]["lr"]


def test_biases_and_norms_do_not_decay() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2))
    model[2].weight.requires_grad = False
    groups = build_optimizer(model, lr=1e-3, weight_decay=0.05).param_groups
    assert [group["weight_decay"] for group in groups] == [0.05, 0.0]
    assert [id(p) for p in groups[0]["params"]] == [id(model[0].weight)]
    vectors = [model[0].bias, model[1].weight, model[1].bias, model[2].bias]
    assert {id(p) for p in groups[1]["params"]} == {id(p) for p in vectors}
