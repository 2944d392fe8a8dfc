"""The other side of every measurement: `tradeschool exchange` in a process of its own, and what it saw."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from process import environment


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """One request as the exchange saw it."""

    arrived_seconds: float
    """Monotonic clock of the machine."""
    path: str
    query: str
    fault: str

    @property
    def is_for_candles(self) -> bool:
        """Whether it asked for a page; a probe for one candle, which OANDA gets at the start, does not."""
        return self.path.endswith("/candles") and "count=" not in self.query


@dataclass(frozen=True, slots=True, kw_only=True)
class Loopback:
    """An exchange that listens."""

    url: str
    log: Path

    def seen(self) -> list[RecordedRequest]:
        """Every request so far, in order of arrival."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        fields = ("arrived_seconds", "path", "query", "fault")
        requests = [RecordedRequest(**{name: line[name] for name in fields}) for line in lines]
        return sorted(requests, key=lambda request: request.arrived_seconds)

    def pages(self) -> list[RecordedRequest]:
        """Every request for a page so far."""
        return [request for request in self.seen() if request.is_for_candles]


@contextmanager
def exchange(faults: str = "") -> Iterator[Loopback]:
    """Serve generated candles with limits that nobody meets, until the block ends."""
    with TemporaryDirectory(prefix="tradeschool-bench-") as folder:
        log = Path(folder) / "requests.jsonl"
        limits = ("--coinbase-limit", "100000", "--oanda-limit", "100000")
        process = subprocess.Popen(
            [sys.executable, "-m", "tradeschool", "exchange", "--port", "0", *limits, "--faults", faults, "--log", log],
            stderr=subprocess.PIPE,
            text=True,
            env=environment({}),
        )
        try:
            assert process.stderr
            url = process.stderr.readline().split()[2].rstrip(";")
            yield Loopback(url=url, log=log)
        finally:
            process.terminate()
            process.communicate()
