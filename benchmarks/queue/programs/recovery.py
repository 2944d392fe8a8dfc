"""Seconds from the kill of a worker in the middle of a trial to that trial's end elsewhere, less the trial itself.

`recovery.py FOLDER URL`; leases and heartbeats are the defaults.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from ours import coordinate, level_of, make_run, queued

from workers.queue.trial_queue import connect

TRIAL_SECONDS = 1.0


def main(folder: str, url: str) -> None:
    """Measure once."""
    command = [sys.executable, str(Path(__file__).with_name("ours.py")), "worker", url, str(os.getpid())]
    pool = [subprocess.Popen(command, start_new_session=True) for _ in range(2)]
    connection = connect(url)
    while connection.scard("rq:workers:trials") < 2:
        time.sleep(0.05)
    level = level_of(f"sleep {TRIAL_SECONDS}", 1, 1)
    run = make_run(f"sqlite:///{folder}/study.db", "killed", level, 1, queued(url, "killed"))
    run.reconcile()
    while not connection.zcard("rq:wip:trials"):
        time.sleep(0.01)
    time.sleep(0.2)
    name = connection.hget("rq:job:killed-0-0-a1", "worker_name").decode()
    victim = next(process for process in pool if f"-{process.pid}-" in name)
    victim.send_signal(signal.SIGKILL)
    began = time.monotonic()
    coordinate(run)
    seconds = time.monotonic() - began - TRIAL_SECONDS
    for process in pool:
        process.kill()
        process.wait()
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
