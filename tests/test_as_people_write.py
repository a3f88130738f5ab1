"""Tables as people write them: words, letters, encodings and names of files that are nearly those on the disk."""

import csv
import unicodedata
from pathlib import Path

import pytest

from lscht_ray.dataset.annotations import Annotations, absent_split, read
from lscht_ray.errors import InputError
from lscht_ray.settings.columns import ColumnMap
from support.data import draw_small
from support.doors import FAST, Door, run_folder

WHOLE = {"fractions": (0.0, 0.0)}


def write(root: Path, text: str, *videos: str, encoding: str = "utf-8", name: str = "t.csv") -> Path:
    for video in videos:
        (root / video).parent.mkdir(parents=True, exist_ok=True)
        (root / video).touch()
    (root / name).write_bytes(text.encode(encoding))
    return root


def clips(found: Annotations) -> list[tuple[str, str, str]]:
    return [(s.video.relative_to(found.folder).as_posix(), s.gloss, s.split) for s in found.samples]


# ---------------------------------------------------------------- splits


def test_splits_in_spanish(tmp_path: Path) -> None:
    words = ("Entrenamiento", "validación", unicodedata.normalize("NFD", "Validación"), "prueba ")
    rows = "".join(f"{k}.mp4;hola;{word}\n" for k, word in enumerate(words))
    found = read(write(tmp_path, f"archivo;glosa;partición\n{rows}", *(f"{k}.mp4" for k in range(4))))
    assert [split for _, _, split in clips(found)] == ["train", "val", "val", "test"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_split_folders_in_spanish(tmp_path: Path, form: str) -> None:
    for split in ("entrenamiento", "validación", "prueba"):
        write(tmp_path, "", unicodedata.normalize(form, f"{split}/hola/{split}.mp4"), name=".x")
    found = read(tmp_path)
    assert sorted((split, gloss) for _, gloss, split in clips(found)) == [
        ("test", "hola"),
        ("train", "hola"),
        ("val", "hola"),
    ]


def test_a_split_of_another_name_says_how_to_say_it_and_does_not_matter_where_splits_are_drawn(tmp_path: Path) -> None:
    rows = "".join(f"{k}.mp4,g{k % 2},{'uno' if k < 6 else 'train'}\n" for k in range(8))
    write(tmp_path, f"path,label,split\n{rows}", *(f"{k}.mp4" for k in range(8)))
    with pytest.raises(InputError) as caught:
        read(tmp_path)
    line = str(caught.value).splitlines()[0]
    assert "line 2: split 'uno' is none of train, val, test" in line
    assert """--columns.split_names '{"uno": "train"}'""" in line
    assert len(read(tmp_path, strict=False).samples) == 8  # the clips are there all the same
    drawn = read(tmp_path, plan={"policy": "stratified"})
    assert len(drawn.samples) == 8
    assert drawn.problems == ()
    assert len(read(tmp_path, columns=ColumnMap(split="")).samples) == 8
    named = read(tmp_path, columns=ColumnMap(split_names={"uno": "test"}))
    assert [split for _, _, split in clips(named)] == ["test"] * 6 + ["train"] * 2


def test_too_few_signers_say_what_to_do(tmp_path: Path) -> None:
    rows = "".join(f"{k}.mp4,g{k % 2},{'ana' if k < 6 else 'luis'}\n" for k in range(12))
    write(tmp_path, f"path,label,signer\n{rows}", *(f"{k}.mp4" for k in range(12)))
    with pytest.raises(InputError, match=r"2 signers can't fill 3 parts\n  --test_fraction 0 makes no test split"):
        read(tmp_path, plan={"policy": "by_signer"})
    two = read(tmp_path, plan={"policy": "by_signer", "fractions": (0.15, 0.0)})
    assert {split for _, _, split in clips(two)} == {"train", "val"}
    with pytest.raises(InputError, match="--folds 2 makes as many folds as signers"):
        read(tmp_path, plan={"policy": "kfold_by_signer"})
    no_val = read(tmp_path, plan={"policy": "by_signer", "fractions": (0.0, 0.15)})
    assert (
        absent_split(no_val).splitlines()[1]
        == "  val is drawn with --val_fraction above 0, of glosses with two clips or more"
    )


def test_given_splits_that_by_signer_sets_aside_are_named(tmp_path: Path) -> None:
    rows = "".join(f"{k}.mp4,g,s{k},train\n" for k in range(4))
    write(tmp_path, f"path,label,signer,split\n{rows}", *(f"{k}.mp4" for k in range(4)))
    (note,) = read(tmp_path, plan={"policy": "by_signer"}).notes
    assert note.startswith("the given splits are set aside: no signer is in two splits, seed 42; signers: ")


def test_a_draw_is_the_same_in_both_unicode_forms(tmp_path: Path) -> None:
    """é sorts before f where it is decomposed, and behind z where it is not."""
    names = [f"{letter}{k}" for letter in ("a", "é", "f", "z", "ñ") for k in range(4)]
    drawn = []
    for form in ("NFC", "NFD"):
        written = [unicodedata.normalize(form, f"{gloss}/{name}.mp4") for name in names for gloss in ("hola", "tú")]
        found = read(write(tmp_path / form, "", *written, name=".x"))
        drawn.append({unicodedata.normalize("NFC", path): split for path, _, split in clips(found)})
    assert drawn[0] == drawn[1]


# ---------------------------------------------------------------- names of files


def test_capital_letters_may_differ_where_only_one_file_is_meant(tmp_path: Path) -> None:
    text = "path,label\nclip_1.mov,a\nÑandú.mp4,b\ndos.mp4,c\n"
    write(tmp_path, text, "CLIP_1.MOV", "ñandú.mp4", "Dos.mp4", "DOS.mp4")
    found = read(tmp_path, plan=WHOLE)
    assert [(path, gloss) for path, gloss, _ in clips(found)] == [("CLIP_1.MOV", "a"), ("ñandú.mp4", "b")]
    assert [path.name for path in found.missing] == ["dos.mp4"]


def test_a_suffix_may_be_missing_where_only_one_video_is_called_so(tmp_path: Path) -> None:
    text = "path,label\nseña 1.2,a\nuno,b\nnada,c\n"
    write(tmp_path, text, "videos/seña 1.2.mp4", "uno.MTS", "uno.txt", "dos.mp4", "dos.mov")
    found = read(tmp_path, plan=WHOLE)
    assert sorted((gloss, path) for path, gloss, _ in clips(found)) == [("a", "videos/seña 1.2.mp4"), ("b", "uno.MTS")]
    assert [path.name for path in found.missing] == ["nada"]
    assert "names of files are completed: 'seña 1.2' is 'videos/seña 1.2.mp4', and so on" in found.notes


@pytest.mark.parametrize("start", ["/data/ana/", "C:\\\\Users\\\\Ana\\\\", "D:/"])
def test_paths_of_another_machine_are_found_by_their_ends(start: str, tmp_path: Path) -> None:
    mark = "\\" if "\\" in start else "/"
    start = start.replace("\\\\", "\\")
    lines = f"path,label\n{start}clips{mark}a.mp4,x\n{start}clips{mark}ñ.MP4,y\n"
    write(tmp_path, lines, "clips/a.mp4", "a.mp4", "clips/ñ.mp4")
    found = read(tmp_path, plan=WHOLE)
    assert clips(found) == [("clips/a.mp4", "x", "train"), ("clips/ñ.mp4", "y", "train")]
    assert any("names of files are completed" in note for note in found.notes)


def test_a_name_that_may_be_two_videos_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "path,label\nuno,b\ndos,c\n", "uno.mp4", "dos.mp4", "dos.mov")
    with pytest.raises(InputError, match=r"line 3: 'dos' may be dos\.mov or dos\.mp4 \(write the suffix\)"):
        read(tmp_path)


def test_a_folder_of_something_else_may_be_called_as_a_video(tmp_path: Path) -> None:
    write(tmp_path, "path,label\na,x\nb,y\n", "a.mp4", "b.mp4", "a/keypoints.json")
    assert clips(read(tmp_path, plan=WHOLE)) == [("a.mp4", "x", "train"), ("b.mp4", "y", "train")]


def test_excels_own_line_on_the_delimiter(tmp_path: Path) -> None:
    write(tmp_path, "sep=;\npath;label\na.mp4;x, y\nb.mp4;\n", "a.mp4", "b.mp4")
    with pytest.raises(InputError, match="line 4: the label is empty"):
        read(tmp_path)
    assert clips(read(tmp_path, plan=WHOLE, strict=False)) == [("a.mp4", "x, y", "train")]


def test_a_quotation_mark_too_many_swallows_no_line(tmp_path: Path) -> None:
    write(tmp_path, 'path,label\na.mp4,"HOLA\nb.mp4,X\nc.mp4,Z\n', "a.mp4", "b.mp4", "c.mp4")
    with pytest.raises(InputError, match=r"lines 2 to 4: .* holds a line break: is there a quotation mark too many"):
        read(tmp_path)


@pytest.mark.parametrize("columns", [None, ColumnMap(file="señas.xlsx")])
def test_a_sheet_is_called_one(columns: ColumnMap | None, tmp_path: Path) -> None:
    write(tmp_path, "PK", "1.mp4", name="señas.xlsx")
    write(tmp_path, "PK", name="~$señas.xlsx")
    with pytest.raises(InputError, match=r"[ /]señas\.xlsx can't be read: save it as CSV"):
        read(tmp_path, columns=columns)


def test_a_group_of_the_pattern_that_takes_no_part_is_empty(tmp_path: Path) -> None:
    write(tmp_path, "", "hola.mp4", "hola_ana.mp4", "tú_luis.mp4", name=".x")
    found = read(tmp_path, columns=ColumnMap(pattern=r"(?P<label>[^_.]+)(_(?P<signer>\w+))?\."), plan=WHOLE)
    assert {(s.gloss, s.signer) for s in found.samples} == {("hola", None), ("hola", "ana"), ("tú", "luis")}
    with pytest.raises(InputError, match=r"all 3 lines: the label is empty, as in hola\.mp4: the label is empty"):
        read(tmp_path, columns=ColumnMap(pattern=r"(?P<label>zzz)?(?P<signer>\w+)\."))
    write(tmp_path, "path,label\nhola_ana.mp4,buenos días\nhola.mp4,x\n")
    found = read(tmp_path / "t.csv", columns=ColumnMap(file="t.csv", pattern=r"(?P<label>zzz)?_|$"), plan=WHOLE)
    assert {s.gloss for s in found.samples} == {"buenos días", "x"}  # a column of that name stands


def test_videos_may_lie_beside_a_table_that_is_named_from_above(tmp_path: Path) -> None:
    write(tmp_path / "mis datos", "path,label\n1.mp4,a\n", "1.mp4")
    found = read(tmp_path, columns=ColumnMap(file="mis datos/t.csv"), plan=WHOLE)
    assert clips(found) == [("mis datos/1.mp4", "a", "train")]


@pytest.mark.parametrize("file", [None, "t.csv"])
def test_a_table_further_down_is_found_with_a_column_map_too(tmp_path: Path, file: str | None) -> None:
    write(tmp_path / "datos" / "es", "v,g\n1.mp4,a\n", "1.mp4")
    (tmp_path / "datos" / "notas").mkdir()
    found = read(tmp_path, columns=ColumnMap(path="v", label="g", file=file), plan=WHOLE)
    assert clips(found) == [("1.mp4", "a", "train")]
    assert found.notes[0] == "the data set was found in datos/es/"


def test_a_total_is_no_sign_and_nobody_sees_how_many_blanks_there_are(tmp_path: Path) -> None:
    rows = "a.mp4;¿cómo estás?;Ana\nb.mp4;¿cómo  estás?;Ana  María\nc.mp4;tú;Ana María\n60 videos;TOTAL:;3 personas\n"
    write(tmp_path, f"archivo;glosa;persona\n{rows}", "a.mp4", "b.mp4", "c.mp4")
    found = read(tmp_path, plan=WHOLE)
    assert sorted((video, gloss) for video, gloss, _ in clips(found)) == [
        ("a.mp4", "¿cómo estás?"),
        ("b.mp4", "¿cómo estás?"),
        ("c.mp4", "tú"),
    ]
    assert {sample.signer for sample in found.samples} == {"Ana", "Ana María"}
    said = {problem.kind: problem.detail for problem in found.problems}
    assert said["not_a_clip"] == "line 5: 'TOTAL:' names no video that is there: is it a total?"
    details = [problem.detail for problem in found.problems if problem.kind == "name_blanks"]
    assert details == [
        "the gloss '¿cómo  estás?' has several blanks in a row",
        "the signer 'Ana  María' has several blanks in a row",
    ]
    write(tmp_path / "o", "archivo;glosa\na.mp4;total\nb.mp4;tú\n", "a.mp4", "b.mp4")
    assert sorted(gloss for _, gloss, _ in clips(read(tmp_path / "o", plan=WHOLE))) == [
        "total",
        "tú",
    ]  # a sign all the same


def test_a_suffix_may_be_there_twice(tmp_path: Path) -> None:
    write(tmp_path, "archivo;glosa\nniño_1.mp4;niño\ntú_1;tú\n", "videos/niño_1.mp4", "videos/tú_1.mp4")
    found = read(tmp_path, columns=ColumnMap(path="videos/{archivo}.mp4"), plan=WHOLE)
    assert [video for video, _, _ in clips(found)] == ["videos/niño_1.mp4", "videos/tú_1.mp4"]
    assert not found.missing


def test_times_are_told_by_both_columns(tmp_path: Path) -> None:
    """Where every clip begins at 0, the ends say that these are seconds."""
    write(tmp_path, "archivo;glosa;desde;hasta\na.mp4;tú;0;0,9\nb.mp4;yo;0;2\n", "a.mp4", "b.mp4")
    found = read(tmp_path, plan=WHOLE)
    assert [str(sample.span and sample.span.text()) for sample in found.samples] == ["second 0 to 0.9", "second 0 to 2"]


def test_a_blank_delimiter_is_hinted_at(tmp_path: Path) -> None:
    write(tmp_path, "path label\n1.mp4 a\n", "1.mp4")
    with pytest.raises(InputError, match=r"is it another delimiter \(--columns\.delimiter\)\?"):
        read(tmp_path / "t.csv", layout="table")


# ---------------------------------------------------------------- encodings


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_excels_encodings(tmp_path: Path, encoding: str, end: str) -> None:
    text = end.join(("archivo;seña;señante", "1.mp4;mañana;José", "2.mp4;tú;José", ""))
    found = read(write(tmp_path, text, "1.mp4", "2.mp4", encoding=encoding), plan=WHOLE)
    assert [(s.gloss, s.signer) for s in found.samples] == [("mañana", "José"), ("tú", "José")]
    said = "t.csv: it is not UTF-8 and is read as Windows-1252 (as Excel saves CSV), as in 'seña', 'señante', 'mañana'"
    assert (said in found.notes) == (encoding == "cp1252")
    assert [p.kind for p in found.problems] == ["encoding"] * (encoding == "cp1252")


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "", "1.mp4")
    (tmp_path / "t.csv").write_bytes(b"path,label\n1.mp4,\x81\n")  # no letter in Windows-1252
    with pytest.raises(InputError, match=r"t\.csv is not UTF-8 .*CSV UTF-8"):
        read(tmp_path / "t.csv")


# ---------------------------------------------------------------- what is written of recordings with many signs


def test_predictions_name_the_part_of_the_recording(tmp_path: Path, door: Door) -> None:
    data = draw_small(tmp_path / "clips")
    videos = sorted(data.rglob("*.mp4"))
    with (tmp_path / "t.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "label", "split", "start", "end"))
        for video in videos:
            split, gloss = video.relative_to(data).parts[:2]
            table.writerow((video, gloss, split, "0,1", "0,6"))
            table.writerow((video, gloss, split, "0,2", ""))
    columns = ("--columns.start", "start", "--columns.end", "end", "--columns.unit", "second")
    result = door("train", "--data", tmp_path / "t.csv", *columns, *FAST, "--max_epochs", 1, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    run = run_folder(tmp_path)
    assert door("evaluate", run, "--num_workers", 0, cwd=tmp_path).returncode == 0
    with (run / "evaluation_test" / "predictions.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    tests = [str(video) for video in videos if video.relative_to(data).parts[0] == "test"]
    assert [(row["video"], row["range"]) for row in rows] == [
        (video, part) for video in tests for part in ("second 0.1 to 0.6", "second 0.2 to")
    ]


def test_a_split_file_with_other_parts_says_so(tmp_path: Path) -> None:
    text = "path,label,start,end\n1.mp4,a,0.5,1.5\n1.mp4,b,2,3\n"
    write(tmp_path, text, "1.mp4")
    (tmp_path / "s").mkdir()
    file = tmp_path / "s" / "splits.csv"
    file.write_text("path,label,split,signer,range\n1.mp4,a,train,,second 0.5 to 1.5\n1.mp4,b,val,,second 2 to 3\n")
    seconds = ColumnMap(start="start", end="end", unit="second")
    assert [split for _, _, split in clips(read(tmp_path, columns=seconds, plan={"file": str(file)}))] == [
        "train",
        "val",
    ]
    with pytest.raises(InputError, match="it names these videos with other parts of them than are annotated"):
        frames = ColumnMap(start="start", end="end", unit="millisecond")
        read(tmp_path, columns=frames, plan={"file": str(file)}, strict=False)
