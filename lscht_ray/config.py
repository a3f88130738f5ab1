"""Every setting of a run and of a sweep: typed, frozen, documented.

Precedence: the defaults here, then the file given by ``--config``, then the command line.
"""

import contextlib
import difflib
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from lscht_ray.dataconfig import DataConfig, Probability, Settings

Metric = Literal["val_accuracy", "val_top5_accuracy", "val_mean_class_accuracy", "val_loss"]
METRIC_MODES: dict[str, Literal["max", "min"]] = {
    "val_accuracy": "max",
    "val_top5_accuracy": "max",
    "val_mean_class_accuracy": "max",
    "val_loss": "min",
}


class TrainConfig(DataConfig):
    """The settings of one training run."""

    # Model
    model_name: str = Field("MCG-NJU/videomae-base-finetuned-kinetics", min_length=1)
    """Where the weights come from: hub id, local folder, an earlier run's folder or best_model.pt (all but its head is
    taken), or `tiny` (a small VideoMAE with random weights)."""
    freeze_epochs: int = Field(0, ge=-1)
    """Train only the head in the first so many epochs; -1: for good."""
    drop_path: float = Field(0.0, ge=0, lt=1)
    """Probability that a clip skips a branch of the last layer, falling linearly to 0 at the first (training)."""
    head_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout before the head (training)."""
    lora_rank: int = Field(0, ge=0)
    """Rank of low-rank adapters, trained with the head instead of the backbone (needs the extra `lora`); 0: none."""
    lora_alpha: float = Field(16.0, gt=0)
    """Adapters count lora_alpha / lora_rank."""
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout before the adapters (training)."""

    # Optimisation
    max_epochs: int = Field(30, ge=1)
    """Epochs at most; --num_epochs means the same."""
    batch_size: int | Literal["auto"] = 16
    """Clips per micro-batch and worker: what the device holds at once; auto: as many as fit (of a GPU's memory)."""
    accumulation: int = Field(1, ge=1)
    """Micro-batches per step; the global batch is batch_size x accumulation x workers."""
    num_workers: int = Field(4, ge=0)
    """Data worker processes; 0 decodes in the training process."""
    batch_seconds: float = Field(300.0, gt=0, le=86400)
    """Time limit for loading one batch: a video that hangs a data worker ends the run and is named."""
    lr: float = Field(1e-4, gt=0)
    """Peak learning rate of AdamW, before `lr_scaling`."""
    min_lr: float = Field(1e-6, ge=0)
    """Learning rate at the last step of the cosine, before `lr_scaling`."""
    lr_scaling: Literal["none", "linear", "sqrt"] = "none"
    """Multiply lr and min_lr by global batch / 256 (linear), or its square root."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """The learning rate of each layer is that of the next times this."""
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    """Share of all steps in which the learning rate rises linearly."""
    weight_decay: float = Field(0.05, ge=0)
    """AdamW's weight decay; biases and norms have none."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Share of the target spread over all glosses, in training only."""
    smoothing_by_similarity: bool = False
    """Spread the smoothed share over glosses whose rows of the head are alike instead of evenly."""
    similarity_temperature: float = Field(0.5, gt=0)
    """Of that spread; the lower, the more goes to the nearest glosses."""
    class_weighted: bool = True
    """Weight the training loss by count^-class_weight_power of each gloss."""
    class_weight_power: float = Field(1.0, ge=0, le=2)
    """0: no weights, 0.5: 1/sqrt(count), 1: 1/count."""
    class_balanced_sampling: bool = False
    """Draw training clips with replacement so that every gloss comes equally often (then weights count twice)."""
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
    early_stopping: bool = True
    """Stop when `early_stopping_metric` has not improved for `patience` epochs."""
    early_stopping_metric: Metric = "val_loss"
    """What early stopping watches."""
    patience: int = Field(5, ge=1)
    """Epochs without improvement before the run stops."""
    min_delta: float = Field(0.0, ge=0)
    """Smallest change that counts as an improvement."""
    best_metric: Metric = "val_accuracy"
    """What decides which epoch becomes best_model.pt."""

    # Run
    seed: int = Field(42, ge=0)
    """Seed of the head's weights, the order of clips, augmentation and dropout."""
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    """auto, cpu, mps, cuda or cuda:N."""
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    """Compute type; auto is bf16 autocast on a GPU that can, fp16 with loss scaling on an older one, else fp32."""
    attention: Literal["auto", "sdpa", "eager"] = "auto"
    """Attention kernel; auto is scaled-dot-product attention, but eager in bf16 on a CPU, where that is quicker."""
    compile: bool = False
    """torch.compile the model: pays in long runs on a GPU. All batches then have one shape, filled up and masked."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, a third more arithmetic."""
    gpu_hour_price: float | None = Field(None, ge=0)
    """What a GPU costs an hour, in any currency: --plan says what a run or sweep would cost."""
    limit_batches: int | None = Field(None, ge=1)
    """Only so many batches per epoch, in training and validation (debugging)."""
    checkpoint_every: int = Field(5, ge=0)
    """Keep checkpoint_epoch_N.pt every so many epochs; 0: never."""
    checkpoint_dir: str = Field("models/checkpoints", min_length=1)
    """Where run folders are made."""
    log_dir: str = Field("runs", min_length=1)
    """Where TensorBoard folders are made."""

    @field_validator("batch_size", mode="before")
    @classmethod
    def _is_a_batch(cls, value: Any) -> Any:
        whole = value if value == "auto" or isinstance(value, int) else str(value)
        if whole != "auto" and not (str(whole).isdecimal() and int(whole) >= 1):
            raise ValueError("must be a whole number from 1 on, or auto")
        return whole if whole == "auto" else int(whole)

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainConfig":
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr ({self.min_lr:g}) must not be above lr ({self.lr:g}): lower min_lr or raise lr")
        idle = [
            f"{name} has no effect {why}: set it back to {TrainConfig.model_fields[name].default}, or {cure}"
            for name, off, why, cure in (
                ("lora_alpha", not self.lora_rank, "without lora_rank", "set lora_rank"),
                ("lora_dropout", not self.lora_rank, "without lora_rank", "set lora_rank"),
                ("mix_probability", not (self.mixup or self.cutmix), "without mixup or cutmix", "set one of them"),
                ("class_weight_power", not self.class_weighted, "without class_weighted", "set class_weighted"),
                ("similarity_temperature", not self.smoothing_by_similarity, "here", "set smoothing_by_similarity"),
                ("freeze_epochs", self.lora_rank > 0, "with lora_rank", "leave out lora_rank"),
                ("randaugment_magnitude", not self.randaugment_ops, "without randaugment_ops", "set randaugment_ops"),
            )
            if off and getattr(self, name) != TrainConfig.model_fields[name].default
        ]
        if idle:
            raise ValueError("; ".join(idle))
        return self


class Dimension(Settings):
    """One searched setting: its kind and range. `int` and `logint` include both ends."""

    type: Literal["uniform", "loguniform", "quniform", "int", "logint", "choice"]
    """Kind of range."""
    low: float | None = None
    """Lower end (all but choice)."""
    high: float | None = None
    """Upper end (all but choice)."""
    step: float | None = Field(None, gt=0)
    """Grid of quniform, step of int."""
    choices: list[Any] | None = None
    """Values of choice."""

    @model_validator(mode="after")
    def _is_a_range(self) -> "Dimension":
        if self.type == "choice":
            if not self.choices:
                raise ValueError("type choice needs a list: choices: [a, b]")
            if (self.low, self.high, self.step) != (None, None, None):
                raise ValueError("type choice takes choices only, not low, high or step")
            return self
        if self.choices is not None:
            raise ValueError(f"type {self.type} takes low and high, not choices")
        if self.low is None or self.high is None:
            raise ValueError(f"type {self.type} needs low and high")
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        if self.type in ("loguniform", "logint") and self.low <= 0:
            raise ValueError(f"type {self.type} needs low above 0, not {self.low:g}")
        if self.type in ("int", "logint") and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"type {self.type} needs whole numbers for low and high")
        if self.type == "int" and self.step is not None and not self.step.is_integer():
            raise ValueError("type int needs a whole step")
        if (self.step is not None) != (self.type == "quniform") and self.type != "int":
            raise ValueError("step belongs to quniform (where it is needed) and int")
        return self

    def edges(self) -> list[Any]:
        """The values at the ends of the range, or every choice."""
        if self.choices is not None:
            return self.choices
        assert self.low is not None and self.high is not None
        return [int(v) if self.type in ("int", "logint") else v for v in (self.low, self.high)]


class SamplerConfig(Settings):
    """How Optuna proposes trials."""

    type: Literal["tpe", "random"] = "tpe"
    """tpe (multivariate, constant liar) or random."""
    seed: int = Field(42, ge=0)
    """Seed of the proposals; the same trials come again where one runs at a time."""
    n_startup_trials: int = Field(10, ge=1)
    """Random trials before TPE learns from the finished ones."""


class AshaConfig(Settings):
    """How the ASHA scheduler stops weak trials (max_t is the run's max_epochs)."""

    enabled: bool = True
    """False: every trial runs to its own end."""
    grace_period: int = Field(3, ge=1)
    """Epochs that every trial gets."""
    reduction_factor: float = Field(2.0, gt=1)
    """At each rung one in so many goes on."""


class ResourcesConfig(Settings):
    """What each trial takes from the cluster."""

    workers_per_trial: int = Field(1, ge=1)
    """Ray Train workers per trial; the global batch is batch_size times this."""
    gpus_per_worker: float | None = Field(None, ge=0)
    """GPUs per worker; null: 1 where the cluster has any, else 0."""
    cpus_per_worker: float = Field(1.0, gt=0)
    """CPUs per worker (threads for the model and its data workers)."""
    max_concurrent_trials: int | None = Field(None, ge=1)
    """Trials at a time at most; null: as many as fit."""
    accelerator_type: str | None = None
    """Ray's name of the GPU a worker must get, such as A100."""
    dashboard: bool = True
    """Whether a Ray that is started here has its dashboard (on this machine only); it costs some CPU."""
    address: str = "auto"
    """Ray cluster: auto joins the one on this machine or starts one, local always starts one, or HOST:PORT."""


def _default_space() -> Any:
    """Plain values, so that --print_config can show them."""
    dimensions = {
        "lr": Dimension(type="loguniform", low=3e-6, high=5e-4),
        "weight_decay": Dimension(type="loguniform", low=0.005, high=0.3),
        "label_smoothing": Dimension(type="uniform", low=0.0, high=0.3),
    }
    return {name: dimension.model_dump() for name, dimension in dimensions.items()}


class SweepConfig(Settings):
    """The settings of a sweep: what all trials share, what is searched, and with which means."""

    train: TrainConfig = TrainConfig()
    """Settings shared by all trials; the first trial is exactly these."""
    search_space: dict[str, Dimension] = Field(default_factory=_default_space, validate_default=True)
    """Searched settings by name (any setting of `train`)."""
    metric: Metric = "val_accuracy"
    """What the best epoch of a trial is judged by."""
    mode: Literal["max", "min"] = "max"
    """Whether more or less of it is better."""
    num_trials: int = Field(30, ge=1)
    """Trials in all."""
    sampler: SamplerConfig = SamplerConfig()
    """How trials are proposed."""
    asha: AshaConfig = AshaConfig()
    """How weak trials are stopped."""
    resources: ResourcesConfig = ResourcesConfig()
    """What a trial takes."""
    max_failures: int = Field(1, ge=0)
    """Times a trial is restarted from its last checkpoint after a crash."""
    storage_path: str = Field("models/checkpoints", min_length=1)
    """Where the sweep folder is made; on several nodes a folder that all of them see, or a URI such as
    s3://bucket/folder."""

    @model_validator(mode="before")
    @classmethod
    def _default_space_fits(cls, values: Any) -> Any:
        """The search space that nobody chose holds the settings of `train`, and no lr below its min_lr."""
        default = _default_space()
        if not isinstance(values, dict) or values.get("search_space", default) != default:
            return values
        train = values.get("train", {})
        given = train if isinstance(train, dict) else train.model_dump()
        lowest, lr = (given.get(name, TrainConfig.model_fields[name].default) for name in ("min_lr", "lr"))
        with contextlib.suppress(TypeError, ValueError):  # what is no number is complained of elsewhere
            default["lr"] |= {"low": max(3e-6, float(lowest)), "high": max(5e-4, float(lr))}
        return {**values, "search_space": default}

    @model_validator(mode="after")
    def _fits_together(self) -> "SweepConfig":
        complaints = [f"search_space.{name}: {problem}" for name, problem in self._space_problems()]
        best = METRIC_MODES[self.metric]
        if self.mode != best:
            complaints.append(f"mode: {self.mode} seeks the worst {self.metric}: set mode: {best}")
        grace, epochs = self.asha.grace_period, self.train.max_epochs
        if self.asha.enabled and grace > epochs:
            complaints.append(f"asha.grace_period ({grace}) must not be above train.max_epochs ({epochs})")
        if not self.search_space:
            complaints.append("search_space: name at least one setting to search")
        if complaints:
            raise ValueError("; ".join(complaints))
        return self

    def _space_problems(self) -> list[tuple[str, str]]:
        base = self.train.model_dump()
        problems = []
        for name, dimension in self.search_space.items():
            if name not in TrainConfig.model_fields:
                problems.append((name, "is no setting of train" + suggestion(name, TrainConfig.model_fields)))
                continue
            for value in dimension.edges():
                try:
                    TrainConfig.model_validate({**base, name: value})
                except ValidationError as error:
                    problems.append((name, f"{value!r} can't be used: {error.errors()[0]['msg']}"))
            if dimension.choices is not None and base[name] not in dimension.choices:
                hint = f"add train.{name} ({base[name]!r}), which the first trial uses, or change train.{name}"
                problems.append((name, f"{dimension.choices} is without the baseline: {hint}"))
        return problems

    def first_point(self) -> dict[str, Any]:
        """The searched settings as `train` gives them: the baseline, and the first trial of every sweep."""
        return {name: getattr(self.train, name) for name in self.search_space}

    def trial_config(self, params: dict[str, Any]) -> TrainConfig:
        """The settings of the trial with these sampled values.

        Raises:
            pydantic.ValidationError: The values don't go together.
        """
        fixed = {"best_metric": self.metric, "checkpoint_every": 0}
        return TrainConfig.model_validate({**self.train.model_dump(), **fixed, **params})


def suggestion(name: str, allowed: Iterable[str]) -> str:
    """`: did you mean X?`, or nothing where no allowed name is near."""
    near = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return f": did you mean {near[0]}?" if near else ""
