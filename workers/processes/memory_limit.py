"""Memory limit of a process that runs a strategy's code."""

import resource
import sys
from pathlib import Path


def limit_memory(more: int, *, is_hard: bool = True) -> None:
    """Limit this process to `more` bytes on top of its present memory; mapped files do not count.

    A limit that is not hard can be lifted. The limit has an effect on Linux only.
    """
    if sys.platform != "linux":
        return
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    limit = pages * resource.getpagesize() + more
    hard = limit if is_hard else resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def lift_memory_limit() -> None:
    """Remove a limit that is not hard."""
    if sys.platform == "linux":
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
