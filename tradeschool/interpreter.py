"""How this program starts another Python: by the same interpreter, which no file in the working folder can mislead."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SAFE = "PYTHONSAFEPATH"


def python_command(*words: str) -> list[str]:
    """The command line of a Python that does not look for its modules in the working folder first."""
    return [sys.executable, "-P", *words]


@contextmanager
def safe_path_for_children() -> Iterator[None]:
    """The same for what the standard library starts until the block ends: it passes this process' own flags on."""
    before = os.environ.get(SAFE)
    os.environ[SAFE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE]
        else:
            os.environ[SAFE] = before
