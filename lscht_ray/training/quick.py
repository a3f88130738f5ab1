"""`quick`: the frozen backbone gives the features of each clip once, which are kept; then only the head is trained.

Legend: B clips, N clips of a split, D width of a feature.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lscht_ray.clips import loader, reader
from lscht_ray.clips.batch import Batch, Loader
from lscht_ray.clips.dataset import PADDING, ClipDataset, EpochSampler, Position, batches
from lscht_ray.clips.fill import Filled
from lscht_ray.clips.transforms import EvaluationTransform
from lscht_ray.dataset.samples import Clip, content_name
from lscht_ray.errors import InputError, TrainingError
from lscht_ray.host import disk
from lscht_ray.host.console import EpochProgress
from lscht_ray.host.files import replacing
from lscht_ray.model.features import features_of, take_features
from lscht_ray.settings.train import TrainConfig
from lscht_ray.training.device import autocast
from lscht_ray.training.metrics import rank_and_world

VERSION = 1
"""Raise it where a clip's features become others."""
CPU_BATCH = 4
"""Clips that the backbone sees at a time on a CPU."""
FOLDER = "features"
"""In the cache: a file of features for each backbone and way to show clips."""


@dataclass(frozen=True)
class Features:
    """The features of clips.

    Attributes:
        of: (D,) float32 by the clip's name.
        failures: The reason of each video that could not be read.
    """

    of: dict[str, Tensor]
    failures: dict[str, str]


def name_of(clip: Clip) -> str:
    """What stands for a clip among features: equal for the same bytes, of which the same part is shown."""
    return content_name(clip.facts.sha256, clip.span, clip.box, clip.decord, clip.facts.special)


def features(
    model: Any, clips: Sequence[Clip], config: TrainConfig, filled: Filled, screen: Console, *, batch_size: int
) -> Features:
    """The features of clips, as evaluation shows them: those that are kept, and the others computed now and kept.

    Args:
        model: `build.Model`, whose backbone is frozen for good.
        clips: Each once.
        config: The settings.
        filled: The clip cache.
        screen: Where progress is shown.
        batch_size: Clips at a time.

    Raises:
        TrainingError: Not one clip can be read.
    """
    file = _file(model, config)
    kept = _read(file)
    missing = list({name_of(clip): clip for clip in clips if name_of(clip) not in kept}.values())
    failures: dict[str, str] = {}
    if missing:
        computed = _compute(model, missing, config, filled, screen, batch_size, failures)
        if not computed and not kept:
            raise TrainingError(f"not one of {len(missing)} clips could be read: {next(iter(failures.items()), '')}")
        kept |= computed
        _keep(file, computed, screen)
    return Features(kept, failures)


def _compute(
    model: Any,
    clips: list[Clip],
    config: TrainConfig,
    filled: Filled,
    screen: Console,
    batch_size: int,
    failures: dict[str, str],
) -> dict[str, Tensor]:
    """Ask the backbone for the features of each clip."""
    if model.device.type == "cpu":  # progress is seen after each batch, and larger ones are not faster there
        batch_size = min(batch_size, CPU_BATCH)
    dataset = ClipDataset(
        clips,
        reader=reader.reader(config, model.clip_format, filled.cache),
        sampling=reader.sampling(config, training=False),
        seed=config.seed,
    )
    loaded = loader.build_loader(
        dataset,
        batch_size=batch_size,
        num_workers=config.num_workers,
        shuffle=False,
        device=model.device,
        batch_seconds=config.batch_seconds,
        cached=filled.complete,
    )
    present, network, order = EvaluationTransform(model.clip_format), model.network.eval(), iter(clips)
    found: dict[str, Tensor] = {}
    with torch.inference_mode(), EpochProgress(screen, "features of clips: batch", len(loaded)) as progress:
        for batch in loaded:
            failures.update(batch.failures)
            with autocast(model.device, model.precision):
                found_now = features_of(network, present(batch.to(model.device)))  # (B, D)
            for feature, valid in zip(found_now.float().cpu(), batch.mask, strict=True):
                clip = next(order)
                if valid:
                    found[name_of(clip)] = feature.clone()
            progress.advance()
    return found


def as_shown(batch: Batch) -> Tensor:
    """A batch of features as `take_features` has the network take them: (B, 1, D)."""
    return batch.frames


class FeatureLoader:
    """Hands features to the loop in place of clips, in the order in which clips would come.

    Args:
        dataset: The clips.
        batch_size: Clips a batch.
        found: Their features. A clip without is one that could not be read.
        shuffle: Whether the order is drawn anew each epoch.
        balanced: Whether every class comes equally often on average.
    """

    def __init__(
        self, dataset: ClipDataset, batch_size: int, found: Features, *, shuffle: bool, balanced: bool
    ) -> None:
        rank, world = rank_and_world()
        self.dataset, self.batch_size, self.found = dataset, batch_size, found
        labels = dataset.get_labels() if balanced else None
        self.sampler = EpochSampler(
            len(dataset), shuffle=shuffle, seed=dataset.seed, rank=rank, world=world, labels=labels
        )
        self.nothing = torch.zeros_like(next(iter(found.of.values())))

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """The batches of an epoch; ``frames`` are features (B, 1, D)."""
        for positions in batches(self.sampler, self.batch_size):
            yield self._batch(positions)

    def _batch(self, positions: list[Position]) -> Batch:
        clips = [None if each.index == PADDING else self.dataset.clips[each.index] for each in positions]
        rows = [None if clip is None else self.found.of.get(name_of(clip)) for clip in clips]
        lost = [str(clip.video) for clip, row in zip(clips, rows, strict=True) if clip is not None and row is None]
        count = len(clips)
        return Batch(
            frames=torch.stack([self.nothing if row is None else row for row in rows])[:, None],
            sizes=torch.full((count, 2), 2),
            draws=torch.zeros(count, 1),
            labels=torch.tensor([0 if clip is None else clip.label for clip in clips]),
            mask=torch.tensor([row is not None for row in rows]),
            videos=tuple("" if clip is None else str(clip.video) for clip in clips),
            failures=tuple((video, self.found.failures.get(video, "it could not be read")) for video in lost),
        )


def loaders(
    model: Any, splits: dict[str, tuple[Clip, ...]], config: TrainConfig, filled: Filled, screen: Console, batch: int
) -> tuple[Loader, Loader]:
    """The loaders of training and validation, over features; the network takes these from then on."""
    clips = [clip for each in splits.values() for clip in each]
    found = features(model, clips, config, filled, screen, batch_size=batch)
    take_features(model.network)
    made = []
    for split, its_clips in splits.items():
        training = split == "train"
        dataset = ClipDataset(
            its_clips,
            reader=reader.reader(config, model.clip_format, filled.cache),
            sampling=reader.sampling(config, training=False),
            seed=config.seed,
        )
        size = batch * config.accumulation if training else batch
        balanced = config.class_balanced_sampling and training
        made.append(FeatureLoader(dataset, size, found, shuffle=training, balanced=balanced))
    return made[0], made[1]


# ---------------------------------------------------------------- kept on disk


def _file(model: Any, config: TrainConfig) -> Path | None:
    """Where the features of this backbone are kept; None: they are not."""
    if config.cache == "off":
        return None
    try:
        root = disk.find_root("disk", config.cache_dir)
    except InputError:
        return None
    digest = hashlib.sha256()
    for name, value in sorted(model.network.videomae.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    shown = (model.clip_format, config.num_frames, config.sampling, config.decoder, config.salvage)
    key = content_name(VERSION, digest.hexdigest(), *shown, model.precision, model.device.type)
    return root / FOLDER / f"{key}.safetensors"


def _read(file: Path | None) -> dict[str, Tensor]:
    """The features that are kept; none where the file is not there, or is damaged."""
    if file is None or not file.is_file():
        return {}
    try:
        (file.parent / disk.IN_USE).touch()  # a set of the cache like others, which makes way when it is long unused
        return load_file(file)
    except (OSError, SafetensorError):
        return {}


def _keep(file: Path | None, computed: dict[str, Tensor], screen: Console) -> None:
    """Add features to those that are kept. Of two runs that do so at once the later one's file stays."""
    if file is None or not computed:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        (file.parent / disk.IN_USE).touch()
        with replacing(file) as temporary:
            save_file(_read(file) | computed, temporary)
    except OSError as error:
        screen.print(
            f"warning: the features can't be kept in {file.parent}: {error.strerror}; the next run computes them"
        )
