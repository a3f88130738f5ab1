"""Settings: defaults, files, flags, and every complaint about them."""

import re
from pathlib import Path

import pytest
import yaml

from lscht_ray.errors import InputError
from lscht_ray.host.files import write_json
from lscht_ray.settings.commandline import find_config, parse, shipped_configs
from lscht_ray.settings.space import Dimension
from lscht_ray.settings.sweep import AshaConfig, SweepConfig
from lscht_ray.settings.train import METRIC_MODES, TrainConfig, as_used

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
        (["--lr", "0"], ["--lr must be a number above 0 (given: 0)"]),
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


def test_what_does_not_go_together_is_said_with_its_line_unless_a_flag_puts_it_right(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("budget:\n  money: 100\nsearch_space:\n  lrr: {type: uniform, low: 0, high: 1}\n")
    with pytest.raises(InputError) as caught:
        sweep("--config", str(file))
    assert str(caught.value).splitlines() == [
        f"{file}, line 4: search_space.lrr: is no setting of train: did you mean lr?",
        f"{file}, line 2: budget.money: what does a GPU hour cost? Set train.gpu_hour_price",
    ]
    file.write_text("budget:\n  money: 100\n")
    assert sweep("--config", str(file), "--train.gpu_hour_price", "2").budget.money == 100
    with pytest.raises(InputError, match=r"^budget\.money"):  # here it is not the file's value
        sweep("--config", str(file), "--budget.money", "50")
    file.write_text("max_epochs: 40\nmin_lr: 1.0\n")  # a recipe
    with pytest.raises(InputError) as caught:
        sweep("--config", str(file))
    assert str(caught.value).startswith(f"{file}, line 2: train: min_lr (1) must not be above lr (0.0001)")
    assert len(str(caught.value).splitlines()) == 1
    found = sweep("--config", str(file), "--train.lr", "1")
    assert (found.train.lr, found.search_space["lr"].low, found.search_space["lr"].high) == (1, 1, 2)


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
        (
            {"search_space": {"lr": {"type": "uniform", "low": -1, "high": 1}}},
            "lr must be a number above 0 (given: -1.0)",
        ),
        ({"search_space": {"lr": {"type": "loguniform", "low": 1e-9, "high": 1}}}, "min_lr"),
        ({"search_space": {"lr": {"type": "choice", "choices": [0.5]}}}, "without the baseline"),
        ({"search_space": {"lr": {"type": "loguniform", "low": 0, "high": 1}}}, "above 0"),
        ({"search_space": {"lr": {"type": "uniform", "low": 1e-5}}}, "needs low and high"),
        ({"search_space": {"batch_size": {"type": "int", "low": 1.5, "high": 4}}}, "whole numbers"),
        ({"search_space": {}}, "at least one"),
        (
            {"train": {"batch_size": "auto"}, "search_space": {"batch_size": {"type": "int", "low": 4, "high": 8}}},
            "auto",
        ),
        (
            {"search_space": {"freeze_epochs": {"type": "uniform", "low": 0, "high": 5}}},
            "a whole number from -1 on (given: 1.91)",
        ),
        (
            {
                "search_space": {
                    "lr": {"type": "uniform", "low": 1e-5, "high": 1e-3},
                    "min_lr": {"type": "uniform", "low": 0, "high": 1e-4},
                },
                "train": {"min_lr": 0},
            },
            "min_lr: it reaches above the lowest lr",
        ),
        ({"metric": "val_loss", "mode": "max"}, "mode: max seeks the worst val_loss: set mode: min"),
        ({"asha": {"grace_period": 50}}, "grace_period"),
    ],
)
def test_wrong_sweeps_are_refused(change: dict[str, object], part: str) -> None:
    with pytest.raises(ValueError, match=re.escape(part)):
        SweepConfig.model_validate(change)


@pytest.mark.parametrize("metric", METRIC_MODES)
def test_the_mode_follows_from_the_metric_and_may_be_left_out(tmp_path: Path, metric: str) -> None:
    mode, wrong = ("max", "min") if METRIC_MODES[metric] == "max" else ("min", "max")
    file = tmp_path / "own.yaml"
    file.write_text(f"metric: {metric}\n")
    assert sweep("--config", str(file)).mode == sweep("--metric", metric).mode == mode
    file.write_text(f"metric: {metric}\nmode: {mode}\n")
    assert sweep("--config", str(file)).mode == mode
    written = SweepConfig.model_validate({"metric": metric}).model_dump(mode="json")
    assert written["mode"] == mode  # in sweep.json, as ever
    assert SweepConfig.model_validate(written).mode == mode
    with pytest.raises(InputError, match=f"mode: {wrong} seeks the worst {metric}: set mode: {mode}"):
        sweep("--metric", metric, "--mode", wrong)


def test_searched_settings_come_after_those_that_they_wait_for_and_else_as_they_are_written() -> None:
    """The order decides what a sampler draws: a sweep must propose what it always proposed."""

    def order(**when: dict[str, object]) -> list[str]:
        space = {name: {"type": "choice", "choices": [0.0, 0.1], "when": other} for name, other in when.items()}
        return SweepConfig.model_validate({"search_space": space}).in_order()

    assert order(mixup={}, drop_path={}, cutmix={}) == ["mixup", "drop_path", "cutmix"]
    assert order(mixup={"cutmix": 0.1}, drop_path={}, cutmix={}) == ["drop_path", "cutmix", "mixup"]
    assert order(lora_dropout={"mixup": 0.1}, mixup={"cutmix": 0.1}, head_dropout={"cutmix": 0.1}, cutmix={}) == [
        "cutmix",
        "mixup",
        "head_dropout",
        "lora_dropout",
    ]
    with pytest.raises(ValueError, match="cutmix, mixup wait for each other"):
        order(mixup={"cutmix": 0.1}, cutmix={"mixup": 0.1}, drop_path={})


def test_config_json_says_what_was_used_and_is_read_as_it_was_given(tmp_path: Path) -> None:
    given = TrainConfig(lr=2e-4, run_name="Señas 2", batch_size="auto")
    used = as_used(given, num_classes=7, device="cuda:1")
    assert (used["num_classes"], used["device"]) == (7, "cuda:1")
    file = tmp_path / "config.json"
    write_json(file, used)
    assert train("--config", str(file)) == given == TrainConfig.model_validate(used)  # also where there is no GPU
    assert train("--config", str(file), "--device", "cpu").device == "cpu"
    assert sweep("--config", str(file)).train == given  # as a recipe
    write_json(file, as_used(given.model_copy(update={"device": "cuda:1"}), num_classes=7, device="cuda:1"))
    assert train("--config", str(file)).device == "cuda:1"  # which the user asked for
    write_json(file, used | {"device": "cuda:0"})
    assert train("--config", str(file)).device == "cuda:0"  # which somebody wrote into the file
    write_json(file, used | {"num_classes": 8})
    assert train("--config", str(file)).num_classes == 8  # which the data must have


def test_the_thesis_own_config_json_is_taken(tmp_path: Path) -> None:
    """Its device is where it ran; its num_classes is checked against the data."""
    file = tmp_path / "config.json"
    write_json(file, {"num_epochs": 30, "batch_size": 16, "lr": 1e-4, "num_classes": 100, "device": "cuda"})
    read = train("--config", str(file))
    assert (read.max_epochs, read.num_classes, read.device) == (30, 100, "auto")
    assert sweep("--config", str(file)).train == read
    assert train("--config", str(file), "--device", "cuda:1").device == "cuda:1"


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


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"lora_alpha": 8}, "lora_alpha has no effect without lora_rank"),
        ({"mix_probability": 0.5}, "set one of them"),
        ({"class_weighted": False, "class_weight_power": 0.5}, "class_weight_power has no effect"),
        ({"smoothing_by_similarity": True, "label_smoothing": 0}, "label_smoothing"),
        ({"batch_size": 1, "mixup": 0.8}, "2 or more"),
    ],
)
def test_settings_without_effect_are_refused(given: dict[str, object], part: str) -> None:
    with pytest.raises(ValueError, match=part):
        TrainConfig.model_validate(given)


def test_a_sweep_may_switch_a_setting_off_that_others_belong_to() -> None:
    """A trial that draws "off" has the others at their defaults, instead of failing."""
    sweep = SweepConfig.model_validate(
        {
            "train": {"mixup": 0.8, "mix_probability": 0.5, "lora_rank": 8, "lora_alpha": 32},
            "search_space": {
                "mixup": {"type": "choice", "choices": [0.0, 0.8]},
                "lora_rank": {"type": "choice", "choices": [0, 8]},
                "randaugment_ops": {"type": "int", "low": 0, "high": 4},
                "randaugment_magnitude": {"type": "int", "low": 5, "high": 20},
            },
        }
    )
    off = sweep.trial_config({"mixup": 0.0, "lora_rank": 0, "randaugment_ops": 0, "randaugment_magnitude": 7})
    assert (off.mix_probability, off.lora_alpha, off.randaugment_magnitude) == (1.0, 16.0, 9)
    on = sweep.trial_config({"mixup": 0.8, "lora_rank": 8, "randaugment_ops": 2, "randaugment_magnitude": 7})
    assert (on.mix_probability, on.lora_alpha, on.randaugment_magnitude) == (0.5, 32.0, 7)


@pytest.mark.parametrize("value", [8, 8.0, "8", "auto"])
def test_batch_sizes(value: object) -> None:
    assert TrainConfig.model_validate({"batch_size": value}).batch_size == ("auto" if value == "auto" else 8)
    with pytest.raises(ValueError, match="whole number from 1 on, or auto"):
        TrainConfig.model_validate({"batch_size": 2.5})


def test_a_searched_setting_of_the_default_space_can_be_another_kind_of_range(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("search_space: {lr: {type: choice, choices: [1.0e-4, 1.0e-3]}}\n")
    found = sweep("--config", str(tmp_path / "own.yaml")).search_space
    assert list(found) == ["lr"]
    assert found["lr"].choices == [1e-4, 1e-3]


def test_the_default_space_holds_what_train_says(tmp_path: Path) -> None:
    found = sweep("--train.lr", "0.01", "--train.min_lr", "1e-5", "--config", "recipes/seed.yaml").search_space["lr"]
    assert (found.low, found.high) == (1e-5, 0.01)


def test_a_typo_in_a_recipe_is_named_where_tune_takes_it(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("drop_path: 0.2\nlayer_decai: 0.7\n")
    with pytest.raises(InputError) as caught:
        sweep("--config", str(tmp_path / "own.yaml"))
    assert "line 2: layer_decai: no such setting: did you mean layer_decay?" in str(caught.value)
    assert "drop_path" not in str(caught.value)


def test_a_grid_over_steps_has_both_ends() -> None:
    """Though 0.3 / 0.1 is a little less than 3 in binary numbers."""
    assert Dimension(type="quniform", low=0, high=0.3, step=0.1).values() == pytest.approx([0, 0.1, 0.2, 0.3])


def test_every_trial_may_get_all_its_epochs_before_a_rung_and_keeps_no_other_checkpoints() -> None:
    config = SweepConfig(asha=AshaConfig(grace_period=3), train=TrainConfig(max_epochs=3, checkpoint_every=2))
    assert config.trial_config({"lr": 1e-3}).checkpoint_every == 0
    with pytest.raises(ValueError, match="must not be above"):
        SweepConfig(asha=AshaConfig(grace_period=4), train=TrainConfig(max_epochs=3))
    with pytest.raises(ValueError, match=r"greater than or equal to 1\.01"):
        AshaConfig(reduction_factor=1.0001)


# ---------------------------------------------------------------- files that would be read otherwise than they look


def test_a_key_that_is_there_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    file = tmp_path / "mi configuración.yaml"
    file.write_text("lr: 1e-4\nbatch_size: 4\ncolumns:\n  path: a\n  path: b\nlr: 2e-4\n")
    with pytest.raises(InputError) as caught:
        parse(TrainConfig, ["--config", str(file)], prog="train", description="")
    assert str(caught.value).splitlines() == [
        f"{file}, line 5: columns.path is there twice (also line 4): leave one out",
        f"{file}, line 6: lr is there twice (also line 1): leave one out",
    ]


def test_json_settings_and_column_maps_have_no_key_twice_either(tmp_path: Path) -> None:
    from lscht_ray.dataset import layouts
    from lscht_ray.settings import files

    (tmp_path / "config.json").write_text(
        '{\n\t"lr": 1,\n\t"columns": {"path": "a",\n\t\t"path": "\\u00f1"},\n\t"lr": 2\n}'
    )
    with pytest.raises(InputError, match=r"line 4: columns.path .*also line 3\).*\n.*line 5: lr .*also line 2\)"):
        files.read_json(tmp_path / "config.json")
    (tmp_path / "map.yaml").write_text("path: a\nlabel: b\npath: c\n")
    with pytest.raises(InputError, match=r"line 3: path is there twice \(also line 1\)"):
        layouts.load(str(tmp_path / "map.yaml"))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]\n" for k in range(1, 60)), "stand for more"),
        ("data: &a [1, *a]\n", "stands for what it is part of"),
        ("x" * 3 * 2**20, "3 MB: a file of settings has 2 MB at most"),
        ("[" * 100_000, "is no YAML"),
    ],
)
def test_files_that_would_never_end_are_refused_at_once(tmp_path: Path, text: str, part: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError, match=part):
        parse(TrainConfig, ["--config", str(tmp_path / "c.yaml")], prog="train", description="")


def test_aliases_and_merged_keys_still_serve(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("columns: &c {path: a}\nlr: &n 0.5\nweight_decay: *n\n")
    config, _ = parse(TrainConfig, ["--config", str(tmp_path / "c.yaml")], prog="train", description="")
    assert (config.lr, config.weight_decay, config.columns.path) == (0.5, 0.5, "a")
