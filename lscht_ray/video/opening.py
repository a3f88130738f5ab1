"""Opens a video for decoding, or a folder of pictures as if it were one. Every failure names the file."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from lscht_ray.shown import shown
from lscht_ray.video._picture_folder import PictureFolder
from lscht_ray.video.frames import Times

Trouble = Literal["unreadable", "no_video_stream", "refused"]

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,flv,gif,swf,asf,ogg,dv,mxf,nut,h264,hevc,ivf,obu,"
    "mpegvideo,m4v,vc1,rm,wtv"
)
"""Containers that hold a video themselves. Playlists and scripts (HLS, concat, SDP, ...) name other files and addresses
to be opened, so they are not among them, whatever a file calls itself."""
SCRIPTS = (b"#EXTM3U", b"ffconcat", b"[playlist]", b"v=0\n", b"v=0\r", b"<MPD", b"<?xml", b"<smil")
"""First bytes of such playlists and scripts."""


class UnreadableVideoError(Exception):
    """A video can't be decoded.

    Attributes:
        path: The video file.
        reason: The reason in words, one line.
        kind: The reason as one word; a probe files it under that name.
    """

    def __init__(self, path: str | Path, reason: object, kind: Trouble = "unreadable") -> None:
        text = getattr(reason, "strerror", None) or str(reason)  # FFmpeg's words without its error number
        self.path, self.reason, self.kind = str(path), " ".join(text.split()), kind
        super().__init__(f"{shown(self.path)}: {shown(self.reason)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.reason, self.kind)


@contextlib.contextmanager
def readable(path: str | Path) -> Iterator[None]:
    """Make of FFmpeg's and the system's errors in the block an UnreadableVideoError that names the file."""
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        raise UnreadableVideoError(path, error) from None


def open_video(path: str | Path) -> AbstractContextManager[Any]:
    """Open the file as PyAV's container; a folder of pictures as an object that serves like one.

    Only files that hold a video themselves are opened, nothing that they name.

    Raises:
        UnreadableVideoError: The file is a playlist or a script.
        av.FFmpegError: The file is no video.
        OSError: The file can't be read.
    """
    if Path(path).is_dir():
        return PictureFolder(Path(path))
    with Path(path).open("rb") as file:
        head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(SCRIPTS):
        reason = "it is a playlist or script that names other files: refused, never followed"
        raise UnreadableVideoError(path, reason, "refused")
    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    opened: AbstractContextManager[Any] = av.open(f"file:{path}", options=options, metadata_errors="replace")
    return opened


def frame_time(frame: Any, number: int, stream: Any) -> float:
    """When a frame is shown, in seconds. A stream without time stamps is timed by its average rate."""
    return float(number / (stream.average_rate or 25) if frame.time is None else frame.time)


def from_first(times: list[float]) -> Times:
    """Count times from the first frame, in seconds. A time that falls is raised to the one before."""
    stamps = np.asarray(times, np.float64)
    return np.maximum.accumulate(stamps - stamps[0]) if len(stamps) else stamps


def video_streams(container: Any) -> list[Any]:
    """The video streams that can be decoded, without cover pictures."""
    cover = av.stream.Disposition.attached_pic
    return [s for s in container.streams.video if s.codec_context is not None and not s.disposition & cover]


def best_stream(path: str | Path, container: Any) -> Any:
    """The video stream with the largest picture, set to one thread: clips are read in parallel by processes instead.

    Raises:
        UnreadableVideoError: There is none.
    """
    streams = video_streams(container)
    if not streams and container.streams.video:
        raise UnreadableVideoError(path, "there is no decoder for its video")
    if not streams:
        raise UnreadableVideoError(path, "it has no video stream", "no_video_stream")
    stream = max(streams, key=lambda candidate: candidate.width * candidate.height)
    stream.thread_type = "NONE"
    return stream


def good_frames(container: Any, stream: Any, salvage: bool) -> Iterator[Any]:
    """Yield the frames in order. Damage raises av.FFmpegError; with ``salvage`` damaged frames are skipped instead."""
    if not salvage:
        yield from container.decode(stream)
        return
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        yield from (frame for frame in frames if not frame.is_corrupt)
