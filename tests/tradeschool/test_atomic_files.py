import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tradeschool.atomic_files import STAGING, publish, publish_text, sweep
from tradeschool.errors import StoreUnwritable

KILLED = """
import os, signal, sys
from pathlib import Path
from tradeschool.atomic_files import publish

def write(path):
    path.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

publish(Path(sys.argv[1]), Path(sys.argv[1]) / "year=2020" / "candles", write)
"""


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_a_published_file_leaves_no_temporary_file(tmp_path: Path) -> None:
    publish_text(tmp_path, tmp_path / "a" / "b" / "text", "whole")

    assert files(tmp_path) == ["a/b/text"]
    assert (tmp_path / "a" / "b" / "text").read_text() == "whole"


def test_a_file_is_replaced_atomically(tmp_path: Path) -> None:
    """A process that has opened the old file continues to read it."""
    publish_text(tmp_path, tmp_path / "text", "old")
    with (tmp_path / "text").open() as reader:
        publish_text(tmp_path, tmp_path / "text", "new")

        assert reader.read() == "old"
    assert (tmp_path / "text").read_text() == "new"


def test_a_failed_write_keeps_only_the_old_file(tmp_path: Path) -> None:
    publish_text(tmp_path, tmp_path / "text", "old")

    def write(path: Path) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StoreUnwritable, match=r"cannot write .*text: No space left on device; free space or fix perm"):
        publish(tmp_path, tmp_path / "text", write)
    assert files(tmp_path) == ["text"]
    assert (tmp_path / "text").read_text() == "old"


def test_a_failed_writer_leaves_no_file(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        path.write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        publish(tmp_path, tmp_path / "text", write)
    assert files(tmp_path) == []


def test_the_next_sweep_removes_files_of_a_killed_writer(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)

    assert done.returncode < 0
    assert not (tmp_path / "year=2020" / "candles").exists()
    assert sweep(tmp_path) == 1
    assert files(tmp_path) == []


def test_a_file_in_place_of_a_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")

    with pytest.raises(StoreUnwritable, match="cannot write"):
        publish_text(tmp_path / "data", tmp_path / "data" / "text", "whole")


def test_sweeping_an_empty_folder_is_no_error(tmp_path: Path) -> None:
    assert sweep(tmp_path / "absent") == 0
    assert not (tmp_path / "absent" / STAGING).exists()
