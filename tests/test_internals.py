"""What we use of other libraries beyond their public interface is still there, and does what we need."""

import ast
from pathlib import Path
from typing import Literal

import pytest
import torch
from jsonargparse import ArgumentParser
from transformers import VideoMAEConfig
from transformers.models.videomae import VideoMAEForVideoClassification, modeling_videomae

from lscht_ray.errors import InputError
from lscht_ray.model import _transformers_internals, videomae
from lscht_ray.settings import _jsonargparse_internals
from lscht_ray.settings.commandline import Parser
from lscht_ray.settings.data import Settings

PACKAGE = Path(__file__).parents[1] / "lscht_ray"
PUBLIC = {"_exit", "_replace", "_asdict", "_fields", "_make"}
"""Documented names of the standard library that begin with an underscore."""


def reaches(tree: ast.Module) -> list[str]:
    """Uses of others' private names: attributes and modules that begin with an underscore, and changed classes."""
    found = []
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and node.attr not in PUBLIC:
            ours = node.attr in defined or (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
            changes_class = node.attr == "__class__" and isinstance(node.ctx, ast.Store)
            if changes_class or not (ours or node.attr.startswith("__")):
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found += [
            f"line {node.lineno}: {name}"
            for name in names
            if not name.startswith("lscht_ray")
            and any(part.startswith("_") and part[1:2] != "_" for part in name.split("."))
        ]
    return found


@pytest.mark.parametrize(
    "file",
    [file for file in sorted(PACKAGE.rglob("*.py")) if not file.stem.endswith("_internals")],
    ids=lambda file: file.relative_to(PACKAGE).as_posix(),
)
def test_others_private_names_are_used_in_the_internals_files_alone(file: Path) -> None:
    assert reaches(ast.parse(file.read_text(encoding="utf-8"))) == []


def test_a_reach_would_be_found() -> None:
    text = (
        "import ray._private.state\nfrom ray._raylet import X\nmodel._secret = 1\nhead.__class__ = Y\nself._own = 2\n"
    )
    assert [line.split(":")[0] for line in reaches(ast.parse(text))] == ["line 1", "line 2", "line 3", "line 4"]


def videomae_of_the_library() -> VideoMAEForVideoClassification:
    return VideoMAEForVideoClassification(VideoMAEConfig(**videomae.TINY, num_frames=4)).eval()


# ---------------------------------------------------------------- transformers


def test_videomae_makes_its_position_table_with_the_function_that_we_replace() -> None:
    original = modeling_videomae.get_sinusoid_encoding_table
    calls = []

    def table(positions: int, width: int) -> torch.Tensor:
        calls.append((positions, width))
        return original(positions, width)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_transformers_internals, "position_table", table)
        with _transformers_internals.quick_table():
            model = videomae_of_the_library()
    assert calls == [(32, 96)]  # 2 tubelets of 4 x 4 patches
    assert modeling_videomae.get_sinusoid_encoding_table is original
    with _transformers_internals.quick_table():
        quick = videomae_of_the_library()
    tables = [each.videomae.embeddings.position_embeddings for each in (model, quick)]
    assert torch.equal(*tables)


def test_a_quickened_videomae_has_the_same_weights_and_computes_the_same() -> None:
    model = videomae_of_the_library()
    before, names = dict(model.named_parameters()), list(model.state_dict())
    assert type(model.videomae.embeddings.patch_embeddings.projection) is torch.nn.Conv3d
    assert not isinstance(model.videomae.embeddings.position_embeddings, torch.nn.Parameter)
    clip = torch.randn(2, 4, 3, 48, 48)  # (B, T, C, H, W)
    expected = model(pixel_values=clip).logits
    quick = _transformers_internals.quicken(model)
    assert torch.equal(quick(pixel_values=clip).logits, expected)
    assert list(quick.state_dict()) == names
    assert all(parameter is before[name] for name, parameter in quick.named_parameters())
    moved = quick.to("meta")
    assert moved.videomae.embeddings.position_embeddings.device.type == "meta"  # with the model, not at every step


# ---------------------------------------------------------------- jsonargparse


class Sample(Settings):
    """Settings of the kinds that ours have."""

    count: int = 3
    """A number."""
    size: int | Literal["auto"] | None = None
    """One of several kinds."""
    way: Literal["one", "other"] = "one"
    """A word."""


def complaint_about(*argv: str) -> str:
    """What jsonargparse says, word by word."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Sample)
    with pytest.raises(Exception) as caught:
        parser.parse_args(list(argv))
    return str(caught.value)


def test_jsonargparse_names_a_flag_that_it_does_not_know() -> None:
    unknown = complaint_about("--cuont=4", "--seña", "mi carpeta")
    assert _jsonargparse_internals.unknown_words(unknown) == ["--cuont=4", "--seña", "mi", "carpeta"]
    assert _jsonargparse_internals.unknown_words(complaint_about("--count", "x")) == []


@pytest.mark.parametrize(("name", "value"), [("count", "many"), ("way", "none"), ("size", "big")])
def test_jsonargparse_names_the_setting_that_it_complains_of(name: str, value: str) -> None:
    said = complaint_about(f"--{name}", value)
    assert _jsonargparse_internals.wrong_setting(said) == name
    assert _jsonargparse_internals.expected(said) == ("int" if name != "way" else "")


def test_a_parsers_help_has_every_flag_so_that_the_nearest_one_can_be_named() -> None:
    parser = Parser(prog="door")
    parser.add_class_arguments(Sample)
    with pytest.raises(InputError, match="did you mean --count"):
        parser.parse_args(["--cuont", "4"])
