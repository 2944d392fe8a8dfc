"""Short digests of what a search depends on, so that nobody goes on with, or compares, what is not the same."""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import optimizer
from optimizer.level import Level

LIBRARIES = ("numba", "numpy", "optuna")
"""Libraries whose release may change a result."""
LENGTH = 16  # hexadecimal digits


def of_code() -> str:
    """Of the optimizer's source and the libraries that it computes with."""
    total = sha256()
    root = Path(optimizer.__file__ or "").parent
    for path in sorted(root.rglob("*.py")):
        total.update(path.relative_to(root).as_posix().encode())
        total.update(path.read_bytes())
    for name in LIBRARIES:
        total.update(f"{name} {_version(name)}".encode())
    return total.hexdigest()[:LENGTH]


def of_data(digests: Mapping[str, str]) -> str:
    """Of the candles behind the given digests, by dataset and window."""
    return sha256(repr(sorted(digests.items())).encode()).hexdigest()[:LENGTH]


def of_settings(levels: Sequence[Level], min_coverage: float) -> str:
    """Of everything that a user can set and that a result depends on; the seed is not among it."""
    settings = {"levels": [level.model_dump(mode="json") for level in levels], "min_coverage": min_coverage}
    return sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:LENGTH]


def changes(was: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What both name and do not agree on: before and now, by name."""
    return {name: (was[name], now[name]) for name in was if name in now and was[name] != now[name]}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # numba has no wheel on every platform
        return "absent"
