"""What a worker uses: its own process, those of its children that have ended, and the one that evaluates."""

import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Of one worker, since its start."""

    cpu_seconds: float
    """Of processor time."""
    memory_bytes: int
    """Its own at its largest, and what its child has now beyond what both share."""


def used(child: int = 0) -> Usage:
    """This process' usage; `child` is the process that evaluates for it, 0 where there is none."""
    mine, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, memory = _of_child(child) if child else (0.0, 0)
    cpu = sum(each.ru_utime + each.ru_stime for each in (mine, ended))
    unit = 1 if sys.platform == "darwin" else 1024
    return Usage(cpu_seconds=round(cpu + seconds, 2), memory_bytes=mine.ru_maxrss * unit + memory)


def _of_child(pid: int) -> tuple[float, int]:
    """Processor seconds and bytes of a process that lives; nothing where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        resident, shared = map(int, Path(f"/proc/{pid}/statm").read_text().split()[1:3])
    except (OSError, ValueError):
        return 0.0, 0
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), max(0, resident - shared) * resource.getpagesize()
