"""The largest micro-batch, as tried; a GPU is not needed to see how it is searched."""

import pytest
import torch

from lscht_ray.errors import InputError
from lscht_ray.model import videomae
from lscht_ray.training import _fits


def network() -> torch.nn.Module:
    return videomae.build("tiny", ("a", "b"), num_frames=4, image_size=24).model


def test_the_largest_power_of_two_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def fits(network: torch.nn.Module, device: object, precision: str, shape: tuple[int, ...], kept: int) -> bool:
        tried.append(shape[0])
        assert shape[1:] == (4, 3, 24, 24)
        assert kept == 3 * 4 * sum(p.numel() for p in network.parameters())
        return shape[0] <= 37

    monkeypatch.setattr(_fits, "_fits", fits)
    gpu = torch.device("cuda")
    assert _fits.largest_batch(network(), gpu, "bf16", 4, 24) == 32
    assert tried == [1, 2, 4, 8, 16, 32, 64]
    monkeypatch.setattr(_fits, "_fits", lambda *given: True)
    assert _fits.largest_batch(network(), gpu, "bf16", 4, 24) == _fits.LARGEST
    monkeypatch.setattr(_fits, "_fits", lambda *given: False)
    with pytest.raises(InputError, match="not one clip fits"):
        _fits.largest_batch(network(), gpu, "bf16", 4, 24)
    assert _fits.largest_batch(network(), torch.device("cpu"), "fp32", 4, 24) == _fits.ON_CPU


def test_a_trial_step_leaves_no_trace() -> None:
    made = network().train()
    before, state = [p.detach().clone() for p in made.parameters()], torch.get_rng_state()
    _fits.trial_step(made, torch.device("cpu"), "bf16", (2, 4, 3, 24, 24))
    assert all(torch.equal(one, other) for one, other in zip(before, made.parameters(), strict=True))
    assert all(p.grad is None for p in made.parameters())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.gpu
def test_batch_size_auto_on_a_gpu() -> None:
    made = network().to("cuda")
    assert _fits.largest_batch(made, torch.device("cuda"), "bf16", 4, 24) == _fits.LARGEST
