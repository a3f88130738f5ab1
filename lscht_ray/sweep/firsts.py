"""What a sweep tries first, and what it knows from another one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lscht_ray.artifacts import places
from lscht_ray.errors import InputError
from lscht_ray.host.files import read_json
from lscht_ray.settings import commandline, files
from lscht_ray.settings.space import Dimension
from lscht_ray.settings.sweep import SweepConfig

BASELINE = "train"
"""The origin of the first trial: the settings of `train` as they stand."""


def points(sweep: SweepConfig) -> list[tuple[str, dict[str, Any]]]:
    """The settings to try first, each with where it comes from: `train` as it stands, then those of `start_from`.

    Of what `start_from` names only the searched settings are taken.

    Raises:
        InputError: It can't be read, or has a value outside of the search space.
    """
    tried = [(BASELINE, sweep.first_point())]
    for source in sweep.start_from:
        given = _settings(source)
        values = {name: given.get(name, getattr(sweep.train, name)) for name in sweep.search_space}
        chosen = {name: values[name] for name in sweep.searched(values)}
        for name, value in chosen.items():
            if not _within(sweep.search_space[name], value):
                text = f"start_from {source}: its {name} ({value!r}) is outside of search_space.{name}: widen that"
                raise InputError(text)
        if chosen not in [params for _, params in tried]:
            tried.append((source, chosen))
    return tried


def _settings(source: str) -> dict[str, Any]:
    """The settings of `train` in a recipe, a sweep file, a run folder or a sweep folder (of its best trial)."""
    path = Path(source).expanduser()
    if (path / places.SUMMARY).is_file():
        best = _summary(path).get("best")
        if not best:
            raise InputError(f"start_from {source}: that sweep has no best trial")
        return {**files.read_json(path / places.SWEEP).get("train", {}), **best["params"]}
    if (path / places.CONFIG).is_file():
        return files.read_json(path / places.CONFIG)
    content, _ = files.read_settings(commandline.find_config(source))
    return dict(content.get("train", content))


def _summary(path: Path) -> dict[str, Any]:
    content, _ = read_json(path / places.SUMMARY)
    if not isinstance(content, dict):
        raise InputError(f"{path / places.SUMMARY} is no sweep's summary")
    return content


def _within(dimension: Dimension, value: Any) -> bool:
    if dimension.choices is not None:
        return value in dimension.choices
    if not isinstance(value, int | float) or dimension.low is None or dimension.high is None:
        return False
    return dimension.low <= value <= dimension.high


@dataclass(frozen=True)
class Known:
    """A trial of an earlier sweep.

    Attributes:
        params: The searched settings and their values.
        score: Its best value of the sweep's metric.
        epochs: How many it ran.
        pruned: Whether it was stopped as too weak, or its settings were unfit.
        origin: Where it comes from.
    """

    params: dict[str, Any]
    score: float
    epochs: int
    pruned: bool
    origin: str


def warm_start(folder: str, metric: str) -> Iterator[Known]:
    """The trials of an earlier sweep that have ended; not those that failed, or were to go on later.

    Raises:
        InputError: It is no sweep's folder, or that sweep sought another metric.
    """
    path = Path(folder).expanduser()
    if not (path / places.SUMMARY).is_file():
        raise InputError(f"warm_start {folder}: no sweep folder (it has no {places.SUMMARY})")
    content = _summary(path)
    if content.get("metric") != metric:
        raise InputError(f"warm_start {folder}: that sweep sought {content.get('metric')}, this one seeks {metric}")
    for trial in content.get("trials", []):
        if trial.get("metrics") and trial.get("status") in ("completed", "early_stopped", "pruned", "unfit"):
            yield Known(
                params=trial["params"],
                score=float(trial["metrics"][metric]),
                epochs=int(trial["epochs"]),
                pruned=trial["status"] in ("pruned", "unfit"),
                origin=f"{path.name}/{trial['trial_id']}",
            )
