"""Smoke test of the installed program on one Python version; `scripts/test --smoke` runs it in a separate environment.

Every module is imported, the machine is looked over, and the demo runs: candles are fetched, searched by two workers
and judged. Its trial table has to be the same bytes on every Python, and those of a search in this very process.
"""

import hashlib
import importlib
import json
import os
import pkgutil
import platform
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import fetcher
import optimizer
import tradeschool
import workers
from optimizer.curriculum.level_files import load_levels
from optimizer.level.spec import Part
from optimizer.objective.objective import prepare_level, repair
from optimizer.search.in_process import search_in_process
from optimizer.search.sampler import SearchSpace
from optimizer.search.space import distributions
from optimizer.search.trial_table import export
from tradeschool.cli.setup.demo import CURRICULUM_FILE, SEED
from tradeschool.store.cached_store import CachedStore

EXPECTED = Path(__file__).parent / "demo-table.sha256"
"""Changes only where a search's result is meant to change."""


def main() -> None:
    """Run all checks; the first failure ends the program."""
    import_everything()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        run("doctor", home)
        run("demo", home, "--folder", "demo")
        (demo,) = (home / "demo").iterdir()
        by_workers = exported(demo)
        alone = searched_here(demo)
    assert by_workers == alone, "two workers and a search in one process found different trials"
    digest, expected = hashlib.sha256(by_workers).hexdigest(), EXPECTED.read_text().strip()
    sys.stdout.write(f"Python {platform.python_version()}: the demo's trial table has sha256 {digest}\n")
    if digest != expected:
        sys.exit(f"{EXPECTED.name}: expected {expected}, was {digest}: this Python finds other trials")


def import_everything() -> None:
    """Import each module of the packages, with warnings as errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for package in (tradeschool, fetcher, optimizer, workers):
            for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
                if not module.name.endswith("__main__"):
                    importlib.import_module(module.name)


def run(command: str, folder: Path, *words: str) -> str:
    """Output of a command; a failure is printed and ends the program."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TRADESCHOOL_")}
    done = subprocess.run(
        [sys.executable, "-m", "tradeschool", command, *words],
        cwd=folder,
        env=clean,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"tradeschool {command} ended with exit code {done.returncode}: {done.stdout}")
    return done.stdout


def exported(demo: Path) -> bytes:
    """The trial table of the demo run."""
    (name,) = (each["name"] for each in json.loads(run("optimize", demo, "list", "--json")))
    run("optimize", demo, "export", name, "--level", "1", "--format", "csv", "--out", "table.csv")
    return (demo / "table.csv").read_bytes()


def searched_here(demo: Path) -> bytes:
    """The trial table of the same search in this process, over the same candles."""
    (level,) = load_levels(demo / CURRICULUM_FILE)
    space = SearchSpace(
        seed=SEED,
        lag=level.lag,
        distributions=distributions(level),
        repair=lambda parameters: repair(level, parameters),
        mode=level.mode,
    )
    train = prepare_level(level, Part.TRAIN, CachedStore(demo / "data", demo / "columns").arrays)
    return export(search_in_process(level, space, train), "csv")


if __name__ == "__main__":
    main()
