"""What is known of one video file."""

from dataclasses import asdict, dataclass, fields
from typing import Any

VERSION = 1
"""Raise it where facts get another meaning: what is on record is then found out anew."""

LOOKS = 16
"""So many frames make a clip's perceptual hash, 64 bits each."""


@dataclass(frozen=True)
class Facts:
    """What is known of a video file.

    Attributes:
        size: Bytes.
        mtime_ns: When it was last changed.
        sha256: Of its bytes.
        trouble: Why it can't be read whole: empty_file, unreadable, truncated, no_video_stream, damaged, refused,
            too_large, too_much_memory, hang, crash; or nothing.
        reason: The same in words.
        frames: Frames that decode, without damaged ones.
        corrupt: Frames that the decoder calls damaged.
        hidden: Frames that an edit list hides.
        claimed: Frames that the header claims (0: none).
        width: Pixels of the upright picture.
        height: Likewise.
        fps: Frames a second, by the frames' own times.
        variable_rate: Whether their distances differ.
        rotation: Of the rotation flag, in degrees.
        codec: FFmpeg's name.
        container: FFmpeg's name.
        streams: Video streams.
        duration: Seconds.
        looks: Perceptual hash of LOOKS frames, hexadecimal.
        black: Share of frames that are black.
        frozen: Share of frames that repeat the one before.
        decord: "same", "differs", "error", "hang" or "crash"; nothing where it wasn't tried.
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
    width: int = 0
    height: int = 0
    fps: float = 0.0
    variable_rate: bool = False
    rotation: int = 0
    codec: str = ""
    container: str = ""
    streams: int = 0
    duration: float = 0.0
    looks: str = ""
    black: float = 0.0
    frozen: float = 0.0
    decord: str = ""

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
