"""A search on five hosts that are cut off, killed and added in mid-run equals that of one process.

The hosts are network namespaces: a queue server, a coordinator, and workers, each with its own home and folder. The
default suite cuts a host off for 10 s; `scripts/hosts` adds 60 s, packet loss and latency.
"""

import hashlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import Redis

from optimizer.search.trial_table import export
from tests.acceptance.hosts.network import Host, network
from tests.factories.folders import memory_folder
from tests.fork_server import Forked, ForkServer
from tests.workers.programs import IMPORTED, ROOT
from tests.workers.servers import answers, wait_until
from tests.workers.study_plan import Plan
from tradeschool.embedded_valkey.server import find_binary

IS_LONG = "TRADESCHOOL_TEST_HOSTS" in os.environ
LONG = pytest.mark.skipif(not IS_LONG, reason="takes minutes: ./scripts/hosts")
PASSWORD = "a-password-of-this-test"
ON_HOST = str(Path(__file__).with_name("on_host.py"))
TRIALS = 90


@dataclass
class Installation:
    """The hosts and what runs on them."""

    folder: Path
    make: Callable[[str], Host]
    forks: ForkServer
    processes: list[Forked | subprocess.Popen[bytes]] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)
    """Of hosts that reach the queue through a proxy."""

    def begin(self) -> None:
        """Start the queue server; this process reaches it by a socket, since it is on none of the hosts."""
        host = self.make("queue")
        self.address, self.url = host.address, f"redis://:{PASSWORD}@{host.address}:6379/0"
        command = ["ip", "netns", "exec", host.name, str(find_binary()), "--bind", host.address, "--port", "6379"]
        command += ["--unixsocket", str(self.folder / "v"), "--requirepass", PASSWORD, "--appendonly", "yes"]
        command += ["--save", "", "--dir", str(host.folder), "--logfile", str(host.folder / "log")]
        self.processes.append(subprocess.Popen(command))
        self.redis = Redis.from_url(f"unix://:{PASSWORD}@{self.folder / 'v'}")
        wait_until(lambda: answers(self.redis))

    def start(self, host: Host, program: str, *arguments: str) -> Forked:
        """Start a program of the tests on a host."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(host.folder / "home")}
        words = [ON_HOST, host.name, program, *arguments]
        self.processes.append(self.forks.start(words, cwd=host.folder, env=environment, has_errors=False))
        return self.processes[-1]

    def work(self, host: Host) -> Forked:
        """Start a worker on a host."""
        return self.start(host, "workers/worker_process.py", "--url", self.urls.get(host.name, self.url))

    def impair(self, host: Host, loss_percent: float, delay_ms: float) -> None:
        """Lose packets, and delay what passes between a host and the queue."""
        if host.impair(loss_percent, delay_ms):
            return
        host.lose(loss_percent)
        words = ["6379", self.address, "6379", f"{delay_ms / 2_000:g}"]
        self.start(host, "acceptance/hosts/delay_proxy.py", *words)
        self.urls[host.name] = f"redis://:{PASSWORD}@127.0.0.1:6379/0"

    @property
    def finished(self) -> int:
        """Number of finished jobs."""
        return int(self.redis.zcard("rq:finished:trials"))

    def workers(self) -> dict[str, str]:
        """Registered workers: host and last heartbeat."""
        names = self.redis.smembers("rq:workers:trials")
        found = (self.redis.hmget(name, "hostname", "last_heartbeat") for name in names)
        return {host.decode(): beat.decode() for host, beat in found if host and beat}

    def end(self) -> None:
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait(timeout=60)
            if isinstance(process, Forked):
                process.close()


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkServer]:
    forking = ForkServer(IMPORTED)
    yield forking
    forking.close()


@pytest.fixture
def site(forks: ForkServer) -> Iterator[Installation]:
    with memory_folder() as folder, network(folder) as make:
        made = Installation(folder, make, forks)
        try:
            made.begin()
            yield made
        finally:
            made.end()


def begin(site: Installation, first: Host, second: Host) -> tuple[Plan, Forked]:
    """Begin a search with workers on two hosts, each of which has finished a trial."""
    coordinator = site.make("coordinator")
    plan = Plan(folder=coordinator.folder, url=site.url, title="sleep 0.3", trials=TRIALS, lag=6)
    site.work(first)
    site.work(second)
    wait_until(lambda: site.workers().keys() == {first.name, second.name})
    run = site.start(coordinator, "workers/coordinator_process.py", plan.as_json())
    wait_until(lambda: site.finished >= 6)
    return plan, run


def finish(plan: Plan, run: Forked) -> None:
    """Compare the table of the search with that of one process."""
    assert run.wait(timeout=600) == 0
    study = plan.open()
    table = export(study.trials(), "csv")
    study.close()
    numbers = [int(found) for found in re.findall(rb"^(\d+),", table, re.MULTILINE)]

    assert numbers == list(range(TRIALS)), "each trial once"
    assert hashlib.sha256(table).hexdigest() == hashlib.sha256(plan.table_in_process()).hexdigest()


@pytest.mark.parametrize("seconds", [10, pytest.param(60, marks=LONG)])
def test_hosts_are_cut_off_killed_and_added(site: Installation, seconds: int) -> None:
    first, second = site.make("first"), site.make("second")
    plan, run = begin(site, first, second)

    first.cut()
    cut_at = time.monotonic()
    site.work(third := site.make("third"))  # a new host in mid-run
    wait_until(lambda: third.name in site.workers())
    killed = site.work(site.make("fourth"))
    site.processes[2].send_signal(signal.SIGKILL)  # the worker of the second host
    killed.send_signal(signal.SIGKILL)
    time.sleep(max(0.0, seconds - (time.monotonic() - cut_at)))
    lost = site.workers().get(first.name)
    first.reconnect()
    wait_until(lambda: site.workers().get(first.name, lost) != lost or run.poll() is not None)
    wait_until(lambda: first.name in site.workers())

    finish(plan, run)


@LONG
def test_packet_loss_and_latency_change_no_result(site: Installation) -> None:
    hosts = [site.make("first"), site.make("second")]
    for host in hosts:
        site.impair(host, loss_percent=5, delay_ms=200)

    finish(*begin(site, *hosts))

    assert all(host.lost_packets for host in hosts if host.name in site.urls)
