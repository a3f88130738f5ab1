"""Videos that a player shows otherwise than a decoder alone gives them, and what FFmpeg's own program makes of them."""

import re
import subprocess
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
from av.codec.context import Flags

ONE = 1 << 16
"""1 in a display matrix, whose numbers have 16 binary places."""
BT2020, BT2020_NCL, PQ, HLG = 9, 9, 16, 18
"""Numbers of ITU-T H.273 for primaries, matrix and transfer characteristics."""


def picture(width: int, height: int, number: int = 0) -> np.ndarray:
    """A picture that no turn and no mirror leaves as it is: gradients, three corners, a square that moves."""
    y, x = np.mgrid[:height, :width].astype(float)
    made = np.stack([x / width * 200 + 20, y / height * 200 + 20, 128 + 0 * x], axis=2)
    made[: height // 2, : width // 8] = (255, 0, 0)
    made[height // 2 - height // 8 : height // 2, : width // 2] = (255, 255, 0)
    made[-height // 4 :, -width // 8 :] = (0, 0, 255)
    made[2:6, 10 + number % 40 : 14 + number % 40] = 255
    return made.clip(0, 255).astype(np.uint8)


def write(
    path: Path,
    pictures: Sequence[np.ndarray],
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    setup: Callable[[Any], object] = lambda stream: None,
) -> Path:
    """Write RGB pictures as nearly lossless video; ``setup`` gets the stream before the first one."""
    lossless = {"libx264": {"crf": "1"}, "libvpx-vp9": {"crf": "4", "b": "0", "cpu-used": "8"}}
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=10, options=options or lossless.get(codec, {}))
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        setup(stream)
        for made in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(made, format="rgb24")))
        out.mux(stream.encode())
    return path


def reference(path: Path, *filters: str) -> np.ndarray:
    """The frames (T, H, W, 3) that FFmpeg's program writes, turned and mirrored by itself, through these filters."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(path)]
    command += ["-vf", ",".join(filters)] if filters else []
    done = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    width, height = map(int, re.findall(rb"Video: rawvideo.*?, (\d+)x(\d+)", done.stderr)[-1])
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


def interlaced(path: Path, width: int, height: int, frames: int = 6) -> Path:
    """A bar that moves between the two fields of each frame."""

    def moment(number: int) -> np.ndarray:
        made = np.full((height, width, 3), 40, np.uint8)
        made[:, 20 + 12 * number : 20 + 12 * number + width // 16] = 220
        return made

    def fields(stream: Any) -> None:
        stream.codec_context.flags |= Flags.interlaced_dct | Flags.interlaced_me

    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        fields(stream)
        graph = av.filter.Graph()  # a frame's order of fields can't be set otherwise
        source = graph.add_buffer(width=width, height=height, format="yuv420p", time_base=Fraction(1, 25))
        order, sink = graph.add("setfield", "tff"), graph.add("buffersink")
        graph.link_nodes(source, order, sink).configure()
        for number in range(frames):
            woven = moment(2 * number)
            woven[1::2] = moment(2 * number + 1)[1::2]
            frame = av.VideoFrame.from_ndarray(woven, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            graph.push(frame)
            ordered = graph.pull()
            ordered.pts, ordered.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(ordered))
        out.mux(stream.encode())
    return path


def comb(frame: np.ndarray) -> float:
    """Share of pixels that differ from both vertical neighbours, in the same direction, by more than 20 grey levels."""
    grey = frame[..., 1].astype(int)
    up, down = grey[1:-1] - grey[:-2], grey[1:-1] - grey[2:]
    return float(((up * down > 0) & (abs(up) > 20) & (abs(down) > 20)).mean())


def hdr(path: Path, sdr: np.ndarray, transfer: int) -> Path:
    """An HDR video of a standard picture: its white is at 203 cd/m2 (ITU-R BT.2408), its codes those of BT.2100."""
    to_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    luminance = np.array([0.2627, 0.6780, 0.0593])
    light = 203 * (sdr / 255.0) ** 2.4 @ to_2020.T
    if transfer == PQ:
        share = (light / 1e4) ** (2610 / 16384)
        top, bottom = 3424 / 4096 + 2413 / 128 * share, 1 + 2392 / 128 * share
        coded = (top / bottom) ** (2523 / 32)
    else:  # the inverse of a display of 1000 cd/m2 with a gamma of 1.2, then the camera's curve
        scene = light / (1000 * (np.maximum(light @ luminance, 1e-6) / 1000) ** (0.2 / 1.2))[..., None]
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        bright = a * np.log(np.maximum(12 * scene - b, 1e-9)) + c
        coded = np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)
    luma = coded @ luminance
    blue, red = (coded[..., 2] - luma) / 1.8814, (coded[..., 0] - luma) / 1.4746

    def half(plane: np.ndarray) -> np.ndarray:
        return plane.reshape(plane.shape[0] // 2, 2, plane.shape[1] // 2, 2).mean((1, 3))

    planes = [876 * luma + 64, 896 * half(blue) + 512, 896 * half(red) + 512]
    data = np.concatenate([np.rint(plane).ravel() for plane in planes]).reshape(-1, sdr.shape[1]).astype(np.uint16)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=10, options={"crf": "4"})
        stream.height, stream.width = sdr.shape[:2]
        stream.pix_fmt = "yuv420p10le"
        context: Any = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = BT2020, transfer, 9, 1
        for number in range(2):
            frame: Any = av.VideoFrame.from_ndarray(data, format="yuv420p10le")
            frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range = BT2020, transfer, 9, 1
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def resized(path: Path, sizes: Sequence[tuple[int, int]], each: int = 4) -> Path:
    """One stream whose picture changes its size, as a browser's MediaRecorder writes it when a phone is turned."""
    options = {"cpu-used": "8", "deadline": "realtime", "b": "4000000"}
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libvpx", rate=10, options=options)
        stream.width, stream.height = sizes[0]
        stream.pix_fmt = "yuv420p"
        number, encoder = 0, stream
        for width, height in sizes:
            if number:
                encoder = av.CodecContext.create("libvpx", "w")
                encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
                encoder.time_base, encoder.framerate, encoder.options = Fraction(1, 10), Fraction(10), options
            packets = []
            for _ in range(each):
                frame = av.VideoFrame.from_ndarray(picture(width, height, number), format="rgb24")
                frame = frame.reformat(format="yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, 10)
                number += 1
                packets += encoder.encode(frame)
            for packet in [*packets, *encoder.encode(None)]:
                packet.stream = stream
                out.mux(packet)
    return path
