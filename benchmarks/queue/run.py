"""Measure the queue's targets on this machine: `python benchmarks/queue/run.py [--only PART ...]`.

Trials of no use are sent to workers by ours and by peers, each peer in an environment below ~/.cache/tradeschool-bench
that is made on the first run, which takes the network. Figures are medians of turns taken side by side; a part that is
measured again replaces its rows of the last run.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(1, str(Path(__file__).parents[1] / "fetch"))

import scaling
import steps
import throughput
from table import RESULTS, Row, machine, write

from tradeschool.embedded_valkey.server import EmbeddedValkey

NAME = "queue"


@contextmanager
def place() -> Iterator[tuple[Path, str]]:
    """A folder of our own, and the URL of a Valkey of our own, append-only file on."""
    with tempfile.TemporaryDirectory() as name, EmbeddedValkey.of(Path(name)).running() as valkey:
        yield Path(name), valkey.url


def parts() -> dict[str, Callable[[Path, str], list[Row]]]:
    """What can be measured, by name."""
    t = throughput
    return {
        "free": lambda folder, url: t.beside((t.FREE, t.FREE_FOUR), folder, url, 3),
        "work": lambda folder, url: t.beside((t.WORK, t.WORK_FOUR), folder, url, 2),
        "sleep": lambda folder, url: t.beside((t.SLEEP,), folder, url, 2),
        "many": lambda folder, url: t.alone(t.MANY, folder, url, 2) + t.alone(t.MOST, folder, url, 2),
        "steps": lambda folder, url: steps.costs(folder),
        "recovery": steps.recovery,
        "scaling": scaling.ours,
        "scaling-peers": scaling.peers,
        "scaling-costs": scaling.costs,
        "scaling-studies": scaling.studies,
    }


def main() -> None:
    """Print the table and write both files."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", nargs="+", choices=list(parts()), default=list(parts()))
    chosen = options.parse_args().only
    (rows, about), now = _last(), machine()
    about |= {"machine": now["machine"]}
    for name in chosen:
        print(f"measuring {name}", file=sys.stderr)
        now, began = machine(), time.monotonic()
        with place() as (folder, url):
            rows[name] = parts()[name](folder, url)
        took = f"{time.monotonic() - began:.0f} s"
        about[f"part {name}"] = f"{took}, measured at {now['measured at']}, load at start {now['load at start']}"
        about |= scaling.installed(tuple(throughput.PEERS.values()))
        _keep(rows, about)
    print((RESULTS / f"{NAME}.md").read_text())


def _keep(rows: dict[str, list[Row]], about: dict[str, str]) -> None:
    """Write the rows of all parts, also those of earlier runs."""
    every = sorted((row for name in rows for row in rows[name]), key=lambda row: (row.target or 99, row.what))
    path = write(every, about, NAME)
    kept = json.loads(path.with_suffix(".json").read_text()) | {
        "parts": {name: [row.what for row in found] for name, found in rows.items()}
    }
    path.with_suffix(".json").write_text(json.dumps(kept, indent=1) + "\n")


def _last() -> tuple[dict[str, list[Row]], dict[str, str]]:
    """The rows of the last run by part, and where and when each part was measured."""
    try:
        kept = json.loads((RESULTS / f"{NAME}.json").read_text())
    except FileNotFoundError:
        return {}, {}
    known = {row["what"]: Row(**row) for row in kept["rows"]}
    return {name: [known[what] for what in found] for name, found in kept["parts"].items()}, kept["about"]


if __name__ == "__main__":
    main()
