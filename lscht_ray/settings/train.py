"""Every setting of a run. The defaults here come first, then the files of ``--config``, then the command line."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from lscht_ray.settings.allowed import as_typed
from lscht_ray.settings.data import DataConfig, MisfitError, Probability

Metric = Literal["val_accuracy", "val_top5_accuracy", "val_mean_class_accuracy", "val_loss"]
METRIC_MODES: dict[str, Literal["max", "min"]] = {
    "val_accuracy": "max",
    "val_top5_accuracy": "max",
    "val_mean_class_accuracy": "max",
    "val_loss": "min",
}
ELSEWHERE = frozenset(
    ("data", "videos", "model_name", "num_workers", "batch_seconds", "probe_seconds", "probe_memory_gb", "cache",
     "cache_dir", "cache_gb", "device", "gpu_hour_price", "checkpoint_every", "checkpoint_every_steps",
     "checkpoint_dir", "log_dir", "max_skipped_steps", "step_seconds", "run_name")
)  # fmt: skip
"""Settings that may change freely: they say where things are, or change no result."""
NOT_QUICK = (
    "freeze_epochs", "drop_path", "lora_rank", "saturation", "hue", "rotation", "randaugment_ops",
    "erasing_probability", "boundary_shift", "speed_jitter", "repeated_augmentation", "mixup", "cutmix", "compile",
    "gradient_checkpointing",
)  # fmt: skip
"""Settings of what `quick` leaves out: the backbone's training, and augmentation."""
DEVICE = r"^(auto|cpu|mps|cuda(:\d+)?)$"
DEVICE_WORDS: dict[str, Any] = {
    "allowed": "auto, cpu, mps, cuda or cuda:N",
    "values": ["auto", "cpu", "mps", "cuda", "cuda:0"],
}
OLD_NAMES = {"num_epochs": "max_epochs"}
"""What the thesis' train.py called settings."""
OF_THESIS = OLD_NAMES | {"base_path": "data", "num_classes": "num_classes"}
"""The same in its config.json, with what tells that this is one."""
RESOLVED = "resolved"
"""In config.json: what the run found out for itself, and nobody asked for."""
BEFORE: dict[str, Any] = {
    "eval_crop": "centre",
    "randaugment_probability": 1.0,
    "erasing_fill": "mean",
    "head_init_scale": 1.0,
    "elan": {},
    "val_from_train": 0.0,
    "fps": 25.0,
    "num_classes": None,
    "quick": False,
}
"""What version 0.1.0 did where there is a setting now."""
NAMES_OR_PATHS = ("data", "model_name", "layout", "split_file")
"""Settings that name a file or folder, or something else: `demo`, a hub's model, a known layout."""


class TrainConfig(DataConfig):
    """The settings of one training run."""

    SECTIONS: ClassVar[dict[str, str]] = {
        **DataConfig.SECTIONS, "model_name": "Model", "max_epochs": "Optimisation", "num_classes": "Run"
    }  # fmt: skip
    FIRST: ClassVar[tuple[str, ...]] = (
        "data", "split_policy", "model_name", "max_epochs", "batch_size", "lr", "freeze_epochs", "flip_probability",
        "device", "checkpoint_dir",
    )  # fmt: skip

    # Model
    model_name: str = Field("MCG-NJU/videomae-base-finetuned-kinetics", min_length=1)
    """Where the weights come from: a hub id, a local folder, an earlier run's folder or best_model.pt (all of its
    weights but the head's), or `tiny` (a small VideoMAE with random weights)."""
    freeze_epochs: int = Field(0, ge=-1)
    """Epochs at the beginning in which only the head and the norm before it are trained; -1: all of them. What thaws
    then warms up over as many steps as `warmup_ratio` gives the run."""
    quick: bool = False
    """Train only the head, on features that the frozen backbone gives of each clip once and that are kept: seconds an
    epoch on a CPU, same metrics and files. Clips are seen as evaluation sees them, without augmentation."""
    drop_path: float = Field(0.0, ge=0, lt=1)
    """Probability that a clip skips a branch of the last layer; it falls linearly to 0 at the first (training)."""
    head_dropout: float = Field(0.0, ge=0, lt=1)
    """Probability of dropout before the head (training)."""
    head_init_scale: float = Field(1.0, ge=0)
    """The head's first weights are multiplied by this; VideoMAE's own code has 0.001: all glosses start alike."""
    lora_rank: int = Field(0, ge=0)
    """Rank of low-rank adapters, trained with the head instead of the backbone (needs the extra `lora`); 0: none."""
    lora_alpha: float = Field(16.0, gt=0)
    """The output of the adapters is multiplied by lora_alpha / lora_rank."""
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    """Probability of dropout before the adapters (training)."""

    # Optimisation
    max_epochs: int = Field(30, ge=1)
    """Epochs at most; --num_epochs means the same."""
    batch_size: int | Literal["auto"] = Field(16, json_schema_extra={"allowed": "a whole number from 1 on, or auto"})
    """Clips per micro-batch and worker: what the device holds at once; auto: as many as fit (of a GPU's memory)."""
    accumulation: int = Field(1, ge=1)
    """Micro-batches per step; the global batch is batch_size x accumulation x workers."""
    num_workers: int = Field(4, ge=0)
    """Data worker processes; 0: the training process decodes."""
    batch_seconds: float = Field(300.0, gt=0, le=86400)
    """Seconds for loading one batch: a video that hangs a data worker ends the run and is named."""
    lr: float = Field(1e-4, gt=0)
    """Peak learning rate of AdamW, before `lr_scaling`."""
    min_lr: float = Field(1e-6, ge=0)
    """Learning rate at the last step of the cosine, before `lr_scaling`."""
    lr_scaling: Literal["none", "linear", "sqrt"] = "none"
    """Multiply lr and min_lr by global batch / 256 (linear), or its square root."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Learning rate of a layer as a multiple of the next layer's; 1: the same for all."""
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    """Share of all steps in which the learning rate rises linearly: with W such steps the first one has lr / (W + 1),
    step W + 1 has lr, and the last one exactly min_lr. A run of one step has lr / 2, one of two steps lr / 2 and lr."""
    weight_decay: float = Field(0.05, ge=0)
    """AdamW's weight decay; biases and norms have none."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Share of the target spread over all glosses, in training only."""
    smoothing_by_similarity: bool = False
    """Spread the smoothed share over glosses whose rows of the head are alike instead of evenly."""
    similarity_temperature: float = Field(0.5, gt=0)
    """Temperature of `smoothing_by_similarity`; the lower, the more goes to the nearest glosses."""
    class_weighted: bool = True
    """Weight the training loss by count^-class_weight_power of each gloss."""
    class_weight_power: float = Field(1.0, ge=0, le=2)
    """0: no weights, 0.5: 1/sqrt(count), 1: 1/count."""
    class_balanced_sampling: bool = False
    """Draw training clips with replacement so that every gloss comes equally often (class weights count besides)."""
    repeated_augmentation: int = Field(1, ge=1)
    """Times that each clip comes in an epoch, augmented anew each time; batch_size counts all of them."""
    mixup: float = Field(0.0, ge=0)
    """Blend pairs of clips: alpha of the Beta distribution of the shares; 0: off."""
    cutmix: float = Field(0.0, ge=0)
    """Paste a part of one clip into another: alpha of the Beta distribution of its size; 0: off."""
    mix_probability: Probability = 1.0
    """Probability that a micro-batch is mixed at all, where mixup or cutmix is on."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Evaluate and keep a moving average of the weights with this decay (about 1 / (1 - decay) steps); 0: off."""
    gradient_clip: float = Field(1.0, ge=0)
    """Largest norm of the gradient; 0: no limit."""
    max_skipped_steps: int = Field(10, ge=1)
    """A step whose loss or gradient is not finite is skipped; after so many in a row the run ends, naming the clips."""
    early_stopping: bool = True
    """Stop when `early_stopping_metric` has not improved for `patience` epochs."""
    early_stopping_metric: Metric = "val_loss"
    """What early stopping watches; in a sweep always the sweep's `metric`, by which its trials are judged."""
    patience: int = Field(5, ge=1)
    """Epochs without improvement before the run stops."""
    min_delta: float = Field(0.0, ge=0)
    """Smallest change of `early_stopping_metric` that counts as an improvement."""
    best_metric: Metric = "val_accuracy"
    """What decides which epoch becomes best_model.pt."""

    # Run
    num_classes: int | None = Field(None, ge=2)
    """How many glosses the data set must have, as a check; null: as many as it has."""
    run_name: str = ""
    """Name of the folder, before its date, in ASCII (ñ becomes n); empty: run, or for a sweep sweep."""
    seed: int = Field(42, ge=0)
    """Seed of the head's weights, the order of clips, augmentation and dropout."""
    device: str = Field("auto", pattern=DEVICE, json_schema_extra=DEVICE_WORDS)
    """cpu, mps, cuda or cuda:N; auto: the first GPU, else the CPU."""
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    """Compute type; auto is bf16 autocast on a GPU that can, fp16 with loss scaling on an older one, else fp32."""
    attention: Literal["auto", "sdpa", "eager"] = "auto"
    """Attention kernel; auto is scaled-dot-product attention, but eager in bf16 on a CPU, where that is quicker."""
    compile: bool = False
    """torch.compile the model: pays in long runs on a GPU. All batches then have one shape, filled up and masked."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, a third more arithmetic."""
    gpu_hour_price: float | None = Field(None, ge=0)
    """Price of a GPU hour in any currency: --plan says what a run or sweep would cost."""
    step_seconds: float = Field(1800.0, gt=0, le=86400)
    """Seconds for one step, validation batch or checkpoint: a run that hangs ends, with all threads' stacks."""
    limit_batches: int | None = Field(None, ge=1)
    """Steps per epoch, and validation batches, at most (debugging)."""
    checkpoint_every: int = Field(5, ge=0)
    """Epochs from one kept checkpoint_epoch_N.pt to the next; 0: none is kept."""
    checkpoint_every_steps: int = Field(0, ge=0)
    """Steps from one last_checkpoint.pt inside an epoch to the next; 0: only at the ends of epochs."""
    checkpoint_dir: str = Field("models/checkpoints", min_length=1)
    """Where run folders are made."""
    log_dir: str = Field("runs", min_length=1)
    """Where TensorBoard folders are made."""

    @model_validator(mode="before")
    @classmethod
    def _from_config_json(cls, values: Any) -> Any:
        return as_given(values) if isinstance(values, dict) else values

    @field_validator("batch_size", mode="before")
    @classmethod
    def _is_a_batch(cls, value: Any) -> Any:
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        if whole != "auto" and not (str(whole).isdecimal() and int(whole) >= 1):
            raise ValueError("must be a whole number from 1 on, or auto")
        return whole if whole == "auto" else int(whole)

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainConfig":
        problems = []
        if self.min_lr > self.lr:
            text = f"min_lr ({self.min_lr:g}) must not be above lr ({self.lr:g}): lower min_lr or raise lr"
            problems.append(("min_lr", text))
        if self.batch_size == 1 and (self.mixup or self.cutmix):
            text = "mixup and cutmix mix the clips of a micro-batch: batch_size must be 2 or more"
            problems.append(("batch_size", text))
        for name, why, cure in idle(self.__dict__):
            default = TrainConfig.model_fields[name].default
            if getattr(self, name) != default:
                problems.append((name, f"{name} has no effect {why}: set it back to {default}, or {cure}"))
        if problems:
            raise MisfitError(problems)
        return self


def absolute(config: TrainConfig) -> TrainConfig:
    """Return the same settings with absolute paths: config.json is read, and workers run, in other folders."""
    update: dict[str, Any] = {}
    for name in ("videos", "checkpoint_dir", "log_dir", "cache_dir"):
        value = getattr(config, name)
        update[name] = str(Path(value).expanduser().resolve()) if value is not None else None
    for name in NAMES_OR_PATHS:
        path = Path(getattr(config, name) or "").expanduser()
        if not getattr(config, name) or (name == "layout" and not path.is_file()):
            continue
        if path.exists():
            update[name] = str(path.resolve())
    return config.model_copy(update=update)


def as_used(config: TrainConfig, *, num_classes: int, device: str) -> dict[str, Any]:
    """Return what a run's config.json holds: every setting, and what the run found out for itself.

    Args:
        config: The settings.
        num_classes: How many glosses the data set has.
        device: Where the run computes.

    Returns:
        The settings with ``num_classes`` and the ``device`` that is used; ``resolved`` repeats those of them that the
        run found out for itself.
    """
    resolved = {"num_classes": num_classes} | ({"device": device} if config.device == "auto" else {})
    return {**config.model_dump(mode="json"), "num_classes": num_classes, "device": device, RESOLVED: resolved}


def as_given(values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that the file of a run or a sweep was made of; other settings are returned as they are.

    So a run's config.json (`as_used`) can be used on another machine, which chooses its own device, and with data of
    other glosses. What somebody changed in the file counts. A file that an earlier version wrote names all settings
    that there were, and means what it meant (`BEFORE`).
    """
    inner = values.get("train")
    if isinstance(inner, dict) and (given := as_given(inner)) is not inner:
        return {**values, "train": given}
    lacking = TrainConfig.model_fields.keys() - values.keys()
    if lacking and lacking <= BEFORE.keys():
        values = {**values, **{name: BEFORE[name] for name in lacking}}
    if not isinstance(values.get(RESOLVED), dict):
        return values
    found_out: dict[str, Any] = values[RESOLVED]
    return {
        name: value
        for name, value in values.items()
        if name != RESOLVED and (name not in found_out or value != found_out[name])
    }


def of_thesis(values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings in a config.json of the thesis' train.py; other settings are returned as they are.

    It says on which device it ran: this machine chooses for itself. Its num_classes is compared with the data's.
    """
    if RESOLVED in values or not OF_THESIS.keys() & values.keys():
        return values
    return {OF_THESIS.get(name, name): value for name, value in values.items() if name != "device"}


def with_new_fields(config: BaseModel, saved: dict[str, Any]) -> dict[str, Any]:
    """Return saved settings; groups within them (columns, elan, sampler) with fields that they did not have yet.

    Args:
        config: The settings of which they were, as this version has them.
        saved: Their values by name. A setting that is not among them stays away; a group's new field has its default.
    """
    completed = {}
    for name, value in saved.items():
        group = getattr(config, name, None)
        completed[name] = value
        if isinstance(group, BaseModel) and isinstance(value, dict):
            with contextlib.suppress(ValidationError):
                completed[name] = type(group).model_validate(value).model_dump(mode="json")
    return completed


def idle(values: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the settings that have no effect beside these values: name, why, and what would give it one."""
    rules = (
        ("lora_alpha", not values["lora_rank"], "without lora_rank", "set lora_rank"),
        ("lora_dropout", not values["lora_rank"], "without lora_rank", "set lora_rank"),
        ("freeze_epochs", values["lora_rank"] > 0, "with lora_rank", "leave out lora_rank"),
        ("mix_probability", not (values["mixup"] or values["cutmix"]), "without mixup or cutmix", "set one of them"),
        ("class_weight_power", not values["class_weighted"], "without class_weighted", "set class_weighted"),
        ("smoothing_by_similarity", not values["label_smoothing"], "without label_smoothing", "set label_smoothing"),
        ("similarity_temperature", not values["smoothing_by_similarity"], "here", "set smoothing_by_similarity"),
        ("randaugment_magnitude", not values["randaugment_ops"], "without randaugment_ops", "set randaugment_ops"),
        ("randaugment_probability", not values["randaugment_ops"], "without randaugment_ops", "set randaugment_ops"),
        ("erasing_fill", not values["erasing_probability"], "without erasing_probability", "set erasing_probability"),
        *((name, values["quick"], "with quick", "leave out quick") for name in NOT_QUICK),
    )
    return [(name, why, cure) for name, is_idle, why, cure in rules if is_idle]


def other_settings(config: TrainConfig, saved: dict[str, Any]) -> list[str]:
    """Return a line for each setting that is not what a run began with, and may not change freely (`ELSEWHERE`).

    Args:
        config: The settings now.
        saved: Those that the run began with, by name.
    """
    was = with_new_fields(config, saved)
    return [
        f"  {name}: was {as_typed(was[name])}, now {as_typed(value)}"
        for name, value in config.model_dump(mode="json").items()
        if name not in ELSEWHERE and name in was and not _same(name, was[name], value)
    ]


def _same(name: str, was: object, now: object) -> bool:
    """Whether a setting is what it was; earlier versions wrote paths relative to the working folder."""
    return was == now or (name in NAMES_OR_PATHS and str(Path(str(was)).expanduser().resolve()) == now)
