"""The facts of one video file, as a probe finds them out and the record keeps them."""

from dataclasses import asdict, dataclass, fields
from typing import Any

VERSION = 3
"""Raise it where facts get another meaning: then every video on record is looked at anew."""

PICTURES = "pictures"
"""Container of a clip that is a folder of pictures."""
LOOKS = 16
"""Number of frames in a clip's perceptual hash, 64 bits each."""


@dataclass(frozen=True)
class Facts:
    """The facts of a video file.

    Attributes:
        size: Of the file, in bytes.
        mtime_ns: When the file was last changed, in nanoseconds since 1970.
        sha256: Of the file's bytes, hexadecimal.
        trouble: Why it can't be read whole: empty_file, unreadable, truncated, no_video_stream, damaged, refused,
            too_large, too_much_memory, no_access, hang, crash; or nothing.
        reason: The trouble in words.
        frames: Number of frames that decode, without damaged ones.
        corrupt: Number of frames that the decoder calls damaged, or that are missing where it does.
        hidden: Number of frames that an edit list hides.
        claimed: Number of frames that the header claims; 0: it claims none.
        claimed_duration: Seconds that a header claims from the first frame on, where that number says nothing; 0: none.
        width: Of the upright picture, in square pixels.
        height: Of the upright picture, in square pixels.
        pixel_aspect: How many times as wide as high a stored pixel is, before any turn, as in 4:3.
        fps: Frames a second, by the frames' own times.
        variable_rate: Whether the frames come at varying distances.
        gap: The longest time in seconds without a frame, where it is much longer than usual; 0: there is none.
        gap_start: When the frame before that gap is shown, in seconds.
        rotation: Of the display matrix, in degrees counter-clockwise.
        mirrored: Whether the display matrix mirrors the picture left to right before it turns it.
        interlaced: Whether frames are made of two fields, of two moments.
        transfer: How light is coded: sdr, or HDR as hlg or pq.
        sizes: Number of different sizes of its pictures.
        codec: FFmpeg's name of it.
        container: FFmpeg's name of it.
        streams: Number of video streams.
        duration: Seconds.
        looks: Perceptual hash of LOOKS frames, hexadecimal.
        black: Share of frames that are black, 0 to 1.
        frozen: Share of frames that repeat the one before, 0 to 1.
        decord: What decord makes of it: "same", "differs", "error", "hang" or "crash"; nothing where it wasn't tried.
    """

    size: int
    mtime_ns: int
    sha256: str = ""
    trouble: str = ""
    reason: str = ""
    frames: int = 0
    corrupt: int = 0
    hidden: int = 0
    claimed: int = 0
    claimed_duration: float = 0.0
    width: int = 0
    height: int = 0
    pixel_aspect: str = "1:1"
    fps: float = 0.0
    variable_rate: bool = False
    gap: float = 0.0
    gap_start: float = 0.0
    rotation: int = 0
    mirrored: bool = False
    interlaced: bool = False
    transfer: str = "sdr"
    sizes: int = 1
    codec: str = ""
    container: str = ""
    streams: int = 0
    duration: float = 0.0
    looks: str = ""
    black: float = 0.0
    frozen: float = 0.0
    decord: str = ""

    @property
    def special(self) -> str:
        """What makes its pictures others than a decoder alone would give, but for turns; empty: nothing.

        decord does not know it, and versions up to 0.1 did not: it is part of such a clip's name in the cache.
        """
        found = {
            "mirrored": self.mirrored,
            f"pixels {self.pixel_aspect}": self.pixel_aspect != "1:1",
            "interlaced": self.interlaced,
            self.transfer: self.transfer != "sdr",
            "sizes": self.sizes > 1,
        }
        return ", ".join(name for name, there in found.items() if there)

    @property
    def pictures(self) -> bool:
        """Whether it is a folder of pictures, which tells no frame rate."""
        return self.container == PICTURES

    @property
    def whole(self) -> bool:
        """Whether every frame that it has can be found by its number: none is damaged, hidden, or of another size."""
        return not self.trouble and not self.corrupt and not self.hidden and self.sizes == 1

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Facts":
        """From JSON.

        Raises:
            ValueError: A value is not of its kind.
            KeyError: One is missing.
        """
        facts = cls(**{field.name: content[field.name] for field in fields(cls)})
        for field in fields(cls):
            value, kind = (
                getattr(facts, field.name),
                type(field.default if field.name not in ("size", "mtime_ns") else 0),
            )
            if not isinstance(value, (int, float) if kind is float else kind):
                raise ValueError(f"{field.name} is {value!r}")
        if facts.looks and len(bytes.fromhex(facts.looks)) != 8 * LOOKS:
            raise ValueError(f"looks has {len(facts.looks)} digits")
        return facts
