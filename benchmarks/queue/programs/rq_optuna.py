"""The usual design: each job of RQ's forking workers loads the study from SQLite and runs `optimize(n_trials=1)`.

`rq_optuna.py COST TRIALS WORKERS FOLDER SOCKET`.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import optuna
from objective import REAL, WHOLE, evaluate, spend
from redis import Redis
from rq import Queue


def one(storage: str, cost: str) -> None:
    """A job: one trial, with a report a step, pruned by the median."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: optuna.Trial) -> float:
        parameters = {name: trial.suggest_int(name, *bounds) for name, bounds in WHOLE.items()}
        parameters |= {name: trial.suggest_float(name, *bounds) for name, bounds in REAL.items()}
        steps, value, constraints = evaluate(parameters)
        spend(cost)
        for place, step in enumerate(steps):
            trial.report(step, place)
            if trial.should_prune():
                raise optuna.TrialPruned
        for place, violation in enumerate(constraints):
            trial.set_user_attr(f"constraint_{place}", violation)
        return value

    optuna.load_study(study_name="a", storage=storage).optimize(objective, n_trials=1)


def main(cost: str, trials: int, workers: int, folder: str, socket: str) -> None:
    """Search, and print the rate."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = f"sqlite:///{folder}/usual{time.time_ns()}.db"
    optuna.create_study(storage=storage, study_name="a", direction="maximize")
    queue = Queue("usual", connection=Redis(unix_socket_path=socket, db=9))
    rq = str(Path(sys.executable).parent / "rq")
    command = [rq, "worker", "--url", f"unix://{socket}?db=9", "--quiet", "--path", str(Path(__file__).parent), "usual"]
    pool = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(workers)]
    try:
        warm = [queue.enqueue("rq_optuna.one", storage, "sleep 0.1") for _ in range(2 * workers)]
        while not all(job.is_finished for job in warm):
            time.sleep(0.05)
        began = time.monotonic()
        jobs = [queue.enqueue("rq_optuna.one", storage, cost) for _ in range(trials)]
        while not all(job.get_status() in {"finished", "failed"} for job in jobs[-workers:]):
            time.sleep(0.02)
        print(json.dumps({"rate": trials / (time.monotonic() - began)}))
    finally:
        for process in pool:
            process.terminate()
        for process in pool:
            process.wait(30)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5])
