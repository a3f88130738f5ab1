"""Every line that is to be typed works as it is printed, whatever the folder is called."""

import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from transformers import VideoMAEConfig
from transformers.models.videomae import VideoMAEForVideoClassification

from lscht_ray.model.shape import TINY
from support.data import draw, draw_small, manifest
from support.doors import FAST, Background, Door, refused, until
from support.sweeps import sweep_file

SEARCH = {"lr": {"type": "loguniform", "low": 1e-4, "high": 1e-2}}
COMMAND = re.compile(r"(?:python -m lscht_ray\.(\w+) (.+)|tensorboard --logdir (.+))$", re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What people call a folder."""
    folder = tmp_path / "mi carpeta ñ"
    folder.mkdir()
    return folder


def typed(said: str, door: Door, cwd: Path) -> list[tuple[str, subprocess.CompletedProcess[str]]]:
    """Call every command in what a door said, divided into words as a shell does."""
    called = []
    for name, words, logs in COMMAND.findall(said):
        if logs:
            (logs_folder,) = shlex.split(logs)
            assert Path(logs_folder).is_dir(), said
            continue
        called.append((name, door(name, *shlex.split(words), cwd=cwd)))
    return called


def flag(said: str, name: str) -> list[list[str]]:
    """The words of each `--name VALUE` in a line that ends with it, or goes on with two blanks or a colon."""
    return [
        shlex.split(found) for found in re.findall(rf"(--{name} (?:'[^']+'|\S+?))(?:  |: | --|$)", said, re.MULTILINE)
    ]


def test_what_training_says(folder: Path, door: Door) -> None:
    data = draw_small(folder / "mis señas")
    result = door("train", "--data", data, *FAST, "--max_epochs", 1, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "tensorboard --logdir" in result.stdout
    ((name, evaluated),) = typed(result.stdout, door, folder)
    assert name == "evaluate"
    assert evaluated.returncode == 0, evaluated.stderr
    assert "clips 3 " in evaluated.stdout


def test_what_training_says_where_there_is_no_test_split(folder: Path, door: Door) -> None:
    data = draw_small(folder / "mis señas")
    shutil.rmtree(data / "test")
    result = door("train", "--data", data, *FAST, "--max_epochs", 1, cwd=folder)
    assert result.returncode == 0, result.stderr
    ((_, evaluated),) = typed(result.stdout, door, folder)
    assert evaluated.returncode == 0, evaluated.stderr
    assert "clips 6 " in evaluated.stdout


def test_the_check_of_what_is_left_out_is_that_of_the_same_data(folder: Path, door: Door) -> None:
    data = draw_small(folder / "mis señas")
    clips = sorted(data.rglob("*.mp4"))
    shutil.move(data, folder / "otros vídeos")
    data.mkdir()
    lines = [f"{clip.relative_to(data)};{clip.parent.name};{clip.parents[1].name}\n" for clip in clips]
    lines.append("vacío.mp4;casa;train\n")
    (folder / "otros vídeos" / "vacío.mp4").touch()
    (data / "tabla.csv").write_text("el clip;qué;parte\n" + "".join(lines), encoding="utf-8")
    columns = ("--columns.path", "el clip", "--columns.label", "qué", "--columns.split", "parte")
    flags = ("--data", data, "--videos", folder / "otros vídeos", *columns)
    result = door("train", *flags, *FAST, "--max_epochs", 1, cwd=folder)
    assert result.returncode == 0, result.stderr
    (name, checked), *_ = typed(result.stdout, door, folder)
    assert name == "check"
    assert "empty_file (1)" in checked.stdout
    assert f"{len(clips) + 1} videos, 0 of them newly looked at" in checked.stdout


def test_how_a_run_that_was_stopped_goes_on(folder: Path, door: Door, background: Background) -> None:
    data = draw_small(folder / "mis señas")
    places = ("--checkpoint_dir", folder / "mis modelos", "--log_dir", folder / "mis logs")
    flags = ("--data", data, *FAST, *places, "--early_stopping", "false", "--max_epochs")
    process = background("train", *flags, 2000)
    said = until(process, "Epoch 2/")
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate()
    assert process.returncode == 130, said + rest
    (resumed,) = [found for found in COMMAND.findall(rest) if found[0] == "train"]
    words = shlex.split(resumed[1])
    assert words[0] == "--resume"
    # The run is found there; with 2,000 epochs it would take minutes.
    refused(door("train", *words, "--max_epochs", 1, cwd=folder), "began with other settings", "max_epochs: was 2000")


def test_a_run_with_damaged_clips_names_the_check(folder: Path, door: Door) -> None:
    data = draw_small(folder / "mis señas")
    (data / "train" / "casa" / "000.mp4").write_bytes(b"no video")
    result = door("train", "--data", data, *FAST, "--max_epochs", 1, cwd=folder)
    ((_, checked), (_, evaluated)) = typed(result.stdout, door, folder)
    assert checked.returncode == 1
    assert "000.mp4" in checked.stdout
    assert evaluated.returncode == 0


def test_what_is_proposed_for_folders_that_are_not_recognised(folder: Path, door: Door) -> None:
    for person in ("ana", "José"):
        for gloss in range(3):
            for k in range(2):
                draw(folder / "mis señas" / person / ("hola", "tú", "mañana")[gloss] / f"{k}.mp4", gloss, k)
    result = door("check", folder / "mis señas", cwd=folder)
    assert result.returncode == 2
    called = typed(result.stderr, door, folder)
    assert called
    for name, checked in called:
        assert name == "check"
        assert checked.returncode in (0, 1), checked.stderr
        assert re.search("[23] glosses, clips: ", checked.stdout)


def test_which_of_several_data_sets(folder: Path, door: Door) -> None:
    for name in ("conjunto uno", "conjunto dos"):
        (folder / "todo" / name).mkdir(parents=True)
        draw(folder / "todo" / name / "a.mp4", 0, 0)
        manifest(folder / "todo" / name, [("a.mp4", "hola", "train")])
    result = door("check", folder / "todo", cwd=folder)
    assert result.returncode == 2
    offered = flag(result.stderr, "data")
    assert sorted(Path(path).name for _, path in offered[-2:]) == ["conjunto dos", "conjunto uno"], result.stderr
    for words in offered[-2:]:
        assert "1 gloss, clips: 1 train" in door("check", *words, cwd=folder).stdout


@pytest.mark.parametrize("names", [("nslt_100.json", "nslt_300.json"), ("uno dos.csv", "tres.csv")])
def test_which_of_several_files(folder: Path, names: tuple[str, ...], door: Door) -> None:
    draw(folder / "videos" / "1.mp4", 0, 0)
    for name in names:
        text = (
            "path,label\nvideos/1.mp4,hola\n" if name.endswith("csv") else '{"1": {"subset": "train", "action": [0]}}'
        )
        (folder / name).write_text(text, encoding="utf-8")
    result = door("check", folder, cwd=folder)
    assert result.returncode == 2
    (words,) = flag(result.stderr, "data")
    again = door("check", *words, cwd=folder)
    assert "name one" not in again.stderr
    assert "no such file" not in again.stderr


def test_columns_that_look_like_times(folder: Path, door: Door) -> None:
    rows = []
    for number in range(4):
        draw(folder / f"{number}.mp4", number % 2, number)
        rows.append((f"{number}.mp4", "ab"[number % 2], "0", "1"))
    manifest(folder, rows, ("path", "label", "inicio (s)", "fin (s)"))
    said = door("check", folder / "manifest.csv", cwd=folder).stdout
    asked = re.search(r"add (--columns\.start .+)$", said, re.MULTILINE)
    assert asked is not None, said
    words = shlex.split(asked[1])
    assert words[:4] == ["--columns.start", "inicio (s)", "--columns.end", "fin (s)"]
    assert "look like times" not in door("check", folder / "manifest.csv", *words, cwd=folder).stdout


def test_the_folder_of_a_model(folder: Path, door: Door) -> None:
    torch.manual_seed(0)
    VideoMAEForVideoClassification(VideoMAEConfig(**TINY, num_labels=3)).save_pretrained(folder / "mi modelo")
    data = draw_small(folder / "mis señas")
    flags = ("--data", data, *FAST[2:], "--max_epochs", 1)
    result = door("train", *flags, "--model_name", folder / "mi modelo" / "model.safetensors", cwd=folder)
    assert result.returncode == 2
    *_, words = flag(result.stderr, "model_name")
    assert door("train", *flags, *words, cwd=folder).returncode == 0


@pytest.mark.ray
def test_what_a_sweep_says(folder: Path, door: Door, command: Door) -> None:
    data = draw_small(folder / "mis señas")
    file = sweep_file(folder, data, epochs=1, num_trials=1, search_space=SEARCH)
    result = command("tune", "--config", file, cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    called = typed(result.stdout, door, folder)
    assert [name for name, _ in called] == ["evaluate", "train"]
    assert [done.returncode for _, done in called] == [0, 0], [done.stderr for _, done in called]
