"""A pool of two as a program, so that a test can kill it."""

import sys
from pathlib import Path

from workers.pool import Pool, PoolSettings

if __name__ == "__main__":
    program = Path(__file__).parent / "bench.py"
    Pool([sys.executable, str(program), "--url", sys.argv[1]], 2, PoolSettings()).run()
