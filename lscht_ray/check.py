"""`python -m lscht_ray.check DATA`: says what is wrong with a data set before any GPU hour is spent on it."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lscht_ray.dataset.reports import MARKS, is_report
from lscht_ray.errors import InputError
from lscht_ray.host import console
from lscht_ray.host.files import write_csv
from lscht_ray.settings import commandline
from lscht_ray.settings.data import CheckConfig
from lscht_ray.shown import counted

if TYPE_CHECKING:
    from rich.console import Console

    from lscht_ray.clips.transforms import ClipFormat
    from lscht_ray.dataset.annotations import Annotations
    from lscht_ray.dataset.problems import Problem
    from lscht_ray.dataset.samples import Clip

PICTURES = 4
"""Thumbnails of each video with a problem."""
MAX_PICTURED = 200
"""Videos with thumbnails at most."""
NOT_SHOWN = frozenset(("too_large", "refused", "hang", "crash", "no_access", "too_much_memory", "empty_file"))
"""Kinds of problems whose videos are not opened again for thumbnails."""


def main(argv: list[str]) -> int:
    """The door. The exit code is 0 without problems of severity error, 1 with some, 2 where it could not run."""
    config, flags = commandline.parse(
        CheckConfig,
        argv,
        prog="python -m lscht_ray.check",
        description=f"{__doc__} DATA may also be given as --data.",
        extra=_flags,
    )
    from lscht_ray.checking import findings, page, survey, usable
    from lscht_ray.dataset import annotations

    if flags.DATA is not None:
        given = {word.partition("=")[0] for word in argv}
        if "--data" in given and config.data != flags.DATA:
            raise InputError(
                f"{flags.DATA} and --data {config.data}: name one data set; a name with blanks stands in quotation"
                f" marks: --data {shlex.quote(f'{config.data} {flags.DATA}')}"
            )
        config = config.model_copy(update={"data": flags.DATA})
    screen, started = console.new_console(), time.monotonic()
    _look_at_outputs(flags)
    if config.model_name is not None:
        from lscht_ray.model import weights

        weights.check(config.model_name)
    annotated = annotations.read_named(screen=screen, **config.data_settings(), strict=False)
    if flags.write_splits and annotated.layout == "table":
        _keep_apart(Path(flags.write_splits).expanduser().resolve(), annotated)
    videos = list(dict.fromkeys(sample.video for sample in annotated.samples))
    facts, new = survey.look(annotated, config, screen, decord=True)
    problems = findings.find_problems(annotated, facts, config)
    screen.print(page.as_text(annotated, problems))
    screen.print(f"{counted(len(videos), 'video')}, {new} of them newly looked at, {time.monotonic() - started:.1f} s")
    _write(flags.json, "--json", screen, lambda file: _json(file, page.as_json(annotated, problems)))
    _write(flags.facts, "--facts", screen, lambda file: write_csv(file, page.facts_rows(facts), config.csv_locale))
    if flags.html:
        html = page.as_html(annotated, problems, _pictures(problems, videos, config, screen))
        _write(flags.html, "--html", screen, lambda file: _text(file, html))
    if flags.write_splits:
        _write(flags.write_splits, "--write_splits", screen, lambda file: _splits(file, annotated))
    if flags.build_cache:
        from lscht_ray.clips import fill

        short_side = _clip_format(config).decoded_short_side
        fill.fill(annotated.root, usable.settle(annotated, facts, config).clips, config, short_side, screen)
    if flags.contact_sheet:
        clips = usable.settle(annotated, facts, config).clips
        settings = (annotated.glosses, clips, config, screen)
        _write(flags.contact_sheet, "--contact-sheet", screen, lambda file: _sheet(file, *settings))
    return 1 if any(problem.severity == "error" for problem in problems) else 0


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("DATA", nargs="?", type=str, help="data set, the same as --data")
    parser.add_argument("--json", type=str, help="write everything as JSON to this file")
    parser.add_argument("--html", type=str, help="write a page with thumbnails to this file")
    parser.add_argument("--facts", type=str, help="write what is known of every video as CSV to this file")
    parser.add_argument("--write_splits", type=str, help="write path, label, split and signer of every clip as CSV")
    text = "decode every clip into this node's cache now (for --model_name)"
    parser.add_argument("--build-cache", "--build_cache", dest="build_cache", action="store_true", help=text)
    text = "write a picture of what the model sees of each gloss, plain and augmented"
    parser.add_argument("--contact-sheet", "--contact_sheet", dest="contact_sheet", type=str, help=text)


PICTURES_WRITTEN = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
"""Suffixes of pictures that can be written."""


def _look_at_outputs(flags: argparse.Namespace) -> None:
    """Refuse at once a file that could not be written in the end."""
    for name in ("json", "html", "facts", "write_splits", "contact_sheet"):
        value = getattr(flags, name)
        if value is None:
            continue
        file = Path(value).expanduser().resolve()
        if not file.parent.is_dir():
            raise InputError(f"--{name} {value}: there is no folder {file.parent}")
        if file.is_dir():
            raise InputError(f"--{name} {value}: it is a folder: name a file in it")
        if file.is_file() and file.stat().st_size and not (name in MARKS and is_report(file, name)):
            raise InputError(f"--{name} {value}: it is there, and no earlier one of these: name another file")
        if name == "contact_sheet" and file.suffix.lower() not in PICTURES_WRITTEN:
            raise InputError(f"--contact-sheet {value}: name it {' or '.join(PICTURES_WRITTEN)}")


def _keep_apart(file: Path, annotated: Annotations) -> None:
    """Refuse splits that would be a second table beside that of the data set."""
    if file.parent == annotated.folder.resolve():
        raise InputError(f"--write_splits {file}: there it would be taken for a table of clips: name another folder")


def _write(name: str | None, flag: str, screen: Console, write: Callable[[Path], object]) -> None:
    if name is None:
        return
    file = Path(name).expanduser().resolve()
    try:
        write(file)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{flag} {name}: can't be written: {error}") from None
    screen.print(f"written: {file}")


def _json(file: Path, content: object) -> None:
    from lscht_ray.host.files import write_json

    write_json(file, content)


def _text(file: Path, text: str) -> None:
    from lscht_ray.host.files import write_text

    write_text(file, text)


def _splits(file: Path, annotated: Annotations) -> None:
    from lscht_ray.dataset import splits

    splits.write(annotated.rows(), annotated.folder, file)


def _sheet(file: Path, glosses: Sequence[str], clips: Sequence[Clip], config: CheckConfig, screen: Console) -> None:
    from lscht_ray.clips import contact_sheet

    if not clips:
        raise InputError("--contact-sheet: not one clip can be used")
    sheet, count = contact_sheet.draw(glosses, clips, config, _clip_format(config), config.seed)
    if count < len(glosses):
        screen.print(f"the contact sheet shows {count} of {counted(len(glosses), 'gloss')}")
    contact_sheet.write(sheet, file)


def _clip_format(config: CheckConfig) -> ClipFormat:
    """The clips that the model takes which is meant."""
    from lscht_ray.clips.transforms import ClipFormat
    from lscht_ray.model import shape

    size, mean, std = shape.IMAGE_SIZE, shape.IMAGENET_MEAN, shape.IMAGENET_STD
    if config.model_name is not None:
        from lscht_ray.model import videomae

        wanted = videomae.input_of(config.model_name)
        size, mean, std = wanted.image_size, wanted.mean, wanted.std
    decoded = (config.short_side, config.pixel_format, config.eval_crop)
    return ClipFormat(config.image_size or size, mean, std, *decoded)


def _pictures(
    problems: list[Problem], videos: list[Path], config: CheckConfig, screen: Console
) -> dict[str, list[str]]:
    """Thumbnails by video, made in child processes, because a video with a problem may be hostile."""
    from lscht_ray.checking import survey

    known = {str(video) for video in videos}
    closed = {problem.path for problem in problems if problem.kind in NOT_SHOWN}
    wanted = [path for path in dict.fromkeys(problem.path for problem in problems) if path in known - closed]
    if len(wanted) > MAX_PICTURED:
        screen.print(f"the page shows pictures of the first {MAX_PICTURED} of {counted(len(wanted), 'video')}")
    seconds = config.probe_seconds
    questions = [
        {"ask": "pictures", "path": path, "count": PICTURES, "seconds": seconds} for path in wanted[:MAX_PICTURED]
    ]
    with survey.children(config, len(questions)) as pool:
        return {question["path"]: answer.content.get("pictures", []) for question, answer in pool.map(questions)}


if __name__ == "__main__":
    sys.exit(console.door(main))
