"""Settings: defaults, files, flags, and every complaint about them."""

from pathlib import Path

import pytest
import yaml

from lscht_ray.commandline import find_config, parse, shipped_configs
from lscht_ray.config import SweepConfig, TrainConfig
from lscht_ray.errors import InputError

SHIPPED = sorted(path.relative_to(shipped_configs()) for path in shipped_configs().rglob("*.yaml"))


def train(*argv: str) -> TrainConfig:
    return parse(TrainConfig, argv, prog="train", description="")[0]


def sweep(*argv: str) -> SweepConfig:
    return parse(SweepConfig, argv, prog="tune", description="")[0]


def test_the_seed_users_command() -> None:
    command = (
        "--max_epochs 30 --batch_size 16 --num_workers 4 --lr 1e-4 --weight_decay 0.05 --label_smoothing 0.1"
        " --class_weighted False --early_stopping False --patience 7"
    )
    config = train(*command.split(" "))
    assert config == TrainConfig(class_weighted=False, early_stopping=False, patience=7)
    assert train("--num_epochs", "12").max_epochs == train("--num_epochs=12").max_epochs == 12


def test_defaults_then_file_then_flags(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("lr: 3e-4\nbatch_size: 4\n")
    config = train("--config", str(file), "--batch_size", "8")
    assert (config.lr, config.batch_size, config.patience) == (3e-4, 8, 5)


@pytest.mark.parametrize("name", [path for path in SHIPPED if path.parts[0] != "recipes"], ids=str)
def test_every_shipped_sweep_loads(name: Path) -> None:
    file = shipped_configs() / name
    config = sweep("--config", str(file))
    first_lines = file.read_text(encoding="utf-8").splitlines()[:12]
    assert all(line.startswith("#") for line in first_lines[:3])
    assert any("python -m lscht_ray.tune" in line for line in first_lines)
    assert set(config.first_point()) == set(config.search_space)


def test_shipped_sweeps_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("demo.yaml", "demo", "tune_configs/demo.yaml"):
        assert find_config(name).is_file()
    with pytest.raises(InputError, match=r"no such file.*demo\.yaml"):
        find_config("nothing.yaml")


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["--lr", "0"], ["lr", "greater than 0", "given: 0"]),
        (["--lr", "fast"], ["lr", "fast"]),
        (["--batch_size", "2.5"], ["batch_size", "2.5"]),
        (["--learning_rate", "1"], ["--learning_rate"]),
        (["--pacience", "3"], ["--pacience", "did you mean --patience"]),
        (["--class_weighted", "maybe"], ["class_weighted", "maybe"]),
        (["--min_lr", "0.1"], ["min_lr (0.1) must not be above lr"]),
        (["--num_frames", "15"], ["num_frames (15) must be even"]),
        (["--config", "nothing.yaml"], ["nothing.yaml", "no such file"]),
        (["--config"], ["--config needs a file"]),
        (["--decoder", "opencv"], ["decoder", "opencv"]),
    ],
)
def test_wrong_flags_are_named(argv: list[str], parts: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        train(*argv)
    for part in parts:
        assert part in str(caught.value)


def test_everything_wrong_in_a_file_is_said_at_once_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(
        "train:\n  lrr: 1\n  batch_size: 0\n"
        "search_space:\n  lr: {type: loguniform, low: 1.0, high: 0.1}\nnum_trial: 3\n"
    )
    with pytest.raises(InputError) as caught:
        sweep("--config", str(file))
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert any("line 2: train.lrr: no such setting: did you mean lr?" in line for line in lines)
    assert any("line 3: train.batch_size" in line for line in lines)
    assert any("line 5: search_space.lr: low (1) must be below high (0.1)" in line for line in lines)
    assert any("line 6: num_trial: no such setting: did you mean num_trials?" in line for line in lines)


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "\x00"])
def test_files_that_are_no_settings(tmp_path: Path, text: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"own\.yaml"):
        train("--config", str(file))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"search_space": {"speed": {"type": "uniform", "low": 0, "high": 1}}}, "speed: is no setting of train"),
        ({"search_space": {"lr": {"type": "uniform", "low": -1, "high": 1}}}, "greater than 0"),
        ({"search_space": {"lr": {"type": "loguniform", "low": 1e-9, "high": 1}}}, "min_lr"),
        ({"search_space": {"lr": {"type": "choice", "choices": [0.5]}}}, "without the baseline"),
        ({"search_space": {"lr": {"type": "loguniform", "low": 0, "high": 1}}}, "above 0"),
        ({"search_space": {"lr": {"type": "uniform", "low": 1e-5}}}, "needs low and high"),
        ({"search_space": {"batch_size": {"type": "int", "low": 1.5, "high": 4}}}, "whole numbers"),
        ({"search_space": {}}, "at least one"),
        ({"metric": "val_loss"}, "set mode: min"),
        ({"asha": {"grace_period": 50}}, "grace_period"),
    ],
)
def test_wrong_sweeps_are_refused(change: dict[str, object], part: str) -> None:
    with pytest.raises(ValueError, match=part.replace("(", r"\(")):
        SweepConfig.model_validate(change)


def test_the_first_point_is_the_users_own_setting() -> None:
    config = SweepConfig(train=TrainConfig(lr=2e-4, weight_decay=0.01, label_smoothing=0.2))
    assert config.first_point() == {"lr": 2e-4, "weight_decay": 0.01, "label_smoothing": 0.2}
    assert config.trial_config(config.first_point()).lr == 2e-4


def test_settings_can_be_written_and_read_again(tmp_path: Path) -> None:
    config = TrainConfig(lr=2e-4, limit_batches=3)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert train("--config", str(file)) == config


def test_every_setting_says_what_it_means() -> None:
    for model in (TrainConfig, SweepConfig):
        assert [name for name, field in model.model_fields.items() if not field.description] == []
