"""A model's files as people copy them: each fault is one sentence with the way on, before anything is made."""

import argparse
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import VideoMAEConfig, VideoMAEImageProcessor
from transformers.models.videomae import VideoMAEForVideoClassification

from lscht_ray.errors import InputError
from lscht_ray.model import videomae, weights
from lscht_ray.model.shape import TINY
from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.sweep import folder as sweep_folder
from support.data import shared
from support.doors import Door, refused

PAGE = "<!DOCTYPE html>\n<html><head><title>model.safetensors · main</title></head></html>\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "señas"
    VideoMAEForVideoClassification(VideoMAEConfig(**TINY, num_labels=3)).save_pretrained(folder)
    VideoMAEImageProcessor().save_pretrained(folder)
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "señas"))


def cut_off(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def cut_off_in_its_header(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def in_parts(folder: Path) -> None:
    """As transformers writes a model with `max_shard_size`, and one part was not copied."""
    VideoMAEForVideoClassification.from_pretrained(folder).save_pretrained(folder, max_shard_size="300KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    parts = sorted(folder.glob("model-*.safetensors"))
    assert len(parts) > 2
    parts[1].unlink()
    parts[-1].unlink()


def pickled(folder: Path, content: object | None = None) -> Path:
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    file = folder / "pytorch_model.bin"
    torch.save(state if content is None else content, file)
    return file


def with_code(folder: Path) -> None:
    pickled(folder, {"args": argparse.Namespace(lr=1e-3)})


def with_code_in_the_old_format(folder: Path) -> None:
    pickled(folder).write_bytes(pickle.dumps({"args": argparse.Namespace(lr=1e-3)}))


def cut_off_pickle(folder: Path) -> None:
    file = pickled(folder)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def for_tensorflow(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "tf_model.h5")


def page(file: str) -> Callable[[Path], None]:
    def saved_page(folder: Path) -> None:
        (folder / file).write_text(PAGE, encoding="utf-8")

    return saved_page


def empty(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def half_a_config(folder: Path) -> None:
    file = folder / "config.json"
    file.write_text(file.read_text(encoding="utf-8")[:100], encoding="utf-8")


def changed(file: str, **values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / file).read_text(encoding="utf-8"))
        (folder / file).write_text(json.dumps({**content, **values}), encoding="utf-8")

    return change


def with_all_processors(folder: Path) -> None:
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": {"image_std": "a"}}))


def quantized(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    small = {name: (weight * 10).to(torch.int8) for name, weight in state.items()}
    save_file(small, folder / "model.safetensors", metadata={"format": "pt"})


def nested(folder: Path) -> None:
    (folder / "config.json").write_text('{"a":' * 100_000)


def with_a_byte_order_mark(folder: Path) -> None:
    file = folder / "config.json"
    file.write_text(file.read_text(encoding="utf-8"), encoding="utf-8-sig")


def index(**content: object) -> Callable[[Path], None]:
    def write_index(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text(json.dumps(content))

    return write_index


def of_another_kind(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))


FAULTS: dict[Callable[[Path], None], str] = {
    cut_off: r"model\.safetensors is cut off or damaged \(.*\): copy or download it again",
    cut_off_in_its_header: r"model\.safetensors is cut off or damaged \(.*\): copy or download it again",
    in_parts: r"2 of the \d files that model\.safetensors\.index\.json names are not in the folder \(model-00002-of-",
    with_code: r"pytorch_model\.bin holds Python code, which is not run: use the model\.safetensors of the same",
    with_code_in_the_old_format: r"pytorch_model\.bin holds Python code, which is not run",
    cut_off_pickle: r"pytorch_model\.bin is cut off or damaged \(.*\): copy or download it again",
    without_weights: r"the folder holds no weights \(model\.safetensors\): copy that file into it too",
    for_tensorflow: r"holds no weights \(model\.safetensors\), only tf_model\.h5, which is for another library",
    page("model.safetensors"): r"model\.safetensors is a web page that was saved under that name: download the file",
    page("preprocessor_config.json"): r"preprocessor_config\.json is a web page",
    page("config.json"): r"config\.json is a web page",
    empty: r"model\.safetensors is empty: copy or download it again",
    half_a_config: r"config\.json is cut off or damaged",
    changed("config.json", hidden_size=10**9): r"in config\.json, hidden_size is 1000000000: allowed are 1 to 16384",
    changed("config.json", hidden_size="big"): r"in config\.json, hidden_size is 'big': allowed are 1 to 16384",
    changed("config.json", image_size=[48, 64]): r"in config\.json, image_size is \[48, 64\]: allowed are 1 to 4096",
    changed("config.json", patch_size=0): r"in config\.json, patch_size is 0: allowed are 1 to 1024",
    changed("config.json", image_size=True): r"in config\.json, image_size is True: allowed are 1 to 4096",
    changed("config.json", num_labels=10**9): r"in config\.json, num_labels is 1000000000: allowed are 1 to 1048576",
    changed("config.json", layer_norm_eps="x"): r"in config\.json, layer_norm_eps is 'x': allowed are numbers above 0",
    changed(
        "config.json", hidden_dropout_prob=2
    ): r"in config\.json, hidden_dropout_prob is 2: allowed are 0 to below 1",
    changed("config.json", id2label=["a"]): r"in config\.json, id2label is \['a'\]: allowed are names by their numbers",
    changed("config.json", dtype="float99"): r"in config\.json, dtype is 'float99': allowed are float32",
    changed(
        "config.json", quantization_config={"bits": 4}
    ): r"quantization_config is .*: allowed are models that are not",
    changed("config.json", tubelet_size=32): r"in config\.json, tubelet_size is 32: allowed are 1 to 16 \(num_frames\)",
    changed(
        "preprocessor_config.json", image_mean="x"
    ): r"image_mean is 'x': allowed are a number from 0 to 1 for each",
    changed(
        "preprocessor_config.json", image_std=[0.5, 0, 0.5]
    ): r"image_std is \[0\.5, 0, 0\.5\]: allowed are a number",
    changed(
        "preprocessor_config.json", image_mean=[123.7, 116.3, 103.5]
    ): r"image_mean is .*: allowed are a number from 0",
    changed("preprocessor_config.json", do_normalize=False): r"do_normalize is False: allowed are true",
    changed("preprocessor_config.json", rescale_factor=1 / 127.5): r"rescale_factor is .*: allowed are 1/255",
    with_all_processors: r"in processor_config\.json, image_std is 'a': allowed are a number from 0\.01",
    quantized: r"model\.safetensors holds numbers of the kind I8, as of a quantized model",
    nested: r"config\.json is cut off or damaged \(maximum recursion depth",
    with_a_byte_order_mark: r"config\.json begins with a byte order mark: save it as UTF-8 without",
    index(): r"model\.safetensors\.index\.json lists no weights \(weight_map, metadata\)",
    index(
        metadata={}, weight_map={"a": "../x.safetensors"}
    ): r"index\.json names '\.\./x\.safetensors', which is not in",
    of_another_kind: "it is a bert model, not VideoMAE",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence_with_the_way_on(fault: Callable[[Path], None], copy: Path) -> None:
    fault(copy)
    for ask in (weights.check, videomae.input_of):
        with pytest.raises(InputError, match=FAULTS[fault]) as caught:
            ask(str(copy))
        assert str(caught.value).startswith(f"--model_name {copy}: ")
        assert "\n" not in str(caught.value)


def test_git_lfs_pointers_are_called_so() -> None:
    folder = shared("field") / "lfs_pointer"
    with pytest.raises(
        InputError, match=r"model\.safetensors is only Git LFS's note of where the file is: run `git lfs"
    ):
        videomae.input_of(str(folder))


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_file_of_the_folder_names_the_folder(file: str, whole: Path) -> None:
    with pytest.raises(InputError) as caught:
        videomae.input_of(str(whole / file))
    assert str(caught.value).endswith(f"name the folder, not a file in it: --model_name '{whole}'")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"hidden_act": "gelú"}, r"the model can't be read \(KeyError: 'gelú'\)"),
        ({"norm_pix_loss": "x"}, r"the model can't be read \(.*field 'norm_pix_loss'.*expected bool, got str"),
        ({"attn_implementation": 3}, r"the model can't be read \(AttributeError"),
    ],
)
def test_what_only_transformers_knows_to_be_wrong_is_one_line_too(
    values: dict[str, object], said: str, copy: Path
) -> None:
    changed("config.json", **values)(copy)
    with pytest.raises(InputError, match=said) as caught:
        videomae.build(str(copy), ("a", "b"), num_frames=16)
    assert "\n" not in str(caught.value)


def test_weights_that_are_no_numbers_are_refused(copy: Path) -> None:
    state = load_file(copy / "model.safetensors")
    state["videomae.encoder.layer.0.output.dense.bias"][3] = float("nan")
    save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=r"1 of its weights hold NaN .* is videomae\.encoder\.layer\.0\.output\.dense\.bias"
    ):
        videomae.build(str(copy), ("a", "b"), num_frames=16)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_checkpoint_in_half_precision_is_trained_in_full(kind: torch.dtype, copy: Path) -> None:
    VideoMAEForVideoClassification.from_pretrained(copy).to(kind).save_pretrained(copy)
    changed("config.json", return_dict=False, output_hidden_states=True)(copy)
    assert json.loads((copy / "config.json").read_text())["dtype"] == str(kind).removeprefix("torch.")
    built = videomae.build(str(copy), ("a", "b"), num_frames=16).model
    assert {weight.dtype for weight in built.parameters()} == {torch.float32}
    assert built.config.dtype == torch.float32
    stored = VideoMAEForVideoClassification.from_pretrained(copy, dtype=kind).state_dict()
    for name, weight in built.state_dict().items():
        assert name.startswith("classifier.") or torch.equal(weight, stored[name].float()), name
    assert built(torch.zeros(1, 16, 3, 48, 48)).hidden_states is None


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize("in_a_folder", [False, True])
def test_checkpoints_of_videomaes_own_code_say_where_the_same_weights_are(
    old_format: bool, in_a_folder: bool, tmp_path: Path
) -> None:
    """Names and the `args` beside them as in its run_class_finetuning.py and utils.py (save_model)."""
    file = tmp_path / "checkpoint.pth"
    state = {"blocks.0.attn.qkv.weight": torch.zeros(3, 1), "blocks.0.attn.q_bias": torch.zeros(1)}
    content = {"model": state, "args": argparse.Namespace(lr=1e-3)}
    torch.save(content, file, _use_new_zipfile_serialization=not old_format)
    with pytest.raises(InputError, match=r"VideoMAE's own code.*MCG-NJU/videomae-base.*convert_videomae_to_pytorch"):
        videomae.input_of(str(tmp_path if in_a_folder else file))


@pytest.mark.parametrize("name", ["/models/videomae-bsae", "./videomae", "models/videomae/base"])
def test_a_path_to_nothing_is_not_sought_on_the_hub(name: str) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        weights.check(name)


def test_whole_files_pass(copy: Path) -> None:
    weights.check("tiny")
    weights.check("MCG-NJU/videomae-base")  # the hub's: not asked here
    weights.check(str(copy))
    pickled(copy)
    assert videomae.input_of(str(copy)).image_size == 48
    save_file(torch.load(copy / "pytorch_model.bin"), copy / "model.safetensors", metadata={"format": "pt"})
    weights.check(str(copy))


def test_settings_as_published_checkpoints_have_them_pass(copy: Path) -> None:
    """Those of MCG-NJU/videomae-base-finetuned-kinetics and of others, as far as they say what these files hold."""
    old = {"qkv_bias": True, "torch_dtype": "float32", "transformers_version": "4.22.0.dev0", "norm_pix_loss": False}
    labels = {str(number): f"LABEL_{number}" for number in range(400)}
    changed("config.json", **old, id2label=labels, label2id={name: int(key) for key, name in labels.items()})(copy)
    changed(
        "preprocessor_config.json",
        feature_extractor_type="VideoMAEFeatureExtractor",
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
        rescale_factor=0.00392156862745098,
        size={"shortest_edge": 224},
        resample=2,
    )(copy)
    weights.check(str(copy))
    assert videomae.input_of(str(copy)).std == (0.229, 0.224, 0.225)
    for kind in ("auto", "torch.bfloat16", None):
        changed("config.json", torch_dtype=kind)(copy)
        weights.check(str(copy))


def test_training_and_a_sweep_end_before_anything_is_made(small: Path, copy: Path, door: Door, tmp_path: Path) -> None:
    cut_off(copy)
    out = tmp_path / "out"
    flags = ("--data", small, "--model_name", copy, "--checkpoint_dir", out, "--log_dir", out)
    refused(door("train", *flags, cwd=tmp_path), r"model.safetensors is cut off or damaged")
    flags = tuple(f"--train.{flag[2:]}" if str(flag).startswith("--") else flag for flag in flags)
    refused(door("tune", *flags, "--storage_path", out, cwd=tmp_path), r"model.safetensors is cut off or damaged")
    torch.save({"weights": 1}, tmp_path / "other.pt")
    flags = ("--data", small, "--model_name", tmp_path / "other.pt", "--checkpoint_dir", out, "--log_dir", out)
    refused(door("train", *flags, cwd=tmp_path), "other.pt is no checkpoint of lscht_ray: it lacks format")
    assert not out.exists()


def test_models_to_choose_from_are_found_from_every_folder(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    choices = {"type": "choice", "choices": ["señas", "tiny", "MCG-NJU/x"]}
    train = {"model_name": "tiny"}
    sweep = SweepConfig.model_validate({"train": train, "search_space": {"model_name": choices}})
    absolute = sweep_folder.with_absolute_paths(sweep)
    assert absolute.search_space["model_name"].choices == [str(copy), "tiny", "MCG-NJU/x"]
