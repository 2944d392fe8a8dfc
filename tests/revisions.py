"""Loads each database revision of Optuna once per process: alembic executes ten files whenever a study is opened."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

from alembic.util import pyfiles


def keep_revisions() -> None:
    """Reuse loaded revision modules in this process; `env.py` is executed each time."""
    load: Callable[[str, Path], ModuleType] = pyfiles.load_module_py
    kept = cache(load)

    def load_module(name: str, path: Path) -> ModuleType:
        return (kept if Path(path).parent.name == "versions" else load)(name, path)

    pyfiles.load_module_py = load_module
