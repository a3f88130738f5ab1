"""What is wrong with settings, in sentences: pydantic finds it, and says it in words for programmers."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from lscht_ray.settings.allowed import allowed, complaint, field_at, names_at
from lscht_ray.settings.data import MisfitError, WrongKindError
from lscht_ray.settings.synonyms import suggestion


@dataclass(frozen=True)
class Complaint:
    """What is wrong with a setting.

    Attributes:
        loc: The setting, part by part.
        text: What is wrong.
        misfit: Whether it contradicts other settings, which a flag or another file may still change.
    """

    loc: tuple[Any, ...]
    text: str
    misfit: bool = False


def complaints(model: type[BaseModel], error: ValidationError) -> Iterator[Complaint]:
    """What is wrong, setting by setting: one complaint for each, whatever pydantic tried."""
    said = set[tuple[Any, ...]]()
    for item in error.errors():
        loc, cause = item["loc"], item.get("ctx", {}).get("error")
        where = ".".join(map(str, loc))
        if isinstance(cause, MisfitError):
            for name, sentence in cause.problems:
                yield Complaint((*loc, *name.split(".")), f"{where}: {sentence}" if where else sentence, misfit=True)
        elif item["type"] == "extra_forbidden":
            yield Complaint(loc, f"{where}: no such setting{suggestion(str(loc[-1]), names_at(model, loc[:-1]))}")
        elif cause is not None and not isinstance(cause, WrongKindError):
            value = item["input"]
            shown = "" if isinstance(value, dict | BaseModel) else f" (given: {value})"
            message = item["msg"].removeprefix("Value error, ")
            yield Complaint(loc, f"{where}: {message}{shown}" if where else message)
        else:
            field, depth = field_at(model, loc)
            place = loc[:depth]
            if field is None or place in said:
                continue
            said.add(place)
            where = ".".join(map(str, place))
            if item["type"] == "missing":
                yield Complaint(place, f"{where} is missing: it must be {allowed(field)}")
            else:
                yield Complaint(place, f"{where} {complaint(field, _within(error, place, item))}")


def in_flags_of_a_sweep(text: str, names: Iterable[str]) -> str:
    """A message of a run's, with the flags that a sweep has for the run's settings: --train.device for --device.

    Lines that name another door's command stay.
    """
    flag = re.compile(rf"(?<![\w.-])--(?=({'|'.join(names)})\b)")
    return "\n".join(
        line if "python -m lscht_ray." in line else flag.sub("--train.", line) for line in text.split("\n")
    )


def _within(error: ValidationError, place: tuple[Any, ...], item: Any) -> Any:
    """The value at a place: a union's own errors speak of parts of it."""
    same = [each["input"] for each in error.errors() if each["loc"] == place]
    return same[0] if same else item["input"]
