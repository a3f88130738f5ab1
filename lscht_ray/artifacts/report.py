"""Writes the results of an evaluation as CSV, PNG and JSON files, and as the lines that a person reads first."""

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lscht_ray.artifacts import figures, fonts, places
from lscht_ray.host.files import CsvLocale, write_csv, write_json
from lscht_ray.shown import counted, shown

MOST_NAMED = 200
"""Glosses up to which the picture of the confusion matrix names them: more can't be read there, and take a minute."""
LONGEST = 24
"""Letters of a gloss that the picture shows: longer names leave no room for the matrix."""
LISTED = 5
"""Classes that predictions.csv has of each clip."""


@dataclass(frozen=True)
class Prediction:
    """What the model predicted for one clip.

    Attributes:
        video: The file.
        label: The class id of its gloss.
        probabilities: float32 (K,), of every class, with the sum 1.
        part: Of the video, in words; nothing where the clip is all of it.
    """

    video: str
    label: int
    probabilities: NDArray[np.float32]
    part: str = ""

    def best(self, count: int) -> list[tuple[int, float]]:
        """Return the most probable classes, the most probable first, each with its probability."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(int(label), float(self.probabilities[label])) for label in order]


@dataclass(frozen=True)
class Evaluation:
    """The results on one split.

    Attributes:
        glosses: In label order.
        metrics: Figures over all readable clips (see `metrics.Tally.result`).
        confusion: (K, K) counts, rows the true gloss, columns the predicted one.
        predictions: One per readable clip.
        unreadable: The reason of each file that could not be read; no figure counts these.
    """

    glosses: tuple[str, ...]
    metrics: dict[str, float]
    confusion: NDArray[np.int64]
    predictions: tuple[Prediction, ...]
    unreadable: dict[str, str]

    def per_class(self) -> list[dict[str, Any]]:
        """Return the support, accuracy (recall), precision and most frequent mistake of each gloss."""
        rows = []
        for label, gloss in enumerate(self.glosses):
            support, called = int(self.confusion[label].sum()), int(self.confusion[:, label].sum())
            right = int(self.confusion[label, label])
            wrong = self.confusion[label].copy()
            wrong[label] = 0
            rows.append(
                {
                    "gloss": gloss,
                    "support": support,
                    "correct": right,
                    "accuracy": right / support if support else None,
                    "precision": right / called if called else None,
                    "most_confused_with": self.glosses[int(wrong.argmax())] if wrong.any() else "",
                }
            )
        return rows

    def worst(self, count: int = 5) -> list[dict[str, Any]]:
        """Return the rows of the glosses with the lowest accuracy, among those with clips."""
        present = [row for row in self.per_class() if row["support"]]
        return sorted(present, key=lambda row: (row["accuracy"], -row["support"]))[:count]

    def most_confused(self, count: int = 5) -> list[tuple[str, str, int]]:
        """Return the most frequent mistakes as (true gloss, predicted gloss, times)."""
        wrong = self.confusion * (1 - np.eye(len(self.glosses), dtype=np.int64))
        order = np.argsort(-wrong, axis=None, kind="stable")[:count]
        cells = zip(*np.unravel_index(order, wrong.shape), strict=True)
        return [(self.glosses[t], self.glosses[p], int(wrong[t, p])) for t, p in cells if wrong[t, p]]


def new_folder(parent: Path, name: str) -> Path:
    """Return a folder for an evaluation, made or to be made: with a number after its name where that is taken.

    Several evaluations may end at the same time.
    """
    try:
        return places.make_numbered(parent / name)[0]
    except OSError:  # `write` says why it can't be made
        return parent / name


def write(evaluation: Evaluation, folder: Path, about: dict[str, Any], csv_locale: CsvLocale = "en") -> list[Path]:
    """Write `places.EVALUATION_FILES` into a folder; return their paths. ``about`` comes first in metrics.json.

    All are written before the first of them takes its place: those of an earlier evaluation stay where one fails.

    Raises:
        OSError: One can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".evaluation.", dir=folder) as unfinished:
        _write_all(evaluation, Path(unfinished), about, csv_locale)
        return [(Path(unfinished) / name).replace(folder / name) for name in places.EVALUATION_FILES]


def _write_all(evaluation: Evaluation, folder: Path, about: dict[str, Any], csv_locale: CsvLocale) -> None:
    glosses, reached = evaluation.glosses, figures.accuracies(evaluation.metrics)
    content = {
        **about,
        **evaluation.metrics,
        "intervals": {name: [each.low, each.high] for name, each in reached.items()},
        "guessing": {name: max(each.chance, each.constant) for name, each in reached.items()},
        "unreadable": evaluation.unreadable,
        "worst_classes": evaluation.worst(),
        "most_confused": evaluation.most_confused(),
    }
    write_json(folder / places.EVALUATION_METRICS, content)
    per_class = evaluation.per_class()
    write_csv(folder / places.PER_CLASS, [per_class[0].keys(), *(row.values() for row in per_class)], csv_locale)
    _write_predictions(evaluation, folder, csv_locale)
    matrix = ([gloss, *row] for gloss, row in zip(glosses, evaluation.confusion.tolist(), strict=True))
    write_csv(folder / places.CONFUSION, itertools.chain([("true \\ predicted", *glosses)], matrix), csv_locale)
    _draw_confusion(folder / places.CONFUSION_PICTURE, evaluation)


def text(evaluation: Evaluation) -> str:
    """Return the figures, the worst glosses and the most frequent mistakes as lines."""
    metrics, reached = evaluation.metrics, figures.accuracies(evaluation.metrics)
    names = {**figures.NAMES, "accuracy": "top-1"}
    lines = [f"clips {metrics['count']:.0f}   loss {metrics['loss']:.4f}   (in brackets: the 95 % interval)"]
    lines += [f"{names[name]:10} {each.text()}" for name, each in reached.items()]
    if evaluation.unreadable:
        lines.append(f"{counted(len(evaluation.unreadable), 'clip')} could not be read and are in no figure:")
        lines += [f"  {shown(video)}: {shown(reason)}" for video, reason in evaluation.unreadable.items()]
    lines.append("worst classes:")
    lines += [f"  {row['accuracy']:6.1%} of {row['support']:3d}  {shown(row['gloss'])}" for row in evaluation.worst()]
    lines.append("most confused pairs:")
    lines += [
        f"  {times:3d} x  {shown(true)} taken for {shown(predicted)}"
        for true, predicted, times in evaluation.most_confused()
    ]
    return "\n".join(lines)


def _write_predictions(evaluation: Evaluation, folder: Path, csv_locale: CsvLocale) -> None:
    """Write the most probable classes of each clip as CSV, and the probabilities of all classes as an .npz file."""
    glosses, predictions = evaluation.glosses, evaluation.predictions
    count = min(LISTED, len(glosses))
    header = ["video", "true", "predicted", "probability"]
    header += [f"{name}_{place}" for place in range(2, count + 1) for name in ("predicted", "probability")]
    parts = any(prediction.part for prediction in predictions)  # which sign of a recording it is
    header[1:1] = ["range"] * parts
    rows: list[list[Any]] = [header]
    for prediction in predictions:
        best = ((glosses[label], round(probability, 6)) for label, probability in prediction.best(count))
        which = [prediction.video, *[prediction.part] * parts, glosses[prediction.label]]
        rows.append([*which, *(cell for pair in best for cell in pair)])
    write_csv(folder / places.PREDICTIONS, rows, csv_locale)
    np.savez_compressed(
        folder / places.PROBABILITIES,
        videos=np.array([prediction.video for prediction in predictions]),
        ranges=np.array([prediction.part for prediction in predictions]),
        labels=np.array([prediction.label for prediction in predictions], np.int64),
        probabilities=np.stack([prediction.probabilities for prediction in predictions]),
        glosses=np.array(glosses),
    )


def _draw_confusion(path: Path, evaluation: Evaluation) -> None:
    support = evaluation.confusion.sum(axis=1, keepdims=True)
    shares = evaluation.confusion / np.maximum(support, 1)
    count = len(evaluation.glosses)
    side = min(40.0, 3.0 + 0.28 * count)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if count <= MOST_NAMED:
        _label(axes, evaluation.glosses)
    else:
        axes.set_title(f"{count} glosses, by class id: {places.PER_CLASS} has their names in this order")
    if count <= 30:
        for true, predicted in zip(*np.nonzero(evaluation.confusion), strict=True):
            colour = "white" if shares[true, predicted] > 0.5 else "black"
            number = str(evaluation.confusion[true, predicted])
            axes.text(predicted, true, number, ha="center", va="center", color=colour, fontsize=7)
    figure.colorbar(image, label="share of the true gloss's clips", shrink=0.7)
    FigureCanvasAgg(figure).print_png(str(path))


def _label(axes: Any, glosses: Sequence[str]) -> None:
    positions, size = range(len(glosses)), 8 if len(glosses) <= 60 else 5
    names = [f"{name[:LONGEST]}…" if len(name) > LONGEST + 1 else name for name in map(shown, glosses)]
    names = list(map(fonts.drawable, names))
    letters = {"fontsize": size, "parse_math": False, "fontfamily": fonts.for_texts(names)}  # a $ is a letter
    axes.set_xticks(positions, names, rotation=90, **letters)
    axes.set_yticks(positions, names, **letters)
