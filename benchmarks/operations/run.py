"""What open pages cost: `python benchmarks/operations/run.py [--quick]`.

A Valkey, a queue of a thousand jobs, eight workers' records, and our page and rq-dashboard beside it, each with 1 and
200 visitors in turn. Counted at Redis itself: commands; of the page's own process: processor time. rq-dashboard lives
in an environment below ~/.cache/tradeschool-bench that is made on the first run, which takes the network.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from tradeschool.embedded_valkey.server import find_binary

sys.path.insert(0, str(Path(__file__).parents[1] / "fetch"))

from peers import CACHE
from table import Row, machine, markdown, write

HERE = Path(__file__).parent
SECONDS, QUICK_SECONDS = 15.0, 5.0
"""That each is measured for."""
MANY = 200
POLL_SECONDS = 2.5
"""rq-dashboard's own."""
REQUIREMENTS = ("rq-dashboard==0.9.0", "rq==3.0.0", "six")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What visitors cost, a second."""

    commands: float
    processor: float
    """Seconds of the serving process."""
    answers: float
    kilobytes: float


def main() -> None:
    """Print the table and write both files."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="Measure for a third of the time.")
    seconds = QUICK_SECONDS if options.parse_args().quick else SECONDS
    python = install()
    with tempfile.TemporaryDirectory() as name, valkey(Path(name)) as port:
        fill(Redis(port=port))
        with ours(Path(name), port) as (url, pid):
            one, many = (cost(url, pid, port, count, seconds) for count in (1, MANY))
        with dashboard(python, port) as (url, pid):
            path = ("/0/data/queues.json", str(POLL_SECONDS))
            their_one, their_many = (cost(url, pid, port, count, seconds, *path) for count in (1, MANY))
    ratio, theirs = many.commands / one.commands, their_many.commands / their_one.commands
    share = many.processor / their_many.processor
    rows = [
        Row(
            target=1,
            what=f"Redis commands per second, {MANY} pages / 1 page",
            wanted="<= 1.1",
            reached=f"{ratio:.2f} ({one.commands:.1f}, {many.commands:.1f})",
            met=ratio <= 1.1,
        ),
        Row(
            target=1,
            what="the same, rq-dashboard",
            wanted="",
            reached=f"{theirs:.0f} ({their_one.commands:.1f}, {their_many.commands:.0f})",
        ),
        Row(
            target=2,
            what=f"CPU of the server at {MANY} pages, ours / rq-dashboard's",
            wanted="< 1",
            reached=f"{share:.2f} ({many.processor:.2f} s/s, {their_many.processor:.2f} s/s)",
            met=share < 1,
        ),
        Row(
            target=2,
            what="responses per second meanwhile, ours and rq-dashboard's",
            wanted="",
            reached=f"{many.answers:.0f} and {their_many.answers:.0f}",
        ),
    ]
    about = machine() | {"peer": ", ".join(REQUIREMENTS), "each measured for": f"{seconds:g} s"}
    print(markdown(rows, about))
    print(f"written to {write(rows, about, 'operations')} and beside it as JSON")


def cost(url: str, pid: int, port: int, count: int, seconds: float, *polls: str) -> Cost:
    """What so many visitors cost; the first second, in which they come, is left out."""
    command = [sys.executable, str(HERE / "programs" / "visitors.py"), url, str(count), str(seconds + 2), *polls]
    visiting = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    time.sleep(2)
    connection = Redis(port=port)
    before, begun = commands(connection), processor(pid)
    time.sleep(seconds)
    told, used = commands(connection) - before - 1, processor(pid) - begun
    found = json.loads(visiting.communicate()[0])
    return Cost(
        commands=told / seconds,
        processor=used / seconds,
        answers=found["answers"] / (seconds + 2),
        kilobytes=found["bytes"] / (seconds + 2) / 1000,
    )


def commands(connection: Redis) -> int:
    """All that the server has ever been asked."""
    return int(connection.info("stats")["total_commands_processed"])


def processor(pid: int) -> float:
    """Seconds of processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def fill(connection: Redis) -> None:
    """A thousand jobs that wait, and eight workers."""
    for number in range(1_000):
        job = f"r-L1-a1-{number}-{number}-a1"
        connection.hset(f"rq:job:{job}", mapping={"status": "queued", "enqueued_at": "2026-01-01T00:00:00.000000Z"})
        connection.rpush("rq:queue:trials", job)
    connection.sadd("rq:queues", "rq:queue:trials")
    for number in range(8):
        key = f"rq:worker:w{number}"
        moment = "2026-01-01T00:00:00.000000Z"
        connection.hset(key, mapping={"state": "busy", "hostname": "h", "last_heartbeat": moment, "birth": moment})
        connection.sadd("rq:workers", key)
        connection.sadd("rq:workers:trials", key)


@contextmanager
def valkey(folder: Path) -> Iterator[int]:
    """The port of a server of our own."""
    port = free_port()
    process = subprocess.Popen(
        [find_binary(), "--port", str(port), "--save", "", "--dir", folder], stdout=subprocess.DEVNULL
    )
    time.sleep(0.5)
    yield port
    process.terminate()
    process.wait()


@contextmanager
def ours(folder: Path, redis_port: int) -> Iterator[tuple[str, int]]:
    """Our page."""
    environment = os.environ | {"TRADESCHOOL_REDIS_URL": f"redis://127.0.0.1:{redis_port}"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tradeschool", "serve", "--port", "0"],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    found = None
    while not found:
        found = re.search(r"http://[\d.]+:\d+", process.stderr.readline())
    yield found[0], process.pid
    process.terminate()
    process.wait()


@contextmanager
def dashboard(python: Path, redis_port: int) -> Iterator[tuple[str, int]]:
    """rq-dashboard."""
    port = free_port()
    command = [python.with_name("rq-dashboard"), "--bind", "127.0.0.1", "--port", str(port)]
    command += ["--redis-url", f"redis://127.0.0.1:{redis_port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(4)
    yield f"http://127.0.0.1:{port}", process.pid
    process.terminate()
    process.wait()


def install() -> Path:
    """rq-dashboard's interpreter, its environment made where there is none yet."""
    home = CACHE / "rq-dashboard"
    if not (home / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([home / "bin" / "python", "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        (home / ".installed").touch()
    return home / "bin" / "python"


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


if __name__ == "__main__":
    main()
