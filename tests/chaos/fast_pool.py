"""A program with a pool of three workers that replaces killed workers at once."""

import sys
from pathlib import Path

from workers.processes.pool import Pool, PoolSettings

if __name__ == "__main__":
    program = Path(__file__).parent.parent / "workers" / "worker_process.py"
    settings = PoolSettings(first_pause_seconds=0.05, longest_pause_seconds=0.2, look_seconds=0.02)
    Pool([sys.executable, str(program), "--url", *sys.argv[1:]], 3, settings).run()
