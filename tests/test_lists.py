"""Lists without header: of VideoMAE, Kinetics, mmaction2 and UCF101."""

import shlex
import shutil
from pathlib import Path

import pytest

from lscht_ray.dataset._lists import is_list
from lscht_ray.dataset.annotations import Annotations, read
from lscht_ray.dataset.finding import find_layout
from lscht_ray.errors import InputError
from lscht_ray.host.deadline import deadline
from lscht_ray.video.recognise import pictures_in
from support.data import shared
from test_finding import clips, touch


def test_the_lists_of_videomae(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        shutil.copy(shared("field") / "k400lists" / f"{name}.csv", tmp_path)
        for line in (tmp_path / f"{name}.csv").read_text().splitlines():
            touch(tmp_path, line.rpartition(" ")[0])
    found = read(tmp_path)
    assert (found.layout, found.glosses) == ("lists", ("0", "1"))
    assert sorted(clips(found))[:3] == [
        ("book/07087.mp4", "0", "train", None),
        ("book/68011.mp4", "0", "train", None),
        ("book/68012.mp4", "0", "train", None),
    ]
    assert {split: len(found.split(split)) for split in ("train", "val", "test")} == {"train": 8, "val": 2, "test": 2}
    assert read(tmp_path / "train.csv").samples == found.samples  # one of them means all
    (tmp_path / "label_map.txt").write_text("libro\nbeber\n")
    assert read(tmp_path).glosses == ("beber", "libro")


def test_mmactions_lists_of_raw_frames(tmp_path: Path) -> None:
    for clip, label in (("a b/c1", 3), ("x/c2", 4), ("x/c3", 4)):
        for frame in (1, 2, 10):
            touch(
                tmp_path, f"rawframes_train/{clip}/img_{frame:05}.jpg", f"rawframes_train/{clip}/flow_x_{frame:05}.jpg"
            )
        with (tmp_path / "set_train_list_rawframes.txt").open("a") as file:
            file.write(f"{clip} 3 {label}\n")
    found = read(tmp_path)
    assert [clip[:3] for clip in clips(found)] == [
        ("rawframes_train/a b/c1", "3", "train"),
        ("rawframes_train/x/c2", "4", "train"),
        ("rawframes_train/x/c3", "4", "train"),
    ]
    assert [path.name for path in pictures_in(found.samples[0].video)] == [
        "img_00001.jpg",
        "img_00002.jpg",
        "img_00010.jpg",
    ]


def test_ucf101s_lists_without_classes_and_numbers_from_one(tmp_path: Path) -> None:
    touch(tmp_path, "Archery/a1.avi", "Archery/a2.avi", "Biking/b1.avi", "Biking/b2.avi")
    (tmp_path / "trainlist01.txt").write_text("Archery/a1.avi 1\r\nBiking/b1.avi 2\r\n")
    (tmp_path / "testlist01.txt").write_text("Archery/a2.avi\nBiking/b2.avi\n")
    (tmp_path / "classInd.txt").write_text("1 Archery\n2 Biking\n")
    assert sorted(clips(read(tmp_path))) == [
        ("Archery/a1.avi", "Archery", "train", None),
        ("Archery/a2.avi", "Archery", "test", None),
        ("Biking/b1.avi", "Biking", "train", None),
        ("Biking/b2.avi", "Biking", "test", None),
    ]


def test_a_list_with_a_broken_line_names_it(tmp_path: Path) -> None:
    touch(tmp_path, *(f"v/{k}.mp4" for k in range(30)))
    lines = [f"v/{k}.mp4 {k % 2}" for k in range(30)]
    (tmp_path / "train.txt").write_text("\n".join([*lines, "v/31.mp4"]))
    with pytest.raises(
        InputError, match=r"train\.txt: line 31: it is not: a path, a blank, the number of a class \(or a gloss\)"
    ):
        read(tmp_path, layout="lists")


def test_kinetics_lists_of_videos_with_their_frames(tmp_path: Path) -> None:
    touch(tmp_path, "a/c 0.mp4", "b/c1.mp4", "a/c2.mp4")
    (tmp_path / "train.txt").write_text("a/c 0.mp4 12 0\nb/c1.mp4 30 1\n")
    (tmp_path / "val.txt").write_text("a/c2.mp4 12 0\n")
    found = read(tmp_path)
    assert clips(found) == [
        ("a/c 0.mp4", "0", "train", None),
        ("b/c1.mp4", "1", "train", None),
        ("a/c2.mp4", "0", "val", None),
    ]


def write(root: Path, **lists: str) -> Path:
    """Write lists and the videos that they name."""
    for name, text in lists.items():
        (root / f"{name}.txt").write_text(text, encoding="utf-8")
        touch(root, *(line.partition(" ")[0] for line in text.splitlines() if ".mp4" in line))
    return root


def glosses(found: Annotations) -> dict[str, str]:
    return {path: gloss for path, gloss, _, _ in clips(found)}


TWO = "v/a.mp4 0\nv/b.mp4 1\n"


def test_clips_of_a_flat_folder_have_no_class_of_their_own_folder(tmp_path: Path) -> None:
    write(tmp_path, train=TWO, test="v/c.mp4\nv/d.mp4\n")
    with pytest.raises(InputError) as caught:
        read(tmp_path)
    assert "line 1: it has no class, and v/ has 2 classes in the other lists" in str(caught.value)
    assert "write a blank and the number of the class after each path" in str(caught.value)


def test_a_folder_that_only_the_last_list_knows_tells_its_class_too(tmp_path: Path) -> None:
    write(tmp_path, train="a/0.mp4 0\nb/0.mp4 1\n", val="c/1.mp4\na/1.mp4\n", test="c/2.mp4 2\n")
    assert glosses(read(tmp_path))["c/1.mp4"] == "2"
    (tmp_path / "test.txt").write_text("a/2.mp4 0\n")
    with pytest.raises(InputError, match="line 1: it has no class, and c/ has no class in the other lists"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("lists", "names", "a", "b", "note"),
    [
        (TWO, "libro\nbeber\n", "libro", "beber", "classInd.txt: class 0 is 'libro'"),
        (TWO, "1 libro\n2 beber\n", "libro", "beber", "classInd.txt: class 0 is 'libro'"),
        (TWO, "0 libro\n1 beber\n2 casa\n", "libro", "beber", "classInd.txt"),
        ("v/a.mp4 1\nv/b.mp4 2\n", "libro\nbeber\n", "libro", "beber", "classInd.txt: class 1 is 'libro'"),
        (TWO, "señal\nseñal\n", "señal (0)", "señal (1)", "classInd.txt"),
        (TWO, "id,name\n0,libro\n1,beber\n", "libro", "beber", "classInd.txt"),
        (TWO, "beber 1\nlibro 0\n", "libro", "beber", "classInd.txt"),
        (TWO, "0: libro\n1: beber\n", "libro", "beber", "classInd.txt"),
        (TWO, "libro\n3 días\nbeber\n", "libro", "3 días", "classInd.txt"),  # a gloss that begins with a number
        (TWO, "banco 1\nbanco 2\n", "banco 1", "banco 2", "classInd.txt"),  # two signs of a word
        (TWO, "banco 1\nbanco 2\ncasa 1\n", "banco 1", "banco 2", "classInd.txt"),
        ("v/a.mp4 1\nv/b.mp4 0\nw/c.mp4 otro\n", "libro\nbeber\n", "beber", "libro", "classInd.txt"),
    ],
)
def test_names_and_lists_may_count_from_different_numbers(
    lists: str, names: str, a: str, b: str, note: str, tmp_path: Path
) -> None:
    write(tmp_path, train=lists, classInd=names)
    found = read(tmp_path)
    assert {path: gloss for path, gloss in glosses(found).items() if gloss != "otro"} == {"v/a.mp4": a, "v/b.mp4": b}
    assert any(note in line for line in found.notes)


@pytest.mark.parametrize("mark", [" ", "\t", ", ", ";"])
def test_glosses_may_stand_in_place_of_numbers(tmp_path: Path, mark: str) -> None:
    touch(tmp_path, "vids/a 1.mp4", "vids/b.MOV", "vids/c.mp4")
    (tmp_path / "train.csv").write_text(f"vids/a 1.mp4{mark}buenos días\nvids/b.MOV{mark}tú\n", encoding="utf-8")
    (tmp_path / "val.csv").write_text(f"vids/c.mp4{mark}tú\n", encoding="utf-8")
    found = read(tmp_path)
    assert found.layout == "lists"
    assert glosses(found) == {"vids/a 1.mp4": "buenos días", "vids/b.MOV": "tú", "vids/c.mp4": "tú"}


def test_lines_of_more_cells_are_no_list(tmp_path: Path) -> None:
    touch(tmp_path, "vids/a.mp4", "vids/b.mp4")
    (tmp_path / "train.csv").write_text("vids/a.mp4,hola,ana\nvids/b.mp4,tú,luis\n", encoding="utf-8")
    assert not is_list(tmp_path / "train.csv")


@pytest.mark.parametrize(
    "names",
    [
        "uno\n\ntres\n",
        "0 uno\n1 dos\n1 tres\n",
        "0 uno\n1 dos\ntres\n",
        "2 personas\n1 vez\n",
        "item {\n  name: 'uno'\n}\n",
    ],
)
def test_names_that_are_not_clear_are_refused(names: str, tmp_path: Path) -> None:
    write(tmp_path, train=TWO, label_map=names)
    with pytest.raises(InputError, match=r"label_map\.txt: it would name the classes, but its lines are neither"):
        read(tmp_path)


@pytest.mark.parametrize(("label", "folders"), [(1, ("libro", "beber")), (0, ("beber", "casa"))])
def test_folders_tell_from_which_number_lists_count(label: int, folders: tuple[str, str], tmp_path: Path) -> None:
    lines = "".join(f"{folder}/a.mp4 {number}\n" for number, folder in enumerate(folders, start=1))
    write(tmp_path, train=lines, classes="libro\nbeber\ncasa\n")
    assert glosses(read(tmp_path)) == {f"{folder}/a.mp4": folder for folder in folders}


@pytest.mark.parametrize(
    "content",
    [
        "año/1.mp4 0\ntú/1.mp4 1\n".encode("utf-16"),
        "año/1.mp4 0\ntú/1.mp4 1\n".encode("cp1252"),
        "# ruta clase\naño/1.mp4 0\ntú/1.mp4 1\n".encode(),
        "año/1 0\ntú/1 1\n".encode(),
    ],
)
def test_lists_as_people_write_them(content: bytes, tmp_path: Path) -> None:
    touch(tmp_path, "año/1.mp4", "tú/1.mp4")
    (tmp_path / "train.txt").write_bytes(content)
    found = read(tmp_path)
    assert (found.layout, glosses(found)) == ("lists", {"año/1.mp4": "0", "tú/1.mp4": "1"})


def test_a_wrong_line_among_the_first_is_named(tmp_path: Path) -> None:
    lines = "".join(f"v/{k}.mp4 {k % 2}\n" for k in range(9))
    write(tmp_path, train=lines.replace("v/3.mp4 1", "v/3.mp4"))
    with pytest.raises(InputError, match=r"train\.txt: line 4: it is not: a path"):
        read(tmp_path)
    write(tmp_path, train="v/a.mp4 -1\nv/b.mp4 0\n")
    with pytest.raises(InputError, match=r"train\.txt: line 1: class -1 is none: the clip is not labelled"):
        read(tmp_path, layout="lists")


def test_lists_that_are_not_read_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "hola/1.mp4", "tú/1.mp4")
    (tmp_path / "train.txt").write_text("[hola]\nhola/1.mp4\n")
    assert find_layout(tmp_path) == (tmp_path, "folders", "not read: train.txt")
    (tmp_path / "train.txt").write_text("hola/1.mp4 0\n")
    (tmp_path / "val.txt").write_text("[tú]\n1.mp4\n")
    assert find_layout(tmp_path) == (tmp_path, "lists", "not read: val.txt")


def test_long_lines_take_no_time(tmp_path: Path) -> None:
    touch(tmp_path, "videos/a.mp4")
    (tmp_path / "t.csv").write_text(
        "video,label" + "," * 16000 + "\n" + ("videos/a.mp4,HOLA" + "," * 16000 + "\n") * 20
    )
    with deadline(5):
        assert not is_list(tmp_path / "t.csv")


def test_a_class_that_the_names_lack_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, train="v/a.mp4 0\nv/b.mp4 7\n", label_map="libro\nbeber\n")
    with pytest.raises(InputError, match=r"line 2: there is no class 7 in label_map\.txt, which names 0 to 1"):
        read(tmp_path)


def test_of_several_sets_of_lists_one_must_be_named(tmp_path: Path) -> None:
    for k in (1, 2):
        write(tmp_path, **{f"trainlist0{k}": f"a/{k}.mp4 1\nb/{k}.mp4 2\n", f"testlist0{k}": f"a/{3 - k}.mp4\n"})
    with pytest.raises(InputError) as caught:
        read(tmp_path)
    first, *commands, last = str(caught.value).splitlines()
    assert first.endswith(
        "testlist01.txt and testlist02.txt are both lists of the test split: name the set of lists that is meant"
    )
    assert commands == [f"  --data {shlex.quote(str(tmp_path / f'trainlist0{k}.txt'))}" for k in (1, 2)]
    assert last == "  --layout folders reads the class folders in their place"
    for named in ("trainlist02.txt", "testlist02.txt"):
        assert sorted(clips(read(tmp_path / named))) == [
            ("a/1.mp4", "1", "test", None),
            ("a/2.mp4", "1", "train", None),
            ("b/2.mp4", "2", "train", None),
        ]
    assert read(tmp_path, layout="folders").glosses == ("a", "b")


def test_two_lists_of_one_split_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a/0.mp4", "b/1.mp4")
    for name in ("train.txt", "train.csv"):
        (tmp_path / name).write_text("a/0.mp4 0\nb/1.mp4 1\n")
    with pytest.raises(InputError, match=r"train\.csv and train\.txt are both lists of the train split: keep one"):
        read(tmp_path)
    assert read(tmp_path, layout="folders").glosses == ("a", "b")
