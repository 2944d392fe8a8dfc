"""Several studies at once over one pool: `many_studies.py URL COST TRIALS WORKERS LAG FOLDER STUDIES`.

TRIALS is for each study. The first study has eight times the lag of the others, which would give it eight times their
workers if jobs were taken in the order of their arrival. Prints trials a second, and the trials of the first study and
the mean of the others when half of all were done.
"""

import json
import os
import sys
import time

from ours import coordinate, forked_workers, level_of, make_run, queued

from workers.queue.job_names import study_of
from workers.queue.trial_queue import connect


def search(url: str, cost: str, trials: int, lag: int, folder: str, name: str) -> int:
    """Search one study in a process of its own; its process id."""
    if (pid := os.fork()) == 0:
        try:
            coordinate(
                make_run(f"sqlite:///{folder}/{name}.db", name, level_of(cost, trials, lag), 1, queued(url, name))
            )
        finally:
            os._exit(0)
    return pid


def counts(url: str, names: list[str]) -> dict[str, int]:
    """Finished jobs of each study."""
    with connect(url) as connection:
        found = [study_of(entry.decode()) for entry in connection.zrange("rq:finished:trials", 0, -1)]
    return {name: found.count(name) for name in names}


def main(url: str, cost: str, trials: int, workers: int, lag: int, folder: str, studies: int) -> None:
    """Search them all, and print the figures."""
    stamp = time.time_ns()
    names = [f"many{stamp}x{number}-L1-a1" for number in range(studies)]
    with forked_workers(url, workers):
        warm = f"warm{stamp}-L1-a1"
        coordinate(
            make_run(
                f"sqlite:///{folder}/{warm}.db",
                warm,
                level_of("sleep 0.05", 2 * workers, 2 * workers),
                1,
                queued(url, warm),
            )
        )
        began = time.monotonic()
        lags = [8 * lag if studies > 1 and not number else lag for number in range(studies)]
        pool = [search(url, cost, trials, each, folder, name) for name, each in zip(names, lags, strict=True)]
        while sum((half := counts(url, names)).values()) < studies * trials / 2:
            time.sleep(0.1)
        for pid in pool:
            os.waitpid(pid, 0)
        seconds = time.monotonic() - began
    first, *others = half.values()
    mean = sum(others) / len(others) if others else first
    print(json.dumps({"rate": studies * trials / seconds, "first": first, "others": mean}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]), sys.argv[6], int(sys.argv[7]))
