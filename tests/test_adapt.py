"""What recipes do to the model, against peft, torchvision, and the formulas written out."""

import copy
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torchvision.ops import StochasticDepth
from transformers import VideoMAEConfig
from transformers.models.videomae import VideoMAEForVideoClassification

from lscht_ray.artifacts import checkpoint, places
from lscht_ray.artifacts.checkpoint_file import MODEL_KEYS
from lscht_ray.errors import InputError
from lscht_ray.model import adapt, videomae
from lscht_ray.model.ema import Ema
from lscht_ray.model.optim import build_optimizer
from lscht_ray.model.shape import TINY

CLIPS = torch.randn(6, 4, 3, 24, 24, generator=torch.Generator().manual_seed(0))


def tiny(seed: int = 0) -> torch.nn.Module:
    return videomae.build("tiny", ("a", "b", "c"), num_frames=4, image_size=24, seed=seed).model


def logits(network: torch.nn.Module) -> torch.Tensor:
    found: torch.Tensor = network(pixel_values=CLIPS).logits
    return found


def test_drop_path_rises_linearly_and_is_off_in_evaluation() -> None:
    network = videomae.rebuild({**tiny().config.to_dict(), "num_hidden_layers": 2}, tiny().state_dict())  # type: ignore[union-attr,operator]
    plain = logits(network.eval())
    adapt.drop_path(network, 0.3)
    rates = [module.p for module in network.modules() if isinstance(module, StochasticDepth)]
    assert rates == [0.0, 0.0, 0.3, 0.3]  # two branches a layer, linspace(0, 0.3, 2) over the layers
    assert torch.equal(logits(network.eval()), plain)
    assert network.state_dict().keys() == tiny().state_dict().keys()


def test_a_dropped_branch_is_the_identity_and_a_kept_one_is_scaled() -> None:
    network = tiny().train()
    adapt.drop_path(network, 0.5)
    layer = network.videomae.encoder.layer[1]  # type: ignore[union-attr,index]
    tokens = torch.randn(64, 5, 96)
    with torch.no_grad():
        torch.manual_seed(0)
        out = layer(tokens)
        attended = layer.attention.attention(layer.layernorm_before(tokens))[0]
        branch = layer.attention.output.dense(attended)
        second = {}
        for scale in (0.0, 2.0):  # one clip's attention branch was dropped, or kept and divided by 1 - 0.5
            middle = tokens + scale * branch
            ffn = layer.output.dense(layer.intermediate(layer.layernorm_after(middle)))
            for again in (0.0, 2.0):
                second[scale, again] = middle + again * ffn
    nearest = [min(second, key=lambda key: float((second[key][i] - out[i]).abs().max())) for i in range(64)]
    for clip, key in enumerate(nearest):
        torch.testing.assert_close(out[clip], second[key][clip], atol=1e-4, rtol=1e-4)
    assert len(set(nearest)) == 4  # each of the four cases came
    dropped = sum(key[0] == 0.0 for key in nearest)
    assert 16 < dropped < 48  # half of 64, four standard deviations


def test_head_dropout_drops_in_training_only() -> None:
    network = tiny()
    plain = logits(network.eval())
    adapt.head_dropout(network, 0.5)
    assert torch.equal(logits(network.eval()), plain)
    torch.manual_seed(0)
    dropped = logits(network.train())
    features = torch.randn(1000, 96)
    head = network.classifier
    seen = torch.stack([head(features).detach() for _ in range(200)]).mean(0)  # type: ignore[operator]
    torch.testing.assert_close(seen, torch.nn.functional.linear(features, head.weight, head.bias), atol=0.7, rtol=0)  # type: ignore[union-attr,arg-type]
    assert not torch.allclose(dropped, plain)
    assert network.state_dict().keys() == tiny().state_dict().keys()


# peft 0.21 asks transformers by a name that transformers is renaming.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_lora_trains_what_peft_trains_and_merges_as_peft_does() -> None:
    ours, theirs = tiny(), copy.deepcopy(tiny())
    adapt.lora(ours, rank=4, alpha=8, dropout=0.0)
    wrapped = get_peft_model(
        theirs, LoraConfig(r=4, lora_alpha=8, target_modules=adapt.LORA_TARGETS, modules_to_save=["classifier"])
    )
    trained = {name for name, p in ours.named_parameters() if p.requires_grad}
    assert {name.split(".default")[0] for name in trained if "lora" in name} == {
        name.removeprefix("base_model.model.").split(".default")[0]
        for name, p in wrapped.named_parameters()
        if p.requires_grad and "lora" in name
    }
    assert {name for name in trained if "lora" not in name} == {"classifier.weight", "classifier.bias"}
    optimizer = build_optimizer(ours, lr=0.05, weight_decay=0.0)
    for _ in range(3):
        logits(ours.train()).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    merged = tiny()
    before = logits(merged.eval())
    merged.load_state_dict(adapt.plain_state(ours))
    torch.testing.assert_close(logits(merged.eval()), logits(ours.eval()), atol=1e-3, rtol=1e-3)
    assert not torch.allclose(before, logits(merged), atol=1e-2)


def test_freezing_and_thawing() -> None:
    network = tiny()
    freezing = adapt.Freezing(network)
    everything = {name for name, p in network.named_parameters() if p.requires_grad}
    assert freezing.set(True)
    assert {name for name, p in network.named_parameters() if p.requires_grad} == {
        "classifier.weight",
        "classifier.bias",
    }
    assert not freezing.set(True)
    assert freezing.set(False)
    assert {name for name, p in network.named_parameters() if p.requires_grad} == everything


def test_the_norm_before_the_head_is_trained_with_the_head() -> None:
    config = VideoMAEConfig(**{**TINY, "use_mean_pooling": True})
    network = VideoMAEForVideoClassification(config)
    adapt.Freezing(network).set(True)
    head = {"classifier.weight", "classifier.bias", "fc_norm.weight", "fc_norm.bias"}
    assert {name for name, p in network.named_parameters() if p.requires_grad} == head
    for new_norm in (True, False):
        network = VideoMAEForVideoClassification(config)
        adapt.lora(network, rank=2, alpha=4.0, dropout=0.0, new_norm=new_norm)
        trained = {name for name, p in network.named_parameters() if p.requires_grad and ".lora_" not in name}
        assert trained == (head if new_norm else {"classifier.weight", "classifier.bias"})


def test_checkpointed_layers_give_the_same_gradient() -> None:
    plain, saving = tiny().train(), tiny().train()
    adapt.checkpoint_layers(saving)
    for network in (plain, saving):
        logits(network).square().sum().backward()
    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_both_attention_kernels_agree() -> None:
    network = tiny().eval()
    adapt.attend(network, "eager")
    eager = logits(network)
    adapt.attend(network, "sdpa")
    torch.testing.assert_close(eager, logits(network), atol=1e-4, rtol=1e-4)


def test_ema_is_torchs_averaged_model_with_that_decay() -> None:
    network = tiny().train()
    ema = Ema(network, 0.5)

    def average(old: torch.Tensor, new: torch.Tensor, count: int) -> torch.Tensor:
        decay = min(0.5, (1 + int(count) - 1) / (10 + int(count) - 1))
        return decay * old + (1 - decay) * new

    reference = torch.optim.swa_utils.AveragedModel(network, avg_fn=average)  # type: ignore[arg-type]
    reference.update_parameters(network)  # its first call copies
    optimizer = build_optimizer(network, lr=1e-2, weight_decay=0.0)
    for step in range(6):
        logits(network).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        ema.update(step)
        reference.update_parameters(network)
    for mine, theirs in zip(ema.network.parameters(), reference.module.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert not any(p.requires_grad for p in ema.network.parameters())


def test_more_frames_than_the_checkpoint_has(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)  # type: ignore[operator]
    longer = videomae.build(str(tmp_path), ("x", "y"), num_frames=32, image_size=24).model
    assert longer(pixel_values=torch.zeros(1, 32, 3, 24, 24)).logits.shape == (1, 2)
    saved = tiny().state_dict()
    assert all(torch.equal(value, saved[key]) for key, value in longer.state_dict().items() if "classifier" not in key)


def test_an_earlier_run_gives_all_but_its_head(tmp_path: Path) -> None:
    earlier = videomae.build("tiny", ("a", "b", "c"), num_frames=4, image_size=24, seed=7).model
    content = {
        **dict.fromkeys(MODEL_KEYS, None),
        "format": checkpoint.FORMAT,
        "model": earlier.state_dict(),
        "model_config": earlier.config.to_dict(),
        "clip_format": {"image_size": 24, "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)},
        "glosses": ["a", "b", "c"],
    }
    checkpoint.save(content, tmp_path / places.BEST)
    for name in (tmp_path, tmp_path / places.BEST):
        built = videomae.build(str(name), ("x", "y"), num_frames=8, seed=1)
        assert "(its head for 3 glosses is not), new head for 2 glosses; positions stretched" in built.origin
        assert (built.mean, built.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
        assert built.model.config.id2label == {0: "x", 1: "y"}
        saved = earlier.state_dict()
        for key, value in built.model.state_dict().items():
            assert "classifier" in key or torch.equal(value, saved[key]), key
    (tmp_path / places.BEST).write_bytes(b"broken")
    with pytest.raises(InputError, match="damaged"):
        videomae.build(str(tmp_path), ("x", "y"), num_frames=8)
