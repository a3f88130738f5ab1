"""`--help` of a door: the settings that matter first; with a word after it all of them, a section or one setting."""

import re
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from lscht_ray.errors import InputError
from lscht_ray.settings.allowed import allowed, nearest

WIDEST = 120
"""Columns of the text at most."""
INDENT = " " * 26
ALL = "all"


@dataclass(frozen=True)
class Setting:
    """A setting as `--help` shows it.

    Attributes:
        name: With dots, as the flag has it.
        text: What it means.
        kind: What it may be, in words.
        default: Its default, as YAML has it.
        section: Under which heading it stands.
    """

    name: str
    text: str
    kind: str
    default: str
    section: str

    def lines(self, width: int) -> list[str]:
        """The setting with its meaning, what it may be and its default."""
        flag = f"  --{self.name}"
        body = f"{self.text} ({self.kind}; default {self.default})" if self.kind else self.text
        wrapped = textwrap.wrap(body, width - len(INDENT), break_on_hyphens=False)
        if len(flag) < len(INDENT) - 1:
            return [flag.ljust(len(INDENT)) + wrapped[0], *(INDENT + line for line in wrapped[1:])]
        return [flag, *(INDENT + line for line in wrapped)]


def settings_of(model: type[BaseModel], prefix: str = "", section: str = "") -> Iterator[Setting]:
    """Every setting of a model, those of its groups too; of a sweep's `train` there is one line for all."""
    sections = getattr(model, "SECTIONS", {})
    for name, field in model.model_fields.items():
        section = sections.get(name, section)
        inner = field.annotation
        text = " ".join((field.description or "").split())
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            if name == "train":
                note = "Every setting of `train`, as in --train.lr 1e-4: python -m lscht_ray.train --help"
                yield Setting("train.NAME", note, "", "", section)
                continue
            title = f"{name}: {' '.join((inner.__doc__ or '').split()).partition('. ')[0].rstrip('.')}"
            yield from settings_of(inner, f"{prefix}{name}.", title)
        else:
            default = field.get_default(call_default_factory=True, validated_data={})
            yield Setting(f"{prefix}{name}", text, allowed(field), _yaml(default), section)


def _yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict) and value:
        return ", ".join(value)
    return "empty" if value in ("", [], {}) else str(value)


def wanted(argv: list[str]) -> str | None:
    """The word after `--help`; empty: there is none; None: help is not asked for."""
    for number, word in enumerate(argv):
        if word in ("-h", "--help"):
            after = argv[number + 1 : number + 2]
            return after[0].lstrip("-") if after else ""
    return None


def text(model: type[BaseModel], topic: str, *, usage: str, description: str, flags: str) -> str:
    """The help of a door.

    Args:
        model: Its settings.
        topic: Empty: what matters first; `all`; the name of a section or of a setting.
        usage: How it is called.
        description: What it does.
        flags: The help of the flags that are no settings.

    Raises:
        InputError: There is no such topic.
    """
    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
    found = list(settings_of(model))
    if topic and topic != ALL:
        return _of_topic(found, topic, width)
    lines = [f"usage: {usage}", "", *textwrap.wrap(description, width), ""]
    if flags:
        lines += [re.sub(r"\s*\((type|default):[^)]*\)", "", flags), ""]
    sections = list(dict.fromkeys(setting.section for setting in found))
    if topic == ALL:
        for section in sections:
            lines += [section, *_listed([each for each in found if each.section == section], width), ""]
        return "\n".join(lines).rstrip()
    first = getattr(model, "FIRST", ())
    leading = sorted((each for each in found if each.name in first), key=lambda each: first.index(each.name))
    lines += ["What matters first:", *_listed(leading, width), ""]
    if len(first) < len(found):
        lines += ["All others, by section (--help SECTION, --help NAME and --help all say more):"]
        for section in sections:
            names = ", ".join(each.name for each in found if each.section == section)
            title, _, _ = section.partition(":")
            lines += textwrap.wrap(f"{title}: {names}", width, initial_indent="  ", subsequent_indent="      ")
    return "\n".join(lines)


def _listed(settings: list[Setting], width: int) -> list[str]:
    return [line for setting in settings for line in setting.lines(width)]


def _of_topic(found: list[Setting], topic: str, width: int) -> str:
    section = [each for each in found if each.section.partition(":")[0].lower() == topic.lower()]
    one = [each for each in found if topic in (each.name, each.name.rpartition(".")[2])]
    if section:
        return "\n".join([section[0].section, *_listed(section, width)])
    if one:
        return "\n".join(_listed(one, width))
    near = nearest(topic, [each.name for each in found])
    raise InputError(f"--help {topic}: no such setting or section" + (f": did you mean {near}?" if near else ""))
