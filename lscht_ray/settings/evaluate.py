"""The settings of `evaluate`."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from lscht_ray.settings.columns import ColumnMap
from lscht_ray.settings.data import Settings
from lscht_ray.settings.train import DEVICE, DEVICE_WORDS


class EvaluateConfig(Settings):
    """What is evaluated, and how; null: as in training."""

    SECTIONS: ClassVar[dict[str, str]] = {"split": "Evaluation"}
    FIRST: ClassVar[tuple[str, ...]] = (
        "split", "data", "output", "videos", "layout", "split_file", "csv_locale", "batch_size", "num_workers", "device"
    )  # fmt: skip

    split: Literal["train", "val", "test", "all"] = "test"
    """Which clips."""
    data: str | None = None
    """Data set; null: the one that the model was trained on."""
    output: Path | None = None
    """A new folder for the results; null: evaluation_SPLIT beside the checkpoint."""
    videos: str | None = None
    """Folder of the videos, where they are not beside the annotations."""
    layout: str | None = None
    """Layout of `data`, where it is not that of the training data."""
    columns: ColumnMap = ColumnMap()
    """Where things stand in a table, where that is not as in the training data."""
    split_file: str | None = None
    """CSV with the columns path and split; null: for the run's own data its splits.csv."""
    csv_locale: Literal["en", "es"] = "en"
    """How the CSV files are written: en with commas between cells and decimal points; es, for Excel in Spanish, German
    or French, with semicolons and decimal commas."""
    batch_size: int = Field(16, ge=1)
    """Clips at a time."""
    num_workers: int = Field(2, ge=0)
    """Data worker processes; 0: this process decodes."""
    device: str = Field("auto", pattern=DEVICE, json_schema_extra=DEVICE_WORDS)
    """cpu, mps, cuda or cuda:N; auto: the first GPU, else the CPU."""
