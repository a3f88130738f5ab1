"""What can't work on this machine, found out before anything is loaded: torch alone takes seconds."""

import os
from importlib.util import find_spec
from pathlib import Path

from lscht_ray.artifacts import places
from lscht_ray.dataset import demo
from lscht_ray.errors import InputError
from lscht_ray.host import gpus
from lscht_ray.model import shape
from lscht_ray.settings import files
from lscht_ray.settings.train import TrainConfig, absolute, other_settings


def check(config: TrainConfig, *, here: bool = True) -> None:
    """Refuse settings that can be known not to work.

    Args:
        config: The settings, with absolute paths.
        here: Whether it is this machine that trains.

    Raises:
        InputError: There is no such device, the model can't take such pictures, or a folder can't be written.
    """
    if config.lora_rank and find_spec("peft") is None:
        raise InputError('lora_rank needs peft: pip install "lscht_ray[lora]"')
    if here:
        check_device(config.device, config.precision)
    _check_size(config)
    for name in ("checkpoint_dir", "log_dir", "cache_dir"):
        folder = getattr(config, name)
        if folder is not None:
            _check_folder(name, Path(folder))


def with_the_datas(config: TrainConfig, error: InputError) -> InputError:
    """What is wrong with the model, after what is wrong with the data: both are to be put right."""
    from lscht_ray.dataset import annotations
    from lscht_ray.host.console import quiet_console

    if config.data == demo.DEMO:
        return error
    try:
        annotations.read_named(screen=quiet_console(), **config.data_settings())
    except InputError as first:
        return InputError(f"{first}\n{error}")
    return error


def check_resuming(config: TrainConfig, folder: Path) -> None:
    """Refuse to go on with a run with other settings than it began with: its config.json says which these were.

    Raises:
        InputError: What differs.
    """
    began = absolute(TrainConfig.model_validate(files.read_json(folder / places.CONFIG))).model_dump(mode="json")
    if began["batch_size"] == "auto" or config.batch_size == "auto":  # which the checkpoint knows
        began["batch_size"] = config.batch_size
    differences = other_settings(config, began)
    if differences:
        raise InputError(
            "\n".join([f"{folder} began with other settings:", *differences, "  --override goes on all the same"])
        )


def check_device(device: str, precision: str = "auto") -> None:
    """Refuse a device that this machine hasn't, or that can't compute so.

    Raises:
        InputError: There is no such device, or it lacks that precision.
    """
    count = gpus.nvidia_gpus()
    if count is None:
        return
    kind, _, number = device.partition(":")
    if kind == "cuda" and int(number or 0) >= count:
        raise InputError(
            f"--device {device}: this machine has {count} such devices that can be used; --device cpu works anywhere"
        )
    if precision in ("fp16", "tf32") and (not count or kind == "cpu"):
        raise InputError(f"--precision {precision} needs an NVIDIA GPU; on cpu use fp32 or bf16")


def _check_size(config: TrainConfig) -> None:
    patch = shape.patch_size(config.model_name)
    if config.image_size is not None and patch is not None and config.image_size % patch:
        raise InputError(shape.wrong_size(config.image_size, patch))


def _check_folder(name: str, folder: Path) -> None:
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    if not parent.is_dir():
        raise InputError(f"{name} {folder} can't be made: {parent} is no folder")
    if hasattr(os, "statvfs") and os.statvfs(parent).f_flag & os.ST_RDONLY:
        raise InputError(f"{name} {folder} can't be written: Read-only file system; choose another folder")
    if not os.access(parent, os.W_OK):
        raise InputError(f"{name} {folder} can't be written: Permission denied; choose another folder")
