"""What stands in a terminal of 80, 100 and 200 columns, in a notebook, and when the terminal is gone."""

import io
import os
import re
import signal
from pathlib import Path

import pytest

from lscht_ray.host import console, interrupt, layout
from support import terminal
from support.doors import FAST, run_folder

WIDE = ("trial", "best val_accuracy", "95 % interval", "lr", "weight_decay", "label_smoothing", "status", "seconds")
ROWS = [
    [f"trial_{n:05d}", "0.5167", "39.3-63.8%", "0.0008559", "0.008102", "0.1503", "completed", "12"] for n in (1, 2)
]


def in_terminal(columns: int) -> console.ShownConsole:
    """A console that takes itself for a terminal."""
    return console.ShownConsole(
        file=io.StringIO(), force_terminal=True, width=columns, soft_wrap=True, highlight=False, color_system=None
    )


def printed(screen: console.ShownConsole) -> list[str]:
    return screen.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize(
    ("columns", "left_out"),
    [
        (60, ["weight_decay", "label_smoothing", "status", "seconds"]),
        (80, ["label_smoothing", "status", "seconds"]),
        (100, ["seconds"]),
        (200, []),
    ],
)
def test_a_table_drops_columns_and_breaks_no_word(columns: int, left_out: list[str]) -> None:
    screen = in_terminal(columns)
    console.print_table(screen, "Trials, the best first", list(WIDE), ROWS, keep=3)
    lines = printed(screen)
    assert max(map(len, lines)) <= columns
    words = re.split(r"[ ┃│]+", "\n".join(lines))
    for word in ("trial_00001", "trial_00002", "0.5167", "39.3-63.8%", "val_accuracy", "interval"):
        assert word in words
    assert [head for head in WIDE[3:] if head not in words or lines[-1].count(head)] == left_out
    note = f"(the terminal is too narrow for: {', '.join(left_out)})"
    assert " ".join(line.strip() for line in lines).endswith(note) == bool(left_out)


def test_lines_break_between_words_and_commands_not_at_all() -> None:
    command = (
        "python -m lscht_ray.evaluate /a/very/long/path/to/models/checkpoints/run_20250131_101500 --data 'mi carpeta'"
    )
    screen = in_terminal(40)
    screen.print(f"some words that are longer than the line is wide, and then\n  or: {command}")
    assert printed(screen) == [
        "some words that are longer than the line",
        "  is wide, and then",
        "  or:",
        f"    {command}",
    ]
    assert layout.fitted("short", 40) == "short"
    path = "/a/path/that/is/longer/than/the/line/is/wide/and/stays/whole.mp4"
    assert layout.fitted(f"see {path}", 40) == f"see\n  {path}"


def test_a_file_gets_whole_lines(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="utf-8") as file:
        screen = console.new_console(file)
        screen.print("word " * 100)
        console.print_table(screen, "Trials", list(WIDE) * 4, [row * 4 for row in ROWS])
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert lines[0].count("word") == 100
    assert lines[3].count("label_smoothing") == 4


def test_training_in_a_terminal(small: Path, tmp_path: Path) -> None:
    session = terminal.start("train", "--data", small, *FAST, "--max_epochs", 2, cwd=tmp_path, columns=80)
    assert session.wait() == 0
    lines = session.shown()
    run = run_folder(tmp_path)
    joined = "".join(lines)  # a command that is longer than the terminal is whole all the same
    assert f"evaluate {run} --data '{small}' --split test".replace(" ", "") in joined.replace(" ", "")
    assert sum(line.startswith("Epoch ") for line in lines) == 2  # the bars are gone
    assert all(len(line) <= 80 for line in lines)


def test_errors_fit_too(tmp_path: Path) -> None:
    session = terminal.start("train", "--data", tmp_path / "nowhere", "--lr", "x", cwd=tmp_path, columns=80)
    assert session.wait() == 2
    words = " ".join(session.shown()).split()
    assert "error:" in words
    assert all(len(line) <= 80 for line in session.shown())


@pytest.mark.parametrize("name", ["JPY_PARENT_PID", "COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"])
def test_a_notebook_is_told_by_its_variables(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("JPY_PARENT_PID", "COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(other, raising=False)
    assert not console.in_notebook()
    monkeypatch.setenv(name, "1")
    assert console.in_notebook()


def test_a_notebook_gets_plain_lines(small: Path, tmp_path: Path) -> None:
    """A notebook's cell is a terminal by its looks: a bar would be drawn anew in a line for each step."""
    session = terminal.start(
        "train", "--data", small, *FAST, "--max_epochs", 1, cwd=tmp_path, columns=100, JPY_PARENT_PID="1"
    )
    assert session.wait() == 0
    assert b"\x1b[" not in session.raw
    assert b"\r" not in session.raw.replace(b"\r\n", b"")


def test_ssh_drops(small: Path, tmp_path: Path) -> None:
    """The terminal is gone, so nothing can be printed any more: the run saves all the same and can go on."""
    session = terminal.start(
        "train", "--data", small, *FAST, "--max_epochs", 100000, "--early_stopping", "false", cwd=tmp_path, columns=80
    )
    while b"Epoch 2/" not in session.raw:
        assert session.read(), session.shown()
    session.hang_up()
    assert session.process.wait(timeout=60) == 129
    run = run_folder(tmp_path)
    done = len((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    assert not (run / ".lock").exists()
    again = terminal.start("train", "--resume", run, "--max_epochs", done + 1, "--override", cwd=tmp_path, columns=200)
    assert again.wait() == 0, again.shown()
    assert any(line.startswith(f"resumed after epoch {done}") for line in again.shown())


def test_a_signal_to_all_processes_of_a_run(small: Path, tmp_path: Path) -> None:
    """As `timeout` sends it: data workers must not die before the run has saved."""
    flags = [*FAST, "--cache", "off", "--max_epochs", 100000, "--early_stopping", "false"]
    flags[flags.index("--num_workers") + 1] = 2
    session = terminal.start("train", "--data", small, *flags, cwd=tmp_path, columns=200)
    while b"Epoch 2/" not in session.raw:
        assert session.read(), session.shown()
    os.killpg(session.process.pid, signal.SIGTERM)
    assert session.wait() == 143
    said = "\n".join(session.shown())
    assert "data worker" not in said
    assert "Traceback" not in said
    assert "stopped by SIGTERM after step" in said
    assert said.count("stopping after this step") == 1
    assert (run_folder(tmp_path) / "last_checkpoint.pt").is_file()


def test_two_hang_ups_a_moment_apart_are_one() -> None:
    """A shell sends one, and the kernel another as the shell ends; Ctrl-C after that still ends at once."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has it ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with interrupt.raised(), interrupt.listening() as request:
        signal.raise_signal(signal.SIGHUP)
        assert request.number == signal.SIGHUP
        signal.raise_signal(signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGHUP)  # while what was saved is being closed


def test_what_has_nothing_to_save_says_how_it_ended(tmp_path: Path) -> None:
    session = terminal.start("demo", "--output", tmp_path / "demo", cwd=tmp_path, columns=120)
    while b"drawing" not in session.raw:
        assert session.read(), session.shown()
    session.process.send_signal(signal.SIGTERM)
    assert session.wait() == 143
    assert "stopped by SIGTERM: type the same again" in " ".join(session.shown())


def test_nohup_stays_deaf_to_a_hang_up() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signal.SIGHUP not in interrupt.listened_to()
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert signal.SIGHUP in interrupt.listened_to()
    finally:
        signal.signal(signal.SIGHUP, before)
