"""How often the rule that knows the edge meets the gates: `python benchmarks/power/reach.py [--seeds N] [--cells ...]`.

The rule trades the days out of sample of each level, without any search. A search can meet more gates, because it has
parameters of its own at each level, or less, because it does not know the edge. Stress tests are left out. Written to
`reach.json`, which the power bench shows.
"""

import argparse
import json
import sys
from collections import Counter
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.power.cells import WINDOW, Cell, cells, levels_of
from benchmarks.power.market import make
from benchmarks.power.runs import rule_missed
from workers.processes.process_group import cores, process_group

REACH = Path(__file__).with_name("reach.json")
EACH_LEVEL = "all levels"


def main() -> None:
    """Count, and write the file; cells that are not chosen keep their counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--cells", help="Names of cells with an edge, separated by commas; default: all.")
    parser.add_argument("--processes", type=int, default=cores())
    options = parser.parse_args()
    chosen = [cell for cell in cells() if cell.sharpe and (not options.cells or cell.name in options.cells.split(","))]
    found = reach()
    with process_group(options.processes) as group:
        for cell in chosen:
            found[cell.name] = counted(list(group.share(partial(missed, cell), range(options.seeds))))
            REACH.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
            print(cell.name, found[cell.name], flush=True)


def reach() -> dict[str, dict[str, object]]:
    """Return the counts by cell; empty before they were made."""
    found: dict[str, dict[str, object]] = json.loads(REACH.read_text()) if REACH.exists() else {}
    return found


def missed(cell: Cell, seed: int) -> dict[str, list[str]]:
    """Return the criteria that the rule misses on the market of a seed, by level."""
    return rule_missed(levels_of(cell.kind), cell, make(cell.kind, cell.strength, WINDOW, seed))


def counted(markets: list[dict[str, list[str]]]) -> dict[str, object]:
    """Return the number of markets, of those that meet each gate and all, and of misses by level and criterion."""
    met = Counter(f"level {level}" for market in markets for level, names in market.items() if not names)
    met[EACH_LEVEL] = sum(not any(market.values()) for market in markets)
    by_criterion = Counter(
        f"level {level}: {name}" for market in markets for level, names in market.items() for name in names
    )
    return {"seeds": len(markets), "met": dict(sorted(met.items())), "missed": dict(sorted(by_criterion.items()))}


if __name__ == "__main__":
    main()
