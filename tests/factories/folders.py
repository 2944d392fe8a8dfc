"""Temporary folders for tests."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")
MEMORY_BYTES = 2 << 30
"""Free space that a run of all tests needs several times over."""


def memory() -> Path | None:
    """A file system in memory on which a test may write and execute; None if there is none with enough space.

    A disk takes ten milliseconds for each fsync, which the product calls for every file that it must not lose.
    """
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)) or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        return None
    return MEMORY if shutil.disk_usage(MEMORY).free >= MEMORY_BYTES else None


@contextmanager
def memory_folder() -> Iterator[Path]:
    """A temporary folder, in memory if the system has such a file system."""
    with tempfile.TemporaryDirectory(dir=memory()) as name:
        yield Path(name)
