"""Short digests of what a search depends on, so that nobody goes on with, or compares, what is not the same."""

import importlib.metadata
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import optimizer

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


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # numba has no wheel on every platform
        return "absent"
