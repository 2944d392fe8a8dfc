"""One account that several parameter sets trade in turn: each set enters on its own bars only.

Each set is run by the engine, with entries on its bars alone, and manages its positions to their end by its own rules.
The account holds one position per dataset at a time: a set does not enter while another set's position is open, and
skips the signals of those bars. Positions do not overlap, so the account's equity is the product of the sets' equities:
exact for positions that are a share of the equity.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.entries import Entries, find_entries
from optimizer.backtest.kernel import trade
from optimizer.backtest.result import BacktestRun, ExitReason, TradingRules
from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Level
from optimizer.strategies.fixed_environment import surroundings
from optimizer.strategies.protocol import SignalStrategy, load, repaired
from optimizer.strategies.time_limit import bounded
from optimizer.strategies.trade_management import TradeManagement
from tradeschool.log import about

NO_SET = -1
"""Place of a bar on which no set may enter."""
AT_THE_OPEN = (ExitReason.SIGNAL, ExitReason.TIME)
"""Reasons of exits at the open of their bar: another set may enter at the same open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSignals:
    """The signals of one parameter set on one dataset."""

    bars: Prepared
    entries: Entries
    rules: TradingRules

    def run(self, allowed: NDArray[np.bool_]) -> BacktestRun:
        """Backtest with entries at the allowed signals only; every signal still ends a position against it.

        `allowed`: of shape (n_signals,).
        """
        return trade(self.bars, replace(self.entries, enters=self.entries.enters & allowed), self.rules)


def signals_of_set(level: Level, bars: Prepared, parameters: Mapping[str, float]) -> SetSignals:
    """Return the signals of a parameter set of a strategy that returns all its signals at once.

    Raises:
        TypeError: the strategy decides bar by bar.
        SettingsError: a parameter is not the strategy's, or it returns an invalid signal.
    """
    strategy = load(level.strategy)
    if not isinstance(strategy, SignalStrategy):
        raise TypeError(f"strategy {level.strategy} decides bar by bar")
    whole = repaired(strategy, parameters)
    rules = TradingRules.of(
        level.direction, level.costs, level.position_fraction, bars.dataset, TradeManagement.of(whole)
    )
    with about(dataset=bars.dataset.name), surroundings(level.strategy), bounded():
        entries = find_entries(strategy, bars, whole, level.direction)
    return SetSignals(bars=bars, entries=entries, rules=rules)


def rotate(sets: Sequence[SetSignals], places: NDArray[np.int64]) -> BacktestRun:
    """Return the run of an account that these sets trade in turn; at least one set.

    `places`: which set may enter at the close of each bar, or `NO_SET`; shape (n_bars,).
    """
    allowed = [places[each.entries.bar] == place for place, each in enumerate(sets)]
    runs = [each.run(own) for each, own in zip(sets, allowed, strict=True)]
    taken = [0] * len(sets)
    last: np.void | None = None
    while (place := _next_set(runs, taken)) is not None:
        entry = runs[place].trades[taken[place]]
        if last is not None and entry["entry_bar"] <= _held_until(last):
            fills = sets[place].entries.bar + 1
            allowed[place] = allowed[place] & ((fills < last["entry_bar"]) | (fills > _held_until(last)))
            runs[place] = sets[place].run(allowed[place])
            continue  # what it has traded before is unchanged
        last = entry
        taken[place] += 1
    return _account(runs)


def _next_set(runs: Sequence[BacktestRun], taken: Sequence[int]) -> int | None:
    """Return the set whose next trade enters first; None after the last trade. No two sets enter at the same bar."""
    following = [
        (int(run.trades["entry_bar"][count]), place)
        for place, (run, count) in enumerate(zip(runs, taken, strict=True))
        if count < len(run.trades)
    ]
    return min(following)[1] if following else None


def _held_until(position: np.void) -> int:
    """Return the last bar at whose open another set must not enter."""
    return int(position["exit_bar"]) - (position["reason"] in AT_THE_OPEN)


def _account(runs: Sequence[BacktestRun]) -> BacktestRun:
    """Return the account of runs whose positions do not overlap. Lows of one day count as simultaneous."""
    first = runs[0]
    shares = np.array([run.equity / run.initial_equity for run in runs])
    starts = np.concatenate((np.ones((len(runs), 1)), shares[:, :-1]), axis=1)
    lows = np.array([run.lows / run.initial_equity for run in runs])
    falls = np.divide(lows, starts, out=np.ones_like(lows), where=starts > 0)
    equity = first.initial_equity * shares.prod(axis=0)
    day_starts = np.concatenate(([first.initial_equity], equity[:-1]))
    day_lows = day_starts * falls.prod(axis=0)
    peaks = np.maximum.accumulate(day_starts)
    return replace(
        first,
        trades=_trades(runs),
        equity=equity,
        lows=day_lows,
        max_intrabar_drawdown=float(max(0.0, ((peaks - day_lows) / peaks).max(initial=0.0))),
        stopped=any(run.stopped for run in runs),
    )


def _trades(runs: Sequence[BacktestRun]) -> NDArray[np.void]:
    """Return all trades by entry, each with the money of the account: that of its set times the others' growth."""
    realised = [run.initial_equity for run in runs]
    found = np.concatenate([run.trades for run in runs])
    for place, (number, own) in enumerate(_by_entry(runs)):
        scale = np.prod([value / runs[other].initial_equity for other, value in enumerate(realised) if other != number])
        realised[number] += float(own["net"])
        found[place] = own
        for column in ("units", "fees", "net"):
            found[column][place] *= scale
    return found


def _by_entry(runs: Sequence[BacktestRun]) -> Iterator[tuple[int, np.void]]:
    order = sorted(
        (int(bar), number, place)
        for number, run in enumerate(runs)
        for place, bar in enumerate(run.trades["entry_bar"])
    )
    for _, number, place in order:
        yield number, runs[number].trades[place]
