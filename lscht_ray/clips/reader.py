"""From the settings: how clips are read, sampled and augmented."""

from lscht_ray.clips._cache import ClipCache
from lscht_ray.clips.dataset import ClipReader, Sampling
from lscht_ray.clips.transforms import Augmentation, ClipFormat
from lscht_ray.settings.data import DataConfig


def reader(config: DataConfig, form: ClipFormat, cache: ClipCache | None = None) -> ClipReader:
    """How the frames of a clip are had."""
    return ClipReader(form.decoded_short_side, config.decoder, config.salvage, form.pixel_format, cache)


def sampling(config: DataConfig, *, training: bool) -> Sampling:
    """Which frames make a clip; only in training do start, end and speed vary."""
    if not training:
        return Sampling(config.num_frames, config.sampling)
    return Sampling(config.num_frames, config.sampling, config.boundary_shift, config.speed_jitter)


def augmentation(config: DataConfig) -> Augmentation:
    """What varies in the pictures in training."""
    return Augmentation(
        crop_scale_min=config.crop_scale_min,
        flip_probability=config.flip_probability,
        brightness=config.brightness,
        contrast=config.contrast,
        saturation=config.saturation,
        hue=config.hue,
        rotation=config.rotation,
        randaugment_ops=config.randaugment_ops,
        randaugment_magnitude=config.randaugment_magnitude,
        erasing_probability=config.erasing_probability,
    )
