"""Measure the ten targets of fetching on this machine: `python benchmarks/fetch/run.py [--quick]`.

Everything talks to an exchange on the loopback address. Peers run side by side with ours, each in an environment
below ~/.cache/tradeschool-bench that is made on the first run, which takes the network. Figures are medians of
interleaved rounds; seconds are this machine's, ratios travel further.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import cost
import harm
import pace
from peers import CCXT, MEMORY
from table import Row, machine, markdown, write


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    rounds: int
    timerange: str | None
    """Of the plan whose cost is measured; the catalogue's when None."""
    pages: int
    """Of each loop side by side."""
    seconds: float
    """Of each pace."""
    kills: int


FULL = Scale(rounds=3, timerange=None, pages=240, seconds=60, kills=8)
QUICK = Scale(rounds=1, timerange="20200101-20200701", pages=90, seconds=12, kills=2)


def main() -> None:
    """Print the table and write both files."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="Less of everything, in under 90 seconds.")
    is_quick = options.parse_args().quick
    scale = QUICK if is_quick else FULL
    about = machine()
    for peer in (CCXT, MEMORY):
        peer.install()
        about[f"peer {peer.name}"] = peer.versions()
    began = time.monotonic()
    rows = sorted(_rows(scale), key=lambda row: row.target)
    about["took"] = f"{time.monotonic() - began:.0f} s{', --quick' if is_quick else ''}"
    print(markdown(rows, about))
    print(f"written to {write(rows, about, 'fetch-quick' if is_quick else 'fetch')} and beside it as JSON")


def _rows(scale: Scale) -> list[Row]:
    parts: dict[str, Callable[[], list[Row]]] = {
        "cost": lambda: cost.measure(scale.rounds, scale.timerange, scale.pages),
        "pace": lambda: pace.measure(scale.seconds),
        "harm": lambda: harm.measure(scale.kills, "20201001-20210201", "20200101-20210101"),
    }
    rows = []
    for name, part in parts.items():
        print(f"measuring {name}", file=sys.stderr)
        rows += part()
    return rows


if __name__ == "__main__":
    main()
