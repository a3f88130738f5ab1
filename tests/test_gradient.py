"""One step: micro-batches add up, masks count for nothing, no memory means smaller pieces, nothing bad is applied."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from lscht_ray.artifacts.recorder import Recorder, RunFolders
from lscht_ray.checking import survey
from lscht_ray.clips.batch import Batch
from lscht_ray.errors import OutOfMemoryError, TrainingError
from lscht_ray.host.console import quiet_console
from lscht_ray.host.watchdog import Watchdog
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training import _gradient, build, loop
from lscht_ray.training._gradient import apply, gradients
from lscht_ray.training.build import Built
from lscht_ray.training.parts import Reporting
from lscht_ray.training.state import MicroBatches


def training(small: Path, tmp_path: Path, **settings: Any) -> Built:
    given: dict[str, Any] = {"model_name": "tiny", "num_frames": 4, "image_size": 24, "num_workers": 0, "batch_size": 8}
    config = TrainConfig(data=str(small), cache_dir=str(tmp_path / "c"), **{**given, **settings})
    found = survey.ready(config, quiet_console())
    build.seed_everything(0)
    return build.build(config, found, quiet_console())


def whole_epoch(run: Built) -> Batch:
    run.parts.train_loader.sampler.set_epoch(1)
    (batch,) = [replace(b, frames=b.frames.clone()) for b in run.parts.train_loader]
    return batch


def grads(run: Built, batch: Batch) -> list[torch.Tensor]:
    """The gradient as the optimizer would see it, without clipping; the weights stay as they are."""
    weights = [p.detach().clone() for p in run.state.network.parameters()]
    apply(run.parts, run.state, gradients(run.parts, run.state, batch, 0, quiet_console()))
    with torch.no_grad():
        for parameter, before in zip(run.state.network.parameters(), weights, strict=True):
            parameter.copy_(before)
    return [p.grad.clone() for p in run.state.network.parameters() if p.grad is not None]


def test_micro_batches_add_up_to_the_whole_and_it_is_torchs_gradient(small: Path, tmp_path: Path) -> None:
    run = training(small, tmp_path, batch_size=12, gradient_clip=0)
    batch = whole_epoch(run)
    assert len(batch.videos) == 12
    whole = grads(run, batch)
    for size in (1, 5, 6):
        run.state.micro.size = size
        for mine, other in zip(grads(run, batch), whole, strict=True):
            torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-4)
    run.state.optimizer.zero_grad()
    logits = run.state.network(pixel_values=run.parts.augment(batch)).logits
    criterion = run.parts.criterion
    torch.nn.functional.cross_entropy(
        logits, batch.labels, criterion.weights, label_smoothing=criterion.label_smoothing
    ).backward()
    for mine, parameter in zip(whole, run.state.network.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, atol=1e-5, rtol=1e-4)


def test_a_mixed_clip_counts_as_right_where_the_class_with_the_larger_share_is_said(
    small: Path, tmp_path: Path
) -> None:
    """Not where its own label is said that has the smaller share; without mixing both are one."""
    for mixup in (0.8, 0.0):
        run = training(small, tmp_path, batch_size=12, mixup=mixup)
        batch, apart = whole_epoch(run), 0
        for step in range(8):
            (outcome,) = gradients(run.parts, run.state, batch, step, quiet_console())
            _, targets = run.parts.mixer(run.parts.augment(batch), batch.labels, batch.mask, step << 12)
            assert torch.equal(outcome.labels, targets.argmax(dim=1))
            apart += int((outcome.labels != batch.labels).sum())
        assert (apart > 0) == (mixup > 0)


def test_accumulation_trains_as_a_larger_batch_does(small: Path, tmp_path: Path) -> None:
    split = training(small, tmp_path, batch_size=3, accumulation=4)
    whole = training(small, tmp_path, batch_size=12)
    assert split.state.schedule.total_steps == whole.state.schedule.total_steps
    for run in (split, whole):
        for step in range(3):
            apply(run.parts, run.state, gradients(run.parts, run.state, whole_epoch(run), step, quiet_console()))
            run.state.schedule.step()
    for one, other in zip(split.state.network.parameters(), whole.state.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


def test_padding_changes_nothing(small: Path, tmp_path: Path) -> None:
    run = training(small, tmp_path, batch_size=12)
    batch = whole_epoch(run)
    plain, padded = grads(run, batch), grads(run, batch.padded(16))
    for one, other in zip(plain, padded, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_out_of_memory_halves_the_micro_batch_and_the_step_is_the_same(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = training(small, tmp_path, batch_size=12)
    batch, said = whole_epoch(run), io.StringIO()
    expected = grads(run, batch)
    original = _gradient._forward

    def scarce(parts: Any, state: Any, chunk: Batch, number: int) -> Any:
        if len(chunk.videos) > 4:
            torch.empty(2**60, dtype=torch.uint8)  # torch's own complaint that there is no memory
        return original(parts, state, chunk, number)

    monkeypatch.setattr(_gradient, "_forward", scarce)
    run.state.optimizer.zero_grad()
    apply(run.parts, run.state, gradients(run.parts, run.state, batch, 6, Console(file=said, width=200)))
    assert run.state.micro.size == 3
    assert "step 7: out of memory; now 6 clips at a time" in said.getvalue()
    assert "now 3 clips at a time, the global batch stays" in said.getvalue()
    for one, other in zip([p.grad for p in run.state.network.parameters()], expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


def test_no_memory_for_a_single_clip_and_other_errors(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = training(small, tmp_path, batch_size=12)
    batch = whole_epoch(run)
    monkeypatch.setattr(_gradient, "_forward", lambda *given: torch.empty(2**60, dtype=torch.uint8))
    with pytest.raises(TrainingError, match=r"out of memory with a single clip(.|\n)*gradient_checkpointing"):
        gradients(run.parts, run.state, batch, 0, quiet_console())
    monkeypatch.setattr(_gradient, "rank_and_world", lambda: (0, 2))
    run.state.micro = MicroBatches(8)
    with pytest.raises(OutOfMemoryError, match="with 8 clips at a time"):
        gradients(run.parts, run.state, batch, 0, quiet_console())
    monkeypatch.setattr(_gradient, "_forward", lambda *given: torch.zeros(2) + torch.zeros(3))
    with pytest.raises(RuntimeError, match="must match the size"):
        gradients(run.parts, run.state, batch, 0, quiet_console())


def test_what_is_not_finite_changes_no_weight(small: Path, tmp_path: Path) -> None:
    run = training(small, tmp_path, batch_size=12)
    batch = whole_epoch(run)
    before = [p.detach().clone() for p in run.state.network.parameters()]
    found = gradients(run.parts, run.state, batch, 0, quiet_console())
    next(run.state.network.parameters()).grad.fill_(float("nan"))  # type: ignore[union-attr]
    _, finite = apply(run.parts, run.state, found)
    assert not finite
    assert all(torch.equal(one, other) for one, other in zip(before, run.state.network.parameters(), strict=True))


def test_a_scaled_loss_gives_the_same_step_and_an_overflow_is_passed_over(small: Path, tmp_path: Path) -> None:
    """fp16 needs the scaler; what it does to a step doesn't depend on the type, so this CPU can show it."""
    plain, scaled = (training(small, tmp_path, batch_size=12) for _ in range(2))
    scaled.state.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    batch = whole_epoch(plain)
    for run in (plain, scaled):
        apply(run.parts, run.state, gradients(run.parts, run.state, batch, 0, quiet_console()))
    for one, other in zip(plain.state.network.parameters(), scaled.state.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)
    before = [p.detach().clone() for p in scaled.state.network.parameters()]
    found = gradients(scaled.parts, scaled.state, batch, 1, quiet_console())
    next(scaled.state.network.parameters()).grad.fill_(float("inf"))  # type: ignore[union-attr]
    _, finite = apply(scaled.parts, scaled.state, found)
    assert finite  # the run goes on
    assert scaled.state.scaler.get_scale() == 512.0
    assert all(torch.equal(one, other) for one, other in zip(before, scaled.state.network.parameters(), strict=True))


def test_gradients_that_overflow_at_any_scale_end_the_run(small: Path, tmp_path: Path) -> None:
    run = training(small, tmp_path, batch_size=12)
    run.state.scaler = torch.amp.GradScaler("cpu", init_scale=1e-4)
    recorder = Recorder(RunFolders(tmp_path, tmp_path), quiet_console(), enabled=False)
    reporting = Reporting(recorder, quiet_console(), Watchdog(tmp_path / "stacks.txt", list))
    with pytest.raises(TrainingError, match="overflow fp16 at any scale"):
        loop.train_one_epoch(run.parts, run.state, reporting, 1, 1)
