"""Code cache: location, access by other users, and fallbacks without a writable folder."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

KERNEL = """\
from optimizer.compilation.jit import inlined, njit

@inlined
def half(number):
    return number / 2

@njit
def quarter(number):
    return half(number) / 2
"""
PROGRAM = """\
import logging, os, sys
logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
sys.path.insert(0, sys.argv[1])
if len(sys.argv) > 2:
    import numba
    numba.__version__ = sys.argv[2]
if "OTHER_USER" in os.environ:  # only now: this very Python may lie where no other user can read it
    import numba
    import optimizer.compilation.code_cache
    assert numba.njit(lambda: 1)() == 1
    os.setuid(65534)
from made_kernel import half, quarter
assert quarter(5.0) == 1.25 and half(5.0) == 2.5
print(sum(quarter.stats.cache_hits.values()), quarter.stats.cache_path)
"""
COMPILED, LOADED = "0", "1"
IS_ROOT = os.geteuid() == 0


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with a kernel, which others may read."""
    folder = tmp_path / "installed"
    folder.mkdir()
    (folder / "made_kernel.py").write_text(KERNEL)
    return folder


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "made_kernel.py").write_text(KERNEL)
    run(folder)
    return folder


@pytest.fixture
def compiled(compiled_once: Path, tmp_path: Path) -> Path:
    """A folder with a kernel and its compiled code."""
    return shutil.copytree(compiled_once, tmp_path / "installed")


def start(installed: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    usual = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, installed, *words],
        env=usual | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[str, str, str]:
    """Number of cache hits, the cache folder and the log of a process."""
    out, log = process.communicate(timeout=300)
    assert process.returncode == 0, log
    hits, folder = out.split(maxsplit=1)
    return hits, folder.strip(), log


def run(installed: Path, *words: str, **environment: str) -> tuple[str, str, str]:
    return ended(start(installed, *words, **environment))


def test_a_second_process_loads_compiled_code_with_any_home(installed: Path, tmp_path: Path) -> None:
    first = run(installed)
    second = run(installed, HOME=str(tmp_path))

    assert first[:2] == (COMPILED, str(installed / "__pycache__"))
    assert second == (LOADED, str(installed / "__pycache__"), "")


def test_a_configured_folder_has_priority(installed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"

    assert run(installed, NUMBA_CACHE_DIR=str(folder))[:2] == (COMPILED, str(folder))
    assert run(installed, NUMBA_CACHE_DIR=str(folder))[:2] == (LOADED, str(folder))
    assert not (installed / "__pycache__").exists()


def test_another_numba_version_recompiles_and_logs_it_once(compiled: Path) -> None:
    hits, _, log = run(compiled, "0.0.0")

    assert hits == COMPILED
    assert log == "compiling machine code: none is cached for this processor, source and libraries\n"


def test_another_processor_recompiles(compiled: Path) -> None:
    assert run(compiled, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")[0] == COMPILED
    assert run(compiled)[0] == LOADED


def test_a_changed_source_recompiles_and_a_copied_one_does_not(compiled: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(compiled, copied, copy_function=shutil.copyfile)  # with other times
    changed = tmp_path / "changed"
    shutil.copytree(compiled, changed)
    (changed / "made_kernel.py").write_text(KERNEL + "\n# changed\n")

    assert run(copied)[0] == LOADED
    assert run(changed)[0] == COMPILED


def test_a_damaged_cache_file_is_recompiled(compiled: Path) -> None:
    (path,) = (compiled / "__pycache__").glob("*.machine-code")
    path.write_bytes(path.read_bytes()[:-100])

    assert run(compiled)[0] == COMPILED
    assert run(compiled)[0] == LOADED


def test_concurrent_compilation_leaves_one_valid_file(installed: Path) -> None:
    for process in [start(installed) for _ in range(3)]:
        ended(process)

    assert len(list((installed / "__pycache__").iterdir())) == 1
    assert run(installed)[0] == LOADED


def test_without_a_writable_folder_it_runs_and_logs_a_warning(installed: Path, tmp_path: Path) -> None:
    (installed / "__pycache__").write_text("no folder")
    (tmp_path / "home").write_text("no folder either")
    hits, folder, log = run(installed, HOME=str(tmp_path / "home"))

    assert (hits, folder) == (COMPILED, "None")
    assert log.splitlines()[1:] == ["machine code is not cached: no cache folder is writable"]


@pytest.mark.skipif(not IS_ROOT, reason="becoming another user takes root")
def test_another_user_can_load_but_not_write_code_compiled_by_root() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "made_kernel.py").write_text(KERNEL)
        run(Path(folder))
        found = run(Path(folder), OTHER_USER="yes")

    assert found == (LOADED, f"{folder}/__pycache__", "")
