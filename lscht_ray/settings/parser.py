"""The flags of a door: complains in sentences of its own."""

import re
from collections.abc import Sequence
from typing import Any, NoReturn

from jsonargparse import ArgumentParser
from pydantic import BaseModel

from lscht_ray.errors import InputError
from lscht_ray.settings._jsonargparse_internals import (
    expected,
    missing_words,
    unknown_words,
    without_value,
    wrong_setting,
)
from lscht_ray.settings.allowed import allowed, complaint, field_at
from lscht_ray.settings.synonyms import of_another_door, suggestion

KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}
"""What plain flags take, by the names of Python's types."""


class Parser(ArgumentParser):
    """An argument parser that raises its complaints as InputErrors: one message, without the usage.

    Attributes:
        model: The settings of which its flags are; None: of none.
        words: The command line.
    """

    model: type[BaseModel] | None = None
    words: Sequence[str] = ()

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, allow_abbrev=False, **settings)

    def parse_args(self, args: Sequence[str] | None = None, *others: Any, **settings: Any) -> Any:  # type: ignore[override]
        """As argparse's; the words are kept for messages."""
        self.words = list(args or ())
        return super().parse_args(args, *others, **settings)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the complaint: what was given, what is allowed, what was probably meant."""
        del ex
        unknown = unknown_words(message)
        if unknown:
            known = re.findall(r"^ +(--[\w.-]+)", self.format_help(), re.MULTILINE)
            lines = [self._unknown(word.partition("=")[0], known) for word in unknown if _flag(word)[:1] == "-"]
            lines = [*dict.fromkeys(lines)] or [f"{unknown[0]}: what is it?{self._place(unknown[0], known)}"]
            raise InputError("\n".join([*lines, self._more()]))
        if missing := missing_words(message):
            raise InputError(f"{missing} is missing: {self.usage}\n  {self.prog} --help says more")
        raise InputError(f"{self._value(message)}\n{self._more()}")

    def _more(self) -> str:
        return f"  {self.prog} --help{' all' if self.model is not None else ''} lists every setting"

    def _unknown(self, word: str, known: list[str]) -> str:
        """A flag that there is not; one whose dashes an editor made long is named as it is typed."""
        name = _flag(word)
        if name != word and name in known:
            return f"{word}: it begins with a long dash, as word processors make of two: type {name}"
        if name.lstrip("-").upper() in str(self.usage).split():
            return f"{name}: it stands without a flag: {self.usage}"
        return f"{name}: no such flag{suggestion(name, known) or of_another_door(name)}"

    def _place(self, word: str, known: list[str]) -> str:
        name, equals, value = word.partition("=")
        if equals and f"--{name}" in known:
            return f" Flags begin with --: --{name} {value}"
        example = next((f", as in {flag} FOLDER" for flag in ("--data", "--output") if flag in known), "")
        return f" Flags begin with --{example}"

    def _value(self, message: str) -> str:
        """What is wrong with a value."""
        flag = without_value(message)
        if flag:
            field, _ = field_at(self.model, flag[2:].split(".")) if self.model is not None else (None, 0)
            return f"{flag} needs a value" + (f": {allowed(field)}" if field is not None else "")
        key = wrong_setting(message)
        if not key:
            return message.strip()
        flag, value = _last_given(self.words, key)
        field, _ = field_at(self.model, (flag or key).split(".")) if self.model is not None else (None, 0)
        if field is not None:
            return f"--{flag or key} {complaint(field, value)}"
        kind = KINDS.get(expected(message), "of another kind")
        return f"--{flag or key} must be {kind} (given: {value})"


def _flag(word: str) -> str:
    """The flag in a word of the command line; a dash that an editor made long is two."""
    name = word.partition("=")[0]
    return f"--{name[1:].lstrip('-')}" if name[:1] in "\u2013\u2014\u2212" else name


def _last_given(words: Sequence[str], key: str) -> tuple[str, str]:
    """The last flag of that name, or of a setting within it, and its value."""
    found = ("", "")
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        name = name.removeprefix("--")
        if word.startswith("--") and (name == key or name.startswith(f"{key}.")):
            found = (name, value if equals else words[number + 1] if number + 1 < len(words) else "")
    return found
