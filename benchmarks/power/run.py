"""How often the recommendation is right: `python benchmarks/power/run.py [--quick] [--seeds N] [--cells NAME,...]`.

Runs the project's four levels, with retries and holdout period, in this process on made markets whose true
Sharpe ratio is known (see `market.py`, `cells.py` and `calibrate.py`), and counts the recommendations. Each finished
run is a line of a file; a bench that was killed continues with the runs that are missing, and `--tables` only counts.
"""

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.fetch.table import RESULTS, Row, machine, markdown
from benchmarks.power.cells import Cell, calibration, cells
from benchmarks.power.market import Kind
from benchmarks.power.reach import reach
from benchmarks.power.runs import Finished, fingerprint, jobs_of, make_runs, read_finished
from benchmarks.power.tables import (
    Runs,
    bound_table,
    by_cell,
    check_table,
    floor_table,
    level_table,
    mandate_table,
    missed_table,
    outcome_table,
    p_value_table,
    reach_table,
    rule_table,
    target_rows,
    uniformity_rows,
)
from optimizer.runs.run_record import SURROGATES
from workers.processes.process_group import cores

QUICK_SEEDS = 20
RUNS = Path.home() / ".cache" / "tradeschool-bench" / "power.jsonl"


def main() -> None:
    """Make the missing runs, print the tables and write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SEEDS} seeds of each cell.")
    parser.add_argument("--seeds", type=int, help="Seeds of each cell.")
    parser.add_argument("--cells", help="Names of cells, separated by commas, such as none,trend-2; default: all.")
    parser.add_argument("--processes", type=int, default=cores())
    parser.add_argument(
        "--surrogates",
        type=int,
        default=0,
        help="Markets of the null test of each run; 0: p-values of the t distribution.",
    )
    parser.add_argument("--runs", type=Path, default=RUNS, help="File of finished runs.")
    parser.add_argument("--tables", action="store_true", help="Only count the finished runs.")
    parser.add_argument("--code", help="With --tables: fingerprint of the code whose runs are counted.")
    parser.add_argument("--name", default="power", help="Name of the files in benchmarks/results/.")
    options = parser.parse_args()
    chosen = _chosen(options.cells)
    seeds = options.seeds if options.seeds is not None else QUICK_SEEDS if options.quick else None
    code, about, jobs = options.code or fingerprint(options.surrogates), machine(), jobs_of(chosen, seeds)
    if options.code and not options.tables:
        parser.error("--code counts finished runs: add --tables")
    if not options.tables:
        for number, run in enumerate(make_runs(options.runs, code, jobs, options.processes, options.surrogates), 1):
            print(
                f"{number}: {run.cell} seed {run.seed}: {run.action}, level {run.last}, {run.seconds:.1f} s", flush=True
            )
    known = read_finished(options.runs, code)
    wanted = {(job.cell.name, job.seed) for job in jobs}
    found = [run for key, run in known.items() if key in wanted]
    about["runs"] = f"{len(found)} of {len(jobs)}, code {code}"
    text = written(chosen, found, about)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{options.name}.md").write_text(text)
    (RESULTS / f"{options.name}.json").write_text(json.dumps(_as_json(chosen, found, about), indent=1) + "\n")


def written(chosen: tuple[Cell, ...], found: list[Finished], about: dict[str, str]) -> str:
    """Return the page of all tables."""
    runs = by_cell(found)
    rules = [rule_table(kind, calibration()[kind]["curve"]) for kind in (Kind.TREND, Kind.REVERSION)]
    sections = {
        "Recommendations by true Sharpe ratio": outcome_table(chosen, runs),
        "Targets": markdown(_rows(chosen, runs), about),
        "P-values of no skill": p_value_table(chosen, runs),
        "Recommendations with the null test": floor_table(chosen, runs, SURROGATES),
        "Mandate": mandate_table(chosen, runs),
        "Level at which a run ended": level_table(chosen, runs),
        "Criteria that the last attempt missed": missed_table(chosen, runs),
        "Checks that were not met": check_table(chosen, runs),
        "Gates that the rule meets": reach_table(chosen, runs),
        "Gates that the rule meets, over more markets": bound_table(chosen, reach()),
        "Rules that know the edge": "\n\n".join(rules),
    }
    return "\n\n".join(f"## {title}\n\n{table.strip()}" for title, table in sections.items()) + "\n"


def _rows(chosen: tuple[Cell, ...], runs: Runs) -> list[Row]:
    return [*target_rows(chosen, runs), *uniformity_rows(chosen, runs)]


def _chosen(names: str | None) -> tuple[Cell, ...]:
    known = {cell.name: cell for cell in cells()}
    if names is None:
        return tuple(known.values())
    if unknown := sorted(set(names.split(",")) - known.keys()):
        sys.exit(f"unknown cells {', '.join(unknown)}: expected some of {', '.join(known)}")
    return tuple(cell for name, cell in known.items() if name in names.split(","))


def _as_json(chosen: tuple[Cell, ...], found: list[Finished], about: dict[str, str]) -> dict[str, object]:
    runs = by_cell(found)
    return {
        "about": about,
        "rows": [asdict(row) for row in _rows(chosen, runs)],
        "cells": [
            asdict(cell) | {"actions": Counter(run.action for run in runs.get(cell.name, ()))} for cell in chosen
        ],
    }


if __name__ == "__main__":
    main()
