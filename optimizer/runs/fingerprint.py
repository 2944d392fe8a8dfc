"""Fingerprints: short digests of the code, data and settings that a search depends on.

A run resumes, and results are compared, only if their fingerprints are equal.
"""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import optimizer
from optimizer.level.spec import Level

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

LIBRARIES = ("cmaes", "numba", "numpy", "optuna", "scipy")
"""Libraries whose version may change a result."""
LENGTH = 16  # hexadecimal digits
RELEASE_DIGITS = 8
DISTRIBUTION = "tradeschool-curriculum"


@cache
def release() -> str:
    """Return the release of this process, such as `0.2.0+1f0c5a9e`: version, and digest of the optimizer's source.

    It is read once, so that an upgrade of the files does not change what a running process says of itself.
    """
    return f"{_version(DISTRIBUTION)}+{_source().hexdigest()[:RELEASE_DIGITS]}"


def of_code() -> str:
    """Return the fingerprint of the optimizer's source and its numerical libraries."""
    total = _source()
    for name in LIBRARIES:
        total.update(f"{name} {_version(name)}".encode())
    return total.hexdigest()[:LENGTH]


def of_data(digests: Mapping[str, str]) -> str:
    """Return the fingerprint of candles from the given digests by dataset and window."""
    return sha256(repr(sorted(digests.items())).encode()).hexdigest()[:LENGTH]


def of_settings(levels: Sequence[Level], min_coverage: float) -> str:
    """Return the fingerprint of all user settings that affect a result; the seed is excluded."""
    settings = {"levels": [level.model_dump(mode="json") for level in levels], "min_coverage": min_coverage}
    return sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:LENGTH]


def changes(was: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the values that differ among names present in both: before and now, by name."""
    return {name: (was[name], now[name]) for name in was if name in now and was[name] != now[name]}


def _source() -> "Hash":
    """Return the digest of the optimizer's source, to which more may be added."""
    total = sha256()
    root = Path(optimizer.__file__ or "").parent
    for path in sorted(root.rglob("*.py")):
        total.update(path.relative_to(root).as_posix().encode())
        total.update(path.read_bytes())
    return total


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # numba has no wheel on every platform
        return "absent"
