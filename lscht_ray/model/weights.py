"""Looks at a model's files before anything is built from them, and says in a sentence what is wrong with one.

Nothing here imports the model: a sweep asks before it starts Ray.
"""

import json
import pickle
import shlex
import warnings
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

from lscht_ray.artifacts import checkpoint_file, places
from lscht_ray.errors import InputError
from lscht_ray.model._model_files import ConfigFile, Kind, ProcessorFile, SettingError, read_as

CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
PROCESSORS = "processor_config.json"
"""Where newer versions of transformers keep all processors of a model, and look first."""
KINDS = frozenset(("F64", "F32", "F16", "BF16", "I64", "I32", "BOOL"))
"""Safetensors' names of the numbers that weights, and the counters beside them, are kept in; others are quantized."""
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""Files that weights are in, or the list of the files that they are in, in the order in which transformers looks."""
OF_ANOTHER_LIBRARY = ("tf_model.h5", "flax_model.msgpack")
LFS_POINTER = b"version https://git-lfs"
"""How a file begins in whose place Git LFS keeps the real one (git-lfs/docs/spec.md)."""
TYPE = "videomae"
HEAD_BYTES = 512
PICKLE_BYTES = 1 << 20
OWN_CODE_KEY = b"blocks.0.attn."
"""A part of the names of weights in VideoMAE's own code (modeling_finetune.py, modeling_pretrain.py)."""


def check(name: str) -> None:
    """Check the files of a model that lies on this machine; one of the hub is not asked for.

    Args:
        name: As for `videomae.build`.

    Raises:
        InputError: A file is missing, cut off, or not what its name says; or the path is a file's that is no checkpoint
            of ours.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        if not is_run(path):
            _check_folder(path, name)
    elif path.is_file():
        _check_file(path, name)
    elif (
        name != "tiny"
        and not name.startswith(("http://", "https://"))
        and (path.is_absolute() or name.startswith(("./", "../")) or name.count("/") > 1)
    ):
        raise InputError(f"--model_name {name}: there is no such folder")


def is_run(folder: Path) -> bool:
    """Whether a folder is an earlier run's."""
    return any((folder / file).is_file() for file in (places.BEST, places.LAST))


def check_type(model_type: str, name: str) -> None:
    """Refuse a model that is of another kind.

    Args:
        model_type: As transformers calls it.
        name: As for `videomae.build`.

    Raises:
        InputError: It is not VideoMAE.
    """
    if model_type != TYPE:
        raise InputError(f"--model_name {name}: it is a {model_type} model, not VideoMAE")


def _check_folder(folder: Path, name: str) -> None:
    if not (folder / CONFIG).is_file():
        if (folder / places.WINNER / places.BEST).is_file():
            raise InputError(
                f"--model_name {name}: it is a sweep's folder; its best model is in"
                f" {shlex.quote(str(folder / places.WINNER))}"
            )
        if any(_of_videomaes_own_code(file) for file in (*folder.glob("*.pth"), *folder.glob("*.pt"))):
            raise InputError(_own_code(name))
        raise InputError(f"--model_name {name}: the folder has no {CONFIG}, so it is no checkpoint of transformers")
    config = _check_json(folder / CONFIG, name)
    check_type(str(config.get("model_type", TYPE)), name)
    sizes = _settings(ConfigFile, config, CONFIG, name)
    for file in (PROCESSOR, PROCESSORS):
        if (folder / file).is_file():
            content = _check_json(folder / file, name)
            own = content.get("image_processor", {}) if file == PROCESSORS else content
            _settings(ProcessorFile, own if isinstance(own, dict) else {"image_mean": own}, file, name)
    for small, large in (("tubelet_size", "num_frames"), ("patch_size", "image_size")):
        size, most = getattr(sizes, small), getattr(sizes, large)
        if size > most:
            raise InputError(f"--model_name {name}: in {CONFIG}, {small} is {size}: allowed are 1 to {most} ({large})")
    found = [file for file in WEIGHTS if (folder / file).is_file()]
    if not found:
        others = [file for file in OF_ANOTHER_LIBRARY if (folder / file).is_file()]
        have = f", only {others[0]}, which is for another library" if others else ""
        raise InputError(
            f"--model_name {name}: the folder holds no weights ({WEIGHTS[0]}){have}: copy that file into it too, or "
            "give the checkpoint's name on the hub"
        )
    for part in _parts(folder, found[0], name):
        _check_weights(part, name)


def _settings(kind: type[Kind], content: dict[str, object], file: str, name: str) -> Kind:
    try:
        return read_as(kind, content)
    except SettingError as error:
        raise InputError(f"--model_name {name}: in {file}, {error}") from None


def _parts(folder: Path, file: str, name: str) -> list[Path]:
    """The files that the weights are in."""
    if not file.endswith(".json"):
        return [folder / file]
    index = _check_json(folder / file, name)
    listed = index.get("weight_map")
    if not isinstance(listed, dict) or not listed or not isinstance(index.get("metadata"), dict):
        raise InputError(
            f"--model_name {name}: {file} lists no weights (weight_map, metadata): copy or download it again"
        )
    parts = sorted({str(part) for part in listed.values()})
    if outside := [part for part in parts if Path(part).name != part]:
        raise InputError(f"--model_name {name}: {file} names {outside[0]!r}, which is not in its folder")
    absent = [part for part in parts if not (folder / part).is_file()]
    if absent:
        raise InputError(
            f"--model_name {name}: {len(absent)} of the {len(parts)} files that {file} names are not in the folder "
            f"({', '.join(absent[:3])}{', …' * (len(absent) > 3)}): copy them into it too"
        )
    return [folder / part for part in parts]


def _check_weights(file: Path, name: str) -> None:
    _check_kind(file, name)
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as opened:  # checks the header, and the length that it says
                kinds = {opened.get_slice(key).get_dtype() for key in opened.keys()}  # noqa: SIM118  # it is no dict
            if kinds - KINDS:
                raise InputError(
                    f"--model_name {name}: {file.name} holds numbers of the kind {min(kinds - KINDS)}, as of a"
                    " quantized model: take the checkpoint in float32 or float16"
                )
            return
        _open_pickle(file)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error) or "weights_only" in str(error):
            raise InputError(
                f"--model_name {name}: {file.name} holds Python code, which is not run: use the {WEIGHTS[0]} of the "
                "same checkpoint"
            ) from None
        raise InputError(_damaged(file, name, error)) from None
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, LookupError) as error:
        raise InputError(_damaged(file, name, error)) from None


def _open_pickle(file: Path) -> None:
    """Read what a file of torch says of its weights. No code in it is ever run."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of how it was pickled
        torch.load(file, map_location="meta", weights_only=True, mmap=zipfile.is_zipfile(file))


def _check_json(file: Path, name: str) -> dict[str, object]:
    _check_kind(file, name)
    try:
        text = file.read_text(encoding="utf-8")
        if text.startswith("\N{BOM}"):
            raise InputError(
                f"--model_name {name}: {file.name} begins with a byte order mark: save it as UTF-8 without"
            )
        content = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(_damaged(file, name, error)) from None
    if not isinstance(content, dict):
        raise InputError(_damaged(file, name, "it holds no settings"))
    return content


def _check_kind(file: Path, name: str) -> None:
    """Refuse what is often found in a file's place."""
    try:
        with file.open("rb") as opened:
            head = opened.read(HEAD_BYTES)
    except OSError as error:
        raise InputError(f"--model_name {name}: {file.name} can't be read: {error.strerror}") from None
    if not head:
        raise InputError(f"--model_name {name}: {file.name} is empty: copy or download it again")
    if head.startswith(LFS_POINTER):
        raise InputError(
            f"--model_name {name}: {file.name} is only Git LFS's note of where the file is: run `git lfs pull` in that "
            "folder, or download the file itself"
        )
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise InputError(
            f"--model_name {name}: {file.name} is a web page that was saved under that name: download the file itself "
            "(on the hub's page: the arrow beside the file)"
        )


def _damaged(file: Path, name: str, error: object) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return f"--model_name {name}: {file.name} is cut off or damaged ({reason}): copy or download it again"


def _check_file(file: Path, name: str) -> None:
    """Refuse a file that can't be one of our checkpoints."""
    if file.suffix in (".safetensors", ".json", ".bin", ".h5", ".msgpack"):
        raise InputError(
            f"--model_name {name}: name the folder, not a file in it: --model_name {shlex.quote(f'{file.parent}')}"
        )
    _check_kind(file, name)
    if _of_videomaes_own_code(file):
        raise InputError(_own_code(name))
    checkpoint_file.check(file)


def _own_code(name: str) -> str:
    return (
        f"--model_name {name}: these weights are in the form of VideoMAE's own code; take them in transformers' form: "
        "the published ones from the hub (MCG-NJU/videomae-base, -large, ...), your own by way of "
        "convert_videomae_to_pytorch.py (github.com/huggingface/transformers, version 4, "
        "src/transformers/models/videomae)"
    )


def _of_videomaes_own_code(file: Path) -> bool:
    """Whether a file of torch holds weights by the names of VideoMAE's own code. Nothing in it is run."""
    try:
        with zipfile.ZipFile(file) as archive:
            (listing,) = [each for each in archive.namelist() if each.endswith("/data.pkl")]
            with archive.open(listing) as opened:
                return OWN_CODE_KEY in opened.read(PICKLE_BYTES)
    except (zipfile.BadZipFile, ValueError):  # torch's older format is one pickle
        with file.open("rb") as opened:
            return OWN_CODE_KEY in opened.read(PICKLE_BYTES)
