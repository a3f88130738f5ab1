"""The column map of a data set: where a table, or the names of files, say what each clip is."""

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class ColumnMap(BaseModel):
    """Where a clip's path, gloss, split and so on stand in a table, or in the names of the files.

    A value names a column (`gloss`), or is a template with columns in braces (`videos/{id}.mp4`). The columns of a
    table without header are called 0, 1, 2, ... `{split}` is the key in `files`, and the named groups of `pattern` are
    columns too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    file: str | None = None
    """The table, in the data folder; null: the only one there, or the one that `data` names."""
    files: dict[str, str] = Field(default_factory=dict)
    """Tables by split, as in {train: train.csv, val: "val*.csv"}: all that a name with * or ? fits. Of several names
    (", " between them) the first that is there counts."""
    header: bool = True
    """Whether the first line names the columns (CSV and TSV)."""
    delimiter: Literal["auto", ",", ";", "\t", "|", " ", "\\t", "blank"] = "auto"
    """What separates the cells (\\t: a tab; blank); auto: what the first line has most of, a blank where there is
    nothing else."""
    pattern: str | None = None
    """Regular expression with named groups (Python's), searched in the video's path. With neither `file` nor `files`
    it makes a clip of every video below the data folder whose path it fits."""
    pattern_on: str | None = None
    """The column or template that `pattern` is searched in; null: the video's path."""
    path: str | None = None
    """The video, relative to the data folder (or to `videos`)."""
    label: str | None = None
    """The gloss, or its number."""
    split: str | None = None
    """The split; a clip whose cell is empty gets a drawn one. An empty name: no column is the split."""
    split_names: dict[str, str] = Field(default_factory=dict)
    """What the split's values mean: {"true": train, "false": test}; train, val, dev, test and the like are known,
    in Spanish too."""
    signer: str | None = None
    """The signer."""
    start: str | None = None
    """Where the clip starts in the video."""
    end: str | None = None
    """Where the clip ends; an empty cell, or -1 as in WLASL: at the video's end."""
    unit: Literal["frame", "second", "millisecond"] = "frame"
    """What `start` and `end` count. 0,5 is read as 0.5; times on a clock (00:00:00.500) and with a unit (500 ms) are
    read in columns of seconds and of milliseconds."""
    first_frame: Literal[0, 1] = 0
    """The number that the table gives a video's first frame."""
    end_included: bool = False
    """Whether the frame at `end` belongs to the clip."""
    may_be_cut: bool = False
    """Whether videos may be cut to their ranges already: a range is then applied only where it lies in its video."""
    bbox: list[str] = Field(default_factory=list)
    """Four columns: left, top, right, bottom of the signer's box."""
    bbox_unit: Literal["pixel", "share"] = "pixel"
    """Pixels of the picture as a player shows it (turned, in square pixels), or shares of its sides."""
    gloss_file: str | None = None
    """A table that names each gloss, where `label` is a number."""
    gloss_number: str = "0"
    """The column of `gloss_file` with the numbers."""
    gloss_name: str = "1"
    """The column of `gloss_file` with the names."""
    recognised_by: list[str] = Field(default_factory=list)
    """Files (with * and ?) that all must be there for `layout: auto` to take this map."""

    @field_validator("delimiter", mode="before")
    @classmethod
    def _tab(cls, delimiter: Any) -> Any:
        names = {"\\t": "\t", "blank": " "}
        return names.get(delimiter, delimiter) if isinstance(delimiter, str) else delimiter

    @field_validator("split_names", mode="before")
    @classmethod
    def _text_keys(cls, names: Any) -> Any:
        """Turn keys into text: YAML reads an unquoted true as a boolean."""
        return {str(key).lower(): value for key, value in names.items()} if isinstance(names, dict) else names

    @model_validator(mode="after")
    def _fits_together(self) -> "ColumnMap":
        for name, splits in (("split_names", set(self.split_names.values())), ("files", set(self.files))):
            if wrong := sorted(splits - {"train", "val", "test"}):
                raise ValueError(f"{name}: {wrong[0]!r} is none of train, val, test")
        if len(self.bbox) not in (0, 4):
            raise ValueError(f"bbox names four columns (left, top, right, bottom), not {len(self.bbox)}")
        if self.file and self.files:
            raise ValueError("give file or files, not both")
        if self.end is not None and self.start is None:
            raise ValueError("end needs start")
        if self.pattern is not None:
            try:
                groups = set(re.compile(self.pattern).groupindex)
            except re.error as error:
                raise ValueError(f"pattern {self.pattern!r} is no regular expression: {error}") from None
            if not groups:
                raise ValueError(f"pattern {self.pattern!r} has no named group: write (?P<label>...)")
        return self

    @property
    def listed(self) -> bool:
        """Whether there is no table: the clips are the files that `pattern` fits."""
        return self.pattern is not None and not self.file and not self.files
