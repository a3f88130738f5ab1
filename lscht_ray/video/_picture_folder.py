"""A folder of pictures, opened as if it were a video: it has what of PyAV's container and stream is used here."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
from av.error import InvalidDataError
from PIL import Image, ImageOps, UnidentifiedImageError

from lscht_ray.video.facts import PICTURES
from lscht_ray.video.recognise import pictures_in

RATE = Fraction(25)
"""Frames a second by which pictures are timed. `DataConfig.fps` says how many there really are."""
MOST_PIXELS = 8192 * 8192


class PictureFolder:
    """A context manager like `av.open`'s container.

    Attributes:
        format: Its name is PICTURES.
        streams: One video stream; none where no picture is there.
    """

    def __init__(self, path: Path) -> None:
        self.files = pictures_in(path)
        self.format = _Named(PICTURES)
        self.streams = _Streams([_Stream(self.files)] if self.files else [])

    def __enter__(self) -> "PictureFolder":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def demux(self, stream: object) -> "Iterator[_Packet]":
        """Yield a packet for each picture."""
        del stream
        return (_Packet(file, number) for number, file in enumerate(self.files))

    def decode(self, stream: object) -> Iterator[Any]:
        """Yield the pictures as frames.

        Raises:
            av.InvalidDataError: One is damaged, or no picture.
        """
        return (frame for packet in self.demux(stream) for frame in packet.decode())


class _Named:
    def __init__(self, name: str) -> None:
        self.name = self.canonical_name = name


class _Streams(list["_Stream"]):
    @property
    def video(self) -> "list[_Stream]":
        return self


class _Stream:
    """What is used of a video stream."""

    sample_aspect_ratio = None
    disposition = 0
    average_rate = RATE
    time_base = 1 / RATE
    thread_type = "NONE"
    metadata: ClassVar[dict[str, str]] = {}

    def __init__(self, files: list[Path]) -> None:
        self.frames = len(files)
        self.codec = _Named(files[0].suffix.lower().lstrip("."))
        try:
            with Image.open(files[0]) as picture:
                self.width, self.height = picture.size
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
            self.width = self.height = 0
        self.codec_context = self


class _Packet:
    is_discard = False

    def __init__(self, file: Path, number: int) -> None:
        self.file, self.number = file, number

    def decode(self) -> list[Any]:
        """The picture as an RGB frame, as a viewer shows it."""
        try:
            with Image.open(self.file) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    raise InvalidDataError(0, f"{self.file.name} has {picture.width}x{picture.height} pixels")
                upright = ImageOps.exif_transpose(picture).convert("RGB")
                frame = av.VideoFrame.from_ndarray(np.asarray(upright), format="rgb24")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            if isinstance(error, PermissionError):
                raise
            raise InvalidDataError(0, f"{self.file.name}: {error}") from None
        frame.pts, frame.time_base = self.number, 1 / RATE
        return [frame]
