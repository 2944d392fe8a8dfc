"""A pool as a program that a test can kill: of two workers, or of one to three that follow the queue."""

import sys
from pathlib import Path

from workers.connection.brief_connection import connect_briefly
from workers.processes.autoscaling import Autoscaler, Bounds, queued_jobs
from workers.processes.pool import Pool, PoolSettings
from workers.processes.pool_registry import PoolControl, registered

if __name__ == "__main__":
    program = Path(__file__).parent / "worker_process.py"
    url, *folder = sys.argv[1:]
    bounds = Bounds(least=1, most=3) if folder[1:] else None
    connection = connect_briefly(url)
    scaler = Autoscaler(bounds, lambda: queued_jobs(connection), keep_seconds=0.0) if bounds else None
    command = [sys.executable, str(program), "--url", url]
    if folder:
        count = bounds.least if bounds else 2
        with registered(Path(folder[0]), count, bounds) as entry:
            Pool(command, count, PoolSettings(), control=PoolControl(entry, scaler)).run()
    else:
        Pool(command, 2, PoolSettings()).run()
