"""The reaches into torch's private parts (training/_torch_internals.py): each is there and does what we need."""

import torch

from lscht_ray.training import _torch_internals


def test_many_tensors_are_multiplied_by_one_on_the_device() -> None:
    tensors = [torch.ones(3), torch.full((2, 2), 4.0)]
    kept: list[torch.Tensor | None] = [*tensors]
    _torch_internals.multiply(kept, torch.tensor(0.5))
    assert torch.equal(tensors[0], torch.full((3,), 0.5))
    assert torch.equal(tensors[1], torch.full((2, 2), 2.0))


def test_the_fused_optimizer_leaves_weights_alone_where_it_is_told_on_the_device() -> None:
    """What a GPU's step relies on instead of waiting for the answer; torch's CPU kernel reads the same flag."""
    weight = torch.nn.Parameter(torch.ones(5))
    optimizer = torch.optim.AdamW([weight], lr=0.1, fused=True)
    weight.grad = torch.full((5,), float("nan"))
    _torch_internals.step_unless(optimizer, torch.tensor(True))
    assert torch.equal(weight, torch.ones(5))
    weight.grad = torch.ones(5)
    _torch_internals.step_unless(optimizer, torch.tensor(False))
    assert (weight < 1).all()


def test_a_compiled_module_can_be_what_it_was() -> None:
    network = torch.nn.Linear(2, 2)
    plain = network(torch.ones(1, 2))
    network.compile()
    assert network._compiled_call_impl is not None
    _torch_internals.forget_compilation(network)
    assert network._compiled_call_impl is None
    assert torch.equal(network(torch.ones(1, 2)), plain)


def test_bytes_are_counted_as_long_as_tensors_live_in_the_backward_pass_too() -> None:
    """256 floats are 1,024 bytes: views share them, what is saved for the backward pass keeps them."""
    weight = torch.nn.Parameter(torch.ones(256))
    with _torch_internals.LiveBytes() as live:
        made = weight * 2
        assert live.now == 1024
        view = made.view(16, 16)
        del made
        assert live.now == 1024
        del view
        assert live.now == 0
        loss = (weight * 2).exp().sum()
        assert live.now == 1024 + 4  # the exponentials are kept, what they were made of is not
        loss.backward()
        assert live.now == 1024 + 4  # the gradient; the exponentials are gone
    assert max(live.history) >= 2 * 1024
