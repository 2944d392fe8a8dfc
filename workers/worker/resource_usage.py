"""Processor time and memory of a worker: its process, its ended children and its work horse."""

import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Usage of one worker since its start."""

    cpu_seconds: float
    """Processor time."""
    memory_bytes: int
    """Peak of its process, plus the unshared memory of its work horse now."""

    def fields(self) -> dict[Any, Any]:
        """As fields of the worker's entry in Redis."""
        return {"cpu_seconds": str(self.cpu_seconds), "memory_bytes": str(self.memory_bytes)}


def used(child: int = 0) -> Usage:
    """This process' usage; `child` is the work horse's process id, 0 if there is none."""
    mine, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, memory = _of_child(child) if child else (0.0, 0)
    cpu = sum(each.ru_utime + each.ru_stime for each in (mine, ended))
    unit = 1 if sys.platform == "darwin" else 1024
    return Usage(cpu_seconds=round(cpu + seconds, 2), memory_bytes=mine.ru_maxrss * unit + memory)


def _of_child(pid: int) -> tuple[float, int]:
    """Processor seconds and bytes of a running process; zeros where /proc does not show them."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        resident, shared = map(int, Path(f"/proc/{pid}/statm").read_text().split()[1:3])
    except (OSError, ValueError):
        return 0.0, 0
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), max(0, resident - shared) * resource.getpagesize()
