"""Stepwise backtest: calls a bar strategy at each bar and applies the rules of `reference` in between."""

from collections.abc import Mapping
from dataclasses import fields

import numpy as np

from optimizer.backtest import engine_arrays, reference
from optimizer.backtest.engine_arrays import Book
from optimizer.backtest.entries import EXIT, LONG, NONE, SHORT, Entries, entries_at
from optimizer.backtest.reference import BOOK
from optimizer.backtest.result import BacktestRun, TradingRules, trade_type
from optimizer.bars.preparation import Prepared
from optimizer.strategies.protocol import Bar, BarStrategy, Position
from optimizer.strategies.trade_management import TradeManagement
from tradeschool.errors import SettingsError


def step_through(
    strategy: BarStrategy, prepared: Prepared, parameters: Mapping[str, float], rules: TradingRules
) -> tuple[BacktestRun, Entries]:
    """Return the run of a bar strategy and its decisions as signals; `reference.replay` of these gives the same run.

    Raises:
        SettingsError: the strategy returns an invalid decision; names dataset and bar.
    """
    session = _Session(strategy, prepared, parameters, rules)
    for bar in range(prepared.first_evaluated):
        session.ask(bar)
    for day in range(prepared.day_count):
        session.begin_day()
        for bar in range(prepared.day_starts[day], prepared.day_starts[day + 1]):
            session.trade(bar)
        session.end_day(day)
    return session.outcome()


class _Session:
    """One bar strategy on one dataset."""

    def __init__(
        self, strategy: BarStrategy, prepared: Prepared, parameters: Mapping[str, float], rules: TradingRules
    ) -> None:
        self._name, self._prepared, self._rules = strategy.name, prepared, rules
        self._times = prepared.time
        self._decider = strategy.decider(prepared.dataset, parameters, rules.direction)
        self._market, self._terms = engine_arrays.market_of(prepared), engine_arrays.terms_of(prepared, rules)
        # Only the sign of a signal is unknown in advance, so distances and filters are computed for all judged bars at
        # once.
        evaluated = np.arange(prepared.first_evaluated, len(prepared), dtype=np.int32)
        management = TradeManagement.of(parameters)
        self._offers = {
            side: entries_at(
                prepared, management, evaluated, np.full(len(evaluated), side, dtype=np.int8), rules.direction
            )
            for side in (LONG, SHORT, EXIT)
        }
        self._decided = Entries(
            **{each.name: np.zeros_like(getattr(self._offers[LONG], each.name)) for each in fields(Entries)}
        )
        self._decided.bar[:] = -1
        self._plan, self._count = engine_arrays.plan_of(self._decided), 0
        self._trades = np.zeros(len(evaluated), dtype=trade_type(prepared.prices.dtype))
        self._equity, self._lows = np.empty(prepared.day_count), np.empty(prepared.day_count)
        self._books = np.zeros(1, dtype=BOOK)
        self._book: Book = self._books[0]
        reference.open_book(self._book, rules.initial_equity)

    def ask(self, bar: int) -> int:
        """Return the strategy's decision at the close of a bar."""
        shown = self._shown(bar)
        decision = self._decider.decide(shown, self._position(shown.close))
        if not isinstance(decision, int | np.integer) or not SHORT <= decision <= EXIT:
            raise SettingsError(
                f"strategy {self._name!r} on {self._prepared.dataset}, bar {bar}: decide must return 1 long, -1 short, "
                f"2 exit or 0 none, was {decision!r}"
            )
        return int(decision)

    def begin_day(self) -> None:
        """Start a day at midnight."""
        reference.begin_day(self._book, self._terms)

    def trade(self, bar: int) -> None:
        """Process a judged bar and the decision at its close."""
        if self._book["stopped"]:
            return
        reference.replay_bar(self._book, self._market, bar, self._plan, self._terms, self._trades)
        decision = self.ask(bar)
        if decision != NONE:
            self._write_down(decision, bar - self._prepared.first_evaluated)
            reference.read_signal(self._book, bar, self._plan)

    def end_day(self, day: int) -> None:
        """Record the day's equity and low."""
        self._equity[day], self._lows[day] = self._book["value"], self._book["day_low"]

    def outcome(self) -> tuple[BacktestRun, Entries]:
        """Return the run and the decisions; call after the last day."""
        run = engine_arrays.run_of(self._prepared, self._rules, self._book, self._trades, self._equity, self._lows)
        decided = {each.name: getattr(self._decided, each.name)[: self._count] for each in fields(Entries)}
        return run, Entries(**decided)

    def _write_down(self, decision: int, evaluated: int) -> None:
        for each in fields(Entries):
            getattr(self._decided, each.name)[self._count] = getattr(self._offers[decision], each.name)[evaluated]
        self._count += 1

    def _shown(self, bar: int) -> Bar:
        candles, tick = self._prepared, self._prepared.dataset.instrument.tick
        return Bar(
            number=bar,
            time=int(self._times[bar]),
            open=int(candles.open[bar]) * tick,
            high=int(candles.high[bar]) * tick,
            low=int(candles.low[bar]) * tick,
            close=int(candles.close[bar]) * tick,
            half_spread=float(candles.half_spread[bar]) * tick,
        )

    def _position(self, close: float) -> Position | None:
        held, tick = self._book, self._prepared.dataset.instrument.tick
        if held["side"] == 0:
            return None
        entry, side = int(held["entry_price"]) * tick, int(held["side"])
        units = float(held["size"]) / tick
        return Position(
            side=side,
            entry_bar=int(held["entry_bar"]),
            entry_price=entry,
            units=units,
            stop=_level(int(held["stop"]), tick),
            target=_level(int(held["target"]), tick),
            profit=side * (close - entry) * units - float(held["fees"]),
        )


def _level(ticks: int, tick: float) -> float | None:
    """Convert a stop or target to quote per base; None if it is beyond any price."""
    return ticks * tick if abs(ticks) < reference.NEVER // 2 else None
