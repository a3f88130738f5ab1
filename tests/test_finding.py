"""Data as people have them: what is found in a folder, what is passed over, and what is proposed."""

import os
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lscht_ray.dataset._proposals import propose
from lscht_ray.dataset.annotations import Annotations, read, trainable
from lscht_ray.dataset.finding import find_layout
from lscht_ray.errors import InputError
from lscht_ray.settings.columns import ColumnMap
from lscht_ray.video.decode import decode
from lscht_ray.video.probe import find_facts
from lscht_ray.video.recognise import disorder, is_video, stamp
from support.data import shared
from support.media import number, paint, picture

WHOLE = {"fractions": (0.0, 0.0)}


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def clips(found: Annotations) -> list[tuple[str, str, str, str | None]]:
    return [(s.video.relative_to(found.folder).as_posix(), s.gloss, s.split, s.signer) for s in found.samples]


# ---------------------------------------------------------------- what is no clip


@pytest.mark.parametrize("layout", ["folders", "pattern", "wlasl", "table"])
def test_what_macos_leaves_beside_clips_changes_nothing(tmp_path: Path, layout: str) -> None:
    """The split that is drawn is that of the same data without it."""
    names = [f"{gloss}/{gloss}_{k}.mp4" for gloss in ("hola", "casa") for k in range(6)]
    sets = []
    for ghosts in (False, True):
        root = touch(tmp_path / f"ghosts {ghosts}" / "set", *names)
        columns = ColumnMap(pattern=r"(?P<label>\w+)_\d") if layout == "pattern" else None
        if layout == "table":
            listed = [*names, *(["hola/._hola_1.mp4"] if ghosts else [])]
            (root / "t.csv").write_text("path,label\n" + "".join(f"{name},{name.split('/')[0]}\n" for name in listed))
        if layout == "wlasl":
            for name in names:
                (root / name).rename(root / Path(name).name)
            content = ", ".join(f'"hola_{k}": {{"subset": "train", "action": [0, 1, -1]}}' for k in range(6))
            (root / "nslt_1.json").write_text(f"{{{content}}}")
            (root / "gloss_to_id.json").write_text('{"hola": 0}')
        if ghosts:
            for place, _, files in os.walk(root):
                for file in files:
                    shutil.copy(shared("field") / "appledouble" / "._07087.mp4", Path(place) / f"._{file}")
            touch(root, ".DS_Store", "hola/.DS_Store", "hola/Thumbs.db", "__MACOSX/hola/1.mp4", ".lscht_ray/x.mp4")
        sets.append(read(root, columns=columns))
    assert clips(sets[0]) == clips(sets[1])
    assert sets[0].notes == sets[1].notes


CAMERA = ("MTS", "M2TS", "VOB", "ogv", "mxf", "dv", "asf", "3g2", "m2v", "qt", "f4v")


@pytest.mark.parametrize("suffix", CAMERA)
def test_camcorders_files_are_videos_by_their_suffix(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, f"hola/0.{suffix}", "casa/1.mp4")
    assert len(read(tmp_path, plan=WHOLE).samples) == 2


def test_a_file_is_asked_where_its_suffix_tells_nothing(tmp_path: Path) -> None:
    shutil.copy(shared("field") / "camcorder" / "00001.MTS", tmp_path / "stream.001")
    kinds = {"a.dat": "mpeg", "b.video": "matroska", "c": "mp4", "d.tmp": "asf", "e.x": "avi", "f.rec": "mpegts"}
    for name, container in kinds.items():
        codec = "mpeg2video" if container == "mpeg" else "mpeg4" if container == "avi" else "libx264"
        paint(tmp_path / name, container=container, frames=8, codec=codec)
    (tmp_path / "notes.001").write_text("notas " * 400)
    (tmp_path / "empty").touch()
    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
    found = {path.name for path in tmp_path.iterdir() if is_video(path)}
    assert found == {*kinds, "stream.001"}
    assert all(find_facts(str(tmp_path / name)).frames > 0 for name in found)


def test_a_gloss_without_clips_is_an_error_that_says_what_was_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{gloss}/{k}.mp4" for gloss in ("casa", "perro") for k in range(6)))
    touch(tmp_path, "hola/1.txt", "hola/2.txt", "hola/3.docx", "hola/raw/4.mp4", "casa/otra/5.mp4", "casa/nota.txt")
    (tmp_path / "models" / "checkpoints").mkdir(parents=True)
    found = read(tmp_path)
    assert found.glosses == ("casa", "hola", "perro")
    said = {problem.kind: (problem.severity, problem.detail) for problem in found.problems}
    assert said == {
        "empty_gloss": (
            "error",
            "the gloss 'hola' has no clip: passed over are 2 .txt files, 1 .docx file, 1 subfolder (raw)",
        ),
        "subfolders": ("warning", "1 subfolder with clips passed over: otra"),
    }
    assert "models/ holds only folders without clips: it is passed over" in found.notes
    assert any(note.startswith("4 files that are no videos are passed over: ") for note in found.notes)
    with pytest.raises(InputError, match=r"(?s)have no training clip: 'hola'.*the gloss 'hola' has no clip: .*2 \.txt"):
        trainable(found)
    assert trainable(found, "drop").glosses == ("casa", "perro")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("hola/1.mp4", "test/1.mp4", "test/2.mp4"), {"hola": 1, "test": 2}),  # a gloss that is called so
        (("hola/1.mp4", "test/1.mp4", "train/1.mp4", "val/1.mp4"), {"hola": 1, "test": 1, "train": 1, "val": 1}),
        (("train/hola/1.mp4", "val/hola/1.mp4", "val/loose.mp4"), {"hola": 2}),
        (("hola/1.mp4", "tú/1.mp4", "test/1.mp4", "test/old/1.mp4"), {"hola": 1, "tú": 1, "test": 1}),
        (("test/hola/1.mp4", "test/tú/1.mp4"), {"hola": 1, "tú": 1}),
        (("train/hola/1.mp4", "val/loose.mp4", "extra/1.mp4"), {"hola": 1}),
        (("test/p/1.jpg", "test/p/2.jpg", "hola/p/1.jpg", "hola/p/2.jpg"), {"hola": 1, "test": 1}),
        (("test/hola/p/1.jpg", "test/hola/p/2.jpg", "train/hola/p/1.jpg", "train/hola/p/2.jpg"), {"hola": 2}),
    ],
)
def test_folders_called_as_splits(files: tuple[str, ...], expected: dict[str, int], tmp_path: Path) -> None:
    found = read(touch(tmp_path, *files), layout="folders", plan=WHOLE)
    assert Counter(sample.gloss for sample in found.samples) == expected


def test_what_lies_beside_clips_is_named(tmp_path: Path) -> None:
    touch(tmp_path, *(f"hola/{k}.mp4" for k in range(3)), "hola/thumbs/1.jpg", "hola/thumbs/2.jpg", "loose.mp4")
    touch(tmp_path, "tú/a/1.png", "tú/a/2.png", "tú/b/1.png", "tú/c/nota.txt", "tú/d/1.heic")
    found = read(tmp_path)
    assert Counter(sample.gloss for sample in found.samples) == {"hola": 3, "tú": 1}
    assert {problem.kind: (Path(problem.path).name, problem.detail) for problem in found.problems} == {
        "no_gloss_folder": (tmp_path.name, "1 video beside the gloss folders: loose.mp4"),
        "pictures_beside_videos": ("hola", "1 subfolder of pictures beside videos passed over: thumbs"),
        "no_pictures": ("tú", "3 subfolders without a clip passed over: b, c, d"),
    }
    assert "1 video beside the gloss folders: loose.mp4 (passed over; move them into the folder of their gloss)" in (
        found.notes
    )
    assert any(note.startswith("tú/: 3 subfolders without a clip passed over") for note in found.notes)
    assert not any("no videos" in note for note in found.notes)


def test_sheets_are_named_with_what_to_do(tmp_path: Path) -> None:
    touch(tmp_path, "hola/1.mp4", "tú/1.mp4", "glosas.xlsx", "info.json")
    advice = "not read: glosas.xlsx, info.json; save a sheet as CSV (in Excel: CSV UTF-8) to have it read"
    assert find_layout(tmp_path).note == advice
    only = touch(tmp_path / "otra", "1.mp4", "glosas.xlsx")
    for path in (only, only / "glosas.xlsx"):
        with pytest.raises(InputError, match=r"glosas\.xlsx can't be read: save it as CSV"):
            read(path)


def test_tables_that_are_not_understood_are_named_where_names_are_proposed(tmp_path: Path) -> None:
    touch(tmp_path, *(f"videos/{gloss}_{k}.mp4" for gloss in ("hola", "tú") for k in range(4)), "señas.xlsx")
    (tmp_path / "clips.csv").write_text("clip grabado;significado\nvideos/hola_0.mp4;hola\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"(?s)\n  not read: clips\.csv, señas\.xlsx; save a sheet as CSV.*is 'hola'"):
        read(tmp_path)
    found = read(tmp_path, columns=ColumnMap(pattern=r"(?P<label>[^/]+)_\d"), plan=WHOLE)
    assert found.notes[0].startswith("not read: clips.csv, señas.xlsx; ")
    shutil.rmtree(tmp_path / "videos")
    (tmp_path / "clips.csv").rename(tmp_path / "clips.json")
    touch(tmp_path, *(f"ana/{gloss}/{k}.mp4" for gloss in ("hola", "tú") for k in range(4)))
    note = "the data set was found in ana/; not read: clips.json, señas.xlsx; save a sheet as CSV"
    assert read(tmp_path).notes[0].startswith(note)
    touch(tmp_path, *(f"luis/{gloss}/{k}.mp4" for gloss in ("hola", "tú") for k in range(4)))
    with pytest.raises(InputError, match=r"(?s)can be read by their paths.*\n  not read: clips\.json, señas\.xlsx"):
        read(tmp_path)


def test_pictures_without_a_folder_for_each_clip_say_so(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{gloss}/{k:05}.jpg" for gloss in ("hola", "tú") for k in range(4)))
    with pytest.raises(
        InputError, match=r"hola/ holds pictures itself: each clip needs a folder of its own, as in hola/"
    ):
        read(tmp_path)


def test_tables_in_class_folders_leave_the_choice(tmp_path: Path) -> None:
    for gloss in ("hola", "tú"):
        touch(tmp_path, f"{gloss}/1.mp4", f"{gloss}/2.mp4")
        (tmp_path / gloss / "meta.csv").write_text("archivo,palabra\n1.mp4,hola\n", encoding="utf-8")
    with pytest.raises(
        InputError, match=r"(?s)several data sets; .*tú.*\nor read its folders as glosses with --layout"
    ):
        read(tmp_path)
    assert read(tmp_path, layout="folders").glosses == ("hola", "tú")


def test_names_that_are_no_text_are_refused_when_they_are_read(tmp_path: Path) -> None:
    touch(tmp_path, "casa/1.mp4", os.fsdecode(b"ma\xf1ana/1.mp4"))
    with pytest.raises(InputError, match="no UTF-8 text") as caught:
        read(tmp_path)
    assert "rename it" in str(caught.value)
    with pytest.raises(InputError, match="no UTF-8 text"):
        read(tmp_path, columns=ColumnMap(pattern="(?P<label>[^/]+)/"))


# ---------------------------------------------------------------- a folder further down, and deeper folders


def test_a_data_set_is_found_a_folder_further_down(tmp_path: Path) -> None:
    touch(tmp_path, "señas/señas/hola/1.mp4", "señas/señas/casa/1.mp4", "señas/__MACOSX/x/._1.mp4", "señas/.DS_Store")
    found = read(tmp_path)
    assert found.root == tmp_path / "señas" / "señas"
    assert found.notes[0] == "the data set was found in señas/señas/"
    assert found.glosses == ("casa", "hola")
    other = touch(tmp_path / "b", "ASL_Citizen/videos/1.mp4", "readme.txt", "docs/x.pdf")
    (other / "ASL_Citizen" / "splits").mkdir()
    (other / "ASL_Citizen" / "splits" / "train.csv").write_text(
        "Participant ID,Video file,Gloss,Code\nP1,1.mp4,DOG,C\n"
    )
    assert find_layout(other)[:2] == (other / "ASL_Citizen", "asl_citizen")


def test_two_data_sets_in_a_folder_must_be_chosen_from(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "t.csv").write_text("path,label\n1.mp4,x\n")
    with pytest.raises(InputError, match=r"several data sets; name one:\n  --data \S+/a  \(table\)\n  --data \S+/b"):
        read(tmp_path)


DEEP = {
    "{signer}/{gloss}/{k}.mp4": "^(?P<signer>[^/]+)/(?P<label>[^/]+)/[^/]+$",
    "{gloss}/{signer}/{k}.mp4": "^(?P<label>[^/]+)/(?P<signer>[^/]+)/[^/]+$",
    "{gloss}_{signer}_{k}.mp4": r"(?P<label>[^/]+)_(?P<signer>[^/_]+)_[^/_.]+(\.\w+)?$",
    "all/{signer}-{gloss}-{k}.mov": r"(^|/)(?P<signer>[^/\-]+)-(?P<label>[^/]+)-[^/\-.]+(\.\w+)?$",
    "{gloss}{k}.mp4": r"(?P<label>[^/\d]+?)[ _-]*\(?\d+\)?(\.\w+)?$",
    "{split}/{signer}/{gloss}/{k}.mp4": "^(?P<split>[^/]+)/(?P<signer>[^/]+)/(?P<label>[^/]+)/[^/]+$",
}


@pytest.mark.parametrize("shape", DEEP)
def test_the_pattern_that_fits_is_proposed_and_reads_all(tmp_path: Path, shape: str) -> None:
    glosses, signers = ("hola", "buenos días", "casa", "mañana"), ("ana", "luis", "sofía")
    for signer in signers:
        for gloss in glosses:
            for k in (1, 2):
                split = "train" if k == 1 else "val"
                touch(tmp_path, shape.format(signer=signer, gloss=gloss, k=k, split=split))
    with pytest.raises(InputError) as caught:
        read(tmp_path)
    (best, *_), total = propose(tmp_path)
    assert best.pattern == DEEP[shape]
    assert (best.glosses, best.fits) == (4, total)
    assert f"python -m lscht_ray.check {tmp_path} --columns.pattern '{best.pattern}'" in str(caught.value)
    by = " by 'ana'" if "{signer}" in shape else ""
    assert f" is 'buenos días'{by}" in str(caught.value)
    found = read(tmp_path, columns=ColumnMap(pattern=best.pattern))
    assert len(found.samples) == total
    assert found.glosses == tuple(sorted(glosses))
    assert {s.signer for s in found.samples} == ({*signers} if by else {None})


def test_the_folder_of_a_tables_videos_is_no_riddle(tmp_path: Path) -> None:
    """Signers in names would be proposed as glosses; a table above that names other files says nothing of these."""
    names = [f"{signer}_{number}.mp4" for signer in ("ana", "luis") for number in range(3)]
    touch(tmp_path, *(f"set/videos/{name}" for name in names))
    (tmp_path / "set" / "notas.csv").write_text("archivo;glosa\nx1.mp4;hola\n")
    with pytest.raises(InputError, match="can be read by their paths"):
        find_layout(tmp_path / "set" / "videos")
    (tmp_path / "set" / "t.csv").write_bytes("archivo;glosa\nana_0.mp4;señal\n".encode("cp1252"))
    with pytest.raises(InputError) as caught:
        find_layout(tmp_path / "set" / "videos")
    assert str(caught.value).endswith(f"the annotations are in the folder above (t.csv): --data {tmp_path}/set")


def test_one_gloss_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    touch(tmp_path, *(f"vids/c{k}x{'ab'[k % 2] * k}.mp4" for k in range(1, 7)))
    with pytest.raises(InputError, match="'vids' is the only gloss, so there is nothing to tell apart"):
        trainable(read(tmp_path))


def test_a_pattern_that_backtracks_for_ever_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lscht_ray.dataset._values.PATTERN_SECONDS", 0.3)
    touch(tmp_path, f"{'a' * 60}!.mp4")
    with pytest.raises(InputError, match=r"takes longer than 0.3 s\n  a repetition within a repetition"):
        read(tmp_path, columns=ColumnMap(pattern="(?P<label>(a+)+)$"))


# ---------------------------------------------------------------- tables


def test_tables_named_as_splits_are_splits(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{k}.mp4" for k in range(3)))
    for k, name in enumerate(("train", "dev", "test")):
        (tmp_path / f"{name}.csv").write_text(f"path,label\n{k}.mp4,x\n")
    (tmp_path / "classes.csv").write_text("id,name\n0,x\n")
    found = read(tmp_path)
    assert {(clip[0], clip[2]) for clip in clips(found)} == {("0.mp4", "train"), ("1.mp4", "val"), ("2.mp4", "test")}
    assert found.notes[0].endswith("not read: classes.csv")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_tables_named_as_splits_in_spanish(tmp_path: Path, form: str) -> None:
    touch(tmp_path, *(f"{k}.mp4" for k in range(3)))
    for k, name in enumerate(("entrenamiento", "señas_validación_1", "prueba")):
        (tmp_path / f"{unicodedata.normalize(form, name)}.csv").write_text(f"path,label\n{k}.mp4,x\n")
    found = {(clip[0], clip[2]) for clip in clips(read(tmp_path))}
    assert found == {("0.mp4", "train"), ("1.mp4", "val"), ("2.mp4", "test")}


def test_a_blank_between_cells(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    (tmp_path / "t.csv").write_text("a.mp4 hola\n")
    columns = ColumnMap.model_validate({"header": False, "delimiter": "blank", "path": "0", "label": "1"})
    assert clips(read(tmp_path, columns=columns, plan=WHOLE)) == [("a.mp4", "hola", "train", None)]


# ---------------------------------------------------------------- clips made of pictures


def draw_pictures(folder: Path, count: int, first: int = 0, suffix: str = "png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        Image.fromarray(picture(first + k, 128, 96)).save(folder / f"img_{k + 1}.{suffix}")
    return folder


def test_a_folder_of_pictures_is_a_clip(tmp_path: Path) -> None:
    for gloss in ("hola", "casa"):
        for k in range(3):
            draw_pictures(tmp_path / gloss / f"clip{k}", 12, first=10 * k)
    touch(tmp_path, "hola/clip0/._img_1.png", "hola/clip0/notes.txt")
    found = read(tmp_path, plan=WHOLE)
    assert sorted(clip[:2] for clip in clips(found)) == [
        (f"{g}/clip{k}", g) for g in ("casa", "hola") for k in range(3)
    ]
    video = tmp_path / "hola" / "clip1"
    facts = find_facts(str(video))
    assert (facts.frames, facts.width, facts.height, facts.codec, facts.trouble) == (12, 128, 96, "png", "")
    assert (facts.size, facts.mtime_ns) == stamp(video)
    frames = decode(video, lambda times: np.array([0, 5, 11]))
    assert [number(frame) for frame in frames] == [10, 15, 21]
    assert (frames[1] == picture(15, 128, 96)).all()


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (range(8), ""),
        ((0, 2, 4, 6), ""),  # every other one was kept
        ((1, 2, 4, 5), "no picture has the number 3"),
        ((8, 9, 10, 12, 13, 14, 15, 17, 18, 19), "no picture has the number 11, ..."),
        ((1, 2, 4, 5, 7, 8), ""),  # two of three were kept
        ((0, 33, 67, 100, 133, 167), ""),  # milliseconds
        ((3, 907, 1811, 60), ""),
    ],
)
def test_pictures_that_are_missing_are_named(tmp_path: Path, numbers: Iterable[int], said: str) -> None:
    for each in numbers:
        (tmp_path / f"toma_2_{each:04d}.jpg").touch()
    assert disorder(tmp_path) == ("missing_pictures" if said else "", said)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("1.jpg", "2.jpg", "2.png"), "2.jpg and 2.png have the same number"),
        (("01.jpg", "01 copy.jpg", "02.jpg"), "01 copy.jpg and 01.jpg have the same number"),
        (("front_1.jpg", "front_2.jpg", "side_1.jpg", "side_2.jpg"), "front_1.jpg and side_1.jpg have the same number"),
        (
            ("cam0_1.jpg", "cam0_2.jpg", "cam1_1.jpg", "cam1_2.jpg", "cam1_3.jpg"),
            "of 2 cameras, from cam0_1.jpg and from cam1_1.jpg on",
        ),
        (("vista 1_0.jpg", "vista 1_2.jpg", "vista 2_0.jpg", "vista 2_2.jpg"), "of 2 cameras, from vista 1_0.jpg"),
        (("1.jpg", "2.jpg", "3.jpg", "4.jpg", "cover.jpg"), "cover.jpg is called otherwise than the other pictures"),
        (("1.jpg", "2.jpg", "3.jpg", "3 (1).jpg", "4.jpg"), "3 (1).jpg is called otherwise"),
        (("f_0_1.jpg", "f_0_2.jpg", "f_1_1.jpg", "f_1_2.jpg", "f_2_1.jpg"), ""),  # seconds and frames
        (("9a3f.jpg", "b77c1.jpg", "00ff.jpg", "c3.jpg", "deadbeef.jpg"), ""),
        (("f1_0.00.jpg", "f2_0.04.jpg", "f3_0.08.jpg", "f26_1.00.jpg"), ""),  # a number and a time
        (("0-00.jpg", "0-40.jpg", "0-80.jpg", "1-00.jpg", "1-40.jpg", "1-80.jpg"), ""),  # times
        (("20240101_1.jpg", "20240101_2.jpg", "20240101_3.jpg"), ""),
        (("a.jpg", "b.jpg", "c.jpg"), ""),
    ],
)
def test_pictures_of_several_clips_in_one_folder_are_named(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    touch(tmp_path, *names)
    kind, words = disorder(tmp_path)
    assert (kind, said in words) == ("mixed_pictures" if said else "", True)
    assert bool(words) == bool(said)


def test_tables_that_are_not_read_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "hola/1.mp4", "tú/1.mp4")
    (tmp_path / "train.csv").write_text("hola/1.mp4,hola,ana\ntú/1.mp4,tú,ana\n")
    columns = "--columns.path and --columns.label name a table's columns"
    hint = f"; {columns}, with --columns.header false by their numbers, 0, 1 and so on"
    hint += "; train.csv has 'hola/1.mp4', 'hola', 'ana'"
    assert find_layout(tmp_path) == (tmp_path, "folders", f"not read: train.csv{hint}")
    (tmp_path / "train.csv").write_text("hola/1.mp4 0\n")
    (tmp_path / "notas.csv").write_text("uno,dos\n")
    assert find_layout(tmp_path) == (tmp_path, "lists", "not read: notas.csv")


def test_a_picture_that_is_damaged_is_found(tmp_path: Path) -> None:
    clip = draw_pictures(tmp_path / "clip", 12)
    (clip / "img_7.png").write_bytes((clip / "img_7.png").read_bytes()[:60])
    facts = find_facts(str(clip))
    assert (facts.trouble, facts.frames) == ("damaged", 11)
    assert "img_7.png" in facts.reason
    for file in clip.iterdir():
        file.unlink()
    assert find_facts(str(clip)).reason == "no picture is in it"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("leer", "no data set is recognised there: the folder is empty"),
        ("papeles", "no data set is recognised there: there is no video in it, only .pdf, .docx"),
        (".env", "no data set is recognised there: a data set is a folder, or a table of its clips"),
        ("datos.zip", "no data set is recognised there: it is an archive: unpack it, and name the folder"),
        ("señas/casa", "its clips are those of one gloss ('casa'): name the folder above, --data 'ROOT/señas'"),
        ("señas/casa/1.mp4", "it is a single video: name the folder that holds all glosses, as in --data 'ROOT/señas'"),
        ("set/videos", "the annotations are in the folder above (t.csv): --data ROOT/set"),
        (
            "suelto",
            "nothing says what its clips show: put those of each gloss into a folder of its own, as in casa/1.mp4",
        ),
        ("tesis/dataset/train", "the annotations are in a folder further up (nslt_100.json): --data ROOT/tesis"),
        ("run", "it is a run's folder, not the folder of clips"),
        ("senas", "no such file or folder: did you mean ROOT/señas?"),
        ("señas/*", "no such file or folder: name the folder, without *"),
    ],
)
def test_one_sentence_says_why_there_is_no_data_set(tmp_path: Path, given: str, sentence: str) -> None:
    for name in ("leer", "papeles", "señas/casa", "señas/tú", "set/videos", "run", "suelto", "tesis/dataset/train"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("papeles/a.pdf", "papeles/b.docx", ".env", "datos.zip", "run/config.json", "run/metrics.jsonl"):
        (tmp_path / name).touch()
    for name in (
        "señas/casa/1.mp4",
        "señas/casa/2.mp4",
        "señas/tú/3.mp4",
        "set/videos/4.mp4",
        "set/videos/5.mp4",
        "suelto/a.mp4",
    ):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypisom")
    (tmp_path / "tesis" / "dataset" / "train" / "1.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    (tmp_path / "tesis" / "nslt_100.json").write_text('{"1": {}}')
    (tmp_path / "set" / "t.csv").write_text("path,label\n4.mp4,a\n5.mp4,b\n")
    with pytest.raises(InputError) as refused:
        read(tmp_path / given)
    assert sentence.replace("ROOT", str(tmp_path)) in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
