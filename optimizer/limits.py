"""What a level may ask of its winner beside the four figures of its gate: further constraints, and stress limits."""

import math
import re
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from optimizer.metric_names import GATE_DRAWDOWN, METRICS
from tradeschool.market import INSTRUMENTS, Window

Fraction = Annotated[float, Field(ge=0, le=1)]
CONSTRAINT = re.compile(r"\s*([a-z_]+)\s*(<=|>=)\s*(\S+)\s*")


class Strict(BaseModel):
    """A frozen value whose unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Analysis(StrEnum):
    """What a level's winner is looked at for, beside its gate; each writes a file of its own."""

    SIMILARITY = "similarity"
    """How near the parameters are to those of the level before."""
    REGIMES = "regimes"
    """What trend and volatility of the market earned and lost."""
    STABILITY = "stability"
    """What the winner's neighbours come to, and which parameters lie at the edge of their range."""


class Constraint(Strict):
    """A bound on one metric, on train for the search and on validation for the gate."""

    metric: str
    """A name of `metric_names.METRICS`."""
    at_least: float | None = None
    at_most: float | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of a text such as `calmar >= 1.5`.

        Raises:
            ValueError: where it has another form.
        """
        found = CONSTRAINT.fullmatch(text)
        if found is None:
            raise ValueError(f"expected METRIC <= NUMBER or METRIC >= NUMBER, was {text!r}")
        metric, sign, number = found.groups()
        metric = GATE_DRAWDOWN if metric == "drawdown" else metric
        return cls.model_validate({"metric": metric, "at_least" if sign == ">=" else "at_most": number})

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, value: object) -> object:
        return cls.parse(value).model_dump() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_one_bound_on_a_known_metric(self) -> Self:
        if self.metric not in METRICS:
            raise ValueError(f"unknown metric {self.metric!r}: expected one of {', '.join(METRICS)}")
        if (self.at_least is None) == (self.at_most is None) or not math.isfinite(self.bound):
            raise ValueError(f"{self.metric}: expected one finite number, at_least or at_most")
        return self

    @property
    def bound(self) -> float:
        """The number that the metric is held against."""
        return self.at_most if self.at_least is None else self.at_least  # type: ignore[return-value]  # one is there

    @property
    def name(self) -> str:
        """Such as `calmar >= 1.5`."""
        return f"{self.metric} {'<=' if self.at_least is None else '>='} {self.bound:g}"

    def violation(self, value: float) -> float:
        """How far the bound is missed, as a fraction of it where it is above one; not above zero where it holds."""
        if math.isnan(value):
            return 1.0
        missed = value - self.bound if self.at_least is None else self.bound - value
        return min(max(missed / max(abs(self.bound), 1.0), -FAR), FAR)


FAR = 1e6
"""A violation is a finite number, also of an infinite profit factor."""


class StressWindow(Strict):
    """Days on which markets were known to break."""

    name: str
    start: date
    end: date
    """The first day after it."""
    pairs: tuple[str, ...] = ()
    """Such as `GBP/USD`: the pairs that broke; all of a level's where none is named."""

    @model_validator(mode="after")
    def _is_a_range_of_known_pairs(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"{self.name}: start {self.start} must come before end {self.end}")
        known = [instrument.pair for instrument in INSTRUMENTS]
        if unknown := [pair for pair in self.pairs if pair not in known]:
            raise ValueError(f"{self.name}: unknown pair {unknown[0]!r}: expected one of {', '.join(known)}")
        return self

    @property
    def window(self) -> Window:
        """From midnight to midnight UTC."""
        return Window(_midnight(self.start), _midnight(self.end))


NAMED_WINDOWS = (
    StressWindow(name="covid crash", start=date(2020, 3, 8), end=date(2020, 3, 21)),
    StressWindow(name="china ban", start=date(2021, 5, 10), end=date(2021, 5, 26)),
    StressWindow(name="terra", start=date(2022, 5, 5), end=date(2022, 5, 21)),
    StressWindow(name="celsius", start=date(2022, 6, 10), end=date(2022, 6, 23)),
    StressWindow(name="gilts", start=date(2022, 9, 21), end=date(2022, 10, 15), pairs=("GBP/USD",)),
    StressWindow(name="ftx", start=date(2022, 11, 5), end=date(2022, 11, 21)),
    StressWindow(name="bank run", start=date(2023, 3, 8), end=date(2023, 3, 21)),
)


class StressLimits(Strict):
    """How a level's winner must hold out. A reading that is not a number keeps the gate shut, as anywhere."""

    windows: tuple[StressWindow, ...] = NAMED_WINDOWS
    window_drawdown: Fraction = 0.20
    """At most this intrabar drawdown inside each window, on train and validation; test stays closed."""
    costs_factor: Annotated[float, Field(ge=1)] = 2.0
    """By which fees, slippage and half-spreads are multiplied."""
    costs_profit_factor: Annotated[float, Field(gt=0)] = 1.0
    """At least this profit factor at multiplied costs."""
    costs_sharpe_kept: Fraction = 0.5
    """At least this share of the Sharpe ratio at multiplied costs."""
    late_sharpe_kept: Fraction = 0.7
    """At least this share of the Sharpe ratio where every order fills a bar later."""
    missing_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Of the bars that are taken away at random."""
    missing_sharpe_kept: Fraction = 0.7
    """At least this share of the Sharpe ratio without those bars."""
    shuffled_drawdown: Fraction = 0.25
    """At most this drawdown in 95 of 100 orders of the trades."""


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
