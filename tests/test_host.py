"""File systems, locks, and files that are never seen half written."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from lscht_ray.errors import InputError
from lscht_ray.host import lock
from lscht_ray.host.disk import NETWORK, file_system, find_root
from lscht_ray.host.environment import environment
from lscht_ray.host.files import replacing, write_csv, write_json, write_text

MOUNTS = [("/", "overlay"), ("/home", "ext4"), ("/home/ana/my clips", "nfs4"), ("/mnt", "ext4"), ("/mnt", "fuse.sshfs")]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/ana/clips", "ext4"),
        ("/home/ana/my clips/not/there/yet", "nfs4"),
        ("/homes", "overlay"),
        ("/mnt/cache", "fuse.sshfs"),  # which was mounted over the other
    ],
)
def test_the_file_system_of_a_path_is_that_of_the_nearest_mount(path: str, kind: str) -> None:
    assert file_system(Path(path), MOUNTS) == kind


def test_a_path_that_is_on_no_known_file_system_has_none() -> None:
    assert file_system(Path("/anywhere"), []) == ""


def test_a_cache_on_another_machine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = psutil.disk_partitions(all=True)
    monkeypatch.setattr(
        psutil, "disk_partitions", lambda all: [*here, here[0]._replace(mountpoint=str(tmp_path), fstype="nfs4")]
    )
    assert "nfs4" in NETWORK
    with pytest.raises(InputError, match=r"is on another machine \(nfs4\)"):
        find_root("disk", str(tmp_path / "clips"))


# ---------------------------------------------------------------- locks


def ended_process() -> int:
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_lock_names_who_holds_it_and_goes_with_the_block(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with lock.held(file):
        owner = json.loads(file.read_text())
        assert (owner["host"], owner["process"]) == (socket.gethostname(), os.getpid())
        with (
            pytest.raises(InputError, match=f"process {os.getpid()} on {socket.gethostname()} writes there"),
            lock.held(file),
        ):
            pass
    assert not file.exists()


@pytest.mark.parametrize("began", ["", "123"])
def test_the_lock_of_an_ended_process_is_taken_over(tmp_path: Path, began: str) -> None:
    file = tmp_path / "lock"
    file.write_text(json.dumps({"host": socket.gethostname(), "process": ended_process(), "began": began}))
    with lock.held(file):
        assert json.loads(file.read_text())["process"] == os.getpid()


def test_the_lock_of_an_ended_process_whose_number_another_one_has_is_taken_over(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    file.write_text(json.dumps({"host": socket.gethostname(), "process": os.getppid(), "began": "another time"}))
    with lock.held(file):
        assert json.loads(file.read_text())["process"] == os.getpid()


@pytest.mark.parametrize(
    "owner",
    [
        {"host": "another-machine", "process": 1, "began": ""},
        {"host": socket.gethostname(), "process": os.getpid(), "began": ""},  # it is alive, and began who knows when
        None,
    ],
    ids=["another host", "alive", "not readable"],
)
def test_a_lock_whose_owner_may_be_alive_is_respected(tmp_path: Path, owner: object) -> None:
    file = tmp_path / "lock"
    file.write_text(json.dumps(owner))
    with (
        pytest.raises(InputError, match=r"writes there; end it first\. If it is gone for good, remove"),
        lock.held(file),
    ):
        pass
    assert json.loads(file.read_text()) == owner


# ---------------------------------------------------------------- files


def test_a_file_that_could_not_be_written_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    write_json(file, {"lr": 1e-4})
    with pytest.raises(TypeError):
        write_json(file, {"lr": object()})
    with pytest.raises(RuntimeError), replacing(file) as temporary:
        temporary.write_text("{")
        raise RuntimeError
    assert json.loads(file.read_text()) == {"lr": 1e-4}
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_text_that_is_no_unicode_is_written_so_that_it_can_be_read(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "vídeo\udc80.mp4")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "vídeo\\udc80.mp4"
    write_csv(tmp_path / "a.csv", [("path", "split"), ("mañana, ana.mp4", "train")])
    assert (tmp_path / "a.csv").read_text(encoding="utf-8-sig").splitlines() == [
        "path,split",
        '"mañana, ana.mp4",train',
    ]


def test_variables_for_a_library_are_restored_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SET", "before")
    monkeypatch.delenv("TEST_UNSET", raising=False)
    with pytest.raises(KeyError), environment({"TEST_SET": "within", "TEST_UNSET": "within"}):
        assert (os.environ["TEST_SET"], os.environ["TEST_UNSET"]) == ("within", "within")
        raise KeyError
    assert os.environ["TEST_SET"] == "before"
    assert "TEST_UNSET" not in os.environ


@pytest.mark.parametrize(("locale", "mark", "number"), [("en", ",", "0.5"), ("es", ";", "0,5")])
def test_csv_opens_rightly_in_excel(tmp_path: Path, locale: Any, mark: str, number: str) -> None:
    """With a byte order mark, without which ñ is Ã±; for a Spanish Excel with semicolons and decimal commas."""
    file = tmp_path / "a.csv"
    write_csv(file, [["glosa", "parte", "veces"], ["mañana 1.5", 0.5, 3], ["tú", None, 0]], locale)
    content = file.read_bytes()
    assert content[:3] == b"\xef\xbb\xbf"
    lines = content.decode("utf-8-sig").splitlines()
    assert lines == [
        mark.join(row) for row in (("glosa", "parte", "veces"), ("mañana 1.5", number, "3"), ("tú", "", "0"))
    ]
