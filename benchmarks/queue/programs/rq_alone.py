"""RQ alone: one job a trial that samples and stores nothing, a bound of what a queue of RQ's workers can do.

`rq_alone.py COST TRIALS WORKERS SOCKET`; the workers are those of RQ, which fork for each job.
"""

import json
import logging
import os
import signal
import sys
import time

from objective import spend
from redis import Redis
from rq import Queue, Worker

LIMIT_SECONDS = 120.0
"""Time after which the workers are ended; the rate is that of the finished jobs."""


def work(socket: str) -> None:
    """Be one worker."""
    logging.disable(logging.ERROR)
    connection = Redis(unix_socket_path=socket, db=9)
    Worker([Queue("alone", connection=connection)], connection=connection).work(logging_level="ERROR")


def main(cost: str, trials: int, workers: int, socket: str) -> None:
    """Evaluate, and print the rate."""
    connection = Redis(unix_socket_path=socket, db=9)
    connection.flushdb()
    queue, pool = Queue("alone", connection=connection), []
    for _ in range(workers):
        if (pid := os.fork()) == 0:
            try:
                work(socket)
            finally:
                os._exit(0)
        pool.append(pid)
    while connection.scard("rq:workers:alone") < workers:
        time.sleep(0.05)
    began, registry = time.monotonic(), queue.finished_job_registry
    for _ in range(trials):
        queue.enqueue(spend, cost, result_ttl=600)
    while (done := connection.zcard(registry.key)) < trials and time.monotonic() - began < LIMIT_SECONDS:
        time.sleep(0.02)
    seconds = time.monotonic() - began
    for pid in pool:
        os.kill(pid, signal.SIGTERM)
    for pid in pool:
        os.waitpid(pid, 0)
    print(json.dumps({"rate": done / seconds, "done": done}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
