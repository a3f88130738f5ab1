"""The settings of every door that opens a video: which clips there are, and how they are read."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from lscht_ray.settings.allowed import takes_bool
from lscht_ray.settings.columns import ColumnMap
from lscht_ray.settings.elan import ElanMap

Probability = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseModel):
    """Frozen settings that refuse unknown names; the text under a field is its help."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_word_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and yes where a number is due, and 1 for true: pydantic would take one for the other."""
        field = cls.model_fields[str(info.field_name)]
        word, number = isinstance(value, bool), isinstance(value, int | float)
        if (word and not takes_bool(field.annotation)) or (number and not word and field.annotation is bool):
            raise WrongKindError
        return value


class WrongKindError(ValueError):
    """A value is of another kind than its setting."""


class MisfitError(ValueError):
    """Settings that contradict each other.

    Attributes:
        problems: Pairs of the setting to look at (dotted) and a sentence.
    """

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(sentence for _, sentence in problems))
        self.problems = problems


class DataConfig(Settings):
    """Which clips there are, and how they are read."""

    SECTIONS: ClassVar[dict[str, str]] = {
        "data": "Data", "frame_ranges": "Videos", "num_frames": "Clips", "cache": "Cache"
    }  # fmt: skip
    """The first setting of each section, and the section's name."""
    FIRST: ClassVar[tuple[str, ...]] = ("data", "layout", "videos", "split_policy", "columns.pattern", "elan.tier")
    """What `--help` shows first."""

    # Data
    data: str = Field(".", min_length=1)
    """Data set: a folder, an annotation file (WLASL's JSON, CSV, TSV, JSON, JSONL), or `demo` for the embedded one."""
    layout: str = Field("auto", min_length=1)
    """How the data set is laid out: auto (found out and printed), wlasl, table, folders, lists (VideoMAE's, Kinetics',
    mmaction2's), elan; the name of a shipped map (autsl, asl_citizen, lsa64, ms_asl, include, include_folders, sem_lex,
    slovo), or a YAML file with a column map."""
    columns: ColumnMap = ColumnMap()
    """Column map of your own table or file names (layout auto or table)."""
    elan: ElanMap = ElanMap()
    """Which annotations of ELAN's files are signs (layout auto or elan)."""
    videos: str | None = None
    """Folder that holds the videos, where they are not beside the annotations."""
    missing_threshold: Probability = 0.5
    """Share of annotated videos that may be missing before the run refuses to start."""
    untrained_glosses: Literal["error", "drop"] = "error"
    """Glosses without any training clip: error refuses the data, drop leaves them out of every split."""
    split_policy: Literal["given", "stratified", "by_signer", "kfold", "kfold_by_signer"] = "given"
    """given: as annotated, and stratified where nothing is; stratified: drawn per gloss; by_signer: no signer in two
    splits; kfold: fold number `fold` is test, the next one val; kfold_by_signer: the same without sharing signers."""
    split_file: str | None = None
    """CSV with the columns path and split, which decides instead; a run writes a drawn split as splits.csv."""
    val_fraction: Probability = 0.15
    """Share of the clips that a drawn split has for validation."""
    test_fraction: Probability = 0.15
    """Share of the clips that a drawn split has for the test."""
    val_from_train: float = Field(0.0, ge=0, lt=1)
    """Share of the training clips that becomes val, where the data have train and test alone: drawn per gloss, or of
    whole signers with split_policy by_signer. The test split stays as it is."""
    folds: int = Field(5, ge=3)
    """Number of folds of kfold and kfold_by_signer."""
    fold: int = Field(1, ge=1)
    """Which fold is the test split, from 1 to `folds`."""
    split_seed: int = Field(42, ge=0)
    """Seed of a drawn split, apart from `seed` so that repeated runs see the same split."""

    # Videos
    frame_ranges: Literal["auto", "apply", "ignore"] = "auto"
    """Annotated frame ranges: auto applies them, but WLASL's only where the video holds more than the range; apply:
    always; ignore: the whole video is the clip."""
    crop_to_bbox: bool = False
    """Cut pictures to the annotated box of the signer. Where more than a tenth of the boxes reach beyond their pictures
    (downloaded WLASL clips, which are cut already), it is ignored for all clips, and said."""
    decoder: Literal["auto", "pyav", "decord"] = "auto"
    """Video decoder; auto is PyAV, decord falls back to PyAV where its frames can't be trusted."""
    salvage: bool = False
    """Use the good frames of damaged videos instead of leaving such videos out."""
    min_frames: int = Field(1, ge=1)
    """Fewest decodable frames: videos with fewer are left out."""
    probe_seconds: float = Field(30.0, gt=0, le=86400)
    """Seconds for looking at one video before training, and one more for each MB; a video that hangs is left out."""
    probe_memory_gb: float = Field(2.0, gt=0, le=4096)
    """GiB of memory for looking at one video (an 8192x8192 clip can take 5)."""

    fps: float = Field(25.0, gt=0, le=1000)
    """Frames a second of clips that are folders of pictures, for ranges in seconds; videos tell their own."""

    # Clips
    num_frames: int = Field(16, ge=2)
    """Frames per clip; a multiple of the model's tubelet size (2)."""
    sampling: Literal["frame", "time"] = "frame"
    """Frames are taken evenly by their number, or by their time (variable frame rates)."""
    image_size: int | None = Field(None, ge=16)
    """Height and width of a clip in pixels; null: the model's own."""
    short_side: int | None = Field(None, ge=16)
    """Short side in pixels at which videos are decoded and cached; null: 8/7 of image_size (256 for 224)."""
    pixel_format: Literal["rgb", "yuv420"] = "rgb"
    """How decoded pictures are kept: rgb, or yuv420 at half the memory (colours at half the resolution)."""
    eval_crop: Literal["squash", "letterbox", "centre"] = "squash"
    """What of a picture that is no square the model sees, and training crops from. squash: all, scaled to a square;
    letterbox: all, with black bars; centre: the square in its middle (of 16:9 video 56 %; hands beyond it are lost)."""
    crop_scale_min: float = Field(0.8, gt=0, le=1)
    """Smallest area of the random crop, as a share of what evaluation shows (`eval_crop`; training)."""
    flip_probability: Probability = 0.5
    """Probability of a horizontal flip (training); signs are handed: 0 where left and right differ in meaning."""
    brightness: float = Field(0.2, ge=0, le=1)
    """Brightness jitter: factor drawn from 1 - b .. 1 + b (training)."""
    contrast: float = Field(0.2, ge=0, le=1)
    """Contrast jitter: factor drawn from 1 - c .. 1 + c (training)."""
    saturation: float = Field(0.0, ge=0, le=1)
    """Saturation jitter: factor drawn from 1 - s .. 1 + s (training)."""
    hue: float = Field(0.0, ge=0, le=0.5)
    """Hue jitter: up to this share of the colour circle (training)."""
    rotation: float = Field(0.0, ge=0, le=45)
    """Largest angle of the random rotation, in degrees (training)."""
    randaugment_ops: int = Field(0, ge=0)
    """Operations of RandAugment that are drawn per clip (training); 0: none."""
    randaugment_probability: Probability = 1.0
    """Probability that each of these is applied; VideoMAE's own code has 0.5, so that of 4 operations 2 are."""
    randaugment_magnitude: int = Field(9, ge=0, le=30)
    """Strength of RandAugment, of 30."""
    erasing_probability: Probability = 0.0
    """Probability that a rectangle of the clip is erased (training)."""
    erasing_fill: Literal["mean", "noise"] = "mean"
    """What an erased rectangle shows: the mean colour, or noise that is drawn for each pixel of each frame."""
    boundary_shift: float = Field(0.0, ge=0, le=0.5)
    """Share of a clip's length by which its start and end are moved at most, within the video (training): a clip that
    is a whole video can only become shorter."""
    speed_jitter: float = Field(0.0, ge=0, lt=1)
    """Share by which a clip is played faster or slower at most (training). It takes a longer or shorter part of the
    video; of a clip that is the whole video only a shorter one."""

    # Cache
    cache: Literal["auto", "off", "disk", "ram", "device"] = "auto"
    """Decoded clips are kept on this node: on disk, in ram (a tmpfs), or all in the device's memory; auto: on disk
    where there is room, else off."""
    cache_dir: str | None = None
    """Folder of the cache, on a disk of this node; null: clips in LSCHT_RAY_CACHE or ~/.cache/lscht_ray."""
    cache_gb: float | None = Field(None, gt=0)
    """GiB that the cache may take at most: the longest unused data sets make way; null: what the disk has."""
    cache_max_frames: int = Field(512, ge=1)
    """Most frames of a cached clip: longer clips are not cached."""

    @model_validator(mode="after")
    def _data_fits_together(self) -> "DataConfig":
        problems = []
        if self.val_fraction + self.test_fraction >= 1:
            text = "val_fraction + test_fraction must leave something to train on (below 1)"
            problems.append(("test_fraction", text))
        if self.num_frames % 2:
            text = f"num_frames ({self.num_frames}) must be even: VideoMAE joins frames in pairs"
            problems.append(("num_frames", text))
        if self.fold > self.folds:
            problems.append(("fold", f"fold ({self.fold}) must not be above folds ({self.folds})"))
        if self.columns != ColumnMap() and self.layout not in ("auto", "table"):
            problems.append(("columns", f"columns belong to layout auto or table, not to {self.layout}"))
        if self.elan != ElanMap() and (self.layout not in ("auto", "elan") or self.columns != ColumnMap()):
            problems.append(("elan", "elan's settings belong to layout auto or elan, and go without columns"))
        if self.val_from_train and self.split_policy not in ("given", "stratified", "by_signer"):
            text = f"val_from_train leaves the test split as it is: leave out split_policy {self.split_policy}"
            problems.append(("val_from_train", text))
        if self.val_from_train and self.split_file is not None:
            problems.append(("val_from_train", "split_file decides alone: leave out val_from_train"))
        if self.split_file is not None and self.split_policy != "given":
            problems.append(("split_file", f"split_file decides alone: leave out split_policy {self.split_policy}"))
        if problems:
            raise MisfitError(problems)
        return self

    def data_settings(self) -> dict[str, Any]:
        """Return the settings that say which clips there are, as `annotations.read_named` takes them."""
        return {
            "data": self.data,
            "layout": self.layout,
            "columns": self.columns,
            "elan": self.elan,
            "videos": self.videos,
            "missing_threshold": self.missing_threshold,
            "plan": {
                "policy": self.split_policy,
                "file": self.split_file,
                "fractions": (self.val_fraction, self.test_fraction),
                "val_from_train": self.val_from_train,
                "folds": self.folds,
                "fold": self.fold,
                "seed": self.split_seed,
            },
        }


class CheckConfig(DataConfig):
    """The settings of `check`."""

    SECTIONS: ClassVar[dict[str, str]] = {**DataConfig.SECTIONS, "min_clips": "Check"}

    min_clips: int = Field(3, ge=1)
    """Fewest training clips of a gloss: glosses with fewer are named."""
    processes: int | None = Field(None, ge=1)
    """Child processes that look at videos; null: as many as there are cores."""
    max_file_gb: float = Field(4.0, gt=0, le=1e6)
    """GiB of the largest video file that is opened; larger ones are refused."""
    csv_locale: Literal["en", "es"] = "en"
    """How `--facts` is written: en with commas between cells and decimal points; es, for Excel in Spanish, German or
    French, with semicolons and decimal commas."""
    model_name: str | None = None
    """Model whose input the contact sheet shows and the cache is built for, as for `train`; null: that of VideoMAE's
    published checkpoints."""
    seed: int = Field(42, ge=0)
    """Seed of the augmented clips on the contact sheet."""
