"""Finds out what one video file really holds, in a child process that can be killed (`host.children`).

As a program it answers questions, one JSON object a line: {"ask": "facts" | "decord" | "pictures", "path": ...}.
"""

import base64
import errno
import hashlib
import json
import os
import signal
import struct
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from lscht_ray.video import _memory, decode, opening
from lscht_ray.video._display import Orientation, in_square_pixels, orientation, pixel_aspect, shown_size
from lscht_ray.video._hdr import transfer_of
from lscht_ray.video._judging import SMALL, Grey, judged
from lscht_ray.video._timing import claimed_duration, missing, pace
from lscht_ray.video.facts import LOOKS, Facts
from lscht_ray.video.frames import evaluation_indices
from lscht_ray.video.pictures import shrink
from lscht_ray.video.recognise import pictures_in, stamp

SAME_FRAMES = 6.0
"""Mean difference in grey levels up to which two decoders gave the same frames."""
PASSING = (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ENOENT, errno.EMFILE)
"""Errors that may be gone when the file is looked at again."""
TOO_MUCH = "decoding it takes more memory than it may"
GRANTED_FRAMES, GRANTED_SECONDS = 500, 50
"""After so many more frames a look may take so many more seconds: a long recording is no hang."""
Grant = Callable[[int, int], None]
"""Asks for so many more seconds, after so many frames."""
OnFrame = Callable[[Any, float, Fraction], None]
"""Gets each good frame as the decoder made it, when it is shown (seconds, as stamped), and the aspect of its pixels."""


def _ignore(frame: Any, time: float, aspect: Fraction) -> None:
    del frame, time, aspect


def find_facts(path: str, on_frame: OnFrame = _ignore) -> Facts:
    """Decode a whole file and return its facts. The caller limits the memory and the time that this takes.

    Args:
        path: The video file.
        on_frame: Gets every good frame in order, so that no one else has to decode the file for them.

    Raises:
        OSError: The file is gone.
    """
    size, changed = stamp(Path(path))
    fields: dict[str, Any] = {"size": size, "mtime_ns": changed}
    if size == 0:
        reason = "no picture is in it" if Path(path).is_dir() else "it is empty (0 bytes)"
        return Facts(**fields, trouble="empty_file", reason=reason)
    try:
        fields["sha256"] = _digest(Path(path))
        with opening.open_video(path) as container:
            fields["container"] = container.format.name
            stream = opening.best_stream(path, container)
            fields |= {"streams": len(container.streams.video), "codec": stream.codec.canonical_name}
            fields |= _read_whole(container, stream, on_frame)
    except opening.UnreadableVideoError as error:
        return Facts(**fields, trouble=error.kind, reason=error.reason)
    except (MemoryError, av.error.MemoryError):
        return Facts(**fields, trouble="too_much_memory", reason=TOO_MUCH)
    except (OSError, av.FFmpegError) as error:
        if isinstance(error, PermissionError | TimeoutError) or error.errno in PASSING:
            return Facts(**fields, trouble="no_access", reason=_plain(error))
        kind = "truncated" if ends_early(path) else "unreadable"
        return Facts(**fields, trouble=kind, reason=_plain(error))
    trouble: dict[str, Any] = _trouble(path, fields.pop("broken"), fields)
    return Facts(**fields, **trouble)


def _digest(path: Path) -> str:
    """SHA-256 of a file, or of the pictures in a folder, one after the other."""
    digest = hashlib.sha256()
    for file in pictures_in(path) if path.is_dir() else [path]:
        with file.open("rb") as opened:
            while block := opened.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def _plain(error: Exception) -> str:
    """An error's words on one line, without FFmpeg's error number."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())


def _trouble(path: str, broken: str, fields: dict[str, Any]) -> dict[str, str]:
    """Why a file that was read as far as possible is not whole: trouble and reason, or nothing where it is whole."""
    frames, corrupt = fields["frames"], fields["corrupt"]
    if broken and _memory.memory_ran_out(4 * fields["width"] * fields["height"]):
        return {"trouble": "too_much_memory", "reason": TOO_MUCH}
    if not broken and frames and corrupt <= 0.1 * (frames + corrupt):
        return {}
    if not broken and not frames and not corrupt:
        return {"trouble": "unreadable", "reason": "it has no decodable frame"}
    kind = "truncated" if ends_early(path) else "damaged"
    bad = f"{corrupt} damaged frames" if corrupt else broken
    return {
        "trouble": kind,
        "reason": f"{bad}; {frames} good frames" + (f" of {fields['claimed']}" * bool(fields["claimed"])),
    }


def _read_whole(container: Any, stream: Any, on_frame: OnFrame) -> dict[str, Any]:
    """Decode every packet; return the facts that the frames tell."""
    reformatter = VideoReformatter()
    times: list[float] = []
    grey: list[Grey] = []
    damaged: list[float] = []
    hidden = 0
    broken = ""
    aspect, turn, transfer, interlaced = pixel_aspect(stream), Orientation(), "sdr", False
    first = in_square_pixels(stream.codec_context.width, stream.codec_context.height, aspect)
    sizes: set[tuple[int, int]] = set()
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.error.MemoryError:
            raise
        except av.FFmpegError as error:
            broken = _plain(error)
            break
        hidden += bool(packet.is_discard)
        try:
            decoded = packet.decode()
        except av.error.MemoryError:
            raise
        except av.FFmpegError as error:
            broken = broken or _plain(error)
            continue
        for frame in decoded:
            if frame.is_corrupt:
                damaged.append(opening.frame_time(frame, len(times), stream))
                continue
            turn = orientation(frame)
            upright = shown_size(frame, aspect)
            if not sizes:
                first, transfer = upright, transfer_of(frame)
            sizes.add(upright)
            interlaced = interlaced or frame.interlaced_frame
            times.append(opening.frame_time(frame, len(times), stream))
            on_frame(frame, times[-1], aspect)
            small = reformatter.reformat(frame, SMALL, SMALL, "gray8", interpolation=Interpolation.AREA, threads=1)
            grey.append(np.asarray(small.to_ndarray(), np.uint8))
    result = {
        "frames": len(times),
        "corrupt": max(len(damaged), missing(times, damaged, stream, stream.frames - hidden, container.format.name)),
        "hidden": hidden,
        "claimed": stream.frames,
        "claimed_duration": claimed_duration(container, stream, times[0] if times else 0.0),
        "broken": broken,
        "rotation": turn.rotation,
        "mirrored": turn.mirrored,
        "interlaced": bool(interlaced),
        "transfer": transfer,
        "sizes": max(1, len(sizes)),
        "pixel_aspect": f"{aspect.numerator}:{aspect.denominator}",
        "width": first[0],
        "height": first[1],
    }
    return result | pace(opening.from_first(times), stream) | judged(grey)


def ends_early(path: str) -> bool:
    """Whether an MP4 or MOV file lacks its index, or has a box that goes on beyond the file's end."""
    if Path(path).is_dir():
        return False
    size, position, boxes = Path(path).stat().st_size, 0, []
    with Path(path).open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            length, name = struct.unpack(">I4s", file.read(8))
            if length == 1:
                length = int.from_bytes(file.read(8), "big")
            boxes.append(name)
            if boxes[0] not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
                return False
            if length == 0:
                break
            if length < 8 or position + length > size:
                return True
            position += length
    return bool(boxes) and b"moov" not in boxes


def compare_decord(path: str) -> str:
    """Whether decord returns the frames that PyAV does: "same", "differs", or "error"."""
    import decord

    try:
        reader = decord.VideoReader(path, num_threads=1)
        claimed = len(reader)
        wanted = np.unique(np.r_[0, evaluation_indices(claimed, LOOKS), claimed - 1])
        theirs = shrink(reader.get_batch(wanted.tolist()).asnumpy(), 2 * SMALL)
    except MemoryError:
        raise
    except Exception:  # decord raises its own class, and RuntimeError
        return "error"
    if claimed != decode.count_frames(path)[0]:
        return "differs"
    ours = decode.decode(path, lambda times: wanted, short_side=2 * SMALL, decoder="pyav")
    if theirs.shape != ours.shape:
        return "differs"
    return "same" if np.abs(ours.astype(np.float32) - theirs).mean(axis=(1, 2, 3)).max() <= SAME_FRAMES else "differs"


def pictures(path: str, count: int) -> list[str]:
    """Evenly spaced frames of a video as small JPEG pictures in base64; of a damaged video, good frames."""
    import io

    from PIL import Image

    frames = decode.decode(path, lambda times: evaluation_indices(len(times), count), short_side=96, salvage=True)
    made = []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=70)
        made.append(base64.b64encode(buffer.getvalue()).decode("ascii"))
    return made


def granting(grant: Grant, on_frame: OnFrame = _ignore) -> OnFrame:
    """Ask for more time as frames come."""
    count = 0

    def on_each(frame: Any, moment: float, aspect: Fraction) -> None:
        nonlocal count
        count += 1
        if count % GRANTED_FRAMES == 0:
            grant(GRANTED_SECONDS, count)
        on_frame(frame, moment, aspect)

    return on_each


def answer(question: dict[str, Any], grant: Grant, on_frame: OnFrame = _ignore) -> dict[str, Any]:
    """What a child answers to one question."""
    path = question["path"]
    try:
        if question["ask"] == "facts":
            return find_facts(path, granting(grant, on_frame)).as_dict()
        if question["ask"] == "decord":
            return {"decord": compare_decord(path)}
        return {"pictures": pictures(path, question["count"])}
    except MemoryError:
        return {"error": "too_much_memory", "reason": TOO_MUCH}
    except (opening.UnreadableVideoError, OSError) as error:
        return {"error": "unreadable", "reason": _plain(error)}


def serve(memory: int | None, respond: Callable[[dict[str, Any], Grant], dict[str, Any]]) -> int:
    """Answer questions, a JSON object a line, until standard input ends. A first, empty line says: ready.

    Args:
        memory: Bytes that this process may take beyond what it has now; None: no limit.
        respond: Makes the answer to a question. A question's "seconds" says how long it may take; what it is given
            besides asks for more.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="surrogateescape")
    os.dup2(2, 1)  # so that what a library prints is no answer
    stdin: Any = sys.stdin  # a TextIOWrapper, whatever the type says
    stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    if memory is not None:
        _memory.limit_memory(memory)
    print("{}", file=answers, flush=True)

    def grant(seconds: int, frames: int) -> None:
        print(json.dumps({"more": seconds, "frames": frames}), file=answers, flush=True)
        if hasattr(signal, "alarm"):
            signal.alarm(signal.alarm(0) + seconds)

    for line in sys.stdin:
        question = json.loads(line)
        if hasattr(signal, "alarm"):
            # The kernel's alarm ends a hung decoder even where nobody is left to kill this process.
            signal.alarm(int(question.get("seconds", 60)) + 5)
        content = json.dumps({**respond(question, grant), "retire": _memory.near_the_limit()})
        if hasattr(signal, "alarm"):
            signal.alarm(0)
        print(content, file=answers, flush=True)
    return 0


def main(argv: list[str]) -> int:
    """Answer questions with so many bytes of memory as the first argument says."""
    return serve(int(argv[0]), answer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
