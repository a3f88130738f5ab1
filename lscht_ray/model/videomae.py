"""Builds VideoMAE with a new head for the glosses, from pretrained weights or an earlier run; exports it."""

import copy
import errno
import json
import os
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import VideoMAEConfig
from transformers.models.videomae import VideoMAEForVideoClassification, VideoMAEImageProcessor
from transformers.utils import logging as transformers_logging

from lscht_ray.artifacts import checkpoint, places
from lscht_ray.errors import InputError
from lscht_ray.model import card, hub, positions, shape, weights
from lscht_ray.model._transformers_internals import quick_table, quicken
from lscht_ray.model.positions import POSITION_GRID
from lscht_ray.model.shape import IMAGENET_MEAN, IMAGENET_STD, TINY

HEAD = frozenset(("classifier.weight", "classifier.bias"))
NORM = frozenset(("fc_norm.weight", "fc_norm.bias"))
"""The norm between the mean of all tokens and the head."""
PRE_TRAINING = ("decoder.", "encoder_to_decoder.", "mask_token", "videomae.layernorm.", "layernorm.")
"""Weights that a self-supervised VideoMAE has beyond the encoder: they rebuild masked pictures. The last norm is
replaced by the one before the head, as in VideoMAE's own fine-tuning (run_class_finetuning.py, use_mean_pooling)."""
CLASSIFIER = "VideoMAEForVideoClassification"
AS_TRAINED_HERE = {"dtype": "float32", "return_dict": True, "output_hidden_states": False, "output_attentions": False}
"""What a checkpoint's config may say otherwise: half precision would lose the small steps of the optimizer."""


@dataclass(frozen=True)
class BuiltModel:
    """A built model.

    Attributes:
        model: With its weights.
        mean: Of each colour of its clips, from 0 to 1; subtracted before the model.
        std: Standard deviation of each colour; divided by before the model.
        origin: One line about where its weights come from.
        new_norm: Whether the norm before the head is new, as the head is.
    """

    model: VideoMAEForVideoClassification
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    origin: str
    new_norm: bool = False


def build(
    name: str,
    glosses: tuple[str, ...],
    *,
    num_frames: int,
    image_size: int | None = None,
    head_init_scale: float = 1.0,
    seed: int = 0,
    keep: bool = False,
    stretch: bool = True,
) -> BuiltModel:
    """Build VideoMAE for these glosses: a pretrained backbone and a new head.

    A self-supervised checkpoint, which rebuilds masked pictures and has never classified, is taken without its decoder;
    the head then sees the mean of all tokens through a new norm.

    Args:
        name: Hub id, local folder, an earlier run's folder or checkpoint, or ``tiny`` for a small model with random
            weights.
        glosses: In label order.
        num_frames: Frames per clip, T.
        image_size: Height and width of a clip in pixels; None: the checkpoint's.
        head_init_scale: The new head's weights are multiplied by this.
        seed: Seed of the new weights.
        keep: Whether the loaded weights stay in this process's memory for its next trial.
        stretch: Whether positions are stretched (`positions.interpolated`) where clips are larger, smaller, longer or
            shorter than those that the weights were trained on; else they are numbered anew, as earlier versions did.

    Raises:
        InputError: The checkpoint can't be found, is no VideoMAE, lacks weights, or has weights that VideoMAE has not.
    """
    earlier = _earlier_run(name)
    config = _config(name) if earlier is None else VideoMAEConfig.from_dict(earlier["model_config"])
    bare = earlier is None and CLASSIFIER not in (config.architectures or [CLASSIFIER])
    trained_on = tuple(getattr(config, POSITION_GRID, None) or positions.grid_of(config))
    config.update({"num_frames": num_frames, "image_size": image_size or config.image_size, **_gloss_maps(glosses)})
    config.update(AS_TRAINED_HERE)
    if bare:
        config.update({"use_mean_pooling": True, "architectures": [CLASSIFIER]})
    if config.image_size % config.patch_size:
        raise InputError(shape.wrong_size(config.image_size, config.patch_size))
    if num_frames % config.tubelet_size:
        raise InputError(f"num_frames {num_frames} must be a multiple of the tubelet size, {config.tubelet_size}")
    stretched = stretch and name != "tiny" and trained_on != positions.grid_of(config)
    if stretched:
        config.update({POSITION_GRID: list(trained_on)})
    elif hasattr(config, POSITION_GRID):
        delattr(config, POSITION_GRID)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name == "tiny":
            with quick_table():
                model = VideoMAEForVideoClassification(config)
            origin = "tiny VideoMAE with random weights"
        else:
            if earlier is not None:
                model = _taken_from(name, earlier, config)
            else:
                model = _kept(name, config.to_json_string(), bare) if keep else _pretrained(name, config, bare)
            torch.nn.init.normal_(model.classifier.weight, std=config.initializer_range)
            torch.nn.init.zeros_(model.classifier.bias)
            origin = _origin(name, model, earlier, len(glosses), bare=bare, stretched=stretched)
        model.classifier.weight.data *= head_init_scale
    mean, std = _normalisation(name) if earlier is None else _normalisation_of(earlier)
    return BuiltModel(quicken(model), mean, std, origin, new_norm=bare)


def _refuse_infinite(name: str, model: VideoMAEForVideoClassification) -> None:
    """Refuse weights that would make every loss NaN.

    Raises:
        InputError: Some are no finite numbers.
    """
    taken = ((key, weight) for key, weight in model.named_parameters() if key not in HEAD)
    wrong = [key for key, weight in taken if not torch.isfinite(weight).all()]
    if wrong:
        raise InputError(
            f"--model_name {name}: {len(wrong)} of its weights hold NaN or infinite numbers, the first is {wrong[0]}:"
            " its training failed, or the file is damaged; take another checkpoint"
        )


def _origin(
    name: str,
    model: VideoMAEForVideoClassification,
    earlier: dict[str, Any] | None,
    glosses: int,
    *,
    bare: bool,
    stretched: bool,
) -> str:
    """One line on what was taken, what was not, and what is new."""
    loaded = len(model.state_dict()) - len(HEAD | NORM if bare else HEAD)
    left = f" (its head for {len(earlier['glosses'])} glosses is not)" if earlier is not None else ""
    if bare:
        left = " (self-supervised: its decoder is not)"
    new = "new norm and head" if bare else "new head"
    places = "; positions stretched to another size or number of frames" if stretched else ""
    return f"{loaded} weights loaded from {name}{left}, {new} for {glosses} glosses{places}"


@dataclass(frozen=True)
class Input:
    """The clips that a checkpoint was made for: height and width in pixels, and mean and deviation of each colour."""

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def input_of(name: str) -> Input:
    """For which clips a checkpoint was made. Its weights are not built.

    Raises:
        InputError: The checkpoint can't be found, or is no VideoMAE.
    """
    earlier = _earlier_run(name)
    if earlier is None:
        return Input(int(_config(name).image_size), *_normalisation(name))
    return Input(int(earlier["model_config"]["image_size"]), *_normalisation_of(earlier))


@lru_cache(maxsize=1)
def _loaded_once(name: str, config: str, bare: bool) -> VideoMAEForVideoClassification:
    return _pretrained(name, VideoMAEConfig.from_dict(json.loads(config)), bare)


def _kept(name: str, config: str, bare: bool) -> VideoMAEForVideoClassification:
    """Return a copy of the pretrained model, which is loaded once per process."""
    return copy.deepcopy(_loaded_once(name, config, bare))


def rebuild(config: dict[str, Any], state: dict[str, torch.Tensor]) -> VideoMAEForVideoClassification:
    """Build the model of one of our checkpoints, with its weights."""
    with quick_table():
        model = VideoMAEForVideoClassification(VideoMAEConfig.from_dict(config))
    model.load_state_dict(state)
    return quicken(model)


def export(content: dict[str, Any], folder: Path) -> None:
    """Write a checkpoint's model as `from_pretrained` reads it: config, safetensors, and how clips are made.

    Args:
        content: What `checkpoint.load` returned.
        folder: Is written under another name first; a folder of that name is removed.

    Raises:
        OSError: It can't be written.
    """
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        rebuild(content["model_config"], content["model"]).save_pretrained(temporary)
        clip_format = content["clip_format"]
        size, mean, std = clip_format["image_size"], list(clip_format["mean"]), list(clip_format["std"])
        square = {"height": size, "width": size}
        cut = clip_format.get("eval_crop", "centre") == "centre"
        shape = {"size": {"shortest_edge": size}, "crop_size": square} if cut else {"size": square}
        VideoMAEImageProcessor(do_center_crop=cut, image_mean=mean, image_std=std, **shape).save_pretrained(temporary)
        card.write(content, temporary)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except SafetensorError as error:  # it wraps the error of a full disk
        raise OSError(errno.EIO, str(error)) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        transformers_logging.set_verbosity(verbosity)
        transformers_logging.enable_progress_bar()


def _earlier_run(name: str) -> dict[str, Any] | None:
    """Return the checkpoint where the name is that of one of ours or of its run folder; else None."""
    weights.check(name)
    path = Path(name).expanduser()
    return checkpoint.load(places.find_model(path)) if path.is_file() or weights.is_run(path) else None


def _taken_from(name: str, earlier: dict[str, Any], config: VideoMAEConfig) -> VideoMAEForVideoClassification:
    """Build the model of an earlier run with another head."""
    with quick_table():
        model = VideoMAEForVideoClassification(config)
    state = {key: value for key, value in earlier["model"].items() if key not in HEAD}
    model.load_state_dict(state | {key: model.state_dict()[key] for key in HEAD})
    _refuse_infinite(name, model)
    return model


def _normalisation_of(earlier: dict[str, Any]) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    (a, b, c), (d, e, f) = (earlier["clip_format"][name] for name in ("mean", "std"))
    return (a, b, c), (d, e, f)


def _gloss_maps(glosses: tuple[str, ...]) -> dict[str, Any]:
    return {
        "num_labels": len(glosses),
        "id2label": dict(enumerate(glosses)),
        "label2id": {gloss: label for label, gloss in enumerate(glosses)},
    }


def _config(name: str) -> VideoMAEConfig:
    if name == "tiny":
        return VideoMAEConfig(**TINY)
    config = _fetched(name, lambda: VideoMAEConfig.from_pretrained(_location(name), trust_remote_code=False))
    weights.check_type(config.model_type, name)
    return config


def _location(name: str) -> str:
    folder = Path(name).expanduser()
    return str(folder) if folder.is_dir() else name


def _fetched(name: str, fetch: Any) -> Any:
    try:
        return fetch()
    except Exception as error:  # what a wrong setting ends in: transformers raises AttributeError, KeyError and more
        lines = str(error).strip().splitlines() or [""]
        reason = " ".join(line.strip() for line in lines[: 1 + lines[0].endswith(":")])
        if not isinstance(error, OSError | ValueError):
            reason = f"{type(error).__name__}: {reason}"
        if Path(name).expanduser().is_dir():
            raise InputError(f"--model_name {name}: the model can't be read ({reason})") from None
        raise InputError(
            f"--model_name {name}: there is no such folder here, and it can't be had from the hub ({reason})\n"
            f"  {hub.WITHOUT_NETWORK}"
        ) from None


def _pretrained(name: str, config: VideoMAEConfig, bare: bool) -> VideoMAEForVideoClassification:
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # our own line says which head is new
    transformers_logging.disable_progress_bar()
    try:
        with quick_table():
            model, info = _fetched(
                name,
                lambda: VideoMAEForVideoClassification.from_pretrained(
                    _location(name),
                    config=config,
                    dtype=torch.float32,
                    ignore_mismatched_sizes=True,
                    output_loading_info=True,
                    trust_remote_code=False,
                ),
            )
    finally:
        transformers_logging.set_verbosity(verbosity)
        transformers_logging.enable_progress_bar()
    mismatched = {key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]}
    missing = sorted((set(info["missing_keys"]) | mismatched) - (HEAD | NORM if bare else HEAD))
    unexpected = {key for key in info["unexpected_keys"] if not (bare and key.startswith(PRE_TRAINING))} - HEAD
    if missing or unexpected:
        lines = [f"  not in the checkpoint, or of another shape: {', '.join(missing)}"] if missing else []
        lines += [f"  in the checkpoint, but no part of such a model: {', '.join(sorted(unexpected))}"] * bool(
            unexpected
        )
        raise InputError("\n".join([f"--model_name {name}: only the head may be new, but", *lines]))
    _refuse_infinite(name, model)
    return model


def _normalisation(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return mean and standard deviation per colour, of the checkpoint's image processor, else of ImageNet."""
    if name == "tiny":
        return IMAGENET_MEAN, IMAGENET_STD

    def fetch() -> VideoMAEImageProcessor | None:
        try:
            return VideoMAEImageProcessor.from_pretrained(_location(name), trust_remote_code=False)
        except OSError:  # the checkpoint has none
            return None

    processor = _fetched(name, fetch)
    if processor is None:
        return IMAGENET_MEAN, IMAGENET_STD
    mean, std = (
        (float(values[0]), float(values[1]), float(values[2])) for values in (processor.image_mean, processor.image_std)
    )
    return mean, std
