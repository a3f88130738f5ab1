"""Who is in which split: shares, signers, folds, seeds, and a file that can be given back."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lscht_ray.dataset.annotations import read, trainable
from lscht_ray.dataset.rows import Row
from lscht_ray.dataset.splits import SplitPlan, divide, write
from lscht_ray.errors import InputError
from lscht_ray.video.span import Span

ROOT = Path("/data")


def rows(glosses: int = 4, signers: int = 10, each: int = 2) -> list[Row]:
    return [
        Row(ROOT / f"{g}_{s}_{n}.mp4", f"g{g}", None, f"s{s}")
        for g in range(glosses)
        for s in range(signers)
        for n in range(each)
    ]


def splits_of(made: list[Row], key: str) -> dict[str, set[str | None]]:
    found: dict[str, set[str | None]] = {}
    for row in made:
        found.setdefault(str(getattr(row, key)), set()).add(row.split)
    return found


def test_val_from_train_says_what_it_did() -> None:
    given = [row._replace(split="test" if row.signer in ("s8", "s9") else "train") for row in rows()]
    _, (note,) = divide(given, SplitPlan("by_signer", val_from_train=0.25), ROOT)
    assert note == "val is 16 of the 64 training clips, drawn by whole signers (6 train, 2 val) with seed 42"
    mixed = [row._replace(split="test") if row.signer == "s3" and row.gloss == "g0" else row for row in given]
    _, (note,) = divide(mixed, SplitPlan("by_signer", val_from_train=0.25), ROOT)
    assert note.endswith("with seed 42; the given test split has some of them too: s3")
    _, (note,) = divide(given, SplitPlan(val_from_train=0.25), ROOT)
    assert note == "val is 16 of the 64 training clips, drawn per gloss with seed 42; signers may be in both"


@pytest.mark.parametrize("policy", ["by_signer", "kfold_by_signer"])
def test_no_signer_is_in_two_splits(policy: str) -> None:
    made, notes = divide(rows(), SplitPlan(policy, folds=5), ROOT)
    assert all(len(found) == 1 for found in splits_of(made, "signer").values())
    assert all(found == {"train", "val", "test"} for found in splits_of(made, "gloss").values())
    assert len(made) == 80
    assert "no signer is in two splits" in notes[0]


def test_by_signer_keeps_the_shares_and_every_gloss_in_training() -> None:
    made, _ = divide(rows(signers=20), SplitPlan("by_signer", fractions=(0.2, 0.1)), ROOT)
    assert Counter(row.split for row in made) == {"train": 112, "val": 32, "test": 16}
    # Only one signer shows the rare gloss: of all orders one is found that leaves her in training.
    rare = [*rows(), Row(ROOT / "rare.mp4", "rare", None, "s3")]
    made, _ = divide(rare, SplitPlan("by_signer"), ROOT)
    assert splits_of(made, "gloss")["rare"] == {"train"}


def test_folds_cover_every_clip_once_as_test_and_once_as_val() -> None:
    for policy in ("kfold", "kfold_by_signer"):
        tested, validated = Counter[Path](), Counter[Path]()
        for fold in range(1, 6):
            made, _ = divide(rows(), SplitPlan(policy, folds=5, fold=fold), ROOT)
            tested.update(row.video for row in made if row.split == "test")
            validated.update(row.video for row in made if row.split == "val")
        assert set(tested.values()) == set(validated.values()) == {1}
        assert len(tested) == len(validated) == 80


def test_folds_are_stratified() -> None:
    made, _ = divide(rows(), SplitPlan("kfold", folds=5, fold=2), ROOT)
    assert Counter((row.gloss, row.split) for row in made)["g0", "test"] == 4
    assert Counter(row.split for row in made) == {"train": 48, "val": 16, "test": 16}


@pytest.mark.parametrize("policy", ["stratified", "by_signer", "kfold", "kfold_by_signer"])
def test_the_seed_decides_and_the_order_of_reading_does_not(policy: str) -> None:
    def drawn(given: list[Row], seed: int) -> dict[Path, str | None]:
        return {row.video: row.split for row in divide(given, SplitPlan(policy, seed=seed), ROOT)[0]}

    assert drawn(rows(), 1) == drawn(rows()[::-1], 1)
    assert drawn(rows(), 1) != drawn(rows(), 2)


def test_given_splits_stay_unless_another_policy_is_asked_for() -> None:
    given = [row._replace(split="train") for row in rows()]
    assert divide(given, SplitPlan(), ROOT) == (given, [])
    assert {row.split for row in divide(given, SplitPlan("stratified"), ROOT)[0]} == {"train", "val", "test"}


def test_a_written_split_can_be_given_back(tmp_path: Path) -> None:
    made, _ = divide(rows(), SplitPlan("by_signer", seed=7), ROOT)
    write(made, ROOT, tmp_path / "splits.csv")
    again, notes = divide(rows(), SplitPlan(file=str(tmp_path / "splits.csv")), ROOT)
    assert {row.video: row.split for row in again} == {row.video: row.split for row in made}
    assert "80 clips" in notes[0]
    fewer = "\n".join((tmp_path / "splits.csv").read_text().splitlines()[:11])
    (tmp_path / "splits.csv").write_text(fewer)
    some, notes = divide(rows(), SplitPlan(file=str(tmp_path / "splits.csv")), ROOT)
    assert len(some) == 10
    assert "70 that it doesn't name are left out" in notes[0]


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="80 of 80 clips have none"):
        divide([row._replace(signer=None) for row in rows()], SplitPlan("by_signer"), ROOT)
    with pytest.raises(InputError, match="2 signers can't fill 3 parts"):
        divide(rows(signers=2), SplitPlan("by_signer"), ROOT)
    with pytest.raises(InputError, match="no such file"):
        divide(rows(), SplitPlan(file=str(tmp_path / "no.csv")), ROOT)
    (tmp_path / "s.csv").write_text("path,split\n0_0_0.mp4,trian\n")
    with pytest.raises(InputError, match="line 2: split 'trian'"):
        divide(rows(), SplitPlan(file=str(tmp_path / "s.csv")), ROOT)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=3, max_size=12),
    seed=st.integers(0, 99),
    policy=st.sampled_from(["stratified", "by_signer", "kfold", "kfold_by_signer"]),
)
def test_nothing_is_lost_or_doubled(sizes: list[int], seed: int, policy: str) -> None:
    given_rows = [
        Row(ROOT / f"{s}_{n}.mp4", f"g{n % 3}", None, f"s{s}") for s, size in enumerate(sizes) for n in range(size)
    ]
    made, _ = divide(given_rows, SplitPlan(policy, seed=seed, folds=3), ROOT)
    assert sorted(row.video for row in made) == sorted(row.video for row in given_rows)
    assert {row.split for row in made} <= {"train", "val", "test"}
    if policy == "by_signer":
        assert {row.split for row in made} == {"train", "val", "test"}


def test_parts_of_one_video_are_given_back_each_to_its_split(tmp_path: Path) -> None:
    parts = [Row(ROOT / "v.mp4", f"g{n % 2}", None, None, Span(10 * n, 10 * n + 10)) for n in range(20)]
    made, _ = divide(parts, SplitPlan("stratified", fractions=(0.2, 0.2)), ROOT)
    write(made, ROOT, tmp_path / "s.csv")
    again, _ = divide(parts, SplitPlan(file=str(tmp_path / "s.csv")), ROOT)
    assert {row.span: row.split for row in again} == {row.span: row.split for row in made}
    assert Counter(row.split for row in again) == {"train": 12, "val": 4, "test": 4}
    (tmp_path / "s.csv").write_text("path,split\nv.mp4,train\nv.mp4,val\n")
    with pytest.raises(InputError, match=r"v\.mp4 is in train and in val"):
        divide(parts, SplitPlan(file=str(tmp_path / "s.csv")), ROOT)


def test_empty_cells_are_still_to_be_drawn(tmp_path: Path) -> None:
    """Given ones stay, and each gloss gets near to its shares."""
    for k in range(40):
        (tmp_path / f"{k}.mp4").touch()
    given = {0: "test", 2: "test", 4: "test", 1: "val"}
    lines = ["path,label,split", *(f"{k}.mp4,{'ab'[k % 2]},{given.get(k, ' ' * (k % 3))}" for k in range(40))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    found = read(tmp_path, plan={"fractions": (0.2, 0.1)})
    split_of = {int(sample.video.stem): sample.split for sample in found.samples}
    assert {k: split_of[k] for k in given} == given
    counts = {(sample.gloss, sample.split) for sample in found.samples}
    assert len(counts) == 6
    assert Counter((s.gloss, s.split) for s in found.samples) == {
        **{("a", "val"): 4, ("a", "test"): 3, ("a", "train"): 13},  # three test clips were given: more than its share
        **{("b", "val"): 4, ("b", "test"): 2, ("b", "train"): 14},
    }
    assert found.notes[0].startswith("36 clips have no split yet: drawn per gloss with seed 42 (0.2 val, 0.1 test)")
    again = read(tmp_path, plan={"fractions": (0.2, 0.1)})
    assert again.samples == found.samples


@pytest.mark.parametrize("policy", ["given", "by_signer"])
def test_val_is_drawn_from_train_and_test_stays(policy: str) -> None:
    rows = [Row(Path(f"{k}.mp4"), "ab"[k % 2], "test" if k >= 80 else "train", f"s{k % 8}") for k in range(100)]
    divided, notes = divide(rows, SplitPlan(policy=policy, val_from_train=0.25), Path())  # type: ignore[arg-type]
    assert {row.video for row in divided if row.split == "test"} == {row.video for row in rows[80:]}
    assert Counter(row.split for row in divided) == {"train": 60, "val": 20, "test": 20}
    signers = {split: {row.signer for row in divided if row.split == split} for split in ("train", "val")}
    assert signers["train"].isdisjoint(signers["val"]) == (policy == "by_signer")
    assert "val is" in notes[0]
    for row, part in (
        (rows[0]._replace(split="val"), "1 val clips are given"),
        (rows[0]._replace(split=None), "no train"),
    ):
        with pytest.raises(InputError, match=part):
            divide([row, *rows[1:]], SplitPlan(val_from_train=0.25), Path())


def test_data_without_val_say_what_to_type(tmp_path: Path) -> None:
    for split, count in (("train", 8), ("test", 2)):
        for k in range(count):
            for gloss in "ab":
                (tmp_path / split / gloss).mkdir(parents=True, exist_ok=True)
                (tmp_path / split / gloss / f"{k}.mp4").touch()
    with pytest.raises(
        InputError, match=r"in the val split \(clips: 16 train, 4 test\).*\n  --val_from_train 0\.15 makes"
    ):
        trainable(read(tmp_path))
    kept = trainable(read(tmp_path, plan={"val_from_train": 0.25}))
    assert {split: len(kept.split(split)) for split in ("train", "val", "test")} == {"train": 12, "val": 4, "test": 4}
