# ruff: noqa: E501  # messages stand here as they are printed
"""What is said of wrong flags, values and files: what was given, what is allowed, what to type; and `--help`."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from lscht_ray.artifacts import checkpoint, checkpoint_file
from lscht_ray.cluster import surroundings
from lscht_ray.errors import InputError
from lscht_ray.model import hub
from lscht_ray.settings import commandline, help
from lscht_ray.settings.data import CheckConfig
from lscht_ray.settings.evaluate import EvaluateConfig
from lscht_ray.settings.sweep import ResourcesConfig, SweepConfig
from lscht_ray.settings.synonyms import DOORS
from lscht_ray.settings.train import TrainConfig
from support.doors import Door, refused

MODELS = {"train": TrainConfig, "tune": SweepConfig, "evaluate": EvaluateConfig, "check": CheckConfig}
LEAKS = (
    "<class",
    "typing.",
    "Literal[",
    "Input should",
    "Expected a",
    "Parser key",
    "Annotated[",
    "^(",
    "weights_only",
)
"""Words that only a programmer understands."""


def said(door: str, words: str) -> str:
    """The complaint about a command line, without its last line, which names --help."""
    with pytest.raises(InputError) as caught:
        commandline.parse(MODELS[door], shlex.split(words), prog=f"python -m lscht_ray.{door}", description="")
    text = str(caught.value)
    assert not [leak for leak in LEAKS if leak in text], text
    return text.removesuffix(f"\n  python -m lscht_ray.{door} --help all lists every setting")


FLAGS = {
    "train": {
        "--learning_rate 1e-4": "--lr", "--wd 0.05": "--weight_decay", "--epochs 10": "--max_epochs",
        "--bs 8": "--batch_size", "--workers 2": "--num_workers", "--gpus 1": "--device", "--fp16 true": "--precision",
        "--amp": "--precision", "--dropout 0.1": "--head_dropout", "--output_dir x": "--checkpoint_dir",
        "--pretrained x": "--model_name", "--train.lr 1e-4": "--lr", "--warmup_epochs 5": "--warmup_ratio",
        "--smoothing 0.1": "--label_smoothing", "--data_root x": "--data", "--max_epoch 3": "--max_epochs",
        "--batch-size 8": "--batch_size", "--pacience 3": "--patience",
        "--label seña": "--columns.label", "--signer persona": "--columns.signer", "--split by_signer": "--split_policy",
        "--drop 0.1": "--head_dropout", "--columns.gloss seña": "--columns.label",
    },
    "tune": {
        "--train.lr_rate 1": "--train.lr", "--data x": "--train.data",
        "--lr 1e-4": "--train.lr", "--max_epochs 3": "--train.max_epochs", "--train.learning_rate 1": "--train.lr",
        "--num_samples 10": "--num_trials", "--trials 10": "--num_trials",
        "--gpus_per_trial 1": "--resources.gpus_per_worker", "--scheduler asha": "--trial_stopping",
        "--asha.max_t 9": "--train.max_epochs",
    },
    "evaluate": {"--splt test": "--split", "--bs 3": "--batch_size"},
    "check": {"--min_clip 1": "--min_clips"},
}  # fmt: skip


@pytest.mark.parametrize(("door", "words", "meant"), [(d, w, m) for d, all_ in FLAGS.items() for w, m in all_.items()])
def test_a_flag_of_another_program_names_ours(door: str, words: str, meant: str) -> None:
    flag = words.split(maxsplit=1)[0].replace("\u2013", "--")
    assert said(door, words) == f"{flag}: no such flag" + (f": did you mean {meant}?" if meant else "")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--optimizer sgd", "--optimizer: no such flag: it is always AdamW"),
        ("--momentum 0.9", "--momentum: no such flag: the optimizer is always AdamW"),
        (
            "--lr_scheduler cosine",
            "--lr_scheduler: no such flag: it is always a cosine after a warm-up (warmup_ratio, min_lr)",
        ),
        ("--frobnicate 3", "--frobnicate: no such flag"),
        (
            "--wd=1 --bs=2",
            "--wd: no such flag: did you mean --weight_decay?\n--bs: no such flag: did you mean --batch_size?",
        ),
        ("wlasl10", "wlasl10: what is it? Flags begin with --, as in --data FOLDER"),
        ("lr=1e-4", "lr=1e-4: what is it? Flags begin with --: --lr 1e-4"),
        ("--num_trials 5", "--num_trials: no such flag: it is a flag of `python -m lscht_ray.tune`"),
        ("--search_space.lr.low 5", "--search_space.lr.low: no such flag: it is a flag of `python -m lscht_ray.tune`"),
        ("--html a.html", "--html: no such flag: it is a flag of `python -m lscht_ray.check`"),
        ("--batch_size", "--batch_size needs a value: a whole number from 1 on, or auto"),
        ("--config", "--config needs a file: --config FILE"),
        (
            "--smoothing_by true",
            "--smoothing_by: no such flag: did you mean --smoothing_by_similarity?",
        ),  # no short forms
    ],
)
def test_what_there_is_no_flag_for(words: str, text: str) -> None:
    assert said("train", words) == text


def test_what_a_line_lacks_and_whose_a_flag_is(door: Door, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each flag that is sent to another door is one there."""
    refused(
        door("evaluate", "--checkpoint", "x", cwd=tmp_path), "--checkpoint: it stands without a flag: ", " CHECKPOINT "
    )
    refused(door("evaluate", cwd=tmp_path), "checkpoint is missing: python -m lscht_ray.evaluate CHECKPOINT")
    refused(door("check", "--html", cwd=tmp_path), "--html needs a value")
    refused(door("check", "--contact-sheet", cwd=tmp_path), "--contact-sheet needs a value")
    refused(door("demo", "x", cwd=tmp_path), "x: what is it? Flags begin with --, as in --output FOLDER")
    assert "usage" not in capfd.readouterr().err
    for other, flags in DOORS.items():
        every = door(other, "--help", "all", cwd=tmp_path).stdout
        assert not [flag for flag in flags if f"--{flag}" not in every]


VALUES = {
    "--early_stopping si": "true or false (given: si): did you mean true?",
    "--early_stopping nein": "true or false (given: nein): did you mean false?",
    "--compile maybe": "true or false (given: maybe)",
    "--precision fp8": "auto, fp32, tf32, bf16 or fp16 (given: fp8)",
    "--precision float16": "auto, fp32, tf32, bf16 or fp16 (given: float16): did you mean fp16?",
    "--eval_crop center": "squash, letterbox or centre (given: center): did you mean centre?",
    "--best_metric accuracy": "val_accuracy, val_top5_accuracy, val_mean_class_accuracy or val_loss (given: accuracy):"
    " did you mean val_accuracy?",
    "--lr 0,0001": "a number above 0 (given: 0,0001): write a decimal point: 0.0001",
    "--lr fast": "a number above 0 (given: fast)",
    "--lr ''": "a number above 0 (given: '')",
    "--lr 0": "a number above 0 (given: 0)",
    "--max_epochs ten": "a whole number from 1 on (given: ten)",
    "--max_epochs 1e2": "a whole number from 1 on (given: 1e2): did you mean 100?",
    "--flip_probability 50": "a number from 0 to 1 (given: 50): did you mean 0.5?",
    "--flip_probability 50%": "a number from 0 to 1 (given: 50%): did you mean 0.5?",
    "--flip_probability 1.5": "a number from 0 to 1 (given: 1.5)",
    "--max_epochs 1,5": "a whole number from 1 on (given: 1,5)",
    "--label_smoothing 1": "a number from 0, below 1 (given: 1)",
    "--probe_seconds 0": "a number above 0, at most 86400 (given: 0)",
    "--batch_size 2.5": "a whole number from 1 on, or auto (given: 2.5)",
    "--image_size 224x224": "a whole number from 16 on or null (given: 224x224): one number for both: 224",
    "--cache_gb 10GB": "a number above 0 or null (given: 10GB): leave out 'GB': 10",
    "--device gpu": "auto, cpu, mps, cuda or cuda:N (given: gpu): did you mean cuda?",
    "--device CPU": "auto, cpu, mps, cuda or cuda:N (given: CPU): did you mean cpu?",
    "--data ''": "text that is not empty (given: '')",
    "--cache none": "auto, off, disk, ram or device (given: none): did you mean off?",
    "--columns seña": "settings such as {path: file, label: gloss} (given: seña)",
    "--columns.bbox x": "a list such as [a, b] (given: x)",
    "--columns.unit segundos": "frame, second or millisecond (given: segundos): did you mean second?",
    "--columns.unit seconds": "frame, second or millisecond (given: seconds): did you mean second?",
}
SWEEPS = {
    "--sampler bayes": "settings such as {type: tpe, seed: 42} (given: bayes)",
    "--sampler.type bayes": "tpe, random, grid, qmc, gp or cma (given: bayes): did you mean tpe?",
    "--start_from x": "a list such as [a, b] (given: x)",
    "--search_space lr": "settings such as {name: value} (given: lr)",
    "--search_space.lr 1e-4": "settings such as {type: loguniform, low: 1.0e-5, high: 1.0e-3} (given: 1e-4)",
    "--resources.gpus_per_worker one": "a number from 0 on or auto or null (given: one)",
    "--num_trials 0": "a whole number from 1 on (given: 0)",
    "--train.lr 0,1": "a number above 0 (given: 0,1): write a decimal point: 0.1",
    "--trial_stopping hyperband": "asha, median or none (given: hyperband): did you mean asha?",
}


@pytest.mark.parametrize(
    ("door", "words", "text"),
    [("train", *pair) for pair in VALUES.items()] + [("tune", *pair) for pair in SWEEPS.items()],
)
def test_a_wrong_value_is_told_what_is_allowed(door: str, words: str, text: str) -> None:
    assert said(door, words) == f"{words.split(maxsplit=1)[0]} must be {text}"


@pytest.mark.parametrize("value", ["inf", "nan", ".inf", "1e999"])
def test_numbers_are_finite(value: str) -> None:
    assert "lr must be a number above 0 (given: " in said("train", f"--lr {value}")


NO_YAML = (
    "it is no YAML: settings are lines such as `lr: 0.0001`. Is a quotation mark or a bracket not closed, or a value with"
    " `: ` or `#` in it not in quotation marks?"
)


def in_file(tmp_path: Path, text: str, door: str = "train", name: str = "own.yaml") -> str:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return said(door, f"--config {shlex.quote(str(file))}").replace(f"{file}", "FILE")


@pytest.mark.parametrize(
    ("door", "content", "text"),
    [
        ("train", "lr: 0,0001\n", "FILE, line 1: lr must be a number above 0 (given: 0,0001): write a decimal point: 0.0001"),
        ("train", "flip_probability: yes\n", "FILE, line 1: flip_probability must be a number from 0 to 1 (given: true)"),
        ("train", "seed: true\n", "FILE, line 1: seed must be a whole number from 0 on (given: true)"),
        ("train", "early_stopping: 1\n", "FILE, line 1: early_stopping must be true or false (given: 1)"),
        ("train", "lr: 1\nname: 'a\n", "FILE, line 2: " + NO_YAML),
        ("train", "lr: 1\nname: a: b\n", "FILE, line 2: " + NO_YAML),
        ("train", "lr: [1, 2]\n", "FILE, line 1: lr must be a number above 0 (given: [1, 2])"),
        ("train", "\ncache: no\n", "FILE, line 2: cache must be auto, off, disk, ram or device (given: false): did you mean off?"),
        ("train", "columns: gloss\n", "FILE, line 1: columns must be settings such as {path: file, label: gloss} (given: gloss)"),
        ("train", "learning_rate: 1\nmax_epochs: 3\n", "FILE, line 1: learning_rate: no such setting: did you mean lr?"),
        ("train", "flip_probability: 50\n", "FILE, line 1: flip_probability must be a number from 0 to 1 (given: 50): did you mean 0.5?"),
        ("train", "lr = 0.001\n", "FILE must hold settings, in lines such as `lr: 0.0001`, not 'lr = 0.001'"),
        ("train", "- a\n- b\n", "FILE must hold settings, in lines such as `lr: 0.0001`, not a list"),
        ("train", "columns:\n\tlabel: x\n", "FILE, line 2: there is a tab: indent with spaces"),
        ("train", "lr: !!python/object:os.system x\n", "FILE, line 1: tags (!...) stand for code, which is not run: write plain values"),
        ("train", "train: {lr: 1}\nnum_trials: 3\n", "FILE is a sweep's file: python -m lscht_ray.tune --config FILE"),
        ("train", "version: 1\nscripts: 2\n", "FILE holds no settings that are known here (it begins with version, scripts)"),
        ("train", "model_type: videomae\nhidden_size: 3\n", "FILE is a model's config.json, not a run's: its folder is for --model_name"),
        ("train", "'00623': {subset: train, action: [0, 1, 2]}\n", "FILE is a data set: name it with --data, not with --config"),
        (
            "tune",
            "search_space:\n  lr: [1.0e-5, 1.0e-3]\n",
            "FILE, line 2: search_space.lr must be settings such as {type: loguniform, low: 1.0e-5, high: 1.0e-3} (given:"
            " [1e-05, 0.001])",
        ),
        (
            "tune",
            "search_space:\n  label_smoothing: {type: uniform, low: 0, high: 1.5}\n",
            "FILE, line 2: search_space.label_smoothing: not all of it can be used: label_smoothing must be a number from 0, below 1 (given: 1.5)",
        ),
        (
            "tune",
            "search_space:\n  lr: {type: normal, min: 1}\n",
            "FILE, line 2: search_space.lr.type must be uniform, loguniform, quniform, int, logint or choice (given: normal)\n"
            "FILE, line 2: search_space.lr.min: no such setting: did you mean low?",
        ),
        (
            "tune",
            "search_space:\n  lr: {low: 1.0e-5, high: 1.0e-3}\n",
            "FILE, line 2: search_space.lr.type is missing: it must be uniform, loguniform, quniform, int, logint or choice",
        ),
    ],
)  # fmt: skip
def test_wrong_files_of_settings(tmp_path: Path, door: str, content: str, text: str) -> None:
    assert in_file(tmp_path, content, door) == text


def test_what_is_no_file_of_settings(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("glosa\nseña\n".encode("cp1252"))
    (tmp_path / "empty.yaml").touch()
    table = f"{tmp_path}/a.csv is a table, not a file of settings: is it meant for --data?"
    assert said("train", f"--config {tmp_path}/a.csv") == table
    assert said("train", f"--config {tmp_path}/empty.yaml --lr 0") == "--lr must be a number above 0 (given: 0)"
    (tmp_path / "run").mkdir()
    assert said("train", f"--config {tmp_path}/run") == f"--config {tmp_path}/run: it is a folder"
    (tmp_path / "run" / "config.json").write_text("{}")
    named = f"--config {tmp_path}/run: it is a folder: name the file in it: --config {tmp_path}/run/config.json"
    assert said("train", f"--config {tmp_path}/run") == named
    for name, head in (("a.zip", b"PK\x03\x04"), ("a.png", b"\x89PNG\r\n"), ("a.mp4", b"\0\0\0\x18ftyp")):
        (tmp_path / name).write_bytes(head + bytes(20))
        text = f"{tmp_path}/{name} is no text, so it holds no settings: give a YAML or JSON file"
        assert said("train", f"--config {tmp_path}/{name}") == text


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"", "damaged"), (b"hello", "damaged"), (b"PK\x03\x04" + bytes(90), "damaged"), (b"\x80\x04.", "damaged")],
)
def test_a_file_that_is_no_checkpoint_is_refused_in_our_words(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(InputError) as caught:
        checkpoint.load(tmp_path / "x.pt")
    assert str(caught.value) == (
        f"{tmp_path}/x.pt is no checkpoint, or it is damaged: name a run's folder, or its best_model.pt"
    )


def test_another_programs_checkpoint_is_refused_without_torch(tmp_path: Path, door: Door) -> None:
    """Importing torch takes seconds: what the file's names say is said before."""
    torch.save({"model": {}, "epoch": 3, "optimizer": {}}, tmp_path / "x.pt")
    said = f"{tmp_path}/x.pt is no checkpoint of lscht_ray: it lacks format, model_config, clip_format, glosses, config"
    with pytest.raises(InputError, match=re.escape(said)):
        checkpoint.load(tmp_path / "x.pt")
    with pytest.raises(InputError, match=re.escape(said)):
        checkpoint_file.check(tmp_path / "x.pt")
    program = (
        "import sys; from lscht_ray import evaluate, train\n"
        "for door, *words in ((evaluate, 'x.pt'), (train, '--data', 'demo', '--model_name', 'x.pt')):\n"
        "    try: door.main(words)\n"
        "    except ValueError as error: assert 'it lacks format' in str(error), error\n"
        "    else: raise AssertionError(words)\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=300)


def test_a_checkpoint_of_ours_passes(tmp_path: Path) -> None:
    checkpoint.save(dict.fromkeys(checkpoint_file.MODEL_KEYS), tmp_path / "ours.pt")
    checkpoint_file.check(tmp_path / "ours.pt")


def test_a_pickled_model_is_refused_in_our_words(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(1, 1), tmp_path / "x.pt")
    with pytest.raises(InputError, match="is no checkpoint, or it is damaged: name a run's folder"):
        checkpoint.load(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Tiny", "did you mean tiny?"),
        ("videomae-base", "did you mean MCG-NJU/videomae-base?"),
        ("resnet50", "as in MCG-NJU/videomae-base-finetuned-kinetics"),
        (
            "https://huggingface.co/MCG-NJU/videomae-base",
            "give the name, not the address: --model_name MCG-NJU/videomae-base",
        ),
        ("nothere.pt", "there is no such file"),
        ("owner/name", "the hub (127.0.0.1) can't be reached"),
    ],
)
def test_a_model_that_can_not_be_had_is_said_at_once(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("HF_HUB_OFFLINE", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        hub.environment(name)
    assert text in str(caught.value)


def test_without_a_network_a_model_that_was_had_before_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("HF_HUB_OFFLINE", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--owner--name" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert hub.environment("owner/name") == {"HF_HUB_OFFLINE": "1"}
    assert hub.environment("tiny") == hub.environment(str(tmp_path)) == {}


def test_what_can_not_work_here_is_said_without_a_run_folder(small: Path, door: Door, tmp_path: Path) -> None:
    flags = ("--data", small, "--model_name", "tiny")
    wrong_size = door("train", *flags, "--image_size", 225, cwd=tmp_path)
    refused(wrong_size, "image_size 225 must be a multiple of the model's patch size, 12: 216 or 228")
    refused(door("train", *flags, "--device", "cuda:77", cwd=tmp_path), "cuda:77")
    refused(door("tune", "--train.image_size", 225, cwd=tmp_path), "216 or 228")
    lost = door("tune", "--lr", "0.1", cwd=tmp_path)
    refused(lost, "error: --lr: no such flag: did you mean --train.lr?")
    refused(door("tune", "--train.device", "cuda:77", cwd=tmp_path), "--train.device cuda:77: ", "--train.device cpu")
    refused(
        door("tune", "--train.model_name", "/nothere", cwd=tmp_path), "error: --train.model_name /nothere: there is"
    )
    refused(door("train", *flags, "--num_classes", 100, cwd=tmp_path), "num_classes is 100", "has 3 glosses")
    assert not list(tmp_path.iterdir())


def test_wrong_data_are_said_though_the_model_can_not_be_had(door: Door, tmp_path: Path) -> None:
    (tmp_path / "vacía").mkdir()
    result = door("train", "--data", "vacía", "--model_name", tmp_path / "none", cwd=tmp_path)
    refused(result, "vacía: no data set is recognised there: the folder is empty\n", "none: there is no such folder")


def test_names_with_blanks_and_long_dashes(door: Door, tmp_path: Path) -> None:
    (tmp_path / "grabaciones").mkdir()
    result = door("check", "--data", "mis", "grabaciones", cwd=tmp_path)
    refused(result, "grabaciones and --data mis: name one data set", "--data 'mis grabaciones'")
    refused(door("train", "\u2014data", "x", cwd=tmp_path), "\u2014data: it begins with a long dash", "type --data")


def test_a_run_that_is_nearly_named(door: Door, tmp_path: Path) -> None:
    for name in ("run_20250131_101500", "run_20250131_101700"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "best_model.pt").touch()
    refused(door("evaluate", "runs/run_20250131_10150", cwd=tmp_path), "did you mean runs/run_20250131_101500?")
    refused(door("evaluate", "runs", cwd=tmp_path), "it holds 2 runs: name one, as in runs/run_20250131_101700")
    (tmp_path / "runs" / "run_20250131_101700" / "best_model").mkdir()
    copy = "runs/run_20250131_101700/best_model"
    refused(
        door("evaluate", copy, cwd=tmp_path),
        "the copy for transformers: name the run's folder, runs/run_20250131_101700",
    )
    refused(door("evaluate", "runs", "--split", "prueba", cwd=tmp_path), "did you mean test?")


def test_what_this_machine_has_not_is_said_before_ray_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings.gpus, "nvidia_gpus", lambda: 0)
    monkeypatch.setattr(surroundings, "usable_cpus", lambda: 2)
    wanted = ResourcesConfig(cpus_per_worker=11, gpus_per_worker=1.0, accelerator_type="A100", address="local")
    with pytest.raises(InputError) as caught:
        surroundings.check(wanted)
    assert str(caught.value).splitlines() == [
        "resources.gpus_per_worker 1: this machine has no NVIDIA GPU",
        "resources.accelerator_type A100: this machine has no NVIDIA GPU",
        "resources.cpus_per_worker 11: this machine has 2 CPUs",
        "  on this machine alone: --resources.accelerator_type null --resources.gpus_per_worker 0"
        " --resources.cpus_per_worker 2; or --resources.address HOST:PORT of a cluster that has it",
    ]
    surroundings.check(wanted.model_copy(update={"address": "192.0.2.1:6379"}))


def test_resuming_what_is_no_run(door: Door, tmp_path: Path) -> None:
    refused(door("train", "--resume", cwd=tmp_path), "--resume needs the run's folder: --resume FOLDER")
    refused(door("train", "--resume", tmp_path / "no", cwd=tmp_path), "there is no such folder")
    (tmp_path / "sweep.json").write_text("{}")
    refused(
        door("train", "--resume", tmp_path, cwd=tmp_path), "it is a sweep's folder: python -m lscht_ray.tune --resume"
    )
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "last_checkpoint.pt").touch()
    refused(door("train", "--resume", tmp_path / "last_checkpoint.pt", cwd=tmp_path), f"--resume {tmp_path}")


def test_the_package_names_its_doors(door: Door, tmp_path: Path) -> None:
    listed = door("__main__", cwd=tmp_path)
    assert listed.returncode == 0
    for name in ("check", "train", "evaluate", "tune", "demo"):
        assert f"python -m lscht_ray.{name} " in listed.stdout
    refused(door("__main__", "Train", "--data", "x", cwd=tmp_path), "type python -m lscht_ray.train --data x")


# ---------------------------------------------------------------- --help


@pytest.mark.parametrize("door_name", ["train", "tune", "evaluate", "check"])
def test_help_is_short_and_says_what_matters_first(door: Door, tmp_path: Path, door_name: str) -> None:
    shown = door(door_name, "--help", cwd=tmp_path)
    assert shown.returncode == 0
    lines = shown.stdout.splitlines()
    assert len(lines) < 75
    assert max(map(len, lines)) <= 120
    assert not [leak for leak in LEAKS if leak in shown.stdout]
    every = door(door_name, "--help", "all", cwd=tmp_path).stdout
    assert not [leak for leak in LEAKS if leak in every]
    names = [setting.name for setting in help.settings_of(MODELS[door_name])]
    assert [name for name in names if f"--{name}" not in every] == []
    assert [name for name in names if name not in shown.stdout] == []
    assert not [name for name in MODELS[door_name].FIRST if name not in names]  # type: ignore[attr-defined]
    assert all(setting.text and setting.section for setting in help.settings_of(MODELS[door_name]))


def test_who_reads_may_stop_reading(tmp_path: Path) -> None:
    line = f"{shlex.quote(sys.executable)} -m lscht_ray.train --help all | head -n 1"
    result = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=300)
    assert result.stdout.startswith("usage: python -m lscht_ray.train")
    assert result.stderr == ""


def test_help_on_one_setting_or_section(door: Door, tmp_path: Path) -> None:
    one = " ".join(door("train", "--help", "lr", cwd=tmp_path).stdout.split())
    assert one == "--lr Peak learning rate of AdamW, before `lr_scaling`. (a number above 0; default 0.0001)"
    section = door("train", "--help", "cache", cwd=tmp_path).stdout
    assert section.startswith("Cache\n")
    assert "--cache_gb" in section
    refused(door("train", "--help", "lrr", cwd=tmp_path), "--help lrr: no such setting or section: did you mean lr?")


def test_every_heading_in_the_settings_is_a_section() -> None:
    folder = Path(commandline.__file__).parent
    for model in (TrainConfig, CheckConfig):
        headings = {
            line.strip("# \n")
            for name in ("data.py", "train.py") if model is TrainConfig or name == "data.py"
            for line in (folder / name).read_text(encoding="utf-8").splitlines()
            if line.startswith("    # ") and len(line.split()) == 2
        }  # fmt: skip
        assert headings <= set(model.SECTIONS.values())


def test_default_values_stand_as_yaml_has_them() -> None:
    kinds = {setting.name: setting for setting in help.settings_of(TrainConfig)}
    assert yaml.safe_load(kinds["early_stopping"].default) is True
    assert yaml.safe_load(kinds["image_size"].default) is None
    assert json.loads(kinds["lr"].default) == 1e-4
