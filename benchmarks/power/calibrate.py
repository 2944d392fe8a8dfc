"""Find the strength of each edge at which its rule earns a wanted Sharpe ratio: `python benchmarks/power/calibrate.py`.

1. The rule: of random parameters of the third level's search space, improved step by step on markets with a strong
   edge, the one with the highest Sharpe ratio among those that meet the win rate and profit factor of the last level's
   gate. A search can choose no other: both are constraints on train.
2. The curve: the Sharpe ratio of that rule after costs at several strengths, each over the same many markets of the
   whole window, all their days pooled.
3. The strengths at which the curve has the wanted values, by linear interpolation.

Written to `calibration.json`, with the rule's metrics at each strength. The standard error of a Sharpe ratio over n
years is about sqrt((1 + SR^2 / 2 / 365) / n) (Lo, The Statistics of Sharpe Ratios, 2002, Financial Analysts Journal
58:36-52).
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.power.cells import CALIBRATION, SHARPES, WINDOW, levels_of
from benchmarks.power.market import Kind, make
from optimizer.bars.lead_in import JudgedWindow
from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Level, Parameters
from optimizer.objective import metrics
from optimizer.objective.objective import backtest, prepare_windows, repair
from optimizer.objective.portfolio import portfolio
from optimizer.objective.sizing import sized, solve_size
from optimizer.strategies.protocol import IntParameter, load, repaired
from optimizer.strategies.trade_management import TradeManagement
from workers.processes.process_group import ProcessGroup, process_group

STRENGTHS = {
    Kind.TREND: (0.15, 0.25, 0.3, 0.35, 0.4, 0.5, 0.65, 0.8, 1.0),
    Kind.REVERSION: (0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9),
}
STRONG = {Kind.TREND: 0.35, Kind.REVERSION: 0.5}
"""Strength at which the rule is chosen."""
SPARE_WIN_RATE, SPARE_PROFIT_FACTOR = 0.02, 0.1
"""How much more than its gate asks for the rule has at that strength."""
CHOOSING = 3
"""Markets on which the rule is chosen."""
FIRST_SEED = 1_000_000
"""Above the seeds of the bench's runs."""


def main() -> None:
    """Write the calibration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markets", type=int, default=40, help="Markets of the whole window per strength.")
    parser.add_argument("--draws", type=int, default=150, help="Random parameters, and as many steps from the best.")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kinds", help="Kinds of edges, separated by commas; default: all.")
    options = parser.parse_args()
    kinds = [Kind(name) for name in options.kinds.split(",")] if options.kinds else STRENGTHS
    found = json.loads(CALIBRATION.read_text()) if CALIBRATION.exists() else {}
    with process_group(options.processes) as group:
        for kind in kinds:
            found[kind.value] = calibrated(kind, group, options.markets, options.draws)
            CALIBRATION.write_text(json.dumps(found, indent=1) + "\n")
            print(kind, json.dumps(found[kind.value], indent=1))


def calibrated(kind: Kind, group: ProcessGroup, markets: int, draws: int) -> dict[str, object]:
    """Return rule, curve and strengths of a kind."""
    parameters = best_rule(kind, draws)
    curve = []
    for strength in STRENGTHS[kind]:
        work = partial(rule_metrics, kind, strength, parameters)
        curve.append({"strength": strength, **pooled(list(group.share(work, range(markets))))})
        print(kind, curve[-1], flush=True)
        if curve[-1]["sharpe"] > max(SHARPES) + 0.3:
            break
    sharpes, strengths = [0.0, *(each["sharpe"] for each in curve)], [0.0, *(each["strength"] for each in curve)]
    first = next(place for place, sharpe in enumerate(sharpes) if sharpe > 0)  # costs come before the edge
    wanted = {f"{each:g}": float(np.interp(each, sharpes[first - 1 :], strengths[first - 1 :])) for each in SHARPES}
    return {"parameters": parameters, "strengths": wanted, "markets": markets, "curve": curve}


def best_rule(kind: Kind, draws: int) -> Parameters:
    """Return the rule: gates first, then the Sharpe ratio, over a few markets with a strong edge."""
    level, gate = rule_level(kind), levels_of(kind)[-1].gate
    prepared = [whole_market(kind, STRONG[kind], FIRST_SEED - 1 - number) for number in range(CHOOSING)]
    random = np.random.default_rng(1)

    def worth(parameters: Mapping[str, float]) -> tuple[float, float]:
        runs = [[backtest(level, each, parameters) for each in bars] for bars in prepared]
        figures = metrics.summarise([run for each in runs for run in each])
        missed = max(0.0, gate.win_rate + SPARE_WIN_RATE - figures["win_rate"])
        missed += max(0.0, gate.profit_factor + SPARE_PROFIT_FACTOR - figures["profit_factor"])
        return -missed, metrics.sharpe(np.concatenate([portfolio(each).returns for each in runs]))

    tried = [_drawn(level, random, None) for _ in range(draws)]
    best = max(tried, key=worth)
    reached = worth(best)
    for _ in range(draws):
        moved = _drawn(level, random, best)
        if (value := worth(moved)) > reached:
            best, reached = moved, value
    print(kind, "rule", best, reached, flush=True)
    return best


def _drawn(level: Level, random: np.random.Generator, around: Parameters | None) -> Parameters:
    """Return random parameters of a level's ranges, or a random step of some from a point."""
    whole = {each.name for each in load(level.strategy).parameters if isinstance(each, IntParameter)}
    found: Parameters = {}
    for name, (low, high) in level.ranges.items():
        value = random.uniform(low, high)
        if around is not None:
            value = around[name] + (high - low) * 0.15 * random.standard_normal() * (random.random() < 0.5)
        value = min(max(value, low), high)
        found[name] = round(value) if name in whole else round(value, 2)
    return repair(level, found)


def rule_level(kind: Kind) -> Level:
    """Return the level whose costs and datasets the rule has: the third, both ways over all pairs."""
    return levels_of(kind)[2]


def whole_market(kind: Kind, strength: float, seed: int) -> tuple[Prepared, ...]:
    """Return the prepared bars of all datasets of a market over the whole window."""
    level, market = rule_level(kind), make(kind, strength, WINDOW, seed, phases=False)
    whole = [JudgedWindow(source=each.source, window=WINDOW) for each in level.datasets]
    return prepare_windows(level, whole, market.read)


def rule_metrics(
    kind: Kind, strength: float, parameters: Mapping[str, float], number: int
) -> tuple[dict[str, float], list[float]]:
    """Return the rule's metrics on market `number` of the calibration at the size of the level's risk budget, and its
    daily returns at size 1.
    """
    level = rule_level(kind)
    runs = [backtest(level, each, parameters) for each in whole_market(kind, strength, FIRST_SEED + number)]
    account = portfolio(runs)
    size = solve_size(level, TradeManagement.of(repaired(load(level.strategy), parameters)), account, runs)
    return metrics.figures(sized(runs, size)), account.returns.tolist()


def pooled(found: Sequence[tuple[dict[str, float], list[float]]]) -> dict[str, float]:
    """Return the Sharpe ratio over all days with its standard error, and the mean of the other metrics."""
    returns = np.concatenate([each for _, each in found])
    years = len(returns) / metrics.DAYS_A_YEAR
    sharpe = metrics.sharpe(returns)
    names = ("win_rate", "profit_factor", "max_drawdown_intrabar", "trades")
    means = {name: round(float(np.mean([figures[name] for figures, _ in found])), 4) for name in names}
    error = ((1 + sharpe**2 / 2 / metrics.DAYS_A_YEAR) / years) ** 0.5
    return {"sharpe": round(sharpe, 4), "standard_error": round(error, 4), **means}


if __name__ == "__main__":
    main()
