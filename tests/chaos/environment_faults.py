"""What goes wrong around a search: clocks that are set, files that are damaged, keys that an attacker writes.

The server is the embedded one, which the coordinators' own programs start, and start again: nothing here repairs what
the product should. Workers and coordinators share a signing key, because answers are forged, too.
"""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from tests.chaos.chaos_round import ChaosRound, Program, Round, program
from tests.factories.folders import memory_folder
from tests.workers.fake_clocks import WrongClock
from tests.workers.study_plan import Plan
from tradeschool.embedded_valkey.server import EmbeddedValkey
from tradeschool.errors import ServiceUnreachable

KEY = "a key of the chaos test"
OFFSETS = (30.0, -30.0, 600.0, -600.0, 86_400.0, -86_400.0, 0.0)
KINDS = ("clocks", "files", "keys", "types")
GARBAGE = (b"", b"\xff\xfe\x00", b"[" * 5_000, b"9" * 400, b'{"v":1}', b"null", b"a b:c")
QUEUE, TAKEN, LEASES = "rq:queue:trials", "rq:queue:trials:intermediate", "rq:wip:trials"
REGISTRIES = ("rq:finished:trials", "rq:failed:trials")
WORKERS = ("rq:workers", "rq:workers:trials")
OURS = ("tradeschool:studies", "tradeschool:clock", "tradeschool:maintenance")
SHARED = (QUEUE, TAKEN, LEASES, *REGISTRIES, *WORKERS, *OURS)

Fault = Callable[[], bool]


class FaultyEnvironment(ChaosRound):
    """One study with faults in its environment."""

    longest_seconds = 900.0
    """A server that dies at every other fault leaves little time for trials in between."""

    def __init__(self, plan: Plan, state: Path, choose: random.Random, kinds: tuple[str, ...]) -> None:
        super().__init__(plan, None, choose)
        self._valkey, self._state, self._kinds = EmbeddedValkey.of(state), state, kinds
        self._clocks = {name: WrongClock(state / f"{name}.clock") for name in ("first", "second", "workers")}
        for clock in self._clocks.values():
            clock.set(0)

    def end(self) -> None:
        """Kill all remaining processes, the embedded server last."""
        super().end()
        with suppress(ServiceUnreachable):
            self._valkey.stop()

    def _start_coordinator(self) -> Program:
        name = self._choose.choice(["first", "second"])
        environment = self._clocks[name].environment
        return program("embedded_coordinator.py", str(self._state), self._plan.as_json(), **environment)

    def _start_pool(self) -> Program:
        return program("fast_pool.py", self._plan.url, "--key", KEY, **self._clocks["workers"].environment)

    def _faults(self) -> list[tuple[int, Fault]]:
        faults: dict[str, list[tuple[int, Fault]]] = {
            "clocks": [(3, self._set_coordinator_clock), (3, self._set_worker_clock)],
            "files": [
                (1, self._damage_middle),
                (1, self._cut_tail),
                (1, self._damage_base),
                (1, self._spoil_manifest),
                (1, self._remove_files),
            ],
            "keys": [
                (2, self._flush),
                (2, self._push_garbage),
                (2, self._forge_answer),
                (1, self._forge_lease),
                (1, self._spoil_job),
            ],
            "types": [(2, self._change_type), (1, self._forge_failure)],
        }
        return [fault for kind in self._kinds for fault in faults[kind]]

    def _set_coordinator_clock(self) -> bool:
        return self._set_clock(self._choose.choice(["first", "second"]))

    def _set_worker_clock(self) -> bool:
        return self._set_clock("workers")

    def _set_clock(self, name: str) -> bool:
        self._clocks[name].set(self._choose.choice(OFFSETS))
        return True

    def _damage_middle(self) -> bool:
        return self._spoil("*.incr.aof", self._overwrite)

    def _damage_base(self) -> bool:
        return self._spoil("*.base.*", self._overwrite)

    def _cut_tail(self) -> bool:
        return self._spoil("*.incr.aof", lambda file: os.truncate(file, self._choose.randint(0, file.stat().st_size)))

    def _spoil_manifest(self) -> bool:
        return self._spoil("*.manifest", lambda file: file.write_bytes(self._choose.choice(GARBAGE)))

    def _remove_files(self) -> bool:
        """Empty the server, like a fail-over to an empty replica."""
        return self._spoil("", shutil.rmtree)

    def _overwrite(self, file: Path) -> None:
        size = file.stat().st_size
        with file.open("r+b") as opened:
            opened.seek(self._choose.randint(0, size))
            opened.write(self._choose.randbytes(self._choose.choice([1, 16, 200])))

    def _spoil(self, pattern: str, change: Callable[[Path], object]) -> bool:
        """Damage a file of the server and kill the server."""
        with suppress(ServiceUnreachable, RedisError):
            pid = self._valkey.pid
            if pid is None:
                return False
            os.kill(pid, signal.SIGSTOP)
            folder = self._valkey.folder / "appendonlydir"
            found = sorted(folder.glob(pattern)) if pattern else [folder]
            if found:
                change(found[-1])
            os.kill(pid, signal.SIGKILL)
            return bool(found)
        return False

    def _flush(self) -> bool:
        return self._ask(lambda server: server.flushall())

    def _push_garbage(self) -> bool:
        key = self._choose.choice([QUEUE, TAKEN, f"tradeschool:results:{self._plan.study}"])
        return self._ask(lambda server: server.rpush(key, self._choose.choice(GARBAGE)))

    def _forge_answer(self) -> bool:
        """Forge the best result for a running trial."""

        def forge(server: Redis) -> None:
            found = {"state": "complete", "value": 1e9, "intermediate": [], "constraints": {}, "metrics": {}}
            trial = {"number": self._some_trial(), "request_digest": "", "started": 0.0, "seconds": 0.0}
            answer = {"study": self._plan.study, "worker": "w", "trials": [trial | {"evaluation": json.dumps(found)}]}
            server.rpush(f"tradeschool:results:{self._plan.study}", json.dumps(answer))

        return self._ask(forge)

    def _forge_lease(self) -> bool:
        score = self._choose.choice([0, 9e15, float("inf")])
        return self._ask(lambda server: server.zadd(LEASES, {f"{self._some_job()}:forged": score}))

    def _spoil_job(self) -> bool:
        field = self._choose.choice(["data", "status", "timeout", "created_at", "worker_name"])
        garbage = self._choose.choice(GARBAGE)
        return self._ask(lambda server: server.hset(f"rq:job:{self._some_job()}", field, garbage))

    def _forge_failure(self) -> bool:
        def forge(server: Redis) -> None:
            job = self._some_job()
            server.hset(f"rq:job:{job}", "status", "failed")
            server.xadd(f"rq:results:{job}", {"type": 2, "worker_name": "", "exc_string": "eJxLTs4vSwUABzYCdQ=="})

        return self._ask(forge)

    def _change_type(self) -> bool:
        """Replace a key of the product by a set or a string."""
        ours = (
            QUEUE,
            TAKEN,
            LEASES,
            *REGISTRIES,
            "tradeschool:studies",
            "tradeschool:clock",
            "tradeschool:maintenance",
        )
        own = (f"tradeschool:results:{self._plan.study}", f"tradeschool:losses:{self._plan.study}")
        job = self._some_job()
        key = self._choose.choice(
            [*ours, *own, f"rq:job:{job}", f"rq:results:{job}", "rq:workers:trials", "rq:workers"]
        )

        def change(server: Redis) -> None:
            server.delete(key)
            if self._choose.random() < 0.5:
                server.set(key, b"text")
            else:
                server.geoadd(key, (1.0, 2.0, "place"))

        return self._ask(change)

    def _some_trial(self) -> int:
        return self._choose.randrange(self._plan.trials)

    def _some_job(self) -> str:
        number = self._some_trial()
        size = self._plan.trials_per_job
        first = number // size * size
        return f"{self._plan.study}-{first}-{first + size - 1}-a1"

    def _ask(self, act: Callable[[Redis], object]) -> bool:
        """Do something over a connection of an attacker; whether the server was there."""
        with closing(Redis.from_url(self._plan.url, socket_timeout=5)) as server, suppress(RedisError):
            act(server)
            return True
        return False


def rounds(
    faults: int,
    seed: int,
    kinds: tuple[str, ...] = KINDS,
    *,
    trials: int = 40,
    a_round: int = 15,
    title: str = "sleep 0.3",
    pause: tuple[float, float] = (0.1, 1.0),
) -> Iterator[Round]:
    """Run studies with further seeds until enough faults were injected."""
    choose, done = random.Random(seed), 0
    while done < faults:
        with memory_folder() as folder:
            state, number = folder / "state", choose.randrange(1 << 30)
            state.mkdir()
            plan = Plan(
                folder=folder,
                url=EmbeddedValkey.of(state).url,
                title=title,
                trials=trials,
                seed=number,
                lag=6,
                key=KEY,
            )
            plan = replace(plan, study=f"chaos{number}-L1-a1", trials_per_job=choose.choice([1, 1, 2]))
            began, chaos = time.monotonic(), FaultyEnvironment(plan, state, choose, kinds)
            found = chaos.run(min(a_round, faults - done), pause)
            done += chaos.kills.total()
            wanted = sha256(plan.table_in_process()).hexdigest()
            yield Round(kills=chaos.kills, seconds=time.monotonic() - began, wanted=wanted, found=found)
