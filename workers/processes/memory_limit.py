"""Memory limit of a process that runs a strategy's code: what its user has set, else half of the machine's memory."""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

CONTROL_GROUPS = Path("/sys/fs/cgroup")
MACHINE_SHARE = 2
"""Divisor of the machine's memory: one process that takes memory without end leaves the rest to the others."""


@cache
def default_limit() -> int:
    """Half of the memory of this machine, or of the control group that this process runs in."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_control_group_limits()]) // MACHINE_SHARE


def limit_memory(more: int | None, *, is_hard: bool = True) -> None:
    """Limit this process to `more` bytes on top of its present memory, None: `default_limit`; read-only files do
    not count.

    A limit that is not hard can be lifted. The limit has an effect on Linux only.
    """
    if sys.platform != "linux":
        return
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    limit = pages * resource.getpagesize() + (more or default_limit())
    hard = limit if is_hard else resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def lift_memory_limit() -> None:
    """Remove a limit that is not hard."""
    if sys.platform == "linux":
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _control_group_limits(root: Path = CONTROL_GROUPS) -> Iterator[int]:
    """The memory limits of this process's control group and of the groups around it."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield from _limits_above(root / path.strip("/"), root, "memory.max")
            elif "memory" in controllers.split(","):  # version 1
                base = root / "memory"
                yield from _limits_above(base / path.strip("/"), base, "memory.limit_in_bytes")


def _limits_above(folder: Path, root: Path, file_name: str) -> Iterator[int]:
    for each in (folder, *folder.parents):
        with suppress(OSError, ValueError):  # no such file, or "max"
            yield int((each / file_name).read_text())
        if each == root:
            return
