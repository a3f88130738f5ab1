"""What a setting may be, in words, and what somebody probably meant who wrote something else."""

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

WORDS = {
    "center": "centre", "crop": "centre", "pad": "letterbox", "stretch": "squash", "resize": "squash",
    "float16": "fp16", "half": "fp16", "float32": "fp32", "full": "fp32", "bfloat16": "bf16", "mixed": "auto",
    "accuracy": "val_accuracy", "acc": "val_accuracy", "val_acc": "val_accuracy", "loss": "val_loss",
    "seconds": "second", "s": "second", "sec": "second", "ms": "millisecond", "frames": "frame",
    "bayes": "tpe", "bayesian": "tpe", "optuna": "tpe", "halving": "asha", "hyperband": "asha",
    "av": "pyav", "ffmpeg": "pyav", "memory": "ram", "none": "off", "false": "off", "gpu": "cuda", "flash": "sdpa",
    "log": "loguniform", "log_uniform": "loguniform", "integer": "int", "categorical": "choice", "grid": "choice",
    "prueba": "test", "testing": "test", "validación": "val", "validacion": "val", "validation": "val", "valid": "val",
    "dev": "val", "entrenamiento": "train", "training": "train", "todo": "all", "todos": "all",
    "segundos": "second", "segundo": "second", "milisegundos": "millisecond", "fotogramas": "frame", "español": "es",
    "tabla": "table", "carpetas": "folders", "signer": "by_signer", "random": "stratified",
}  # fmt: skip
"""Values that people write, and what they are called here. They count where the setting knows that value."""
YES, NO = ("si", "sí", "yes", "y", "ja", "oui", "on", "1", "t"), ("no", "n", "nein", "non", "off", "0", "f")
EXAMPLES = {
    "Dimension": "{type: loguniform, low: 1.0e-5, high: 1.0e-3}",
    "ColumnMap": "{path: file, label: gloss}",
    "SamplerConfig": "{type: tpe, seed: 42}",
}


def field_at(model: type[BaseModel], loc: Sequence[Any]) -> tuple[FieldInfo | None, int]:
    """The field that a place in the settings belongs to, and how many parts of the place lead to it."""
    field, used, inner = None, 0, model
    while used < len(loc) and (found := inner.model_fields.get(str(loc[used]))) is not None:
        field, used = found, used + 1
        named = _model_of(get_args(found.annotation)[1:]) if get_origin(found.annotation) is dict else None
        if named is not None and used < len(loc):  # settings by name, as those of search_space
            field, used = FieldInfo(annotation=named), used + 1
        within = named or _model_of(_members(found.annotation))
        if within is None:
            break
        inner = within
    return field, used


def names_at(model: type[BaseModel], loc: Sequence[Any]) -> list[str]:
    """The names of the settings that there are at a place."""
    field, used = field_at(model, loc)
    within = _model_of(_members(field.annotation)) if field is not None and used == len(loc) else None
    return list((within or model).model_fields)


def _model_of(kinds: Sequence[Any]) -> type[BaseModel] | None:
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def complaint(field: FieldInfo, value: Any) -> str:
    """What is wrong with a value: what is allowed, what was given, and what was probably meant."""
    given = f" (given: {as_typed(value)})"
    return f"must be {allowed(field)}{given}{hint(field, value)}"


def allowed(field: FieldInfo) -> str:
    """What a field may be, in words."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "allowed" in extra:
        return str(extra["allowed"])
    return _allowed(field.annotation, field.metadata)


def _allowed(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _allowed(inner, [*metadata, *more])
    members = _members(annotation)
    if len(members) > 1:
        return " or ".join(_allowed(each, metadata) for each in members)
    if annotation in (None, NoneType):
        return "null"
    if get_origin(annotation) is Literal:
        *most, last = [as_typed(each) for each in get_args(annotation) if each not in ("\\t",)]
        return f"{', '.join(most)} or {last}" if most else last
    if annotation is bool:
        return "true or false"
    if annotation in (int, float):
        return ("a whole number" if annotation is int else "a number") + _range(_bounds(metadata))
    if annotation is str:
        return "text that is not empty" if "min_length" in _bounds(metadata) else "text"
    if annotation is Path:
        return "a path"
    if get_origin(annotation) is list:
        return "a list such as [a, b]"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        first = next(iter(annotation.model_fields))
        return f"settings such as {EXAMPLES.get(annotation.__name__, f'{{{first}: ...}}')}"
    return "settings such as {name: value}"


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def takes_bool(annotation: Any) -> bool:
    """Whether true and false are among a field's values."""
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return any(map(takes_bool, get_args(annotation)))
    return annotation in (bool, Any) or (get_origin(annotation) is Literal and bool in map(type, get_args(annotation)))


def _bounds(metadata: Sequence[Any]) -> dict[str, Any]:
    """The limits among a field's metadata, by their names: ge, gt, le, lt, min_length."""
    found: dict[str, Any] = {}
    for each in metadata:
        parts = each.metadata if isinstance(each, FieldInfo) else [each]
        for part in parts:
            found |= {
                name: getattr(part, name) for name in ("ge", "gt", "le", "lt", "min_length") if hasattr(part, name)
            }
    return {name: value for name, value in found.items() if value is not None}


def _range(bounds: dict[str, Any]) -> str:
    low = f"from {bounds['ge']:g}" if "ge" in bounds else f"above {bounds['gt']:g}" if "gt" in bounds else ""
    high = f"to {bounds['le']:g}" if "le" in bounds else f"below {bounds['lt']:g}" if "lt" in bounds else ""
    if low and high:
        return f" {low} {high}" if "ge" in bounds and "le" in bounds else f" {low}, {high.replace('to', 'at most')}"
    return f" {low} on" if "ge" in bounds else f" {low or high}" if low or high else ""


def as_typed(value: Any) -> str:
    """A setting's value as a user would type it."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, str):
        return repr(value) if value != value.strip() or not value.isprintable() or not value else value
    return str(value)


def hint(field: FieldInfo, value: Any) -> str:
    """What was probably meant, as `: did you mean X?`; nothing where that can't be told."""
    extra = field.json_schema_extra
    listed = extra.get("values") if isinstance(extra, dict) else None
    known: list[Any] = listed if isinstance(listed, list) else []
    kinds: list[Any] = []
    for each in _members(field.annotation):
        plain = get_args(each)[0] if get_origin(each) is Annotated else each
        kinds += _members(plain)
        known = [*known, *get_args(plain)] if get_origin(plain) is Literal else known
    if isinstance(value, bool) and known:
        return _mean(next((word for word in ("off", "none", "no") if not value and word in known), ""))
    if not isinstance(value, str):
        return _share(field, value)
    if bool in kinds:
        return _mean("true" if value.lower() in YES else "false" if value.lower() in NO else "")
    if known and (meant := meant_of(value, [str(each) for each in known])):
        return _mean(meant)
    if not {int, float} & set(kinds):
        return ""
    if share := _share(field, re.sub(r"\s*%$", "", value)):
        return share
    return _number(value, whole=float not in kinds)


def meant_of(value: str, known: Sequence[str]) -> str:
    """Which of the known values somebody meant; nothing where none is near."""
    word = WORDS.get(value.lower(), value.lower())
    if word in known:
        return word
    return next(iter(difflib.get_close_matches(word, known, n=1, cutoff=0.7)), "")


def _number(text: str, *, whole: bool) -> str:
    """A number that is written in another way than YAML has it."""
    if not whole and re.fullmatch(r"[+-]?\d*,\d+(e[+-]?\d+)?", text):
        return f": write a decimal point: {text.replace(',', '.')}"
    if whole and re.fullmatch(r"\d+(\.\d*)?e\+?\d+", text):
        return _mean(f"{float(text):.0f}")
    if found := re.fullmatch(r"(\d+)x\1", text):
        return f": one number for both: {found[1]}"
    if found := re.fullmatch(r"([\d.]+)\s*([^\d\s.,]+)", text):
        return f": leave out {found[2]!r}: {found[1]}" if found[2].lower() != "e" else ""
    return ""


def _share(field: FieldInfo, value: Any) -> str:
    """A share that is written in percent."""
    bounds = _bounds(field.metadata)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return ""
    if 1 in (bounds.get("le"), bounds.get("lt")) and 2 <= number <= 100:  # 1.5 is rather too high a share
        return _mean(f"{number / 100:g}")
    return ""


def _mean(word: str) -> str:
    return f": did you mean {word}?" if word else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """The name that is written nearly alike; nothing where none is."""
    plain = {each.lstrip("-"): each for each in known}
    begun = [each for each in plain if len(name.lstrip("-")) > 3 and each.startswith(name.lstrip("-"))]
    if len(begun) == 1:
        return plain[begun[0]]
    found = difflib.get_close_matches(name.lstrip("-"), plain, n=1, cutoff=0.75)
    return plain[found[0]] if found else ""
