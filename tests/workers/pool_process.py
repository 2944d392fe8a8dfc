"""A pool of two workers as a program that a test can kill."""

import sys
from pathlib import Path

from workers.processes.pool import Pool, PoolSettings
from workers.processes.pool_registry import registered, wanted

if __name__ == "__main__":
    program = Path(__file__).parent / "worker_process.py"
    url, *folder = sys.argv[1:]
    command = [sys.executable, str(program), "--url", url]
    if folder:
        with registered(Path(folder[0]), 2) as entry:
            Pool(command, 2, PoolSettings(), wanted=lambda: wanted(entry)).run()
    else:
        Pool(command, 2, PoolSettings()).run()
