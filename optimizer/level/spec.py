"""Level: one step of the curriculum with its search space, datasets, gate and costs.

A level is a Python file in `optimizer/curriculum/levels/` or a `[[level]]` table of a TOML file, with these fields.
"""

import math
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from optimizer.level.constraints import Analysis, Constraint, Fraction, StressLimits, StrictModel
from optimizer.level.costs import Costs
from optimizer.level.holdout import DEFAULT_HOLDOUT, Holdout
from optimizer.level.inheritance_settings import InheritanceSettings
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.metric_names import GATE_DRAWDOWN
from optimizer.level.retry_settings import RetrySettings
from optimizer.level.risk import Risk
from optimizer.level.search_methods import (
    DEFAULT_PRUNER,
    DEFAULT_SAMPLER,
    MAX_OBJECTIVES,
    MULTI_OBJECTIVE_SAMPLER,
    NO_PRUNER,
    PrunerSpec,
    SamplerSpec,
    check_combination,
    check_objective,
    pruner_named,
    sampler_named,
)
from tradeschool.markets.windows import Window

MAX_WINDOWS = 52
"""Most windows of a walk-forward."""


class Direction(StrEnum):
    """Allowed position sides of a level."""

    LONG = "long"
    SHORT = "short"
    BOTH = "both"


class Mode(StrEnum):
    """Which finished trials the sampler sees."""

    LAGGED = "lagged"
    """Trials 0..n-lag only: the same trials for any number of workers."""
    ASYNC = "async"
    """All finished trials: not reproducible, because it depends on completion order."""


class Part(StrEnum):
    """Parts of each dataset of a level, in time order."""

    TRAIN = "train"
    """Read by the search."""
    VALIDATION = "validation"
    """Selects the winner and is read by the gate."""
    TEST = "test"
    """Opened once after the gate; reported, decides nothing."""


class Scheme(StrEnum):
    """How the days of a level become evidence."""

    SINGLE = "single"
    """One search on train; validation selects among its best trials; test is opened once."""
    WALK_FORWARD = "walk_forward"
    """One search per window on the days before it; the windows' out-of-sample days together are validation."""


class Split(StrictModel):
    """Split of each dataset's days in time order, as fractions of its length."""

    scheme: Scheme = Scheme.SINGLE
    train: Fraction = 0.6
    """With `walk_forward` the train days of the first window, 0.4 by default."""
    validation: Fraction = 0.2
    """With `walk_forward` all days after those of `train`: they are out of sample."""
    test: Fraction = 0.2
    """0 with `walk_forward`."""
    embargo_days: Annotated[int, Field(ge=0)] = 1
    """Days skipped at the start of validation and of test, or with `walk_forward` at the end of each window's train.
    Indicators warm up on the bars before a part, inside the dataset's range; positions and trades never cross its
    border.
    """
    windows: Annotated[int, Field(ge=1, le=MAX_WINDOWS)] = 4
    """Number of out-of-sample windows of equal length with `walk_forward`."""
    anchored: bool = True
    """Whether each window's train begins on the first day; else it keeps the length of the first window's train."""
    window_trials: Annotated[int, Field(ge=1)] | None = None
    """Trials of each window's search; half of the level's trials if not set."""

    @model_validator(mode="before")
    @classmethod
    def _fill_walk_forward(cls, given: object) -> object:
        """Fill in the default fractions of `walk_forward`."""
        if not isinstance(given, Mapping) or given.get("scheme") != Scheme.WALK_FORWARD:
            return given
        train = given.get("train", WALK_FORWARD_TRAIN)
        rest = 1 - train if isinstance(train, int | float) else train
        return {"train": train, "validation": rest, "test": 0.0, **given}

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        total = self.train + self.validation + self.test
        if not math.isclose(total, 1.0, abs_tol=1e-9):
            raise ValueError(f"train + validation + test must be 1, was {total:g}")
        if self.is_walk_forward and (self.test or not 0 < self.train < 1):
            raise ValueError(f"walk_forward needs 0 < train < 1 and test = 0, was {self.train:g} and {self.test:g}")
        return self

    @property
    def is_walk_forward(self) -> bool:
        """Whether validation is stitched from windows."""
        return self.scheme is Scheme.WALK_FORWARD

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that have days, in time order."""
        return tuple(part for part in Part if getattr(self, part))


WALK_FORWARD_TRAIN = 0.4
"""Default share of the days on which the first window of a walk-forward is searched."""


class Gate(StrictModel):
    """Gate: targets that a level's winner must meet on validation, by metric. NaN fails the gate."""

    win_rate: Fraction
    """Minimum share of closed trades with a net profit."""
    sharpe: float
    """Minimum annualised Sharpe ratio."""
    max_drawdown_intrabar: Fraction
    """Maximum intrabar drawdown of the portfolio, as a fraction of its peak."""
    profit_factor: Annotated[float, Field(gt=0)]
    """Minimum ratio of gross profit to gross loss."""

    @model_validator(mode="before")
    @classmethod
    def _accept_short_name(cls, given: object) -> object:
        """Accept `max_drawdown`, as curriculum files call the intrabar drawdown."""
        if isinstance(given, Mapping) and "max_drawdown" in given and GATE_DRAWDOWN not in given:
            return {GATE_DRAWDOWN if name == "max_drawdown" else name: value for name, value in given.items()}
        return given


class MinTrades(StrictModel):
    """Minimum number of closed trades for a trial's metrics to count."""

    train: Annotated[int, Field(ge=0)] = 30
    validation: Annotated[int, Field(ge=0)] = 10


Bounds = tuple[float, float]
Parameters = dict[str, float]
"""Strategy parameters by name; whole numbers are integers."""


class Level(StrictModel):
    """One step of the curriculum."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,16}$")]
    title: str
    direction: Direction
    strategy: str = "sma_cross"
    """A built-in strategy's name, or `module:NAME`."""
    trials: Annotated[int, Field(ge=1)]
    lag: Annotated[int, Field(ge=1)] = 8
    """Trial n is requested once trials 0..n-lag are finished; the sampler sees exactly those."""
    mode: Mode = Mode.LAGGED
    objective: Annotated[tuple[str, ...], Field(min_length=1, max_length=MAX_OBJECTIVES)] = ("sharpe",)
    """Maximised on train: a name of `search_methods.OBJECTIVES`, `module:NAME`, or a list for a Pareto front."""
    sampler: SamplerSpec | None = None
    """None: TPE, or NSGA-II for several objectives."""
    pruner: PrunerSpec | None = None
    """None: the median pruner, or no pruning for several objectives."""
    datasets: Annotated[tuple[LevelDataset, ...], Field(min_length=1)]
    split: Split = Split()
    gate: Gate
    min_trades: MinTrades = MinTrades()
    costs: Costs = Costs()
    position_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Notional of a new position as a fraction of the equity at its fill."""
    risk: Annotated[Risk | None, Field(exclude_if=lambda found: found is None)] = None
    """Risk budget that the account of each trial is sized to; None: the whole account is traded."""
    min_density: Fraction = 0.0
    """Minimum share of the candle slots of each dataset in which the market traded; 0 accepts any thin market."""
    drawdown_limit: Annotated[float, Field(gt=0, le=1)] = 0.30
    """A trial is pruned once the portfolio's intrabar drawdown exceeds this; datasets not run yet count as flat."""
    ranges: dict[str, Bounds]
    """Lowest and highest value searched, inclusive; a strategy parameter without a range keeps its default."""
    narrow: bool = False
    """Search only a part of each range to either side of the previous level's winner; see `inherit`."""
    inherit: InheritanceSettings = InheritanceSettings()
    """First points around the previous level's winner."""
    retries: Annotated[int, Field(ge=0)] = 3
    """Number of further attempts after a failed gate, with more trials and, where it helps, wider ranges."""
    retry: RetrySettings = RetrySettings()
    """What a retry changes."""
    relax: Fraction = 0.0
    """Share of itself by which each retry relaxes every target of the gate, on train too; shown with the results."""
    early_stop: Annotated[int, Field(ge=1)] | None = None
    """End the search after this many trials without a better feasible one."""
    constraints: tuple[Constraint, ...] = ()
    """Further constraints, such as `calmar >= 1`: on train for the search, on validation for the gate."""
    stress: StressLimits | None = None
    """Stress-test limits that the gate requires; none by default."""
    analyses: tuple[Analysis, ...] = ()
    """Additional analyses of the winner; none affects the gate."""
    holdout: Annotated[Holdout, Field(exclude_if=lambda found: found == DEFAULT_HOLDOUT)] = DEFAULT_HOLDOUT
    """The holdout period of the curriculum, the same for all its levels; set at the top of a curriculum file."""
    reachable: Annotated[dict[str, Bounds], Field(exclude_if=lambda found: not found)] = Field(default_factory=dict)
    """Widest ranges that any attempt may reach. The program sets them on a retry, a level file does not: they decide
    the warm-up, so that all attempts are judged over the same bars.
    """

    @field_validator("objective", mode="before")
    @classmethod
    def _accept_one_name(cls, given: object) -> object:
        return (given,) if isinstance(given, str) else given

    @field_validator("objective")
    @classmethod
    def _objectives_are_known(cls, found: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(found)) != len(found):
            raise ValueError(f"objectives must be unique, were {', '.join(found)}")
        return tuple(check_objective(name) for name in found)

    @model_validator(mode="after")
    def _methods_fit(self) -> Self:
        check_combination(self.objective, self.sampler, self.pruner)
        return self

    @field_validator("ranges")
    @classmethod
    def _ranges_are_ordered(cls, ranges: dict[str, Bounds]) -> dict[str, Bounds]:
        for name, (low, high) in ranges.items():
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise ValueError(f"{name}: expected [low, high] with low <= high, was [{low:g}, {high:g}]")
        return ranges

    @property
    def is_multi_objective(self) -> bool:
        """Whether the search looks for a Pareto front."""
        return len(self.objective) > 1

    @property
    def used_sampler(self) -> SamplerSpec:
        """The sampler of the search."""
        return self.sampler or sampler_named(MULTI_OBJECTIVE_SAMPLER if self.is_multi_objective else DEFAULT_SAMPLER)

    @property
    def used_pruner(self) -> PrunerSpec:
        """The pruner of the search."""
        return self.pruner or pruner_named(NO_PRUNER if self.is_multi_objective else DEFAULT_PRUNER)

    @property
    def search_methods(self) -> str:
        """Objective, sampler and pruner in a phrase, such as `objective sharpe, sampler tpe, pruner median`."""
        kind = "objectives" if self.is_multi_objective else "objective"
        return f"{kind} {' + '.join(self.objective)}, sampler {self.used_sampler}, pruner {self.used_pruner}"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of this level, in time order: train and validation with `walk_forward`."""
        return self.split.parts

    def window(self, dataset: LevelDataset, part: Part) -> Window:
        """Return the days of one part of a dataset without the embargo, at whole UTC days.

        With `walk_forward`, train is the whole range, on which the last search looks for the parameters to trade next,
        and validation is every out-of-sample day.

        Raises:
            SettingsError: the part is empty.
        """
        whole, split = dataset.window, self.split
        days = (whole.end - whole.start).days
        first_end = round(days * split.train)
        second_end = round(days * (split.train + split.validation))
        embargo = split.embargo_days
        start_day, end_day = {
            Part.TRAIN: (0, days if split.is_walk_forward else first_end),
            Part.VALIDATION: (first_end + (0 if split.is_walk_forward else embargo), second_end),
            Part.TEST: (second_end + embargo, days),
        }[part]
        return Window(whole.start + timedelta(days=start_day), whole.start + timedelta(days=end_day))


def trades_needed(level: Level, part: Part) -> int:
    """Return the required number of closed trades in a part; test uses validation's number."""
    return level.min_trades.train if part is Part.TRAIN else level.min_trades.validation
