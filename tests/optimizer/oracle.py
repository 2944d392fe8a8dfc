"""A second backtest, slow and plain: written from the rules alone, prices whole numbers, money to 50 digits.

It shares no code with the engine, and where the engine keeps one record up to date, this one keeps lists.
"""

import math
from dataclasses import dataclass, field
from decimal import Decimal, localcontext

from optimizer.backtest.prepare import Prepared

DAY = 86_400
Plan = dict[int, tuple[int, int | None, int | None]]
"""Bar of a signal -> side (2 to be out) and distances of stop and target, None for none."""


@dataclass
class Trade:
    entry_bar: int
    entry_price: int
    side: int
    size: Decimal
    """Money per tick."""
    stop: int
    target: int
    costs: Decimal
    exit_bar: int = -1
    exit_price: int = -1
    reason: str = ""
    net: Decimal = Decimal(0)

    def gain(self, price: int) -> Decimal:
        return self.size * (price - self.entry_price) * self.side


@dataclass
class Outcome:
    trades: list[Trade] = field(default_factory=list)
    equity: list[Decimal] = field(default_factory=list)
    """One a judged calendar day."""
    lows: list[Decimal] = field(default_factory=list)
    drawdown: Decimal = Decimal(0)
    stopped: bool = False


@dataclass(frozen=True)
class Terms:
    fee: float = 0.0
    slippage: float = 0.0
    fraction: float = 1.0
    limit: float = 1.0
    long: bool = True
    short: bool = True


def crossings(closes: list[int], fast: int, slow: int) -> dict[int, int]:
    """Bar -> 1 where the fast average comes from at or below the slow one to above it, -1 the other way."""
    signs = {}
    for bar in range(slow - 1, len(closes)):
        difference = sum(closes[bar + 1 - fast : bar + 1]) * slow - sum(closes[bar + 1 - slow : bar + 1]) * fast
        signs[bar] = (difference > 0) - (difference < 0)
    found = {}
    for bar in range(slow, len(closes)):
        if signs[bar] and signs[bar] * signs[bar - 1] <= 0:
            found[bar] = signs[bar]
    return found


def average_true_range(prepared: Prepared, period: int) -> list[float]:
    ranges = []
    for bar in range(len(prepared)):
        high, low = int(prepared.high[bar]), int(prepared.low[bar])
        before = [int(prepared.close[bar - 1])] if bar else []
        ranges.append(max([high, *before]) - min([low, *before]))
    averages = [math.nan] * (period - 1) + [sum(ranges[:period]) / period]
    for true_range in ranges[period:]:
        averages.append(averages[-1] + (true_range - averages[-1]) * (1 / period))
    return averages


def sma_cross(prepared: Prepared, parameters: dict[str, float], terms: Terms) -> Outcome:
    closes = [int(price) for price in prepared.close]
    atr = average_true_range(prepared, int(parameters["atr_period"]))
    plan = {
        bar: (
            side,
            max(1, math.floor(parameters["stop_atr"] * atr[bar] + 0.5)),
            max(1, math.floor(parameters["target_atr"] * atr[bar] + 0.5)),
        )
        for bar, side in crossings(closes, int(parameters["fast"]), int(parameters["slow"])).items()
        if bar >= prepared.first_judged
    }
    return trade(prepared, plan, terms)


def trade(prepared: Prepared, plan: Plan, terms: Terms) -> Outcome:
    with localcontext() as context:
        context.prec = 50
        return _Account(prepared, plan, terms).outcome()


class _Account:
    def __init__(self, prepared: Prepared, plan: Plan, terms: Terms) -> None:
        columns = (prepared.open, prepared.high, prepared.low, prepared.close, prepared.half_spread)
        self.bars = list(zip(*(column.tolist() for column in columns), strict=True))
        self.prepared, self.plan, self.terms = prepared, plan, terms
        self.fee, self.taker = Decimal(terms.fee), Decimal(terms.fee) + Decimal(terms.slippage)
        self.cash = self.peak = Decimal(10_000)
        self.position: Trade | None = None
        self.pending: int | None = None
        self.result = Outcome()
        self.closing: dict[int, Decimal] = {}
        self.lowest: dict[int, Decimal] = {}

    def outcome(self) -> Outcome:
        for bar in range(self.prepared.first_judged, len(self.bars)):
            seen = self.open_bar(bar) + self.inside_bar(bar)
            self.close_bar(bar, seen)
            if self.result.stopped:
                break
            self.read_signal(bar)
        self.spread_over_days()
        return self.result

    def open_bar(self, bar: int) -> list[Decimal]:
        """Fills what is pending; what the account was worth on the way."""
        if self.pending is None:
            return []
        seen = []
        if self.position is not None:
            self.leave(bar, self.bars[bar][0], "signal")
            seen.append(self.cash)
        if self.may_enter(self.plan[self.pending][0]):
            self.enter(bar, *self.plan[self.pending])
        self.pending = None
        return seen

    def may_enter(self, signal: int) -> bool:
        return (signal == 1 and self.terms.long) or (signal == -1 and self.terms.short)

    def enter(self, bar: int, side: int, stop: int | None, target: int | None) -> None:
        price, spread = self.bars[bar][0], Decimal(self.bars[bar][4])
        size = Decimal(self.terms.fraction) * self.cash / price
        costs = size * (price * self.taker + spread)
        self.cash -= costs
        away = 10**12
        stop_price, target_price = price - side * (stop or away), price + side * (target or away)
        self.position = Trade(bar, price, side, size, stop_price, target_price, costs)

    def inside_bar(self, bar: int) -> list[Decimal]:
        if self.position is None:
            return []
        return (
            self.inside_long(bar, self.position) if self.position.side == 1 else self.inside_short(bar, self.position)
        )

    def inside_long(self, bar: int, held: Trade) -> list[Decimal]:
        opened, high, low, _, _ = self.bars[bar]
        if low <= held.stop:
            self.leave(bar, min(held.stop, opened), "stop")
            return [self.cash]
        if opened >= held.target:
            self.leave(bar, opened, "target")
            return [self.cash]
        seen = [self.cash + held.gain(low)]
        if high >= held.target:
            self.leave(bar, held.target, "target")
        return seen

    def inside_short(self, bar: int, held: Trade) -> list[Decimal]:
        opened, high, low, _, _ = self.bars[bar]
        if high >= held.stop:
            self.leave(bar, max(held.stop, opened), "stop")
            return [self.cash]
        if opened <= held.target:
            self.leave(bar, opened, "target")
            return [self.cash]
        seen = [self.cash + held.gain(high)]
        if low <= held.target:
            self.leave(bar, held.target, "target")
        return seen

    def close_bar(self, bar: int, seen: list[Decimal]) -> None:
        price = self.bars[bar][3]
        value = self.cash + (self.position.gain(price) if self.position else 0)
        self.fall(*seen, value)
        self.peak = max(self.peak, value)
        if self.position and (self.is_over(value) or bar == len(self.bars) - 1):
            self.leave(bar, price, "end")
            value = self.cash
            self.fall(value)
        day = int(self.prepared.time[bar]) // DAY
        self.closing[day] = value
        self.lowest[day] = min([self.lowest.get(day, value), *seen, value])
        self.result.stopped = self.is_over(value)

    def fall(self, *values: Decimal) -> None:
        self.result.drawdown = max([self.result.drawdown, *(1 - value / self.peak for value in values)])

    def is_over(self, value: Decimal) -> bool:
        return self.result.drawdown > Decimal(self.terms.limit) or value <= 0

    def read_signal(self, bar: int) -> None:
        signal = self.plan.get(bar, (0, None, None))[0]
        side = self.position.side if self.position else 0
        if signal not in (0, side) and (side or self.may_enter(signal)):
            self.pending = bar

    def leave(self, bar: int, price: int, reason: str) -> None:
        held = self.position
        assert held is not None
        spread = Decimal(self.bars[bar][4])
        cost = held.size * price * self.fee if reason == "target" else held.size * (price * self.taker + spread)
        self.cash += held.gain(price) - cost
        held.costs += cost
        held.exit_bar, held.exit_price, held.reason = bar, price, reason
        held.net = held.gain(price) - held.costs
        self.result.trades.append(held)
        self.position = None

    def spread_over_days(self) -> None:
        value = Decimal(10_000)
        first = int(self.prepared.time[self.prepared.first_judged]) // DAY
        for day in range(first, (self.prepared.window.end_seconds - 1) // DAY + 1):
            self.result.lows.append(min(value, self.lowest.get(day, value)))
            value = self.closing.get(day, value)
            self.result.equity.append(value)
