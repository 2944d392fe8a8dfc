"""Health of the pools of this machine: which of their processes are stuck. It reads local heartbeats, not Redis.

A thousand machines that ask every few seconds therefore cost the server nothing, and an outage of Redis, which a
restart would not end, makes no worker unhealthy.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import JsonValue

from workers.processes.heartbeat import Activity, read_pool, read_worker
from workers.processes.pool_registry import RegisteredPool, pools

STUCK_SECONDS = 120.0
"""Age of the last heartbeat of a stuck process: twice the longest time that one command waits for Redis."""
START_SECONDS = 300.0
"""Time in which a new worker sends its first heartbeat; it may compile the backtest before."""
CONNECTED = frozenset({Activity.IDLE, Activity.BUSY, Activity.SUSPENDED})


class State(StrEnum):
    """Health of one worker."""

    WORKING = "working"
    """It sends heartbeats and is connected to Redis."""
    OUTAGE = "waiting for Redis"
    STARTING = "starting"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerHealth:
    """Health of one worker."""

    pid: int
    state: State
    activity: str
    """What its last heartbeat says; empty before the first."""
    age_seconds: float
    """Time since its last heartbeat, or since its start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolHealth:
    """Health of one pool and its workers."""

    pid: int
    is_stuck: bool
    age_seconds: float
    """Time since the last heartbeat of the pool itself."""
    workers: tuple[WorkerHealth, ...]

    @property
    def sentence(self) -> str:
        """One line for a person."""
        each = ", ".join(f"{worker.pid} {worker.activity or worker.state}" for worker in self.workers)
        return f"pool {self.pid}: {len(self.workers)} workers: {each or 'none runs'}"

    def finding(self, *, ready: bool) -> str:
        """What is wrong, as one line; empty if nothing is. With `ready`, unconnected workers are wrong, too."""
        if self.is_stuck:
            return f"pool {self.pid} is stuck: no heartbeat for {self.age_seconds:.0f} s: restart it"
        if stuck := [each for each in self.workers if each.state is State.STUCK]:
            named = ", ".join(f"{each.pid} (no heartbeat for {each.age_seconds:.0f} s)" for each in stuck)
            return f"pool {self.pid}: stuck workers: {named}: restart the pool"
        if ready and (waiting := [each for each in self.workers if each.state is not State.WORKING]):
            return f"pool {self.pid} is not ready: worker {waiting[0].pid} is {waiting[0].state}"
        return f"pool {self.pid} is not ready: no worker runs" if ready and not self.workers else ""

    def to_json(self) -> dict[str, JsonValue]:
        """Return the fields, with the workers as a list."""
        return {**asdict(self), "workers": [asdict(worker) for worker in self.workers]}


def pools_health(
    folder: Path, stuck_seconds: float = STUCK_SECONDS, clock: Callable[[], float] = time.monotonic
) -> tuple[PoolHealth, ...]:
    """The health of all pools that are registered in a folder."""
    return tuple(_of_pool(entry, stuck_seconds, clock()) for entry in pools(folder))


def _of_pool(entry: RegisteredPool, stuck_seconds: float, now: float) -> PoolHealth:
    beat = read_pool(entry.files)
    if beat is None:  # between its registration and its first look at the workers
        return PoolHealth(pid=entry.pid, is_stuck=False, age_seconds=0.0, workers=())
    workers = tuple(_of_worker(entry, pid, now - began, stuck_seconds, now) for pid, began in beat.started.items())
    age = now - beat.time
    return PoolHealth(pid=entry.pid, is_stuck=age > stuck_seconds, age_seconds=age, workers=workers)


def _of_worker(entry: RegisteredPool, pid: int, lived: float, stuck_seconds: float, now: float) -> WorkerHealth:
    beat = read_worker(entry.files, pid)
    if beat is None:
        state = State.STUCK if lived > max(START_SECONDS, stuck_seconds) else State.STARTING
        return WorkerHealth(pid=pid, state=state, activity="", age_seconds=lived)
    age, state = now - beat.time, State.WORKING if beat.activity in CONNECTED else State.OUTAGE
    return WorkerHealth(
        pid=pid, state=State.STUCK if age > stuck_seconds else state, activity=beat.activity, age_seconds=age
    )
