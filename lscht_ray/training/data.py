"""The data set of a run, read and looked at; frames of new videos go into the clip cache in the same pass."""

from collections.abc import Callable, Iterable

from rich.console import Console

from lscht_ray.artifacts.figures import TOP5
from lscht_ray.checking import survey
from lscht_ray.checking.usable import ClipSet
from lscht_ray.clips import fill
from lscht_ray.dataset.annotations import Annotations
from lscht_ray.errors import InputError
from lscht_ray.model import shape
from lscht_ray.settings.train import TrainConfig
from lscht_ray.shown import counted
from lscht_ray.video.pictures import default_short_side

DECODING = frozenset(
    ("model_name", "image_size", "short_side", "pixel_format", "decoder", "salvage", "crop_to_bbox", "cache_max_frames")
)
"""Settings that decide which pictures the cache holds."""


def ready(
    config: TrainConfig,
    screen: Console,
    *,
    keep: bool = True,
    accept: Callable[[Annotations], None] = lambda annotations: None,
) -> ClipSet:
    """The data set as training can use it (`survey.ready`).

    Args:
        config: The settings.
        screen: Where progress is shown.
        keep: Whether frames of new videos go into the cache: not where nothing is trained, or with other settings.
        accept: Gets what the annotations say before the first video is opened, and may refuse it.

    Raises:
        InputError: The data set can't be trained on; the message says why.
    """
    keeper = fill.Keeper(config, lambda: short_side(config), screen) if keep else None

    def look(annotations: Annotations) -> None:
        accept(annotations)
        if config.untrained_glosses == "error":  # else glosses may turn out to have no clip that can be used
            check_number(config, annotations)

    clip_set = survey.ready(config, screen, keeper, look)
    check_metrics((config.best_metric, config.early_stopping_metric), clip_set)
    check_number(config, clip_set.annotations)
    return clip_set


def check_number(config: TrainConfig, annotations: Annotations) -> None:
    """Refuse data that have not as many glosses as ``num_classes`` says.

    Raises:
        InputError: They have more or fewer.
    """
    if config.num_classes not in (None, len(annotations.glosses)):
        raise InputError(
            f"num_classes is {config.num_classes}, and {annotations.root} has"
            f" {counted(len(annotations.glosses), 'gloss')}: give the data that are meant, or leave num_classes out"
        )


def check_metrics(metrics: Iterable[str], clip_set: ClipSet) -> None:
    """Refuse a metric that says nothing of so few glosses.

    Raises:
        InputError: There is one.
    """
    count = len(clip_set.glosses)
    if count <= TOP5 and "val_top5_accuracy" in metrics:
        raise InputError(
            f"val_top5_accuracy: of {count} glosses the right one is always among the first {TOP5}: judge by"
            " val_accuracy, val_mean_class_accuracy or val_loss"
        )


def short_side(config: TrainConfig) -> int | None:
    """At which short side, in pixels, a run will decode videos; None where its model can't be found."""
    if config.short_side is not None:
        return config.short_side
    size = config.image_size or shape.image_size(config.model_name)
    return None if size is None else default_short_side(size)
