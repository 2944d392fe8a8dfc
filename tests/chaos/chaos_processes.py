"""A program that runs `tradeschool` repeatedly in forks of itself and kills it at given points.

Standard input is a line of JSON a run: the words, the environment's changes, and how it is to end. A fork starts in
milliseconds, because everything is imported already and polars has not been used. An audit hook sees each moment at
which the fork is about to write: a file is opened, renamed, removed, a statement of SQLite's is about to be run.
Source: https://docs.python.org/3/library/audit_events.html
"""

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable

import tradeschool.app.download.dataset_download

# Imported before the fork, so that no fork has to.
import tradeschool.cli.candles.data
import tradeschool.cli.candles.fetch
import tradeschool.cli.main
import tradeschool.views.download_progress
from fetcher import provider_registry

provider_registry.load()
tradeschool.views.download_progress.RECORD_EVERY = 86_400.0
"""A run of any length makes the same writes: its record is written at the end alone."""
FILES = {"open", "os.rename", "os.remove", "os.mkdir", "os.truncate"}
STATEMENTS = ("BEGIN", "INSERT", "UPDATE", "DELETE", "COMMIT", "CREATE", "ALTER")


class Watch:
    """Counts writes below a folder and ends the process at one of them."""

    def __init__(self, folder: str, kill_at: int | None, tell: Callable[[str], None]) -> None:
        self.folder, self.kill_at, self.tell = folder, kill_at, tell
        self.seen = 0

    def hook(self, event: str, words: tuple[object, ...]) -> None:
        if event in FILES and str(words[0]).startswith(self.folder):
            self._reach(f"{event} {self._name(str(words[1] if event == 'os.rename' else words[0]))}")

    def connection(self, *words: object, **named: object) -> sqlite3.Connection:
        """Replacement of `sqlite3.Connection` that reports its statements."""
        connection = sqlite3.Connection(*words, **named)  # type: ignore[arg-type]
        connection.set_trace_callback(self._statement)
        return connection

    def _statement(self, statement: str) -> None:
        if statement.lstrip().startswith(STATEMENTS):
            self._reach(" ".join(statement.split()[:3]))

    def _name(self, path: str) -> str:
        """The path without parts that differ between runs."""
        below = path.removeprefix(self.folder)
        return below[: -len(".") - 32] if ".staging/" in below else below

    def _reach(self, point: str) -> None:
        self.tell(point)
        if self.seen == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen += 1


def run(order: dict, out: int) -> None:
    """Run `tradeschool` with arguments in the fork; each point that it reaches is one line in the pipe."""
    os.environ.update(order["environment"])
    quiet = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    watch = Watch(order["folder"], order["kill_at"], lambda point: os.write(out, f"{point}\n".encode()) and None)
    sys.addaudithook(watch.hook)
    sqlite3.connect = watch.connection
    sys.argv = ["tradeschool", *order["words"]]
    tradeschool.cli.main.main()


def main() -> None:
    """A line in, a line out."""
    for line in sys.stdin:
        order = json.loads(line)
        there, here = os.pipe()
        child = os.fork()
        if not child:
            os.close(there)
            try:
                run(order, here)
            except SystemExit as ended:
                sys.stdout.flush()
                os._exit(int(ended.code or 0))
            os._exit(70)
        os.close(here)
        with os.fdopen(there) as told:
            points = told.read().splitlines()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(json.dumps({"code": os.waitstatus_to_exitcode(status), "points": points}) + "\n")
        sys.stdout.flush()


main()
