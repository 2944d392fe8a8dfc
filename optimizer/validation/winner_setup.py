"""Trading setup of a winner: every input of its metrics except the code.

`best_params.json` stores it, and a backtest is compared with it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Self

from pydantic import Field, model_validator

from optimizer.bars.lead_in import JudgedWindow
from optimizer.level.constraints import StrictModel
from optimizer.level.costs import Costs
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.spec import Direction, Level, Part
from optimizer.level.walk_forward import out_of_sample
from optimizer.objective.objective import warm_up_of
from optimizer.objective.sizing import WHOLE
from optimizer.validation.walk_forward import SearchedWindow
from tradeschool.errors import SettingsError
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timerange import parse_timerange
from tradeschool.markets.windows import Window


class DatasetSetup(StrictModel):
    """One dataset of a level; ranges are written as `20200101-20210801`."""

    dataset: str
    warm_up_bars: Annotated[int, Field(ge=0)]
    """Number of bars that only warm up indicators: before validation and test, inside the range; else the first ones.
    """
    train: str
    validation: str | None = None
    """None, as `test`, if the level has no such part."""
    test: str | None = None
    candles: str
    """Digest of the dataset's candles over the level's whole range."""
    start: date
    end: date
    """First day after the level's range."""

    @model_validator(mode="after")
    def _is_known_and_in_order(self) -> Self:
        try:
            LevelDataset(dataset=self.dataset, start=self.start, end=self.end)
            for part in Part:
                if getattr(self, part) is not None:
                    self.window(part)
        except SettingsError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def source(self) -> Dataset:
        """The dataset object of that name."""
        return find_dataset(self.dataset)

    def window(self, part: Part) -> Window:
        """Return the range of one part.

        Raises:
            SettingsError: the level has no such part.
        """
        found = {Part.TRAIN: self.train, Part.VALIDATION: self.validation, Part.TEST: self.test}[part]
        if found is None:
            raise SettingsError(f"{self.dataset}: the level has no part {part}")
        return parse_timerange(found)

    @property
    def whole(self) -> Window:
        """The level's whole range."""
        return LevelDataset(dataset=self.dataset, start=self.start, end=self.end).window


class WindowSetup(StrictModel):
    """What traded one window of a walk-forward."""

    window: Annotated[int, Field(ge=1)]
    trial: int | None
    parameters: dict[str, int | float] | None
    """None: the window held cash."""
    size: Annotated[float, Field(gt=0)] = 1.0
    days: dict[str, str]
    """Out-of-sample days by dataset."""


class WinnerSetup(StrictModel):
    """A winner and its trading setup."""

    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    level: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,16}$")]
    attempt: Annotated[int, Field(ge=1)]
    trial: Annotated[int, Field(ge=0)]
    strategy: str
    direction: Direction
    parameters: dict[str, int | float]
    position_fraction: Annotated[float, Field(gt=0, le=1)]
    size: Annotated[float, Field(gt=0)] = WHOLE
    """Share of the account that is traded, solved on train by the level's risk budget; 1 without one."""
    leverage: Annotated[float, Field(gt=0)] | None = None
    """Largest notional of a position over the equity, on train; None without a risk budget."""
    costs: Costs
    datasets: Annotated[tuple[DatasetSetup, ...], Field(min_length=1)]
    windows_of_validation: Annotated[tuple[WindowSetup, ...], Field(exclude_if=lambda found: not found)] = ()
    """With `walk_forward` what traded validation, window by window; empty: the parameters above."""
    code: str
    """Fingerprint of the code that produced the metrics."""

    def warm_up(self, dataset: Dataset) -> int:
        """Return the warm-up in bars: of the dataset, else of another dataset of its timeframe, else 0."""
        named = [each for each in self.datasets if each.dataset == dataset.name]
        alike = [each for each in self.datasets if each.source.timeframe is dataset.timeframe]
        return next((each.warm_up_bars for each in (*named, *alike)), 0)

    def judged(self, dataset: Dataset, window: Window) -> JudgedWindow:
        """Return a window with the time from which the run's range of its dataset warms up its indicators."""
        ranges = [each.whole for each in self.datasets if each.source == dataset]
        earliest = next((whole.start for whole in ranges if whole.start <= window.start < whole.end), None)
        return JudgedWindow(source=dataset, window=window, earliest=earliest)

    def windows(self, part: Part) -> list[tuple[Dataset, Window]]:
        """Return the traded datasets and windows of a part, in order."""
        return [(each.source, each.window(part)) for each in self.datasets]


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestSetup:
    """Inputs of a backtest that affect its metrics."""

    strategy: str
    direction: Direction
    parameters: Mapping[str, float]
    position_fraction: float
    size: float = WHOLE
    """Share of the account that is traded."""
    costs: Costs
    windows: Sequence[tuple[Dataset, Window]]
    warm_ups: Sequence[int]
    """Warm-up in bars of each window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenTrial:
    """The trial that an attempt of a run has chosen."""

    run: str
    attempt: int
    number: int
    parameters: Mapping[str, float]
    size: float = WHOLE
    """Share of the account that is traded."""
    leverage: float | None = None


def setup_of(
    level: Level,
    chosen: ChosenTrial,
    *,
    code: str,
    digests: Mapping[str, str],
    windows: Sequence[SearchedWindow] = (),
) -> WinnerSetup:
    """Return the trading setup of a trial; `digests` are by `dataset window`.

    `windows`: the searched windows of a walk-forward.
    """
    return WinnerSetup(
        run=chosen.run,
        level=level.name,
        attempt=chosen.attempt,
        trial=chosen.number,
        strategy=level.strategy,
        direction=level.direction,
        parameters=dict(chosen.parameters),
        position_fraction=level.position_fraction,
        size=chosen.size,
        leverage=chosen.leverage,
        costs=level.costs,
        datasets=tuple(_days(level, each, digests) for each in level.datasets),
        windows_of_validation=tuple(_window(level, each) for each in windows),
        code=code,
    )


def differences(setup: WinnerSetup, part: Part, traded: BacktestSetup) -> list[str]:
    """Return the differences between a backtest and the winner's setup on one part, one phrase each."""
    return [
        *_differing("strategy", setup.strategy, traded.strategy),
        *_differing("direction", setup.direction, traded.direction),
        *_parameters(setup, traded),
        *_differing("position fraction", setup.position_fraction, traded.position_fraction),
        *_differing("size", setup.size, traded.size),
        *_costs(setup.costs, traded.costs),
        *_windows(setup, part, traded),
    ]


def _days(level: Level, dataset: LevelDataset, digests: Mapping[str, str]) -> DatasetSetup:
    parts = {part.value: level.window(dataset, part).name for part in level.parts}
    return DatasetSetup(
        dataset=dataset.dataset,
        warm_up_bars=warm_up_of(level, dataset.source.timeframe),
        candles=digests[f"{dataset.dataset} {dataset.window.name}"],
        start=dataset.start,
        end=dataset.end,
        **parts,
    )


def _window(level: Level, window: SearchedWindow) -> WindowSetup:
    chosen, choice = window.chosen, window.choice
    return WindowSetup(
        window=window.number,
        trial=None if chosen is None else chosen.number,
        parameters=None if choice.parameters is None else dict(choice.parameters),
        size=choice.size,
        days={each.dataset: out_of_sample(level, each, window.number).name for each in level.datasets},
    )


def _differing(name: str, was: object, found: object) -> Iterator[str]:
    if was != found:
        told, before = (f"{value:g}" if isinstance(value, float) else str(value) for value in (found, was))
        yield f"{name} {told} instead of {before}"


def _parameters(setup: WinnerSetup, traded: BacktestSetup) -> Iterator[str]:
    for name, value in setup.parameters.items():
        if name in traded.parameters:
            yield from _differing(name, float(value), float(traded.parameters[name]))


def _costs(was: Costs, found: Costs) -> Iterator[str]:
    for name, rate in was.rates.items():
        yield from _differing(name, rate, getattr(found, name))


def _windows(setup: WinnerSetup, part: Part, traded: BacktestSetup) -> Iterator[str]:
    phrases: dict[str, list[str]] = defaultdict(list)
    for phrase, dataset in _by_dataset(setup, part, traded):
        phrases[phrase].append(dataset.name)
    yield from (f"{phrase} of {', '.join(dict.fromkeys(names))}" for phrase, names in phrases.items())
    expected = setup.windows(part)
    if not phrases and expected != list(traded.windows):
        yield "datasets in a different order or number"


def _by_dataset(setup: WinnerSetup, part: Part, traded: BacktestSetup) -> Iterator[tuple[str, Dataset]]:
    expected = setup.windows(part)
    known, found = ([dataset for dataset, _ in windows] for windows in (expected, traded.windows))
    yield from (("no candles", dataset) for dataset in known if dataset not in found)
    yield from (("additional candles", dataset) for dataset in found if dataset not in known)
    for (dataset, window), bars in zip(traded.windows, traded.warm_ups, strict=True):
        own = [each for source, each in expected if source == dataset]
        if own and window not in own:
            yield f"days {window.name} instead of {', '.join(each.name for each in own)}", dataset
        if own and bars != setup.warm_up(dataset):
            yield f"warm-up of {bars} bars instead of {setup.warm_up(dataset)}", dataset
