"""A sweep's folder: makes a new one, or opens one again with the settings that its sweep began with."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lscht_ray.artifacts import places, recorder
from lscht_ray.errors import InputError
from lscht_ray.host.files import slug, write_json, write_text
from lscht_ray.settings import files
from lscht_ray.settings.allowed import as_typed
from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.settings.train import absolute, with_new_fields

FREE = frozenset(("num_trials", "budget", "resources", "max_failures", "trial_runner", "storage_path", "start_from"))
"""Settings that a sweep may go on with changed."""


@dataclass(frozen=True)
class Sweep:
    """A sweep in its folder.

    Attributes:
        config: Its settings, paths absolute.
        folder: The local folder.
        place: The same for all nodes: a folder or a URI.
        num_trials: Trials in all.
        tested: Whether the data set has clips in its test split.
        driver: Stands for this driver among those that the sweep has had.
    """

    config: SweepConfig
    folder: Path
    place: str
    num_trials: int
    tested: bool = True
    driver: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def url(self) -> str:
        """Of the study's database."""
        return self.config.study_storage or f"sqlite:///{self.folder / places.STUDY}"


def with_absolute_paths(sweep: SweepConfig) -> SweepConfig:
    """The same settings with absolute paths: workers run in other folders."""
    update: dict[str, Any] = {"train": absolute(sweep.train)}
    models = sweep.search_space.get("model_name")
    if models is not None and models.choices is not None:
        choices = [absolute(sweep.train.model_copy(update={"model_name": name})).model_name for name in models.choices]
        update["search_space"] = {**sweep.search_space, "model_name": models.model_copy(update={"choices": choices})}
    if sweep.warm_start is not None:
        update["warm_start"] = str(Path(sweep.warm_start).expanduser().resolve())
    return sweep.model_copy(update=update)


def new_folder(sweep: SweepConfig) -> tuple[Path, str]:
    """A new local folder for the sweep, and its place for all nodes: the same, or below the given URI."""
    name, storage_path = slug(sweep.train.run_name) or "sweep", sweep.storage_path
    if "://" in storage_path:
        (folder,) = recorder.new_folder(["models/checkpoints"], name)
        return folder, f"{storage_path.rstrip('/')}/{folder.name}"
    (folder,) = recorder.new_folder([storage_path], name)
    return folder, str(folder)


def place_of(folder: Path) -> str:
    """Where a sweep's trials are: in its folder, which may have been moved, or at the URI that it began with."""
    written = folder / places.PLACE
    place = written.read_text(encoding="utf-8").strip() if written.is_file() else ""
    return place if "://" in place else str(folder)


def settle(sweep: SweepConfig, folder: Path, place: str, extend: int | None, *, new: bool) -> int:
    """Write the settings of a new sweep, or compare them with those that it began with.

    Args:
        sweep: The settings.
        folder: The sweep's folder.
        place: Where its trials are.
        extend: So many trials more; None: as many as there were.
        new: Whether the sweep begins now.

    Returns:
        How many trials it has in all.

    Raises:
        InputError: What differs.
    """
    if extend is not None and extend < 1:
        raise InputError(f"--extend {extend}: how many trials more? 1 or more")
    given = sweep.model_dump(mode="json")
    if new:
        write_text(folder / places.PLACE, place)
    else:
        saved = files.read_json(folder / places.SWEEP)
        train = with_new_fields(sweep.train, saved.pop("train", {}))
        before, now = _leaves({**with_new_fields(sweep, saved), "train": train}), _leaves(given)
        different = [
            line
            for name, value in now.items()
            if name not in FREE and name in before
            for line in _differences(name, before[name], value)
        ]
        if different:
            raise InputError("\n".join([f"--resume {folder}: the sweep began with other settings:", *different]))
        given["num_trials"] += extend or 0
    write_json(folder / places.SWEEP, given)
    return int(given["num_trials"])


def _differences(name: str, was: Any, now: Any) -> Iterator[str]:
    """A line for each setting that was another, down to those within settings."""
    if was == now:
        return
    if isinstance(was, dict) and isinstance(now, dict):
        for key in {**was, **now}:
            yield from _differences(f"{name}.{key}", was.get(key), now.get(key))
    else:
        yield f"  {name}: was {as_typed(was)}, now {as_typed(now)}"


def _leaves(values: dict[str, Any]) -> dict[str, Any]:
    """The settings, those of `train` each for itself."""
    train = values.get("train", {})
    return {name: value for name, value in values.items() if name != "train"} | {
        f"train.{name}": value for name, value in train.items()
    }
