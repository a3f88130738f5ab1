"""Which files are videos, and which folders are clips made of pictures: by their names, and else by their first bytes.

It imports no decoder, and opens only files whose suffix tells nothing.
"""

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


VIDEO_SUFFIXES = _words("""
    .mp4 .m4v .mov .qt .f4v .3gp .3g2 .mkv .webm .avi .mpg .mpeg .m2v .vob .ts .mts .m2ts .flv .wmv .asf .ogv .mxf .dv
    .gif .swf
""")
"""What is taken for a video whatever it holds, so that a damaged one is named."""
PICTURE_SUFFIXES = _words(".jpg .jpeg .png .bmp .webp .ppm .tif .tiff")
"""Of the pictures that make a clip."""
OTHER_SUFFIXES = PICTURE_SUFFIXES | _words("""
    .heic .heif .avif .svg .psd .m4a .mp3 .wav .oga .ogg .opus .aac .flac .wma .aiff .txt .csv .tsv .json .jsonl .xml
    .yaml .yml .md .html .pdf .doc .docx .odt .xls .xlsx .ods .ppt .pptx .eaf .pfsx .etf .srt .vtt .zip .rar .7z .gz
    .tar .py .ipynb .pt .pth .npy .npz .pkl .h5 .ini .log .db .lnk .exe .bak
""")
"""What is never opened to look for a video."""
HEAD = 1024
"""Bytes at the front of a file that tell what it is."""
TS_PACKETS = ((0, 188), (4, 192), (0, 204))
"""Where packets of an MPEG transport stream begin, and their length in bytes; cameras put a time before each."""
DIGITS = re.compile(r"[0-9]{1,18}")
CAMERA = re.compile(r"(?:cam|camera|c[aá]mara|kinect|sensor|view|vista|angle|[aá]ngulo)[ _-]?[0-9]+", re.IGNORECASE)
"""How a camera is named in a picture's name."""
ALIKE = 0.8
"""Share of a clip's pictures that must have as many numbers in their names, for these to say something."""
FLOW = re.compile(r"^flow[_-]", re.IGNORECASE)
"""How the pictures of optical flow begin that are kept beside a clip's own (mmaction2's rawframes)."""


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of that name belongs to a system, not to its user.

    Those are names that begin with a dot, among them `._NAME`, which macOS writes beside each file on a disk that is
    not its own, what Windows and macOS add to folders and zips, and what Office keeps beside a file that is open.
    """
    return name.startswith((".", "~$")) or name.lower() in ("__macosx", "thumbs.db", "desktop.ini")


def is_video(path: Path) -> bool:
    """Return whether a file is a video by its suffix, or, where that tells nothing, by its first bytes.

    A name that `is_hidden` is none, and a file that can't be read is none unless its suffix says so.
    """
    suffix = path.suffix.lower()
    if is_hidden(path.name) or suffix in OTHER_SUFFIXES:
        return False
    return suffix in VIDEO_SUFFIXES or holds_video(path)


def holds_video(path: Path) -> bool:
    """Return whether a file begins as a video container does; False where it can't be read."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    if head[4:8] == b"ftyp":
        return head[8:12] not in (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"M4A ", b"M4B ")
    if head[:4] == b"OggS":
        return b"\x80theora" in head
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    return _is_transport_stream(head) or any(map(head.startswith, _MAGICS)) or head[4:8] in (b"moov", b"mdat", b"wide")


_MAGICS = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"\x00\x00\x01\xba",  # MPEG program stream, VOB
    b"\x00\x00\x01\xb3",  # MPEG video
    b"FLV\x01",
    b"0&\xb2u\x8ef\xcf\x11\xa6\xd9\x00\xaa\x00b\xcel",  # ASF, WMV
    b"\x06\x0e+4\x02\x05\x01\x01\r\x01\x02",  # MXF
    b"\x1f\x07\x00",  # DV
    b"nut/multimedia container\x00",
    b"DKIF",  # IVF
    b".RMF",  # RealMedia
)


def _is_transport_stream(head: bytes) -> bool:
    return any(
        len(head) > first + 2 * length and all(head[first + number * length] == 0x47 for number in range(3))
        for first, length in TS_PACKETS
    )


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a clip that is a folder, in the order of the numbers in their names.

    Pictures of optical flow (`flow_x_00001.jpg`) are none of them. An OSError tells that the folder can't be listed.
    """
    found = [entry for entry in folder.iterdir() if is_picture(entry.name)]
    return sorted(found, key=lambda path: _in_parts(path.name))


def disorder(folder: Path) -> tuple[str, str]:
    """What is odd about a clip by the numbers in its pictures' names: kind of problem, and words; nothing: all is well.

    An OSError tells that the folder can't be listed.
    """
    pictures = pictures_in(folder)
    numbers = {path: tuple(int(part) for part in DIGITS.findall(path.stem)) for path in pictures}
    usual = Counter(map(len, numbers.values())).most_common(1)
    if not usual or usual[0][0] == 0 or usual[0][1] < ALIKE * len(pictures):  # called by no rule
        return "", ""
    odd = next((path for path, number in numbers.items() if len(number) != usual[0][0]), None)
    if odd:
        return "mixed_pictures", f"{odd.name} is called otherwise than the other pictures"
    first: dict[tuple[int, ...], Path] = {}
    for path, number in numbers.items():
        if (other := first.setdefault(number, path)) is not path:
            return "mixed_pictures", f"{other.name} and {path.name} have the same number"
    cameras = {found[0].lower(): path.name for path in reversed(pictures) if (found := CAMERA.search(path.stem))}
    if len(cameras) > 1:
        names = sorted(cameras.values())
        return "mixed_pictures", f"its pictures are of {len(names)} cameras, from {' and from '.join(names[:2])} on"
    lost = _gap([number[-1] for number in numbers.values()])
    return ("missing_pictures", lost) if lost else ("", "")


def _gap(numbers: list[int]) -> str:
    """Which numbers are missing, in words; nothing where none is, or where they follow no rule."""
    steps = Counter(later - number for number, later in pairwise(numbers))
    usual, count = steps.most_common(1)[0] if steps else (0, 0)
    lost = [number + usual for number, later in pairwise(numbers) if usual > 0 and later - number >= 2 * usual]
    if 2 * count < steps.total() or 3 * len(lost) > steps.total():
        return ""
    return f"no picture has the number {lost[0]}" + ", ..." * (len(lost) > 1) if lost else ""


def is_picture(name: str) -> bool:
    """Return whether a file of that name is a picture of a clip."""
    return Path(name).suffix.lower() in PICTURE_SUFFIXES and not is_hidden(name) and not FLOW.match(name)


def is_clip_of_pictures(path: Path) -> bool:
    """Return whether a folder is a clip that is kept as pictures: two of them at least, and no video."""
    try:
        names = [entry.name for entry in path.iterdir()] if path.is_dir() and not is_hidden(path.name) else []
    except OSError:
        return False
    videos = any(Path(name).suffix.lower() in VIDEO_SUFFIXES for name in names if not is_hidden(name))
    return not videos and sum(map(is_picture, names)) > 1


def _in_parts(name: str) -> list[tuple[int, str]]:
    """Return a key by which img_2 comes before img_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def stamp(path: Path) -> tuple[int, int]:
    """Return the size in bytes and the time of the last change in nanoseconds of a video, or of a folder of pictures.

    Of a folder they are the sum and the latest of its pictures, and its own time. An OSError tells that it is gone.
    """
    stat = path.stat()
    if not path.is_dir():
        return stat.st_size, stat.st_mtime_ns
    stats = [picture.stat() for picture in pictures_in(path)]
    return sum(one.st_size for one in stats), max([stat.st_mtime_ns, *(one.st_mtime_ns for one in stats)])
