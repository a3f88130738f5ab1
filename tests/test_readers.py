"""Every layout, on small files written here: byte order marks, line ends, backslashes, accents in both forms."""

import json
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from lscht_ray.dataset._wlasl import read_wlasl
from lscht_ray.dataset.annotations import read, trainable
from lscht_ray.dataset.splits import SplitPlan
from lscht_ray.errors import InputError
from support.data import manifest, shared

NFC, NFD = unicodedata.normalize("NFC", "mañana"), unicodedata.normalize("NFD", "mañana")


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"video")


def wlasl(folder: Path, glosses: dict[str, list[tuple[str, str]]]) -> None:
    """A WLASL_v0.3.json of {gloss: [(video_id, split)]}, and its videos."""
    content = [
        {
            "gloss": gloss,
            "instances": [
                {"video_id": video, "split": split, "signer_id": 7, "frame_start": 1, "frame_end": -1}
                for video, split in clips
            ],
        }
        for gloss, clips in glosses.items()
    ]
    folder.mkdir(exist_ok=True)
    (folder / "WLASL_v0.3.json").write_text(json.dumps(content), encoding="utf-8")
    touch(*(folder / "videos" / f"{video}.mp4" for clips in glosses.values() for video, _ in clips))


GLOSSES = {"zebra": [("1", "train"), ("2", "val")], "don't know": [("3", "train"), ("4", "test")]}


def test_wlasl_list(tmp_path: Path) -> None:
    wlasl(tmp_path, GLOSSES)
    found = read(tmp_path)
    assert found.layout == "wlasl"
    assert found.glosses == ("zebra", "don't know")  # the file's order, not the alphabet's
    by_name = {sample.video.name: (sample.label, sample.split, sample.signer) for sample in found.samples}
    assert by_name == {
        "1.mp4": (0, "train", "7"),
        "2.mp4": (0, "val", "7"),
        "3.mp4": (1, "train", "7"),
        "4.mp4": (1, "test", "7"),
    }


def test_nslt_map_takes_its_names_from_the_list(tmp_path: Path) -> None:
    wlasl(tmp_path, GLOSSES)
    nslt = {
        "3": {"subset": "train", "action": [1, 1, 40]},
        "1": {"subset": "train", "action": [0, 1, 40]},
        "99": {"subset": "test", "action": [1, 1, 2]},
    }
    (tmp_path / "nslt_2.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(nslt).encode())
    found = read(tmp_path)
    assert [(sample.video.name, sample.gloss) for sample in found.samples] == [
        ("3.mp4", "don't know"),
        ("1.mp4", "zebra"),
    ]
    assert [path.name for path in found.missing] == ["99.mp4"]
    assert [p.detail for p in found.problems] == ["1 id is not in WLASL_v0.3.json: 99"]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_the_thesis_layout(tmp_path: Path, ending: str) -> None:
    nslt = {str(n): {"subset": "train", "action": [n % 2, 1, 9]} for n in range(1, 7)}
    (tmp_path / "nslt_100.json").write_text(json.dumps(nslt))
    (tmp_path / "gloss_to_id.json").write_text(json.dumps({"book": 0, "drink": 1}))
    (tmp_path / "splits").mkdir()
    lines = {"train": ["train\\1.mp4", "train\\2.mp4"], "val": ["val\\3.mp4"], "test": ["test\\4.mp4", "test\\77.mp4"]}
    for split, names in lines.items():
        text = "\ufeff" + ending.join(names)  # byte order mark, no final line end
        (tmp_path / "splits" / f"{split}_split.txt").write_bytes(text.encode())
        touch(*(tmp_path / "dataset" / name.replace("\\", "/") for name in names))
    found = read(tmp_path)
    assert [(s.video.name, s.gloss, s.split) for s in found.samples] == [
        ("1.mp4", "drink", "train"),
        ("2.mp4", "book", "train"),
        ("3.mp4", "drink", "val"),
        ("4.mp4", "book", "test"),
    ]
    assert any("4 clips, 1 without annotation" in note for note in found.notes)


def test_several_maps_must_be_chosen_from(tmp_path: Path) -> None:
    wlasl(tmp_path, GLOSSES)
    for count in (1, 2):
        (tmp_path / f"nslt_{count}.json").write_text('{"1": {"subset": "train", "action": [0, 1, 2]}}')
    with pytest.raises(InputError, match="name one annotation file"):
        read(tmp_path)
    assert len(read(tmp_path / "nslt_1.json").samples) == 1


@pytest.mark.parametrize(
    "text", ["{", '[{"gloss": 3}]', '{"1": {"subset": "train"}}', '{"1": {"subset": "who", "action": [0]}}']
)
def test_wrong_json_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "nslt_1.json").write_text(text)
    (tmp_path / "gloss_to_id.json").write_text('{"a": 0}')
    with pytest.raises(InputError, match=r"nslt_1\.json"):
        read(tmp_path)


def test_official_files_have_the_published_counts() -> None:
    for count, clips, splits in ((100, 2038, (1442, 338, 258)), (300, 5118, None)):
        table = read_wlasl(shared("wlasl") / f"nslt_{count}.json")
        assert (len(table.rows), len(table.glosses or ())) == (clips, count)
        counted = Counter(row.split for row in table.rows)
        assert splits is None or tuple(counted[split] for split in ("train", "val", "test")) == splits
    everything = read_wlasl(shared("wlasl") / "WLASL_v0.3.json")
    assert (len(everything.rows), len(everything.glosses or ())) == (21083, 2000)
    assert [problem for problem in everything.problems if problem.severity == "error"] == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_manifest(tmp_path: Path, delimiter: str, ending: str) -> None:
    rows = [
        ("signer", "Label", "PATH", "split"),
        ("ana", NFD, "clips\\a.mp4", "train"),
        ("ana", f" {NFC} ", "clips/b.mp4", "dev"),
        ("", "hola", "clips/c.mp4", "Training"),
    ]
    path = tmp_path / "own.csv"
    text = ending.join(delimiter.join(row) for row in rows) + ending * 2
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    touch(*(tmp_path / "clips" / f"{name}.mp4" for name in "abc"))
    found = read(path)
    assert found.glosses == ("hola", NFC)
    assert [(s.video.name, s.gloss, s.label, s.split, s.signer) for s in found.samples] == [
        ("a.mp4", NFC, 1, "train", "ana"),
        ("b.mp4", NFC, 1, "val", "ana"),
        ("c.mp4", "hola", 0, "train", None),
    ]
    assert read(tmp_path).samples == found.samples  # the folder that holds one manifest means that manifest


def test_numbers_as_labels_keep_their_order(tmp_path: Path) -> None:
    touch(*(tmp_path / f"{n}.mp4" for n in range(12)))
    manifest(tmp_path, [(f"{n}.mp4", str(n), "train") for n in range(12)])
    assert read(tmp_path).glosses == tuple(str(n) for n in range(12))


@pytest.mark.parametrize("stored", [NFC, NFD])
@pytest.mark.parametrize("written", [NFC, NFD])
def test_file_names_are_found_in_either_unicode_form(tmp_path: Path, stored: str, written: str) -> None:
    touch(tmp_path / f"{stored}.mp4")
    manifest(tmp_path, [(f"{written}.mp4", "a", "train")])
    assert read(tmp_path).missing == ()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"a,b\n1,2\n", "no column for the path"),
        (b"path,label,split\na.mp4,x\n", "line 2: 2 cells where the header has 3"),
        (b"path,label,split\na.mp4,x,train\nb.mp4,x,tset\n", "line 3: split 'tset' is none of"),
        (b"path,label\n,x\n", "line 2: the path is empty"),
        (b"path,label\na.mp4,\x8d\x81\n", "is not UTF-8"),
        (b"", "no column"),
        (b"path,label\n", "no clip is annotated"),
    ],
)
def test_wrong_manifests_are_named_with_the_line(tmp_path: Path, content: bytes, part: str) -> None:
    (tmp_path / "own.csv").write_bytes(content)
    with pytest.raises(InputError, match=part):
        read(tmp_path / "own.csv")


def test_class_folders_with_splits(tmp_path: Path) -> None:
    touch(
        tmp_path / "train" / NFD / "1.mp4", tmp_path / "validation" / NFC / "2.MOV", tmp_path / "train" / "b" / "x.txt"
    )
    found = read(tmp_path)
    assert [(s.gloss, s.split) for s in found.samples] == [(NFC, "train"), (NFC, "val")]
    assert any("no video is passed over" in note for note in found.notes)


def test_class_folders_without_splits_get_a_seeded_stratified_one(tmp_path: Path) -> None:
    touch(*(tmp_path / "a" / f"{n}.mp4" for n in range(20)), *(tmp_path / "b" / f"{n}.mp4" for n in range(10)))
    touch(tmp_path / "c" / "only.mp4")
    first, again = (
        read(tmp_path, plan=SplitPlan(fractions=(0.2, 0.1))),
        read(tmp_path, plan=SplitPlan(fractions=(0.2, 0.1))),
    )
    assert first == again
    assert read(tmp_path, plan=SplitPlan(fractions=(0.2, 0.1), seed=1)).samples != first.samples
    counted = Counter((sample.gloss, sample.split) for sample in first.samples)
    assert [counted["a", split] for split in ("train", "val", "test")] == [14, 4, 2]
    assert [counted["b", split] for split in ("train", "val", "test")] == [7, 2, 1]
    assert counted["c", "train"] == 1


def test_nothing_there_says_what_would_be_recognised(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(InputError, match="the folder is empty"):
        read(tmp_path)
    (tmp_path / "a" / "b" / "c" / "d" / "e").mkdir(parents=True)
    touch(tmp_path / "a" / "b" / "c" / "d" / "e" / "1.mp4")
    with pytest.raises(InputError, match="a folder of class folders"):
        read(tmp_path)


def test_missing_videos_are_counted_up_to_the_threshold(tmp_path: Path) -> None:
    touch(tmp_path / "1.mp4", tmp_path / "2.mp4")
    manifest(tmp_path, [(f"{n}.mp4", "a", "train") for n in range(1, 5)])
    assert [path.name for path in read(tmp_path).missing] == ["3.mp4", "4.mp4"]
    with pytest.raises(InputError, match="the videos of 2 of 4 annotated clips are missing"):
        read(tmp_path, missing_threshold=0.4)


def test_glosses_without_training_clips(tmp_path: Path) -> None:
    touch(*(tmp_path / f"{n}.mp4" for n in range(4)))
    rows = [("0.mp4", "b", "train"), ("1.mp4", "b", "val"), ("2.mp4", "a", "val"), ("3.mp4", "a", "test")]
    manifest(tmp_path, rows)
    with pytest.raises(InputError, match=r"1 of 2 glosses have no training clip: 'a' \(clips: 1 in val, 1 in test\)"):
        trainable(read(tmp_path))
    kept = trainable(read(tmp_path), "drop")
    assert kept.glosses == ("b",)
    assert [(sample.gloss, sample.label) for sample in kept.samples] == [("b", 0), ("b", 0)]


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_split_is_said(tmp_path: Path, split: str) -> None:
    touch(tmp_path / "0.mp4")
    manifest(tmp_path, [("0.mp4", "b", {"train": "val", "val": "train"}[split])])
    with pytest.raises(InputError, match=f"no clip in the {split} split"):
        trainable(read(tmp_path))
