"""The learning rate of every step, and which parameters decay."""

import pytest
import torch

from lscht_ray.model import videomae
from lscht_ray.model.optim import WarmupCosine, build_optimizer, parameter_groups, regrouped, scaled_lr


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


def test_layer_decay_is_beits() -> None:
    """decay^(layers + 1 - id), id 0 for the embeddings, i + 1 for layer i, layers + 1 for norm and head."""
    network = videomae.build("tiny", ("a", "b"), num_frames=4, image_size=24).model
    optimizer = build_optimizer(network, lr=1.0, weight_decay=0.05, layer_decay=0.5)
    scales = {id(p): group["lr_scale"] for group in optimizer.param_groups for p in group["params"]}
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    ids = {"videomae.embeddings.": 0, "encoder.layer.0.": 1, "encoder.layer.1.": 2, "layernorm.": 3, "classifier.": 3}
    for name, parameter in network.named_parameters():
        (layer,) = (
            {number for part, number in ids.items() if part in name}
            if "encoder" not in name
            else {number for part, number in ids.items() if part in name and "encoder" in part}
        )
        assert scales[id(parameter)] == 0.5 ** (3 - layer), name
        assert decays[id(parameter)] == (0.05 if parameter.ndim > 1 else 0.0)
    assert len(scales) == len(list(network.parameters()))
    made = WarmupCosine(optimizer, peak=1.0, min_lr=0.0, warmup_ratio=0.0, total_steps=9)
    for _ in range(4):
        made.step()
    assert {round(group["lr"], 9) for group in optimizer.param_groups} == {0.0625, 0.125, 0.25, 0.5}
    assert len(parameter_groups(network, weight_decay=0.05, layer_decay=1.0)) == 2


@pytest.mark.parametrize(("rule", "expected"), [("none", 1e-3), ("linear", 2.5e-4), ("sqrt", 5e-4)])
def test_the_rate_for_a_global_batch_of_64(rule: str, expected: float) -> None:
    assert scaled_lr(1e-3, rule, 64) == pytest.approx(expected)  # type: ignore[arg-type]
    assert scaled_lr(1e-3, rule, 256) == pytest.approx(1e-3)  # type: ignore[arg-type]


def test_the_schedule_is_transformers_cosine_after_the_warm_up() -> None:
    from transformers import get_cosine_schedule_with_warmup

    made = schedule(peak=1.0, min_lr=0.0, warmup_ratio=0.2, total_steps=50)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=10, num_training_steps=49)
    for step in range(50):
        if step >= 10:  # its warm-up begins at zero, ours does not
            assert made.lr_at(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        reference.step()


def test_what_thaws_warms_up_anew() -> None:
    """4 of 12 steps warm up; the backbone thaws at step 6: its rate is the head's times 1/5, 2/5, ... from there on."""
    network = videomae.build("tiny", ("a", "b"), num_frames=4, image_size=24).model
    optimizer = build_optimizer(network, lr=1.0, weight_decay=0.05, thawing=True)
    made = WarmupCosine(optimizer, peak=1.0, min_lr=0.0, warmup_ratio=1 / 3, total_steps=12, thaw_at=6)
    names = {id(p): name for name, p in network.named_parameters()}
    shares = []
    for _ in range(12):
        rates = {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
        assert len(rates) == len(names)
        (head,) = {rate for name, rate in rates.items() if name.startswith("classifier.")}
        (backbone,) = {rate for name, rate in rates.items() if not name.startswith("classifier.")}
        assert head == made.lr
        shares.append(backbone / head if head else None)
        made.step()
    assert shares[6:11] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert shares[:6] == [0.0] * 6


def test_a_saved_state_without_groups_for_thawing_is_taken_over() -> None:
    for layer_decay in (1.0, 0.7):
        network = videomae.build("tiny", ("a", "b"), num_frames=4, image_size=24).model
        before = build_optimizer(network, lr=1e-3, weight_decay=0.05, layer_decay=layer_decay)
        network(pixel_values=torch.randn(2, 4, 3, 24, 24)).logits.sum().backward()
        before.step()
        now = build_optimizer(network, lr=1e-3, weight_decay=0.05, layer_decay=layer_decay, thawing=True)
        assert len(now.param_groups) > len(before.param_groups)
        now.load_state_dict(regrouped(before.state_dict(), now, network))
        for parameter in network.parameters():
            assert torch.equal(now.state[parameter]["exp_avg"], before.state[parameter]["exp_avg"])
        same = now.state_dict()
        assert regrouped(same, now, network) is same
