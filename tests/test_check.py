"""The door `check` as a user runs it, and what training makes of what it finds."""

import csv
import html.parser
import json
import os
import shutil
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from lscht_ray.clips.dataset import ClipDataset, ClipReader, Sampling
from lscht_ray.clips.loader import build_loader
from lscht_ray.dataset.annotations import read
from lscht_ray.dataset.samples import Clip
from lscht_ray.errors import TrainingError
from lscht_ray.video.decode import Choose
from lscht_ray.video.pictures import Frames
from support.data import clip_of, draw, manifest, read_lines, shared
from support.doors import FAST, Door, refused, wait_for
from support.media import bomb, damaged, paint

NFC, NFD = "señá", unicodedata.normalize("NFD", "señá")


def checked(door: Door, data: Path, *flags: object, cwd: Path) -> tuple[int, dict[str, Any], str]:
    """The door's exit code, its JSON and what it printed."""
    result = door("check", data, "--json", cwd / "report.json", *flags, cwd=cwd)
    assert "Traceback" not in result.stderr, result.stderr
    assert result.returncode in (0, 1), result.stderr
    return result.returncode, json.loads((cwd / "report.json").read_text(encoding="utf-8")), result.stdout


class Tags(html.parser.HTMLParser):
    """Counts the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.opened, self.closed = Counter[str](), Counter[str]()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.opened[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        self.closed[tag] += 1


def kinds(report: dict[str, Any], kind: str) -> list[dict[str, str]]:
    return [problem for problem in report["problems"] if problem["kind"] == kind]


def clip(path: Path, seed: int = 0) -> Path:
    draw(path, seed % 6, seed)
    return path


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A small data set without a fault: two glosses, 4 + 1 + 1 clips each, a signer for each split."""
    rows = []
    for number in range(12):
        gloss, split = ("casa", "tú")[number % 2], ("train", "train", "train", "train", "val", "test")[number // 2]
        path = clip(tmp_path / "sound" / "clips" / f"{number}.mp4", number)
        rows.append((f"clips/{path.name}", gloss, split, split))
    manifest(tmp_path / "sound", rows, ("path", "label", "split", "signer"))
    return tmp_path / "sound"


def add(folder: Path, *rows: tuple[str, str, str, str]) -> None:
    with (folder / "manifest.csv").open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def test_a_sound_set_is_fine_and_a_second_look_opens_nothing(sound: Path, door: Door, tmp_path: Path) -> None:
    code, report, said = checked(door, sound, cwd=tmp_path)
    assert (code, report["problems"], report["summary"]) == (0, [], {}), said
    assert list(report) == ["data", "layout", "num_classes", "glosses", "clips", "splits", "problems", "summary"]
    assert (report["data"], report["layout"]) == (str(sound), "table")
    assert (report["num_classes"], report["glosses"], report["clips"]) == (2, ["casa", "tú"], 12)
    assert report["splits"] == {"train": 8, "val": 2, "test": 2}
    assert "12 of them newly looked at" in said
    _, _, again = checked(door, sound, cwd=tmp_path)
    assert "0 of them newly looked at" in again
    os.utime(sound / "clips" / "3.mp4", (1, 1))  # changed since
    _, _, changed = checked(door, sound, cwd=tmp_path)
    assert "1 of them newly looked at" in changed


def test_every_kind_of_bad_file_is_named_and_left_out(sound: Path, door: Door, tmp_path: Path) -> None:
    clips = sound / "clips"
    whole = paint(tmp_path / "whole.mp4", frames=60, options={"g": "5", "bf": "0"})
    (clips / "empty.mp4").touch()
    (clips / "text.mp4").write_text("this is no video, whatever its name says\n" * 20)
    (clips / "list.mp4").write_text("#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/x.ts\n")
    (clips / "cut.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    damaged(whole, clips / "damaged.mp4")
    bad = {
        "gone.mp4": "missing_file",
        "empty.mp4": "empty_file",
        "text.mp4": "unreadable",
        "list.mp4": "refused",
        "cut.mp4": "truncated",
        "damaged.mp4": "damaged",
    }
    add(sound, *((f"clips/{name}", "casa", "train", "train") for name in bad))
    code, report, said = checked(door, sound, "--html", tmp_path / "page.html", cwd=tmp_path)
    assert code == 1
    errors = {Path(p["path"]).name: p["kind"] for p in report["problems"] if p["severity"] == "error"}
    assert errors == bad, said
    assert all("left out" in p["action"] for p in report["problems"] if p["severity"] == "error")
    assert report["summary"] == Counter(p["kind"] for p in report["problems"])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    opened, closed = Tags(), Counter[str]()
    opened.feed(page)
    closed = opened.closed + Counter({"meta": 2, "img": 4, "!": 0})
    assert Counter(opened.opened)["tr"] == closed["tr"] > 6
    assert {tag for tag in opened.opened if opened.opened[tag] != closed[tag] and tag != "br"} == set()
    assert page.count("data:image/jpeg;base64,") == 4  # only damaged.mp4 has anything to show
    assert "http" not in page.replace("http://127", "")

    # Training leaves out the same, says so, and never puts another clip in their place.
    result = door("train", "--data", sound, *FAST, "--max_epochs", 1, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "left out: 5 of 17 clips" in result.stdout
    assert "looked at" not in result.stdout  # the check's record is used
    (run,) = (tmp_path / "models" / "checkpoints").iterdir()
    listed = [Path(line.split("\t")[0]).name for line in (run / "unreadable_videos.txt").read_text().splitlines()]
    assert sorted(listed) == sorted(bad.keys() - {"gone.mp4"})
    (line,) = read_lines(run / "metrics.jsonl")
    assert (line["train_clips"], line["val_clips"], line["unreadable"]) == (8, 2, 5)
    flags = (*FAST, "--max_epochs", 1, "--salvage", "true", "--checkpoint_dir", "s", "--log_dir", "l")
    salvaged = door("train", "--data", sound, *flags, cwd=tmp_path)
    (run,) = (tmp_path / "s").iterdir()
    assert salvaged.returncode == 0, salvaged.stderr
    assert read_lines(run / "metrics.jsonl")[0]["train_clips"] == 9


def test_evaluate_looks_at_its_split_and_leaves_out_what_it_can_not_read(
    sound: Path, door: Door, tmp_path: Path
) -> None:
    assert door("train", "--data", sound, *FAST, "--max_epochs", 1, cwd=tmp_path).returncode == 0
    (run,) = (tmp_path / "models" / "checkpoints").iterdir()
    shutil.rmtree(sound / ".lscht_ray")
    (sound / "clips" / "half.mp4").write_bytes((sound / "clips" / "0.mp4").read_bytes()[:700])
    add(sound, ("clips/half.mp4", "casa", "test", "test"))
    result = door("evaluate", run, "--split", "test", "--num_workers", 0, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "looked at 3 videos" in result.stdout
    assert "left out: 1 of 3 clips (1 truncated)" in result.stdout
    metrics = json.loads((run / "evaluation_test" / "metrics.json").read_text())
    assert metrics["left_out"] == 1
    with (run / "evaluation_test" / "predictions.csv").open(encoding="utf-8-sig") as file:
        assert len(list(csv.DictReader(file))) == 2


def test_duplicates_are_one_problem_a_pair(sound: Path, door: Door, tmp_path: Path) -> None:
    clips = sound / "clips"
    pairs = [
        ("0.mp4", "same.mp4", "casa", "train"),
        ("2.mp4", "leak.mp4", "casa", "test"),
        ("4.mp4", "two.mp4", "tú", "train"),
    ]
    for source, copy, gloss, split in pairs:
        shutil.copy(clips / source, clips / copy)
        add(sound, (f"clips/{copy}", gloss, split, split))
    code, report, _ = checked(door, sound, cwd=tmp_path)
    assert code == 1
    found = {
        (Path(p["path"]).name, Path(p["detail"].split(",")[0].split()[-1]).name): p
        for p in kinds(report, "identical_files")
    }
    assert {frozenset(pair) for pair in found} == {frozenset(pair[:2]) for pair in pairs}
    assert sorted(p["severity"] for p in found.values()) == ["error", "error", "warning"]
    assert sum("under two labels" in p["detail"] for p in found.values()) == 1
    assert sum("in two splits" in p["detail"] for p in found.values()) == 1
    assert kinds(report, "look_alike") == []


def test_another_encoding_of_a_clip_looks_alike(sound: Path, door: Door, tmp_path: Path) -> None:
    from lscht_ray.dataset import demo

    frames = demo.draw_clip(demo.draw_signer(0, 7), next(iter(demo.GLOSSES)), (7, 0))
    demo.write_video(sound / "clips" / "larger.mp4", frames.repeat(2, axis=1).repeat(2, axis=2))
    add(sound, ("clips/larger.mp4", "casa", "test", "test"))
    code, report, said = checked(door, sound, cwd=tmp_path)
    assert code == 0, said
    (pair,) = kinds(report, "look_alike")
    assert {Path(pair["path"]).name, Path(pair["detail"].split()[2]).name} == {"0.mp4", "larger.mp4"}
    assert "in two splits" in pair["detail"]


def test_nothing_of_the_users_is_written_over(sound: Path, door: Door, tmp_path: Path) -> None:
    """A report takes the place of an earlier one alone; what lies beside a table does not become a second table."""
    table, video = next(sound.glob("*.csv")), next((sound / "clips").glob("*.mp4"))
    before = {file: file.read_bytes() for file in (table, video)}
    reports = {"--json": "p.json", "--html": "p.html", "--facts": "f.csv", "--contact-sheet": "s.png"}
    for flag in (*reports, "--write_splits"):
        for file in before:
            refused(door("check", sound, flag, file, cwd=tmp_path), f"{file}: it is there, and no earlier one of these")
    refused(
        door("check", sound, "--write_splits", sound / "s.csv", cwd=tmp_path), "it would be taken for a table of clips"
    )
    assert {file: file.read_bytes() for file in before} == before
    for _ in range(2):  # the second time over the first
        line = [word for flag, name in reports.items() for word in (flag, sound / name)]
        result = door("check", sound, *line, cwd=tmp_path)
        assert result.stdout.count("written: ") == 4, result.stderr
    assert read(sound).layout == "table"


def test_people_and_glosses_that_differ_in_an_accent(sound: Path, door: Door, tmp_path: Path) -> None:
    for number, (gloss, signer) in enumerate((("Casá", "sofia"), ("casa", "Sofía")), start=20):
        clip(sound / "clips" / f"{number}.mp4", number)
        add(sound, (f"clips/{number}.mp4", gloss, "train", signer))
    _, report, _ = checked(door, sound, cwd=tmp_path)
    details = [problem["detail"] for problem in report["problems"]]
    assert "signers 'sofia', 'Sofía'" in details
    assert "glosses 'casá', 'casa'" in details


def test_a_missing_video_is_compared_with_those_that_nothing_names(sound: Path, door: Door, tmp_path: Path) -> None:
    shutil.copy(next((sound / "clips").glob("*.mp4")), sound / "clips" / "mañana_08.mp4")
    add(sound, ("clips/mañana_08b.mp4", "casa", "train", "train"))
    _, report, _ = checked(door, sound, cwd=tmp_path)
    (missing,) = kinds(report, "missing_file")
    assert "is it mañana_08.mp4, which nothing names?" in missing["action"]


def test_signers_glosses_and_names(sound: Path, door: Door, tmp_path: Path) -> None:
    clips = sound / "clips"
    for number, name in enumerate((f"{NFC}.mp4", f"{NFD}.mp4", "A.mp4", "a.mp4", "blank .mp4", "rare.mp4"), start=20):
        clip(clips / name, number)
    add(
        sound,
        (f"clips/{NFC}.mp4", "casa", "train", "train"),
        (f"clips/{NFD}.mp4", "casa", "train", "train"),
        ("clips/A.mp4", "Casa ", "val", "train"),
        ("clips/a.mp4", f"{NFD}", "train", "x"),
        ("clips/blank .mp4", "casa", "train", "x"),
    )
    clip(clips / "extra.mp4", 40)
    code, report, said = checked(door, sound, "--min_clips", 2, cwd=tmp_path)
    assert code == 1, said  # 'Casa' has no training clip
    assert [p["detail"] for p in kinds(report, "signer_in_two_splits")] == ["signer train: 10 in train, 1 in val"]
    missing = {p["detail"] for p in kinds(report, "gloss_not_in_split") if p["severity"] == "error"}
    assert missing == {"'Casa' has no usable clip in train"}
    assert [p["detail"] for p in kinds(report, "few_clips")] == [f"{NFC!r} has 1 training clip, min_clips asks for 2"]
    assert len(kinds(report, "name_unicode_twins")) == 1
    assert {p["detail"] for p in kinds(report, "name_case_twins")} == {"glosses 'Casa', 'casa'", "'A.mp4', 'a.mp4'"}
    assert {Path(p["path"]).name for p in kinds(report, "name_blanks")} == {"blank .mp4", "manifest.csv"}
    assert [p["detail"] for p in kinds(report, "name_unicode")] == [
        f"the gloss {NFD!r} has decomposed letters (Unicode NFD)"
    ]
    (others,) = kinds(report, "not_annotated")
    assert others["detail"] == "2 videos have no annotation: extra.mp4, rare.mp4"


def test_what_the_annotations_may_not_say(sound: Path, door: Door, tmp_path: Path) -> None:
    secret = clip(tmp_path / "secret.mp4")
    before = secret.stat().st_atime_ns
    add(
        sound,
        ("../secret.mp4", "casa", "train", "x"),
        ("http://127.0.0.1:9/x.mp4", "casa", "train", "x"),
        ("clips/0.mp4", "tú", "train", "x"),
        ("clips/1.mp4", "tú", "train", "x"),
    )
    with (sound / "manifest.csv").open("a", encoding="utf-8") as file:
        file.write("only one cell\n")
    code, report, said = checked(door, sound, cwd=tmp_path)
    assert code == 1
    errors = {p["kind"]: p["detail"].split(":")[0] for p in report["problems"] if p["severity"] == "error"}
    expected = {
        "path_outside": "line 14",
        "not_a_local_file": "line 15",
        "two_labels": "line 16",
        "unparsable": "line 18",
    }
    assert errors == expected, said
    assert [p["severity"] for p in kinds(report, "duplicate_key")] == ["warning"]
    assert report["clips"] == 12
    assert secret.stat().st_atime_ns == before
    refused(door("train", "--data", sound, *FAST, cwd=tmp_path), "line 14", "line 18", "leads out of")


def test_ranges_are_applied_where_they_fit(door: Door, tmp_path: Path) -> None:
    paint(tmp_path / "set" / "raw.mp4", frames=60)
    paint(tmp_path / "set" / "cut.mp4", frames=20)
    rows = [
        ("raw.mp4", "a", "train", "10", "30"),
        ("raw.mp4", "a", "val", "40", "99"),
        ("cut.mp4", "b", "train", "0", "20"),
        ("cut.mp4", "b", "val", "20", "25"),
    ]
    manifest(tmp_path / "set", rows, ("path", "label", "split", "start", "end"))
    where = ("--columns.start", "start", "--columns.end", "end")
    code, report, said = checked(door, tmp_path / "set", *where, cwd=tmp_path)
    assert code == 1, said
    found = [(Path(p["path"]).name, p["severity"]) for p in kinds(report, "range_beyond_clip")]
    assert found == [("cut.mp4", "error"), ("raw.mp4", "warning")]


def test_wlasl_ranges_count_only_where_the_video_is_not_cut_yet(tmp_path: Path) -> None:
    from lscht_ray.checking import survey
    from lscht_ray.dataset import annotations
    from lscht_ray.host.console import quiet_console
    from lscht_ray.settings.train import TrainConfig
    from lscht_ray.video.span import Span

    spans = {"1": (1, -1), "2": (11, 30), "3": (41, 60), "4": (11, 30)}
    instances = [
        {"video_id": key, "split": "train", "frame_start": first, "frame_end": last, "bbox": [8, 8, 40, 40]}
        for key, (first, last) in spans.items()
    ]
    (tmp_path / "WLASL_v0.3.json").write_text(json.dumps([{"gloss": "go", "instances": instances}]))
    for key, times in {"1": None, "2": None, "3": None, "4": [20 * k for k in range(60)]}.items():
        paint(tmp_path / "videos" / f"{key}.mp4", frames=60 if key in "24" else 20, times=times)
    found = annotations.read(tmp_path)

    def applied(**settings: Any) -> dict[str, Span | None]:
        config = TrainConfig(data=str(tmp_path), **settings)
        result = survey.trusted(found, config, quiet_console())
        return {clip.video.stem: clip.span and clip.span[:3] for clip in result.clips}

    # 2 is raw; 3 has 20 frames, so it is cut already; 4 has 50 fps, where WLASL counts at 25: frame 10 is 0.4 s.
    assert applied() == {"1": None, "2": (10, 30, "frame"), "3": None, "4": (0.4, 1.2, "second")}
    assert applied(frame_ranges="ignore") == dict.fromkeys("1234")
    assert "3" not in applied(frame_ranges="apply")
    assert survey.trusted(found, TrainConfig(), quiet_console()).clips[0].box is None
    assert "1 clip is annotated with a frame range" in survey.trusted(found, TrainConfig(), quiet_console()).notes[-1]
    boxed = survey.trusted(found, TrainConfig(crop_to_bbox=True), quiet_console()).clips[0].box
    assert boxed is not None and boxed[:4] == (8, 8, 40, 40)


def test_a_picture_bomb_and_limits(sound: Path, door: Door, tmp_path: Path) -> None:
    bomb(sound / "clips" / "bomb.mp4")
    add(sound, ("clips/bomb.mp4", "casa", "train", "train"))
    code, report, said = checked(door, sound, "--probe_memory_gb", 0.2, cwd=tmp_path)
    assert code == 1, said
    assert [Path(p["path"]).name for p in report["problems"] if p["severity"] == "error"] == ["bomb.mp4"]
    assert report["problems"][0]["kind"] in ("too_much_memory", "crash")
    # With more memory PyAV reads it whole, so it is no error; that it is huge is said, whatever decord makes of it.
    code, report, said = checked(door, sound, "--probe_memory_gb", 2, cwd=tmp_path)
    assert code == 0, said
    assert "1 of them newly looked at" in said
    assert [p["severity"] for p in kinds(report, "huge_picture")] == ["warning"]
    code, report, _ = checked(door, sound, "--max_file_gb", 5e-5, cwd=tmp_path)
    assert code == 0  # what is on record isn't refused
    shutil.rmtree(sound / ".lscht_ray")
    code, report, _ = checked(door, sound, "--max_file_gb", 5e-5, cwd=tmp_path)
    assert code == 1
    assert [Path(p["path"]).name for p in kinds(report, "too_large")] == ["bomb.mp4"]


def test_a_read_only_set_is_recorded_in_the_cache_folder(
    sound: Path, door: Door, tmp_path: Path, cache_folder: Path
) -> None:
    sound.chmod(0o555)  # root could write there all the same, and must not
    before = set(cache_folder.glob("facts/*/facts.jsonl"))
    _, _, said = checked(door, sound, cwd=tmp_path)
    assert "12 of them newly looked at" in said
    assert len(set(cache_folder.glob("facts/*/facts.jsonl")) - before) == 1
    assert "0 of them newly looked at" in checked(door, sound, cwd=tmp_path)[2]
    assert not (sound / ".lscht_ray").exists()
    sound.chmod(0o755)


def children_of(folder: Path) -> list[str]:
    """Probing children whose standard input or files are those of a check of this folder (they have it open)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"lscht_ray.video.probe" in words and (process / "cwd").readlink() == folder.parent:
                found.append(process.name)
        except OSError:
            continue
    return found


def test_a_killed_check_keeps_what_it_found_and_leaves_no_process(sound: Path, tmp_path: Path) -> None:
    record = sound / ".lscht_ray" / "facts.jsonl"
    command = [sys.executable, "-m", "lscht_ray.check", str(sound), "--processes", "1"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: record.read_text().count("\n") >= 3, alive=lambda: process.poll() is None)
        process.kill()
    wait_for(lambda: not children_of(sound), alive=lambda: True)
    torn = record.read_text()[:-20]
    record.write_text(torn)  # killed in the middle of a line
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    newly = int(done.split(" of them newly")[0].split()[-1])
    assert newly <= 12 - torn.count("\n")
    assert "0 of them newly" in subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout


def test_contact_sheet_facts_and_splits(sound: Path, door: Door, tmp_path: Path) -> None:
    flags = ("--contact-sheet", tmp_path / "sheet.png", "--facts", tmp_path / "facts.csv")
    checked(door, sound, *flags, "--write_splits", tmp_path / "s.csv", "--num_frames", 8, cwd=tmp_path)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 8 * 96 + 7 * 2  # the frames of a clip side by side, white between them
        assert sheet.height > 2 * 2 * 96  # two glosses, each plain and augmented
    with (tmp_path / "facts.csv").open(encoding="utf-8-sig") as file:
        facts = list(csv.DictReader(file))
    assert len(facts) == 12
    assert {row["codec"] for row in facts} == {"h264"}
    result = door("train", "--data", sound, *FAST, "--max_epochs", 1, "--split_file", tmp_path / "s.csv", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (run,) = (tmp_path / "models" / "checkpoints").iterdir()
    assert (run / "splits.csv").read_text() == (tmp_path / "s.csv").read_text()


@pytest.mark.parametrize(
    ("crop", "severity", "said"),
    [
        ("centre", "warning", "the square in the middle, 56% to 75% of a picture"),
        ("letterbox", "info", "between black bars, 56% to 75% as large"),
        ("squash", "info", "all of it as a square, with people 1.33 to 1.78 times too narrow"),
    ],
)
def test_what_the_model_sees_of_pictures_that_are_no_squares(
    tmp_path: Path, door: Door, crop: str, severity: str, said: str
) -> None:
    for gloss in ("casa", "tú"):
        (tmp_path / "clips" / gloss).mkdir(parents=True)
        for number, size in enumerate([(96, 54), (54, 96), (64, 64), (64, 48)]):
            paint(tmp_path / "clips" / gloss / f"{number}.mp4", size=size, frames=20 + number)
    _, report, _ = checked(door, tmp_path / "clips", "--eval_crop", crop, cwd=tmp_path)
    wide, tall = (kinds(report, kind) for kind in ("wide_picture", "tall_picture"))
    assert [(p["severity"], said in p["detail"]) for p in wide] == [(severity, True)]
    assert "4 videos are wider than high, up to 96x54 pixels" in wide[0]["detail"]
    if crop == "squash":
        assert "people 1.78 times too wide" in tall[0]["detail"]
    assert "2 videos are higher than wide, up to 54x96 pixels" in tall[0]["detail"]
    mixed = [problem["detail"] for problem in kinds(report, "mixed_shapes")]
    assert ["3.16 times as wide in some (1.mp4: 54x96) as in others" in detail for detail in mixed] == [True] * (
        crop == "squash"
    )


def test_bad_input_can_not_run(sound: Path, door: Door, tmp_path: Path) -> None:
    refused(door("check", tmp_path / "nowhere", cwd=tmp_path), "no such file or folder")
    refused(door("check", sound, "--json", tmp_path / "no" / "where.json", cwd=tmp_path), "there is no folder")
    refused(door("check", sound, "--min_clipz", 3, cwd=tmp_path), "did you mean --min_clips?")
    refused(door("check", sound, "--contact-sheet", tmp_path / "sheet.xyz", cwd=tmp_path), "sheet.xyz")
    (tmp_path / "broken.json").write_text('[{"a": ]')
    refused(door("check", tmp_path / "broken.json", cwd=tmp_path), "no valid JSON", "line 1 column 8")
    assert door("check", "--help", cwd=tmp_path).returncode == 0


def test_a_hang_in_a_data_worker_ends_as_an_error_that_names_the_file(tmp_path: Path) -> None:
    good, stuck, over = paint(tmp_path / "good.mp4"), paint(tmp_path / "stuck.mp4"), tmp_path / "over"

    class Stuck(ClipReader):
        def read(self, clip: Clip, choose: Choose) -> tuple[Frames, tuple[int, int]]:
            while clip.video == stuck and not over.exists():
                time.sleep(0.05)
            return super().read(clip, choose)

    clips = [clip_of(path) for path in (good, good, stuck, good)]
    dataset = ClipDataset(clips, reader=Stuck(32), sampling=Sampling(4), seed=0)
    cpu = torch.device("cpu")
    loader = build_loader(dataset, batch_size=1, num_workers=2, shuffle=False, device=cpu, batch_seconds=6)
    read = 0
    with pytest.raises(TrainingError, match=r"hangs.*\n.*stuck\.mp4") as caught:
        for _ in loader:
            read += 1
    assert read == 2
    assert "good.mp4" not in str(caught.value)
    over.touch()  # or the loader waits for that worker when it is removed from memory


def test_wlasl10_is_looked_at_once(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSCHT_RAY_CACHE", str(tmp_path / "cache"))  # others may have looked at some of it
    data = shared("wlasl10")
    code, report, said = checked(door, data, cwd=tmp_path)
    assert code == 1  # one clip is in train and in test
    assert (report["num_classes"], report["clips"]) == (10, 280)
    assert report["splits"] == {"train": 200, "val": 45, "test": 35}
    assert [p["detail"] for p in report["problems"] if p["severity"] == "error"] == [
        "the same bytes as videos/24960.mp4, in two splits: ('go', train) and ('go', test)"
    ]
    assert len(kinds(report, "identical_files")) == 4
    assert kinds(report, "look_alike") == []
    assert "280 of them newly looked at" in said
    _, again, said = checked(door, data, cwd=tmp_path)
    assert "0 of them newly looked at" in said
    assert again == report


# ---------------------------------------------------------------- what a reviewer tried


def test_sound_videos_with_odd_metadata_and_second_streams_are_fine(tmp_path: Path) -> None:
    from lscht_ray.video.probe import find_facts

    video = paint(tmp_path / "plain.avi", codec="mpeg4", options={"b": "2000000"})
    import av

    with av.open(str(video)) as given, av.open(str(tmp_path / "title.avi"), "w") as out:
        out.metadata["title"] = "se@a"
        stream = out.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    latin = tmp_path / "title.avi"
    latin.write_bytes(latin.read_bytes().replace(b"se@a", b"se\xf1a"))
    assert b"se\xf1a" in latin.read_bytes()
    assert (find_facts(str(latin)).frames, find_facts(str(latin)).trouble) == (40, "")
    unknown = tmp_path / "unknown.mp4"
    unknown.write_bytes(paint(tmp_path / "known.mp4").read_bytes().replace(b"avc1", b"zzz1"))
    assert find_facts(str(unknown)).trouble == "unreadable"
    assert "no decoder" in find_facts(str(unknown)).reason


def test_what_was_the_moments_fault_is_looked_at_again(sound: Path, door: Door, tmp_path: Path) -> None:
    from dataclasses import replace

    from lscht_ray.checking._inventory import Inventory

    inventory = Inventory(sound)
    checked(door, sound, cwd=tmp_path)
    video = sound / "clips" / "0.mp4"
    with inventory.writing() as writer:
        facts = inventory.get(video)
        assert facts is not None
        writer.add(video, replace(facts, trouble="hang", reason="[30 s, 2 GiB]"))
        with inventory.path.open("a") as file:
            file.write('{"version": 1, "path": "clips/1.mp4", "looks": "zz"}\n[[[\n')
    code, _, said = checked(door, sound, cwd=tmp_path)
    assert code == 0, said
    assert "1 of them newly looked at" in said


def test_wlasl_ids_do_not_lead_out_of_the_folder(tmp_path: Path, door: Door) -> None:
    clip(tmp_path / "secret.mp4")
    clip(tmp_path / "set" / "videos" / "1.mp4")
    ids = ("1", "../../secret", str(tmp_path / "secret"), "http://127.0.0.1:9/x")
    instances = [{"video_id": key, "split": "train"} for key in ids]
    content = [{"gloss": "go ", "instances": instances}, {"gloss": "go", "instances": []}]
    (tmp_path / "set" / "WLASL_v0.3.json").write_text(json.dumps(content))
    code, report, said = checked(door, tmp_path / "set", cwd=tmp_path)
    assert code == 1
    assert report["clips"] == 1
    assert [p["severity"] for p in kinds(report, "path_outside")] == ["error"] * 3, said
    assert report["glosses"] == ["go", "go (1)"]
    assert len(kinds(report, "name_blanks")) == 1


def test_names_that_are_no_text_and_a_folder_that_is_closed(tmp_path: Path, door: Door) -> None:
    clip(tmp_path / "set" / "casa" / "1.mp4")
    clip(tmp_path / "set" / "casa" / "2.mp4").rename(tmp_path / "set" / "casa" / os.fsdecode(b"se\xf1a.mp4"))
    flags = ("--html", tmp_path / "p.html", "--facts", tmp_path / "f.csv")
    _, report, said = checked(door, tmp_path / "set", *flags, cwd=tmp_path)
    assert report["clips"] == 2
    assert len(kinds(report, "name_not_text")) == 1, said


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("WLASL_v0.3.json", "3"),
        ("WLASL_v0.3.json", "[" * 100_000),
        ("WLASL_v0.3.json", f'[{{"gloss": "a", "instances": [{{"video_id": {"9" * 5000}, "split": "train"}}]}}]'),
        ("WLASL_v0.3.json", '[{"gloss": "a", "instances": [{"video_id": 1, "split": "train", "frame_start": 1e999}]}]'),
        ("nslt_1.json", '{"1": {"subset": "train", "action": [0, "x", 2]}}'),
        ("nslt_1.json", '{"1": {"subset": "train", "action": [1e999]}}'),
        ("t.jsonl", '{"path": ' + "9" * 5000 + "}"),
        ("t.csv", "path,label\n" + "x" * 300 + ",a\n"),
        ("t.csv", "path,label\n" + "x" * 200_000 + ",a\n"),
        ("t.csv", "path,label\n\x00.mp4,a\n"),
    ],
)
def test_hostile_annotations_end_with_a_message(tmp_path: Path, name: str, content: str) -> None:
    from lscht_ray.dataset.annotations import read
    from lscht_ray.errors import InputError

    (tmp_path / "gloss_to_id.json").write_text('{"a": 0}')
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError):
        read(tmp_path)
    with pytest.raises(InputError):
        read(tmp_path / name)


@pytest.mark.parametrize("data", ["x" * 300, "~nosuchuser", "/dev/null", "a\0b"])
def test_data_that_can_not_be(data: str) -> None:
    from lscht_ray.dataset.annotations import read
    from lscht_ray.errors import InputError

    with pytest.raises(InputError, match="--data"):
        read(data)


def test_a_broken_data_worker_says_why(tmp_path: Path) -> None:
    class Broken(ClipReader):
        def read(self, clip: Clip, choose: Choose) -> tuple[Frames, tuple[int, int]]:
            raise RuntimeError("a bug of ours")

    clips = [clip_of(paint(tmp_path / "good.mp4"))]
    dataset = ClipDataset(clips, reader=Broken(32), sampling=Sampling(4), seed=0)
    loader = build_loader(dataset, batch_size=1, num_workers=1, shuffle=False, device=torch.device("cpu"))
    with pytest.raises(RuntimeError, match="a bug of ours"):
        list(loader)


def test_moved_data_keeps_its_drawn_split(door: Door, tmp_path: Path) -> None:
    rows = []
    for number in range(16):
        clip(tmp_path / "one" / f"{number}.mp4", number)
        rows.append((f"{number}.mp4", ("casa", "tú")[number % 2], f"s{number // 2}"))
    manifest(tmp_path / "one", rows, ("path", "label", "signer"))
    flags = ("--split_policy", "by_signer", "--val_fraction", 0.25, "--test_fraction", 0.25)
    result = door("train", "--data", "one", *flags, *FAST, "--max_epochs", 1, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (run,) = (tmp_path / "models" / "checkpoints").iterdir()
    with (run / "splits.csv").open(encoding="utf-8-sig") as file:
        tested = {row["path"] for row in csv.DictReader(file) if row["split"] == "test"}
    (tmp_path / "one").rename(tmp_path / "two")
    result = door("evaluate", run, "--data", tmp_path / "two", "--num_workers", 0, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    with (run / "evaluation_test" / "predictions.csv").open(encoding="utf-8-sig") as file:
        assert {Path(row["video"]).name for row in csv.DictReader(file)} == tested
