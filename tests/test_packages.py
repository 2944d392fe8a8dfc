"""Names that other programs, and other processes, rely on."""

import subprocess
import sys
from pathlib import Path

import fetcher
import optimizer
import tradeschool
import workers
from workers.jobs import FUNCTION, evaluate_trials

HEAVY = ("aiohttp", "matplotlib", "numba", "numpy", "optuna", "polars", "pyarrow", "pydantic", "redis", "rich", "rq")


def test_the_four_packages_come_from_one_directory() -> None:
    """`fetcher`, `workers` and `optimizer` are names that strangers' packages on the index bear too."""
    homes = {Path(package.__file__ or "").parent.parent for package in (tradeschool, fetcher, optimizer, workers)}

    assert len(homes) == 1


def test_the_job_s_name_is_a_wire_format() -> None:
    assert FUNCTION == "workers.jobs.evaluate_trials" == f"{evaluate_trials.__module__}.{evaluate_trials.__name__}"


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['tradeschool', '--help']\n"
        "from tradeschool.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "fetch" in done.stdout
    assert done.stderr.strip() == ""
