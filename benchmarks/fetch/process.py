"""Start a program and say what it cost: CPU, time, memory, bytes handed to the disk."""

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a program that has ended took from start to end."""

    cpu_seconds: float
    wall_seconds: float
    peak_megabytes: float
    """Resident set."""
    written_bytes: int
    """Handed to the block layer, as /proc/<pid>/io counts them."""
    said: Any
    """Its JSON on standard output."""


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, without settings of the product's, for programs of this checkout."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TRADESCHOOL_")}
    return inherited | {"PYTHONPATH": str(ROOT)} | changes


def run(command: Sequence[str], changes: Mapping[str, str]) -> Cost:
    """Run a program that prints JSON.

    Raises:
        RuntimeError: where it fails, with the end of what it said.
    """
    with TemporaryFile() as out, TemporaryFile() as told:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=told, env=environment(changes))
        # A zombie still has its counters; once it is waited for, they are gone.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        wall_seconds = time.monotonic() - began
        written = _written(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        told.seek(0)
        if process.returncode:
            raise RuntimeError(f"{command} ended with {process.returncode}: {told.read()[-2000:].decode()}")
        return Cost(
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            wall_seconds=wall_seconds,
            peak_megabytes=usage.ru_maxrss / 1024,
            written_bytes=written,
            said=json.load(out),
        )


def _written(pid: int) -> int:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))
