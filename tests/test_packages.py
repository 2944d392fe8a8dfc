"""Names and imports that other programs and processes rely on."""

import subprocess
import sys
from pathlib import Path

import fetcher
import optimizer
import tradeschool
import workers
from workers.queue.messages import FUNCTION
from workers.work_horse.evaluator import evaluate_trials

NEEDLESS = ("aiohttp", "matplotlib", "optuna", "polars", "sqlalchemy")


def test_the_four_packages_come_from_one_directory() -> None:
    """`fetcher`, `workers` and `optimizer` are names that other packages on the index bear too."""
    homes = {Path(package.__file__ or "").parent.parent for package in (tradeschool, fetcher, optimizer, workers)}

    assert len(homes) == 1


def test_the_job_function_name_is_pinned() -> None:
    assert (
        FUNCTION
        == "workers.work_horse.evaluator.evaluate_trials"
        == f"{evaluate_trials.__module__}.{evaluate_trials.__name__}"
    )


def test_a_worker_imports_only_what_an_evaluation_needs() -> None:
    """Each worker pays for memory and start time, and a process that has used polars must not fork."""
    program = (
        "import sys, tradeschool.cli.operations.evaluate\n"
        f"print(*[name for name in {NEEDLESS!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stderr.strip() == ""
