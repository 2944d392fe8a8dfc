"""Run the four levels for each built-in strategy on real candles: `python benchmarks/strategies/run.py --data FOLDER`.

The page docs/explanation/results.md is written from the reports of the runs. benchmarks/results/strategies.json has
their figures. Without the files of candles, nothing is run, and the command says which are missing.
"""

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "fetch"))
sys.path.insert(0, str(Path(__file__).parent))

import markets
from page import StrategyRun, results_page
from table import machine

from optimizer.curriculum.level_files import load_levels
from optimizer.strategies.registry import built_in_names
from tradeschool.atomic_files import publish_text

ROOT = Path(__file__).resolve().parents[2]
SECONDS = "seconds.json"
SEED = 7


def main() -> None:
    """Run what is asked for and write both files."""
    options = parsed()
    if lacking := markets.missing_files(options.data):
        print(f"skipped: {', '.join(lacking)} not in {options.data}", file=sys.stderr)
        return
    about = machine()
    with ExitStack() as stack:
        project = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        project.mkdir(parents=True, exist_ok=True)
        markets.make_project(options.data, project)
        levels = load_levels(project / markets.CURRICULUM)
        runs = [searched(project, name, options) for name in options.strategy or built_in_names()]
    about |= {
        "seed": str(SEED),
        "trials": f"**{options.trials} a level, instead of the levels' own**"
        if options.trials
        else "those of the levels",
        "surrogate markets of the null test": "default" if options.surrogates is None else str(options.surrogates),
        "workers": str(options.workers),
        "code": ", ".join(dict.fromkeys(each.report["fingerprints"]["code"] for each in runs)),
    }
    page = results_page(runs, levels, about)
    publish_text(ROOT / "docs" / "explanation", ROOT / "docs" / "explanation" / "results.md", page)
    figures = {"about": about, "runs": [figures_of(each) for each in runs]}
    text = json.dumps(figures, indent=1) + "\n"
    publish_text(ROOT / "benchmarks" / "results", ROOT / "benchmarks" / "results" / "strategies.json", text)
    print(page)


def parsed() -> argparse.Namespace:
    """The options."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True, help="Folder of the files of candles.")
    options.add_argument("--strategy", action="append", choices=built_in_names(), help="Repeatable. [default: all]")
    options.add_argument("--trials", type=int, help="Of each level, instead of its own number.")
    options.add_argument("--surrogates", type=int, help="Surrogate markets of the null test, instead of the default.")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--folder", type=Path, help="Project folder, kept; runs that it holds are not repeated.")
    return options.parse_args()


def searched(project: Path, strategy: str, options: argparse.Namespace) -> StrategyRun:
    """The run of a strategy; run or resumed if the project does not hold its end."""
    name = strategy.replace("_", "-")
    folder = project / "results" / name
    if not (folder / SECONDS).exists():
        is_begun = (folder / "run.json").exists()
        began = time.monotonic()
        words = resumed(name, options) if is_begun else begun(name, strategy, options)
        markets.run(project, "optimize", *words)
        seconds = None if is_begun else round(time.monotonic() - began, 1)
        (folder / SECONDS).write_text(json.dumps(seconds))
    report = json.loads((folder / "report.json").read_bytes())
    seconds = json.loads((folder / SECONDS).read_bytes())
    print(f"{strategy}: {report['recommendation']['action']}", file=sys.stderr)
    return StrategyRun(strategy=strategy, report=report, seconds=seconds)


def begun(name: str, strategy: str, options: argparse.Namespace) -> list[str]:
    """The words of `optimize` that begin a run."""
    words = ["run", "--curriculum", markets.CURRICULUM, "--strategy", strategy, "--seed", str(SEED)]
    words += ["--run", name, "-j", str(options.workers)]
    words += ["--trials", str(options.trials)] if options.trials else []
    return words + (["--surrogates", str(options.surrogates)] if options.surrogates is not None else [])


def resumed(name: str, options: argparse.Namespace) -> list[str]:
    """The words of `optimize` that continue a run that was interrupted."""
    return ["resume", name, "-j", str(options.workers)]


def figures_of(run: StrategyRun) -> dict[str, object]:
    """The figures of a run that the page shows, without its curves."""
    said = run.report["recommendation"]
    evidence = run.report.get("evidence") or {}
    holdout = evidence.get("holdout") or {}
    kept = ("level", "passed", "attempts", "finished", "reason", "parameters", "gate", "metrics")
    return {
        "strategy": run.strategy,
        "seconds": run.seconds,
        "recommendation": {name: said.get(name) for name in ("action", "rule", "reason", "skill", "would_change")},
        "checks": said["checks"],
        "out_of_sample": evidence.get("out_of_sample"),
        "holdout": {name: holdout.get(name) for name in ("window", "readings", "metrics", "skill")},
        "levels": [{name: level.get(name) for name in kept} for level in run.report["levels"]],
    }


if __name__ == "__main__":
    main()
