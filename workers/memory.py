"""How much memory a process that runs a strategy's code may take."""

import resource
import sys
from pathlib import Path


def limit_memory(more: int) -> None:
    """Let this process allocate so many bytes on top of what it has; mapped files do not count.

    Only Linux counts data in this way; elsewhere the limit is not kept.
    """
    if sys.platform != "linux":
        return
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
