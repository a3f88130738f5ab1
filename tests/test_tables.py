"""Column maps: own tables of every kind, file names, and the maps that come with the package."""

import json
import unicodedata
from pathlib import Path

import pytest

from lscht_ray.dataset import layouts
from lscht_ray.dataset.annotations import Annotations, read
from lscht_ray.dataset.finding import find_layout
from lscht_ray.errors import InputError
from lscht_ray.settings.columns import ColumnMap
from lscht_ray.video.span import Box, Span


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def clips(found: Annotations) -> list[tuple[str, str, str, str | None]]:
    return [(s.video.relative_to(found.folder).as_posix(), s.gloss, s.split, s.signer) for s in found.samples]


def test_a_map_says_where_everything_stands(tmp_path: Path) -> None:
    touch(tmp_path, "rec/7_a.mov", "rec/8_b.mov")
    lines = ["id|who|palabra|entrena|desde|hasta", "7|ana|mañana|True|3|10", "8|luis| tú |False||"]
    (tmp_path / "tabla.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "other.csv").write_text("x\n1\n")
    (tmp_path / "rec" / "8_b.mov").touch()
    columns = ColumnMap(
        file="tabla.csv",
        path="rec/{id}_{side}.mov",
        pattern_on="{who}",
        pattern="(?P<side>.)",
        label="palabra",
        split="entrena",
        split_names={"true": "train", "false": "val"},
        signer="who",
        start="desde",
        end="hasta",
        first_frame=1,
        end_included=True,
    )
    touch(tmp_path, "rec/8_l.mov")
    found = read(tmp_path, columns=columns)
    assert clips(found) == [("rec/7_a.mov", "mañana", "train", "ana"), ("rec/8_l.mov", "tú", "val", "luis")]
    assert [sample.span for sample in found.samples] == [Span(2, 10), None]
    assert [problem.detail for problem in found.problems] == ["the gloss ' tú ' has blanks around it"]


@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl", "noheader"])
def test_the_same_rows_in_every_kind_of_table(tmp_path: Path, kind: str) -> None:
    rows = [{"file": "a.mp4", "word": "x, y", "set": "train"}, {"file": "b.mp4", "word": "ñ", "set": "dev"}]
    touch(tmp_path, "a.mp4", "b.mp4")
    columns = ColumnMap(path="file", label="word", split="set")
    if kind == "json":
        (tmp_path / "t.json").write_text(json.dumps(rows))
    elif kind == "jsonl":
        (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    elif kind == "noheader":
        columns = ColumnMap(header=False, path="1", label="0", split="2")
        (tmp_path / "t.csv").write_text('"x, y",a.mp4,train\nñ,b.mp4,dev\n', encoding="utf-8")
    else:
        separator = {"csv": ";", "tsv": "\t"}[kind]
        lines = [separator.join(rows[0]), *(separator.join(row.values()) for row in rows)]
        (tmp_path / f"t.{kind}").write_text("\n".join(lines), encoding="utf-8")
    (file,) = (path for path in tmp_path.iterdir() if path.stem == "t")
    found = read(file, columns=columns)
    assert found.layout == "table"
    assert clips(found) == [("a.mp4", "x, y", "train", None), ("b.mp4", "ñ", "val", None)]


def test_seconds_and_boxes(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    rows = [
        {"path": "a.mp4", "label": "x", "split": "train", "t": [0.5, 1.25], "box": [0.1, 0.2, 0.9, 1.0]},
        {"path": "a.mp4", "label": "y", "split": "train", "t": [2, -1], "box": None},
    ]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    sides = ["box.0", "box.1", "box.2", "box.3"]
    with pytest.raises(InputError, match=r"no column 'box\.0'"):
        read(
            tmp_path / "t.json",
            columns=ColumnMap(start="t.0", end="t.1", unit="second", bbox=sides, bbox_unit="share"),
        )
    rows[1]["box"] = ["", "", "", ""]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    found = read(
        tmp_path / "t.json", columns=ColumnMap(start="t.0", end="t.1", unit="second", bbox=sides, bbox_unit="share")
    )
    assert [sample.span for sample in found.samples] == [Span(0.5, 1.25, "second"), Span(2, None, "second")]
    assert [sample.box for sample in found.samples] == [Box(0.1, 0.2, 0.9, 1.0, "share"), None]


def test_a_flat_folder_by_a_pattern_of_its_names(tmp_path: Path) -> None:
    touch(
        tmp_path, "señá_ana_1.mp4", "señá_luis_2.MOV", "sub/tú_ana_1.mp4", "notes.txt", "odd.mp4", ".hidden/a_b_1.mp4"
    )
    found = read(tmp_path, columns=ColumnMap(pattern=r"(?P<label>[^_/]+)_(?P<signer>[^_]+)_(?P<repetition>\d+)\."))
    assert sorted((path, gloss, signer) for path, gloss, _, signer in clips(found)) == [
        ("señá_ana_1.mp4", "señá", "ana"),
        ("señá_luis_2.MOV", "señá", "luis"),
        ("sub/tú_ana_1.mp4", "tú", "ana"),
    ]
    assert [problem.kind for problem in found.problems] == ["not_annotated"]
    assert "odd.mp4" in found.problems[0].detail


@pytest.mark.parametrize(
    ("line", "kind", "detail"),
    [
        ("../out.mp4,x,train", "path_outside", "line 3: '../out.mp4' leads out of"),
        ("/etc/passwd,x,train", "path_outside", "leads out of"),
        ("sub/../../out.mp4,x,train", "path_outside", "leads out of"),
        ("..\\out.mp4,x,train", "path_outside", "leads out of"),
        ("http://example.org/a.mp4,x,train", "not_a_local_file", "never opened"),
        ("concat:a.mp4|b.mp4,x,train", "not_a_local_file", "never opened"),
        ("file:a.mp4,x,train", "not_a_local_file", "never opened"),
        ("subfile,,start,0,end,9,,:a.mp4", "unparsable", "8 cells where the header has 3"),
        ("b.mp4,x,tset", "unknown_split", "line 3: split 'tset' is none of train, val, test"),
        ("b.mp4,,train", "unparsable", "line 3: the label is empty"),
        ("a.mp4,y,train", "two_labels", "a.mp4 is there twice (also line 2): as 'x' and as 'y'"),
        ('"b.mp4,x', "unparsable", "lines 3 to 4: 1 cell where the header has 3; is there a quotation mark too many?"),
    ],
)
def test_bad_lines_are_named_and_nothing_outside_is_opened(tmp_path: Path, line: str, kind: str, detail: str) -> None:
    root = tmp_path / "set"
    touch(tmp_path, "out.mp4", "set/a.mp4", "set/b.mp4", "set/sub/c.mp4")
    (root / "t.csv").write_text(f"path,label,split\na.mp4,x,train\n{line}\nsub/c.mp4,x,val\n")
    found = read(root / "t.csv", strict=False)
    (problem,) = found.problems
    assert (problem.kind, problem.severity, problem.path) == (kind, "error", str(root / "t.csv"))
    assert detail in problem.detail
    assert all(sample.video.is_relative_to(root) for sample in found.samples)
    with pytest.raises(InputError, match=r"t\.csv"):
        read(root / "t.csv")


def test_videos_elsewhere_are_named_by_the_user_not_by_the_table(tmp_path: Path) -> None:
    touch(tmp_path, "media/a.mp4", "set/x")
    (tmp_path / "set" / "t.csv").write_text(f"path,label,split\n{tmp_path}/media/a.mp4,x,train\n")
    with pytest.raises(InputError, match="--videos"):
        read(tmp_path / "set" / "t.csv")
    assert len(read(tmp_path / "set" / "t.csv", videos=str(tmp_path / "media")).samples) == 1


def test_broken_lines_of_json_lines(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    (tmp_path / "t.jsonl").write_text('{"path": "a.mp4", "label": "x", "split": "train"}\n{"path": \n[1]\n')
    found = read(tmp_path, strict=False)
    assert [problem.detail.split(":")[0] for problem in found.problems] == ["line 2", "line 3"]


def test_a_huge_annotation_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "t.json").open("wb") as file:
        file.truncate(300 * 2**20)  # sparse: takes no room
    with pytest.raises(InputError, match="300 MB, an annotation file at most 256 MB"):
        read(tmp_path / "t.json", columns=ColumnMap(path="p", label="l"))


# ---------------------------------------------------------------- the data sets that have a map


def autsl(root: Path) -> None:
    touch(root, *(f"{split}/signer{s}_sample{n}_{k}.mp4" for split, s, n in SETS for k in ("color", "depth")))
    for split in ("train", "val", "test"):
        lines = [f"signer{s}_sample{n},{n % 2}" for name, s, n in SETS if name == split]
        (root / f"{split}_labels.csv").write_text("\n".join(lines))
    (root / "SignList_ClassId_TR_EN.csv").write_text("ClassId,TR,EN\n0,abla,sister\n1,acele,hurry\n")


SETS = [("train", 1, 1), ("train", 2, 2), ("val", 3, 3), ("test", 4, 4)]


def asl_citizen(root: Path) -> None:
    for split, signer, number in SETS:
        touch(root, f"videos/{number}.mp4")
        (root / "splits").mkdir(exist_ok=True)
        file = root / "splits" / f"{split}.csv"
        old = file.read_text() if file.exists() else "Participant ID,Video file,Gloss,ASL-LEX Code\n"
        file.write_text(old + f"P{signer},{number}.mp4,DOG1,C_02\n")


def lsa64(root: Path) -> None:
    touch(root, *(f"all/{sign:03d}_{signer:03d}_001.mp4" for sign in (1, 64) for signer in (1, 8, 9, 10)))


def ms_asl(root: Path) -> None:
    touch(root, "videos/C37R_Ix8-qs.mp4")
    row = {
        **{"org_text": "Match", "clean_text": "match", "signer_id": 0, "start_time": 1.5, "end_time": 2.5},
        **{"url": "https://www.youtube.com/watch?v=C37R_Ix8-qs", "box": [0.1, 0.2, 0.9, 0.8], "label": 830},
    }
    (root / "MSASL_train.json").write_text(json.dumps([row]))


def include(root: Path) -> None:
    touch(root, "Adjectives/1. loud/MVI_5177.MOV")
    (root / "train.csv").write_text("FilePath,Word\nAdjectives/1. loud/MVI_5177.MOV,loud\n")


def sem_lex(root: Path) -> None:
    touch(root, "train/abc.webm", "val/def.webm")
    lines = [
        "video_id,label,split,signer_id",
        "abc,30_minute ,train,7",
        "abc,30_minute ,train,7",
        "def,30_minute,val,8",
    ]
    (root / "semlex_metadata.csv").write_text("\n".join(lines))


def slovo(root: Path) -> None:
    touch(root, f"train/{UUIDS[0]}.mp4", f"test/{UUIDS[1]}.mp4")
    lines = ["attachment_id,text,user_id,height,width,length,train,begin,end", f"{UUIDS[0]},A,u1,9,9,60.0,True,10,50"]
    (root / "annotations.csv").write_text(
        "\n".join([*lines, f"{UUIDS[1]},A,u2,9,9,60.0,False,0,50"]).replace(",", "\t")
    )


UUIDS = ("16d92c0f-0000-4000-8000-000000000001", "16d92c0f-0000-4000-8000-000000000002")


def include_folders(root: Path) -> None:
    touch(root, "Adjectives/1. loud/MVI_5177.MOV", "Places/19. House/Extra/MVI_3439.MOV", "Places/19. House/MVI_1.MOV")


@pytest.mark.parametrize("name", ["autsl", "asl_citizen", "lsa64", "ms_asl", "sem_lex", "slovo", "include_folders"])
def test_these_are_recognised_by_themselves(tmp_path: Path, name: str) -> None:
    globals()[name](tmp_path)
    assert find_layout(tmp_path).layout == name
    assert read(tmp_path).samples == read(tmp_path, layout=name).samples


def test_autsl(tmp_path: Path) -> None:
    autsl(tmp_path)
    found = read(tmp_path)
    assert found.glosses == ("abla", "acele")
    assert clips(found) == [
        (f"{split}/signer{s}_sample{n}_color.mp4", ("abla", "acele")[n % 2], split, str(s)) for split, s, n in SETS
    ]


def test_asl_citizen(tmp_path: Path) -> None:
    asl_citizen(tmp_path)
    assert clips(read(tmp_path)) == [(f"videos/{n}.mp4", "DOG1", split, f"P{s}") for split, s, n in SETS]


def test_lsa64(tmp_path: Path) -> None:
    lsa64(tmp_path)
    found = read(tmp_path)
    assert found.glosses == ("001", "064")
    assert clips(found)[:4] == [
        ("all/001_001_001.mp4", "001", "train", "001"),
        ("all/001_008_001.mp4", "001", "train", "008"),
        ("all/001_009_001.mp4", "001", "val", "009"),
        ("all/001_010_001.mp4", "001", "test", "010"),
    ]
    assert clips(read(tmp_path / "all", layout="lsa64"))[0][0] == "001_001_001.mp4"


def test_ms_asl(tmp_path: Path) -> None:
    ms_asl(tmp_path)
    (sample,) = read(tmp_path, layout="ms_asl").samples
    assert (sample.gloss, sample.split, sample.signer) == ("match", "train", "0")
    assert sample.span == Span(1.5, 2.5, "second")
    assert sample.box == Box(0.2, 0.1, 0.8, 0.9, "share")


def test_all_tables_are_read_that_a_name_with_a_star_fits(tmp_path: Path) -> None:
    for name in ("train_1.csv", "train_2.csv", "val.csv", "other_val.csv"):
        (tmp_path / name).write_text(f"path,label\n{name}.mp4,hola\n")
        (tmp_path / f"{name}.mp4").touch()
    columns = ColumnMap(files={"train": "nothing.csv, train_*.csv", "val": "val.csv, *val.csv"})
    assert [clip[::2] for clip in clips(read(tmp_path, columns=columns))] == [
        ("train_1.csv.mp4", "train"),
        ("train_2.csv.mp4", "train"),
        ("val.csv.mp4", "val"),
    ]
    (tmp_path / "._train_9.csv").write_text("x")
    absolute = ColumnMap(files={"train": str(tmp_path / "train_1.csv"), "val": ", ./, val.csv"})
    assert [clip[2] for clip in clips(read(tmp_path, columns=absolute))] == ["train", "val"]
    (tmp_path / "sub").mkdir()
    (tmp_path / "train_2.csv").rename(tmp_path / "sub" / "train_2.csv")
    for name in (f"{tmp_path}/s*/train*.csv", "s*/train*.csv"):
        found = read(tmp_path, columns=ColumnMap(files={"train": name, "val": "val.csv"}))
        assert [clip[0] for clip in clips(found)] == ["train_2.csv.mp4", "val.csv.mp4"]
    (tmp_path / "sub" / "train_2.csv").rename(tmp_path / "train_2.csv")
    decomposed = unicodedata.normalize("NFD", "validación_1.csv")
    (tmp_path / "val.csv").rename(tmp_path / decomposed)
    for name in ("validación_1.csv", "validación*.csv"):
        found = read(tmp_path, columns=ColumnMap(files={"train": "train*.csv", "val": name}))
        assert [clip[2] for clip in clips(found)] == ["train", "train", "val"]


def test_include(tmp_path: Path) -> None:
    include(tmp_path)
    assert clips(read(tmp_path, layout="include")) == [("Adjectives/1. loud/MVI_5177.MOV", "loud", "train", None)]


def test_sem_lex_says_what_is_there_twice_and_which_blanks_it_drops(tmp_path: Path) -> None:
    sem_lex(tmp_path)
    found = read(tmp_path, layout="sem_lex")
    assert clips(found) == [("train/abc.webm", "30_minute", "train", "7"), ("val/def.webm", "30_minute", "val", "8")]
    assert sorted(problem.kind for problem in found.problems) == ["duplicate_key", "name_blanks"]


def test_slovo(tmp_path: Path) -> None:
    slovo(tmp_path)
    found = read(tmp_path, layout="slovo")
    assert clips(found) == [(f"train/{UUIDS[0]}.mp4", "A", "train", "u1"), (f"test/{UUIDS[1]}.mp4", "A", "test", "u2")]
    assert [sample.span for sample in found.samples] == [Span(10, 50, doubtful=True), Span(0, 50, doubtful=True)]


def test_include_without_its_tables(tmp_path: Path) -> None:
    include_folders(tmp_path)
    assert sorted({(sample.gloss, sample.video.name) for sample in read(tmp_path).samples}) == [
        ("House", "MVI_1.MOV"),
        ("House", "MVI_3439.MOV"),
        ("loud", "MVI_5177.MOV"),
    ]


def test_include_as_it_is_published(tmp_path: Path) -> None:
    touch(tmp_path, "Adjectives/1. loud/MVI_5177.MOV")
    (tmp_path / "Train_Test_Split").mkdir()
    head, row = "Category,Word,Video,FilePath\n", "Adjectives,1. loud,MVI_5177.MOV,Adjectives/1. loud/MVI_5177.MOV\n"
    for split in ("train", "test"):
        (tmp_path / "Train_Test_Split" / f"{split}_include.csv").write_text(head + (row if split == "train" else ""))
    assert find_layout(tmp_path).layout == "include"
    assert clips(read(tmp_path)) == [("Adjectives/1. loud/MVI_5177.MOV", "1. loud", "train", None)]


def test_autsl_with_its_labels_as_the_zips_hold_them(tmp_path: Path) -> None:
    autsl(tmp_path)
    for split in ("val", "test"):
        (tmp_path / f"{split}_labels.csv").rename(tmp_path / split / "ground_truth.csv")
    assert [split for _, _, split, _ in clips(read(tmp_path))] == ["train", "train", "val", "test"]


def test_every_shipped_map_is_tested_here() -> None:
    assert all(callable(globals().get(name)) for name in layouts.shipped())
    assert len(layouts.shipped()) == 8


def test_an_own_map_file_and_mistakes_in_it(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    (tmp_path / "t.csv").write_text("v,g\na.mp4,x\n")
    (tmp_path / "map.yaml").write_text("path: v\nlabel: g\n")
    assert len(read(tmp_path, layout=str(tmp_path / "map.yaml")).samples) == 1
    for text, part in (
        ("paht: v", "paht"),
        ("pattern: '('", "no regular expression"),
        ("path: [", "it is no YAML"),
    ):
        (tmp_path / "map.yaml").write_text(text)
        with pytest.raises(InputError, match=part):
            read(tmp_path, layout=str(tmp_path / "map.yaml"))
    with pytest.raises(InputError, match=r"--layout autls: allowed are auto, wlasl, .*autsl"):
        read(tmp_path, layout="autls")
    with pytest.raises(InputError, match=r"no column 'w' is there: allowed are 'v', 'g'"):
        read(tmp_path, columns=ColumnMap(path="v", label="w"))


def test_signers_are_one_person_in_every_spelling(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    decomposed = unicodedata.normalize("NFD", "José")
    lines = ["path,label,split,signer", "a.mp4,x,train,José", "b.mp4,x,val,José ", f"c.mp4,x,test,{decomposed}"]
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    found = read(tmp_path)
    assert {sample.signer for sample in found.samples} == {"José"}
    assert sorted(problem.kind for problem in found.problems) == ["name_blanks", "name_unicode"]


def test_columns_and_patterns_in_either_unicode_form(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "seña")
    touch(tmp_path, "a.mp4", f"set/{decomposed}_1.mp4", "set/ blank_2.mp4")
    (tmp_path / "t.csv").write_text(f"path,{decomposed}\na.mp4,x\n", encoding="utf-8")
    assert read(tmp_path / "t.csv", columns=ColumnMap(label="seña")).glosses == ("x",)
    found = read(tmp_path / "set", columns=ColumnMap(pattern=r"(?P<label>seña|.*)_\d"))
    assert found.glosses == ("blank", "seña")
    assert found.missing == ()


def test_a_table_that_is_missing_and_a_row_that_is_ragged(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "train.jsonl").write_text('{"path": "a.mp4", "label": "x"}\n{"path": "b.mp4"}\n')
    columns = ColumnMap(files={"train": "train.jsonl", "val": "val.jsonl"})
    found = read(tmp_path, columns=columns, strict=False)
    assert [(problem.kind, problem.detail.split(":")[0]) for problem in found.problems] == [
        ("missing_table", "the table of the val split is not there"),
        ("unparsable", "line 2"),
    ]
    with pytest.raises(ValueError, match="files: 'dev' is none of"):
        ColumnMap(files={"dev": "a.csv"})


def test_data_named_by_a_link_and_tables_by_real_paths(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.mp4")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "t.csv").write_text(f"path,label\n{tmp_path}/link/a.mp4,x\n")
    assert len(read(tmp_path / "link").samples) == 1
    assert len(read(tmp_path / "real").samples) == 1


def test_class_folders_with_other_tables_beside_them_stay_class_folders(tmp_path: Path) -> None:
    touch(tmp_path, "casa/001_011_001.mp4", "perro/002_001_001.mp4")
    (tmp_path / "facts.csv").write_text("path,frames\nx,1\n")
    assert find_layout(tmp_path).layout == "folders"
