"""Draft of a curriculum for a user's own pairs: the built-in levels over the candles that are stored."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from optimizer.curriculum.level_files import load_levels
from optimizer.curriculum.plan import plan_level
from optimizer.level.constraints import StressLimits
from optimizer.level.holdout import Holdout
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.spec import Direction, Level
from optimizer.strategies.parameter_ranges import with_strategy
from optimizer.validation.analyses.regimes import Trend
from optimizer.validation.analyses.trend_windows import MIN_DAYS, TrendWindow, find_trend_window
from tradeschool.errors import DataIncomplete, SettingsError
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.timerange import settled_day
from tradeschool.markets.windows import Window, merge
from tradeschool.store import Store

HOLDOUT_SHARE = 0.2
"""Share of the days that becomes the holdout period, from the end."""
MAX_HOLDOUT_DAYS = 365
USUAL_DENSITY = 0.95
"""Minimum density of the built-in levels."""
DAY = timedelta(days=1)
TRENDS = {Direction.LONG: Trend.BULL, Direction.SHORT: Trend.BEAR}
"""Trend of the windows of a level that takes positions in one direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The levels of a new curriculum, and what was left out of them."""

    levels: tuple[Level, ...]
    notes: dict[str, tuple[str, ...]]
    """By level, sentences on datasets that were left out and on thin markets."""


def draft_curriculum(
    instruments: Sequence[Instrument],
    timeframes: Sequence[Timeframe],
    first: datetime,
    last: datetime,
    store: Store,
    strategy: str | None = None,
) -> Draft:
    """Return the built-in levels over these markets, with windows from the stored candles of `first` to `last`.

    `strategy` replaces that of the levels, with its own search ranges.

    Raises:
        DataIncomplete: If candles are missing, or no window of a level is found; says what to fetch.
    """
    datasets = [Dataset(instrument=each, timeframe=timeframe) for each in instruments for timeframe in timeframes]
    ranges = _stored_ranges(datasets, Window(first, last), store)
    holdout = _holdout_of(ranges)
    before = {dataset: Window(window.start, holdout.window.start) for dataset, window in ranges.items()}
    levels = [with_strategy(level, strategy) if strategy else level for level in load_levels()]
    drafted = [_draft_level(level, before, holdout, store) for level in levels]
    return Draft(
        levels=tuple(level for level, _ in drafted), notes={level.name: tuple(notes) for level, notes in drafted}
    )


def download_command(datasets: Sequence[Dataset], wanted: Window) -> str:
    """Return the command that downloads the candles of a draft; without an end if all settled days are wanted."""
    pairs = ",".join(dict.fromkeys(each.instrument.full_name for each in datasets))
    timeframes = ",".join(dict.fromkeys(each.timeframe.name for each in datasets))
    end = "" if wanted.end.date() >= settled_day() else f"{wanted.end:%Y%m%d}"
    return f"tradeschool fetch --pairs {pairs} --timeframes {timeframes} --timerange {wanted.start:%Y%m%d}-{end}"


def _stored_ranges(datasets: Sequence[Dataset], wanted: Window, store: Store) -> dict[Dataset, Window]:
    """Return the whole days of each dataset's longest sealed range, from its first candle to the common end."""
    parts = {dataset: _candles_within(dataset, wanted, store) for dataset in datasets}
    if missing := [str(dataset) for dataset, window in parts.items() if window is None]:
        raise DataIncomplete(
            f"{', '.join(missing)}: no sealed candles in {store} from {wanted.start:%Y-%m-%d} on, and the windows "
            f"of levels 1 and 2 are found on candles; run first: {download_command(datasets, wanted)}"
        )
    found = {dataset: window for dataset, window in parts.items() if window is not None}
    end = _floor(min(each.end for each in found.values()))
    days = {dataset: (_ceiling(window.start), end) for dataset, window in found.items()}
    if late := [str(dataset) for dataset, (start, _) in days.items() if (end - start).days < 2 * MIN_DAYS]:
        raise DataIncomplete(
            f"{', '.join(late)}: fewer than {2 * MIN_DAYS} days until {end:%Y-%m-%d}, the last day of all datasets; "
            "fetch more candles, or begin earlier with --from"
        )
    return {dataset: Window(start, end) for dataset, (start, end) in days.items()}


def _candles_within(dataset: Dataset, wanted: Window, store: Store) -> Window | None:
    """Return the longest sealed part of a range, from its first candle; None without a candle."""
    sealed = [part for each in merge([seal.window for seal in store.seals(dataset)]) if (part := each.overlap(wanted))]
    if not sealed:
        return None
    longest = max(sealed, key=lambda part: part.end - part.start)
    times = store.arrays(dataset, longest).time
    if not len(times):
        return None
    return Window.of_seconds(max(longest.start_seconds, int(times[0])), longest.end_seconds)


def _holdout_of(ranges: dict[Dataset, Window]) -> Holdout:
    """Return the last fifth of the days that all datasets have, at most a year."""
    start, end = max(each.start for each in ranges.values()), next(iter(ranges.values())).end
    days = min(MAX_HOLDOUT_DAYS, round((end - start).days * HOLDOUT_SHARE))
    return Holdout(start=(end - days * DAY).date(), end=end.date())


def _draft_level(
    level: Level, ranges: dict[Dataset, Window], holdout: Holdout, store: Store
) -> tuple[Level, list[str]]:
    """Return a built-in level over these datasets, and what is to be said about it."""
    trend, notes = TRENDS.get(level.direction), []
    chosen = []
    windows = _trend_windows(ranges, trend, store) if trend else {}
    for dataset, whole in ranges.items():
        window = windows.get(dataset.instrument)
        if window:
            chosen.append(LevelDataset(dataset=dataset.name, start=window.start, end=window.end, rule=window.rule))
        elif not trend:
            chosen.append(LevelDataset(dataset=dataset.name, start=whole.start.date(), end=whole.end.date()))
    if trend:
        without = dict.fromkeys(each.instrument for each in ranges if not windows[each.instrument])
        notes += [f"{each.pair} is left out: no {trend} window of at least {MIN_DAYS} days" for each in without]
    drafted = level.model_copy(update={"datasets": tuple(chosen), "holdout": holdout})
    return _fitted(drafted, store, notes)


def _trend_windows(ranges: dict[Dataset, Window], trend: Trend, store: Store) -> dict[Instrument, TrendWindow | None]:
    """Return the window of each instrument, found on its longest timeframe up to H1, or else on its shortest."""
    found = {}
    for instrument in dict.fromkeys(each.instrument for each in ranges):
        own = sorted(
            (each for each in ranges if each.instrument == instrument), key=lambda each: each.timeframe.seconds
        )
        within = [each for each in own if each.timeframe.seconds <= Timeframe.H1.seconds]
        source = within[-1] if within else own[0]
        found[instrument] = find_trend_window(store.arrays(source, ranges[source]), trend)
    return found


def _fitted(level: Level, store: Store, notes: list[str]) -> tuple[Level, list[str]]:
    """Leave out the datasets without evaluated bars in a part, and fit density and stress windows to the others.

    Raises:
        SettingsError: If no dataset is left.
    """
    planned = plan_level(level, store) if level.datasets else []
    short = {each.dataset for each in planned if each.evaluated <= 0 or each.searched_bars == 0}
    kept = tuple(each for each in level.datasets if each.dataset not in short)
    notes = notes + [f"{name} is left out: its window is shorter than the warm-up needs" for name in sorted(short)]
    if not kept:
        raise SettingsError(
            f"level {level.name}, {level.title}: no dataset is left ({'; '.join(notes)}); give more pairs, more days "
            "with --from, or shorter timeframes"
        )
    density, thin = min((store.density(each.source, each.window), each.dataset) for each in kept)
    least = min(USUAL_DENSITY, math.floor(100 * density) / 100)
    if least < USUAL_DENSITY:
        notes.append(f"min_density is that of the thinnest market: {thin} traded in {density:.1%} of its slots")
    changes = {"datasets": kept, "min_density": least, "stress": _stress_of(level, kept)}
    return level.model_copy(update=changes), notes


def _stress_of(level: Level, kept: Sequence[LevelDataset]) -> StressLimits | None:
    """Return the level's stress limits with the crises that lie in its windows and concern its pairs."""
    if level.stress is None:
        return None
    windows = tuple(
        crisis
        for crisis in level.stress.windows
        if any(
            crisis.window.overlap(each.window)
            for each in kept
            if not crisis.pairs or each.source.instrument.pair in crisis.pairs
        )
    )
    return level.stress.model_copy(update={"windows": windows})


def _floor(time: datetime) -> datetime:
    return time.replace(hour=0, minute=0, second=0, microsecond=0)


def _ceiling(time: datetime) -> datetime:
    return _floor(time + DAY - timedelta(microseconds=1))
