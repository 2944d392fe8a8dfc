"""Command line and environment of Python subprocesses, which never import modules from the working folder first."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SAFE = "PYTHONSAFEPATH"
"""Environment variable with the effect of the option `-P`."""


def python_command(*words: str) -> list[str]:
    """Return the command line of this interpreter with `-P`: the working folder is not put on the module path."""
    return [sys.executable, "-P", *words]


@contextmanager
def safe_path_for_children() -> Iterator[None]:
    """Set PYTHONSAFEPATH until the block ends, for subprocesses that the standard library starts without `-P`."""
    before = os.environ.get(SAFE)
    os.environ[SAFE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE]
        else:
            os.environ[SAFE] = before
