"""Parallel download and search: a level starts as soon as its candles are sealed."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from optimizer.curriculum.level_files import load_levels, sets_holdout
from optimizer.level.spec import Level
from tradeschool.app.context import holdout_candles_of
from tradeschool.app.download.dataset_download import reachable
from tradeschool.app.download.dataset_selection import refuse_unsettled
from tradeschool.app.download.download_thread import DownloadThread, Job
from tradeschool.app.page_process import own_page
from tradeschool.app.search.search_request import SearchOptions
from tradeschool.app.search.search_run import begin, context_of, run_curriculum, services, show_end
from tradeschool.app.search.strategy_isolation import isolation
from tradeschool.log import about
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window, subtract
from tradeschool.settings.model import Settings
from tradeschool.store import Seal
from workers.coordinator import event_log
from workers.coordinator.context import RunContext
from workers.coordinator.run import run_persistence


def wanted_by(levels: tuple[Level, ...]) -> list[DatasetRange]:
    """Return the ranges of all levels in order, without overlaps."""
    named = [DatasetRange(dataset=each.source, window=each.window) for level in levels for each in level.datasets]
    return without(named, [])


def without(wanted: Sequence[DatasetRange], taken: Sequence[DatasetRange]) -> list[DatasetRange]:
    """Return the wanted ranges in order, without overlaps and without the taken ranges."""
    known: dict[Dataset, list[Window]] = {}
    for each in taken:
        known.setdefault(each.dataset, []).append(each.window)
    left: list[DatasetRange] = []
    for each in wanted:
        before = known.setdefault(each.dataset, [])
        left += [DatasetRange(dataset=each.dataset, window=part) for part in subtract(each.window, before)]
        before.append(each.window)
    return left


def holdout_of(levels: Sequence[Level]) -> list[DatasetRange]:
    """Return the holdout period of the levels' datasets."""
    datasets = dict.fromkeys(each.source for level in levels for each in level.datasets)
    return [DatasetRange(dataset=dataset, window=levels[0].holdout.window) for dataset in datasets]


def ranges_of(curriculum: Path, *, holdout: bool) -> list[DatasetRange]:
    """Return the ranges that the levels of a curriculum file read, or their holdout period.

    Raises:
        SettingsError: If the file is invalid.
    """
    levels = load_levels(curriculum)
    return holdout_of(levels) if holdout else wanted_by(levels)


def fetch_and_search(
    settings: Settings,
    wanted: Sequence[DatasetRange],
    options: dict[str, Any],
    run_name: str | None,
    *,
    native: bool,
    as_json: bool,
) -> None:
    """Download the candles of the levels, then the other wanted ranges, and search each level once it is sealed.

    `options` are the search options of `Chosen`.

    Raises:
        GateNotMet: If a level failed its gate after all retries; the download was completed.
    """
    chosen = SearchOptions.of(options, settings)
    first = wanted_by(chosen.written_levels())
    every = [*first, *without(wanted, first)]
    refuse_unsettled(every)
    search_while_fetching(
        settings, chosen, every, run_name, native=native, to_the_end=True, page=False, as_json=as_json
    )


def search_while_fetching(
    settings: Settings,
    chosen: SearchOptions,
    wanted: list[DatasetRange],
    run_name: str | None,
    *,
    native: bool,
    to_the_end: bool,
    page: bool,
    as_json: bool,
) -> None:
    """Download the wanted ranges and the holdout period, and search each level once its candles are sealed.

    An existing run with this name is resumed. With `page` the monitoring page is served meanwhile. The download is
    cancelled when the run ends, unless `to_the_end` is set.

    Raises:
        GateNotMet: If a level failed its gate after all retries.
        TradeschoolError: Error of the download, if a level needs candles that it did not get.
    """
    context = context_of(settings)
    reached, access = reachable(wanted, settings)
    with isolation(settings):
        name = _begin_or_resume(context, chosen, run_name)
        levels = run_persistence.read_run(context, name).levels
        wanted_holdout = holdout_of(levels) if downloads_holdout(chosen) else []
        holdout = [want for want in wanted_holdout if want.dataset.instrument.provider in access]
        running = DownloadThread(_jobs(settings, context, name, reached, holdout), access, native=native)
        with (
            services(settings, context, levels, chosen.workers) as (url, look),
            own_page(url, wanted=page),
            running.running(to_the_end=to_the_end),
        ):

            def wait(level: Level) -> None:
                running.wait_until(partial(context.is_ready, level))

            wait_for_holdout = running.wait_while_possible if holdout else lambda is_there: None
            ended = run_curriculum(context, name, url, wait, wait_for_holdout, look=look)
            show_end(context, ended, as_json=as_json)


def downloads_holdout(chosen: SearchOptions) -> bool:
    """Whether a search needs the holdout period: whole curricula, unless their file sets none."""
    if chosen.level_name:
        return False
    return chosen.curriculum is None or sets_holdout(chosen.curriculum)


def _jobs(
    settings: Settings, context: RunContext, run: str, reached: list[DatasetRange], holdout: list[DatasetRange]
) -> "list[Job]":
    """Return the downloads of a run: its own ranges first, then the holdout period."""
    return [
        (reached, context.store, partial(_record_seal, context, run)),
        (holdout, holdout_candles_of(settings), lambda seal: None),
    ]


def _record_seal(context: RunContext, run: str, seal: Seal) -> None:
    """Record a sealed range in the event log of a run."""
    with about(run=run):
        event_log.record(
            context.folder(run),
            "dataset_sealed",
            dataset=seal.dataset,
            window=str(seal.window),
            rows=seal.rows,
            coverage=round(seal.coverage, 6),
        )


def _begin_or_resume(context: RunContext, chosen: SearchOptions, run_name: str | None) -> str:
    if run_name and (context.folder(run_name) / run_persistence.RECORD_NAME).exists():
        return run_persistence.resume(context, run_name).name
    return begin(context, chosen, run_name)
