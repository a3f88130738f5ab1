"""Divides rows into splits: as given, drawn per gloss, without sharing signers, or in folds; always from a seed."""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lscht_ray.dataset._cells import read_cells
from lscht_ray.dataset.rows import SPLITS, Row, split_called
from lscht_ray.errors import InputError
from lscht_ray.host.files import nfc, write_csv
from lscht_ray.shown import counted

COLUMNS = ("path", "label", "split", "signer", "range")
TRIES = 200
"""Random orders of the signers that are tried for the best balanced split."""


class ForeignSplitError(InputError):
    """A split file names none of the clips: it belongs to another data set."""


@dataclass(frozen=True)
class SplitPlan:
    """How rows are divided.

    Attributes:
        policy: The setting split_policy.
        file: The setting split_file.
        fractions: Shares of val and test, 0 to 1.
        folds: Number of folds.
        fold: Which fold is test, from 1.
        seed: The setting split_seed.
        val_from_train: The setting of that name.
        leave_open: Whether clips without an annotated split stay without one, and nothing is drawn.
    """

    policy: Literal["given", "stratified", "by_signer", "kfold", "kfold_by_signer"] = "given"
    file: str | None = None
    fractions: tuple[float, float] = (0.15, 0.15)
    folds: int = 5
    fold: int = 1
    seed: int = 42
    val_from_train: float = 0.0
    leave_open: bool = False

    @property
    def sets_aside(self) -> bool:
        """Whether the splits of the annotations don't count."""
        return self.file is not None or (self.policy != "given" and not self.val_from_train)


def divide(rows: list[Row], plan: SplitPlan, root: Path) -> tuple[list[Row], list[str]]:
    """Give each row a split; return the rows and the lines that tell the user how.

    Args:
        rows: In any order. Which row gets which split doesn't depend on it.
        plan: How they are divided.
        root: The data folder, which the paths in a split file start from.

    Raises:
        ForeignSplitError: The split file names none of the clips.
        InputError: The plan doesn't fit the data: signers are unknown or too few, or the split file is wrong.
    """
    if plan.leave_open:
        return rows, []
    if plan.file is not None:
        return _from_file(rows, Path(plan.file).expanduser(), root)
    if plan.val_from_train:
        return _val_from_train(rows, plan)
    open_rows = sum(row.split is None for row in rows)
    if plan.policy == "given" and not open_rows:
        return rows, []
    if plan.policy == "given" and open_rows < len(rows):
        val, test = plan.fractions
        note = counted(open_rows, "clip has", "clips have") + " no split yet: drawn per gloss with seed"
        note += f" {plan.seed} ({val:g} val, {test:g} test)"
        return _filled_up(rows, plan), [f"{note}; the others stay in theirs"]
    if plan.policy in ("given", "stratified"):
        val, test = plan.fractions
        why = "no splits are given" if plan.policy == "given" else "the given splits are set aside"
        note = f"{why}: drawn per gloss with seed {plan.seed} ({val:g} val, {test:g} test); signers may be in several"
        return _stratified(rows, plan), [note]
    if plan.policy == "kfold":
        note = f"fold {plan.fold} of {plan.folds} is test, the next one val; drawn per gloss with seed {plan.seed}"
        return _folded(rows, plan), [note]
    return _by_signer(rows, plan)


def write(rows: Iterable[Row], root: Path, file: Path) -> None:
    """Write path, label, split, signer and range (where there are any) of clips, as ``split_file`` reads them."""
    lines = [(*_key(row, root), row.gloss, str(row.split), row.signer or "") for row in rows]
    ranged = any(line[1] for line in lines)
    table = [(path, gloss, split, signer, part) for path, part, gloss, split, signer in lines]
    write_csv(file, [row if ranged else row[:-1] for row in (COLUMNS, *table)])


def _key(row: Row, root: Path) -> tuple[str, str]:
    """What tells a clip from all others: its path, and its part of the video in words."""
    return nfc(_relative(row.video, root)), "" if row.span is None else row.span.text()


def _relative(video: Path, root: Path) -> str:
    return video.relative_to(root).as_posix() if video.is_relative_to(root) else str(video)


def _from_file(rows: list[Row], file: Path, root: Path) -> tuple[list[Row], list[str]]:
    if not file.is_file():
        raise InputError(f"--split_file {file}: no such file")
    wanted: dict[tuple[str, str], str] = {}
    for where, cells in read_cells(file, True, "auto", []):
        if "path" not in cells or "split" not in cells:
            raise InputError(f"--split_file {file}: its header must name path and split, not {', '.join(cells)}")
        split = split_called(cells["split"])
        if split is None:
            raise InputError(f"--split_file {file}, {where}: split {cells['split']!r} is none of train, val, test")
        key = (nfc(cells["path"]), cells.get("range", ""))
        if wanted.setdefault(key, split) != split:
            raise InputError(f"--split_file {file}, {where}: {cells['path']} is in {wanted[key]} and in {split}")
    given = [(row, wanted.get(_key(row, root), wanted.get((_key(row, root)[0], "")))) for row in rows]
    kept = [row._replace(split=split) for row, split in given if split is not None]
    if not kept and {path for path, _ in wanted} & {_key(row, root)[0] for row in rows}:
        raise InputError(
            f"--split_file {file}: it names these videos with other parts of them than are annotated: say where a clip"
            " starts and ends as when it was written (--columns.start, --columns.end, --columns.unit)"
        )
    if not kept:
        raise ForeignSplitError(f"--split_file {file}: it names none of the {len(rows)} clips of {root}")
    left = len(rows) - len(kept)
    return kept, [
        f"splits from {file}: {counted(len(kept), 'clip')}"
        + (f"; {left} that it doesn't name are left out" * (left > 0))
    ]


def _stratified(rows: list[Row], plan: SplitPlan) -> list[Row]:
    """Divide each gloss by the shares. One clip of it is for train, the next for val, the next for test at least."""
    rng = random.Random(plan.seed)
    return [row for group in _by_gloss(rows) for row in _draw_gloss(group, plan.fractions, rng)]


def _by_gloss(rows: list[Row]) -> list[list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (nfc(str(row.video)), row.gloss, str(row.span))):
        groups.setdefault(row.gloss, []).append(row)
    return list(groups.values())


def _filled_up(rows: list[Row], plan: SplitPlan) -> list[Row]:
    """Draw the splits that are open so that each gloss gets near to its shares; given ones stay."""
    rng, result = random.Random(plan.seed), []
    for group in _by_gloss(rows):
        given = [row for row in group if row.split is not None]
        undrawn = [row for row in group if row.split is None]
        has = Counter(row.split for row in given)
        rng.shuffle(undrawn)
        wanted: list[str] = []
        for split, share in zip(("val", "test"), plan.fractions, strict=True):
            lacking = max(round(share * len(group)), 1 if share else 0) - has[split]
            room = len(undrawn) - len(wanted) - (0 if has["train"] else 1)  # one clip is for train at least
            wanted += [split] * max(0, min(lacking, room))
        wanted += ["train"] * (len(undrawn) - len(wanted))
        result += given + [row._replace(split=split) for row, split in zip(undrawn, wanted, strict=True)]
    return result


def _val_from_train(rows: list[Row], plan: SplitPlan) -> tuple[list[Row], list[str]]:
    """Make val of a part of train. Test stays."""
    there = Counter(row.split for row in rows)
    if there["val"] or there[None]:
        what = f"{there['val']} val clips are given" if there["val"] else "the clips have no train and test yet"
        raise InputError(f"val_from_train {plan.val_from_train:g}: {what}; leave it out")
    if not there["train"]:
        raise InputError(f"val_from_train {plan.val_from_train:g}: there is no clip in the train split")
    train, rest = [row for row in rows if row.split == "train"], [row for row in rows if row.split != "train"]
    part = replace(plan, fractions=(plan.val_from_train, 0.0), val_from_train=0.0)
    if plan.policy == "by_signer":
        drawn, _ = _by_signer([row._replace(split=None) for row in train], part)
        people = {split: {row.signer for row in drawn if row.split == split} for split in ("train", "val")}
        note = f"by whole signers ({len(people['train'])} train, {len(people['val'])} val) with seed {plan.seed}"
        again = sorted({str(row.signer) for row in rest} & {str(row.signer) for row in drawn})
        note += f"; the given test split has some of them too: {', '.join(again)}" if again else ""
    else:
        drawn, note = _stratified(train, part), f"per gloss with seed {plan.seed}; signers may be in both"
    val = sum(row.split == "val" for row in drawn)
    return [*drawn, *rest], [f"val is {val} of the {len(train)} training clips, drawn {note}"]


def _draw_gloss(group: list[Row], fractions: tuple[float, float], rng: random.Random) -> Iterable[Row]:
    rng.shuffle(group)
    count = len(group)
    val = min(max(round(fractions[0] * count), 1 if fractions[0] else 0), count - 1)
    test = min(max(round(fractions[1] * count), 1 if fractions[1] else 0), count - 1 - val)
    splits = ["val"] * val + ["test"] * test + ["train"] * (count - val - test)
    return [row._replace(split=split) for row, split in zip(group, splits, strict=True)]


def _fold_split(fold: int, plan: SplitPlan) -> str:
    """Fold number ``plan.fold`` is test, the next one val, the others train."""
    return {plan.fold - 1: "test", plan.fold % plan.folds: "val"}.get(fold, "train")


def _folded(rows: list[Row], plan: SplitPlan) -> list[Row]:
    """Deal out clips gloss by gloss; each gloss begins at the fold after the last one, so folds stay equally large."""
    rng, dealt, result = random.Random(plan.seed), 0, []
    for group in _by_gloss(rows):
        rng.shuffle(group)
        for row in group:
            result.append(row._replace(split=_fold_split(dealt % plan.folds, plan)))
            dealt += 1
    return result


def _by_signer(rows: list[Row], plan: SplitPlan) -> tuple[list[Row], list[str]]:
    """Share out whole signers. Of many random orders, take the one that leaves the fewest glosses without clips."""
    nameless = [row for row in rows if row.signer is None]
    if nameless:
        some = f", the first is {nameless[0].video.name}" if len(nameless) < len(rows) else ""
        raise InputError(
            f"split_policy {plan.policy} needs the signer of every clip: {len(nameless)} of {len(rows)} clips have none"
            f"{some}\n  say which column is the signer with --columns.signer, or have a (?P<signer>...) group in"
            " --columns.pattern"
        )
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (str(row.signer), nfc(str(row.video)))):
        groups.setdefault(str(row.signer), []).append(row)
    shares = _shares(plan)
    if len(groups) < len(shares):
        fewer = (
            f"--folds {len(groups)} makes as many folds as signers"
            if plan.policy == "kfold_by_signer"
            else "--test_fraction 0 makes no test split, --val_fraction 0 no val split"
        )
        raise InputError(
            f"split_policy {plan.policy}: {counted(len(groups), 'signer')} can't fill {len(shares)} parts\n"
            f"  {fewer}; or let signers be in several: --split_policy stratified"
        )
    rng = random.Random(plan.seed)
    drawn = [_share_out(groups, shares, rng) for _ in range(TRIES)]
    glosses = {signer: {row.gloss for row in group} for signer, group in groups.items()}
    sizes = {signer: len(group) for signer, group in groups.items()}
    best = min(drawn, key=lambda part_of: _badness(glosses, sizes, part_of, shares, plan))
    kept = [row._replace(split=_name(best[signer], plan)) for signer, group in groups.items() for row in group]
    counts = Counter(_name(part, plan) for part in best.values())
    signers = ", ".join(f"{counts[split]} {split}" for split in SPLITS)
    aside = "the given splits are set aside: " * any(row.split is not None for row in rows)
    return kept, [f"{aside}no signer is in two splits, seed {plan.seed}; signers: {signers}"]


def _shares(plan: SplitPlan) -> list[float]:
    if plan.policy == "kfold_by_signer":
        return [1 / plan.folds] * plan.folds
    val, test = plan.fractions
    return [share for share in (1 - val - test, val, test) if share > 0]


def _name(part: int, plan: SplitPlan) -> str:
    if plan.policy == "kfold_by_signer":
        return _fold_split(part, plan)
    return [split for split, share in zip(SPLITS, (1.0, *plan.fractions), strict=True) if share > 0][part]


def _share_out(groups: dict[str, list[Row]], shares: list[float], rng: random.Random) -> dict[str, int]:
    """Give each signer to the part that lacks most of its share; the last signers go to parts that are still empty."""
    order = list(groups)
    rng.shuffle(order)
    total, filled = sum(map(len, groups.values())), [0] * len(shares)
    part_of: dict[str, int] = {}
    for number, signer in enumerate(order):
        empty = [part for part, clips in enumerate(filled) if not clips]
        allowed = empty if len(order) - number <= len(empty) else range(len(shares))
        part = max(allowed, key=lambda part: shares[part] - filled[part] / total)
        part_of[signer] = part
        filled[part] += len(groups[signer])
    return part_of


def _badness(
    glosses: dict[str, set[str]], sizes: dict[str, int], part_of: dict[str, int], shares: list[float], plan: SplitPlan
) -> tuple[int, int, float]:
    """How bad a division is: glosses without training clip, glosses absent from val or test, distance from shares."""
    seen = {split: set[str]() for split in SPLITS}
    filled = [0] * len(shares)
    for signer, part in part_of.items():
        seen[_name(part, plan)] |= glosses[signer]
        filled[part] += sizes[signer]
    every, total = set[str]().union(*glosses.values()), sum(filled)
    absent = sum(len(every - seen[split]) for split in ("val", "test"))
    return len(every - seen["train"]), absent, sum(abs(n / total - s) for n, s in zip(filled, shares, strict=True))
