"""An independent, slow backtest written from the rules: integer prices, money with 50 digits.

It shares no code with the engine, and where the engine keeps one record up to date, this one keeps lists.
"""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, localcontext

from optimizer.bars.preparation import Prepared

DAY = 86_400
HOUR = 3_600


@dataclass(frozen=True)
class FaultRequest:
    """A signal: side (2 for exit), whether it may enter, and distances in ticks or None."""

    side: int
    enters: bool = True
    stop: int | None = None
    target: int | None = None
    trail: int | None = None
    atr: float = 0.0


SignalPlan = dict[int, FaultRequest]
"""Bar of a signal -> what it says."""


@dataclass
class Trade:
    entry_bar: int
    entry_price: int
    side: int
    size: Decimal
    """Money per tick."""
    stop: int
    target: int
    trail: int | None
    costs: Decimal
    exit_bar: int = -1
    exit_price: int = -1
    reason: str = ""
    net: Decimal = Decimal(0)

    def gain(self, price: int) -> Decimal:
        return self.size * (price - self.entry_price) * self.side


@dataclass
class RunOutcome:
    trades: list[Trade] = field(default_factory=list)
    equity: list[Decimal] = field(default_factory=list)
    """One a judged calendar day."""
    lows: list[Decimal] = field(default_factory=list)
    drawdown: Decimal = Decimal(0)
    stopped: bool = False


@dataclass(frozen=True)
class EngineTerms:
    fee: float = 0.0
    slippage: float = 0.0
    financing: float = 0.0
    fraction: float = 1.0
    size: float = 0.0
    """Fixed, in money per tick."""
    atr_risk: float = 0.0
    max_bars: int = 0
    cooldown: int = 0
    sides: tuple[int, ...] = (1, -1)


def crossings(closes: list[int], fast: int, slow: int) -> dict[int, int]:
    """Map bar to 1 where the fast average crosses above the slow one, and to -1 where it crosses below."""
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


def sma_cross(prepared: Prepared, parameters: dict[str, float], terms: EngineTerms) -> RunOutcome:
    closes = [int(price) for price in prepared.close]
    found = crossings(closes, int(parameters["fast"]), int(parameters["slow"]))
    evaluated = {bar: side for bar, side in found.items() if bar >= prepared.first_evaluated}
    return trade(prepared, fault_requests(prepared, evaluated, parameters, terms), terms)


def fault_requests(
    prepared: Prepared, signals: dict[int, int], parameters: dict[str, float], terms: EngineTerms
) -> SignalPlan:
    """Signals with their distances and filters."""
    atr = average_true_range(prepared, int(parameters["atr_period"]))

    def distance(name: str, bar: int) -> int | None:
        multiple = parameters.get(name, 0.0)
        return max(1, math.floor(multiple * atr[bar] + 0.5)) if multiple > 0 else None

    return {
        bar: FaultRequest(
            side,
            enters=side in terms.sides and passes_filters(prepared, bar, side, parameters, atr),
            stop=distance("stop_atr", bar),
            target=distance("target_atr", bar),
            trail=distance("trail_atr", bar),
            atr=atr[bar],
        )
        for bar, side in signals.items()
    }


def passes_filters(prepared: Prepared, bar: int, side: int, parameters: dict[str, float], atr: list[float]) -> bool:
    step = prepared.dataset.timeframe.seconds
    end = datetime.fromtimestamp(int(prepared.time[bar]) + step, UTC)
    hours = [(parameters.get("hour_start", 0) + hour) % 24 for hour in range(int(parameters.get("hour_length", 24)))]
    if end.hour not in hours or not int(parameters.get("weekdays", 127)) & 2 ** end.weekday():
        return False
    if parameters.get("trend", 0) and trend(prepared, bar, int(parameters["trend_period"])) != side:
        return False
    low, high = parameters.get("vol_low", 0.0), parameters.get("vol_high", 1.0)
    if low <= 0 and high >= 1:
        return True
    past = list(range(23, bar // 24 * 24, 24))[-40:]
    rank = sum(atr[place] < atr[bar] for place in past) / 40
    return len(past) == 40 and low <= rank <= high


def trend(prepared: Prepared, bar: int, period: int) -> int:
    """Sign of the last change of a simple average of H1 closes known at the close of the bar."""
    step = prepared.dataset.timeframe.seconds
    known: dict[int, int] = {}
    for place in range(bar + 1):
        known[int(prepared.time[place]) // HOUR] = int(prepared.close[place])
    if (int(prepared.time[bar]) + step) % HOUR:
        known.pop(int(prepared.time[bar]) // HOUR)
    closes = list(known.values())
    if len(closes) <= period:
        return 0
    change = sum(closes[-period:]) - sum(closes[-period - 1 : -1])
    return (change > 0) - (change < 0)


def trade(prepared: Prepared, plan: SignalPlan, terms: EngineTerms) -> RunOutcome:
    with localcontext() as context:
        context.prec = 50
        return _Account(prepared, plan, terms).outcome()


class _Account:
    def __init__(self, prepared: Prepared, plan: SignalPlan, terms: EngineTerms) -> None:
        columns = (prepared.open, prepared.high, prepared.low, prepared.close, prepared.half_spread)
        self.bars = list(zip(*(column.tolist() for column in columns), strict=True))
        self.prepared, self.plan, self.terms = prepared, plan, terms
        self.fee, self.taker = Decimal(terms.fee), Decimal(terms.fee) + Decimal(terms.slippage)
        self.cash = self.peak = Decimal(10_000)
        self.position: Trade | None = None
        self.pending: int | None = None
        self.result = RunOutcome()
        self.pause_end = 0
        self.closing: dict[int, Decimal] = {}
        self.lowest: dict[int, Decimal] = {}
        self.nights: dict[int, Decimal] = {}
        """Financing paid at the start of a day."""

    def outcome(self) -> RunOutcome:
        for bar in range(self.prepared.first_evaluated, len(self.bars)):
            seen = self.nights_before(bar) + self.open_bar(bar) + self.inside_bar(bar)
            self.close_bar(bar, seen)
            if self.result.stopped:
                break
            self.read_signal(bar)
        self.spread_over_days()
        return self.result

    def nights_before(self, bar: int) -> list[Decimal]:
        """Charge financing for midnights since the previous bar; return the equity after each."""
        if bar == self.prepared.first_evaluated or self.position is None:
            return []
        held, seen = self.position, []
        for day in range(self.day(bar - 1) + 1, self.day(bar) + 1):
            charge = held.size * held.entry_price * Decimal(self.terms.financing)
            held.costs += charge
            self.cash -= charge
            seen.append(self.cash + held.gain(self.bars[bar - 1][3]))
            self.nights[day] = seen[-1]
        return seen

    def day(self, bar: int) -> int:
        return int(self.prepared.time[bar]) // DAY

    def open_bar(self, bar: int) -> list[Decimal]:
        """Fill pending orders at the open; return equity values on the way."""
        seen = []
        opened = self.bars[bar][0]
        if self.position is not None and self.pending is not None:
            self.leave(bar, opened, "signal")
            seen.append(self.cash)
        elif self.position is not None and bar - self.position.entry_bar == self.terms.max_bars > 0:
            self.leave(bar, opened, "time")
            seen.append(self.cash)
        if self.pending is not None and self.plan[self.pending].enters and bar >= self.pause_end and self.cash > 0:
            self.enter(bar, self.plan[self.pending])
        self.pending = None
        return seen

    def enter(self, bar: int, wish: FaultRequest) -> None:
        price, spread = self.bars[bar][0], Decimal(self.bars[bar][4])
        size = self.size(price, wish)
        costs = size * (price * self.taker + spread)
        self.cash -= costs
        away = 10**12
        stop = price - wish.side * min(wish.stop or away, wish.trail or away)
        target = price + wish.side * (wish.target or away)
        self.position = Trade(bar, price, wish.side, size, stop, target, wish.trail, costs)

    def size(self, price: int, wish: FaultRequest) -> Decimal:
        if self.terms.size:
            return Decimal(self.terms.size)
        size = Decimal(self.terms.fraction) * self.cash / price
        if self.terms.atr_risk:
            return min(size, Decimal(self.terms.atr_risk) * self.cash / Decimal(wish.atr))
        return size

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
        elif held.trail:
            held.stop = max(held.stop, high - held.trail)
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
        elif held.trail:
            held.stop = min(held.stop, low + held.trail)
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
        day = self.day(bar)
        self.closing[day] = value
        self.lowest[day] = min([self.lowest.get(day, value), *seen, value])
        self.result.stopped = self.is_over(value)

    def fall(self, *values: Decimal) -> None:
        self.result.drawdown = max([self.result.drawdown, *(1 - value / self.peak for value in values)])

    def is_over(self, value: Decimal) -> bool:
        return self.result.drawdown > 1 or value <= 0

    def read_signal(self, bar: int) -> None:
        side = self.position.side if self.position else 0
        if bar in self.plan and self.plan[bar].side != side:
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
        if held.net < 0:
            self.pause_end = bar + self.terms.cooldown
        self.result.trades.append(held)
        self.position = None

    def spread_over_days(self) -> None:
        value = Decimal(10_000)
        first = int(self.prepared.time[self.prepared.first_evaluated]) // DAY
        for day in range(first, (self.prepared.window.end_seconds - 1) // DAY + 1):
            paid = self.nights.get(day, value)
            self.result.lows.append(min(value, paid, self.lowest.get(day, value)))
            value = self.closing.get(day, paid)
            self.result.equity.append(value)
