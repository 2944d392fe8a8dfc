"""Starts the programs of this folder: in forks, or in new interpreters; at the end they are killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fork_server import Forked, ForkServer

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
IMPORTED = (
    "optimizer.objective.trial_result",
    "optimizer.search.study",
    "workers.coordinator.study.coordinator",
    "workers.queue.dispatch",
    "workers.coordinator.leadership",
    "workers.worker.worker",
    "tests.warmed",
)
"""Modules that the programs import, and a fork server once for all of them."""

ISOLATED = (
    "workers.coordinator.run.isolated_child",
    "workers.coordinator.run.isolated_steps",
    "optimizer.search.methods.user_sampler",
    "tests.workers.warmed",
)
"""The same of the processes of user strategies."""


@contextmanager
def forked_programs(forks: ForkServer) -> Iterator[Callable[..., Forked]]:
    """Starts a program with arguments and environment variables in a fork."""
    processes: list[Forked] = []

    def start_one(program: str, *arguments: str, **environment: str) -> Forked:
        process = forks.start([str(HERE / program), *arguments], env=_environment(environment), has_errors=False)
        processes.append(process)
        return process

    yield start_one
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        process.close()


@contextmanager
def interpreted_programs() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a program with arguments and environment variables in a new interpreter."""
    processes: list[subprocess.Popen[str]] = []

    def start_one(program: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / program), *arguments]
        processes.append(subprocess.Popen(command, env=_environment(environment), text=True))
        return processes[-1]

    yield start_one
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=60)


def _environment(added: dict[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **added}
