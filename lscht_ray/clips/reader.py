"""Makes of the settings what reads, samples and augments clips."""

from lscht_ray.clips._cache import ClipCache
from lscht_ray.clips.augmentation import Augmentation
from lscht_ray.clips.dataset import ClipReader, Sampling
from lscht_ray.clips.transforms import ClipFormat
from lscht_ray.settings.data import DataConfig


def reader(config: DataConfig, clip_format: ClipFormat, cache: ClipCache | None = None) -> ClipReader:
    """What reads the frames of a clip, from the cache or by decoding."""
    return ClipReader(clip_format.decoded_short_side, config.decoder, config.salvage, clip_format.pixel_format, cache)


def sampling(config: DataConfig, *, training: bool) -> Sampling:
    """Which frames make a clip. Start, end and speed vary only in training."""
    if not training:
        return Sampling(config.num_frames, config.sampling)
    return Sampling(config.num_frames, config.sampling, config.boundary_shift, config.speed_jitter)


def augmentation(config: DataConfig) -> Augmentation:
    """What varies at random in the pictures in training."""
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
        randaugment_probability=config.randaugment_probability,
        erasing_probability=config.erasing_probability,
        erasing_fill=config.erasing_fill,
        eval_crop=config.eval_crop,
    )
