"""Audit of derived candles: sampled pages and counted differences."""

from datetime import UTC, datetime

import polars as pl
import pytest

from fetcher.download import run_loop
from fetcher.download.audit import compare, sample
from fetcher.download.derive import derive
from fetcher.download.fetch_context import RunOptions
from fetcher.download.plan import DownloadPlan
from fetcher.protocol.provider import Page
from fetcher.provider_registry import find
from tradeschool.markets.catalogue import BTC_USD, DatasetRange
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.frame import Candles

M5, M15 = (Dataset(instrument=BTC_USD, timeframe=timeframe) for timeframe in (Timeframe.M5, Timeframe.M15))
YEARS = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC))
DOWNLOAD = DownloadPlan(
    wanted=DatasetRange(dataset=M5, window=YEARS),
    derived=tuple(DatasetRange(dataset=M5.at(timeframe), window=YEARS) for timeframe in (Timeframe.M15, Timeframe.H1)),
)


def test_an_audit_of_four_years_takes_under_one_percent_of_the_requests() -> None:
    asked = sample(DOWNLOAD, find("coinbase"), 1403)

    assert {page.dataset.timeframe for page in asked} == {Timeframe.M15, Timeframe.H1}
    assert 0 < len(asked) <= 14
    assert len(set(asked)) == len(asked)


def test_only_timeframes_that_the_provider_has_are_audited() -> None:
    every = DownloadPlan(
        wanted=DOWNLOAD.wanted,
        derived=tuple(DatasetRange(dataset=M5.at(timeframe), window=YEARS) for timeframe in Timeframe.M5.coarser),
    )

    asked = sample(every, find("coinbase"), 1403)

    assert {page.dataset.timeframe for page in asked} == {Timeframe.M15, Timeframe.H1, Timeframe.D1}


def test_a_short_download_is_not_audited() -> None:
    assert sample(DOWNLOAD, find("coinbase"), 79) == []


@pytest.fixture
def pair(generated) -> tuple[Candles, Page]:
    """Derived candles of two days and their page."""
    window = Window(datetime(2023, 1, 2, tzinfo=UTC), datetime(2023, 1, 4, tzinfo=UTC))
    found = generated.candles(M5, window.start_seconds, window.end_seconds)
    names = ("open", "high", "low", "close")
    frame = pl.DataFrame(
        {
            "ts": pl.Series(found.times * 1_000_000).cast(pl.Datetime("us", "UTC")),
            **{name: found.prices[:, place] for place, name in enumerate(names)},
            "volume": found.volumes,
        }
    )
    return derive(Candles.parse(frame, M5, window), Timeframe.M15), Page(dataset=M15, window=window)


def test_equal_candles_are_clean(pair) -> None:
    derived, page = pair

    audit = compare(derived, derived, page)

    assert (audit.candles, audit.absent, audit.other_prices, audit.other_volumes) == (len(derived), 0, 0, 0)
    assert audit.is_clean


def test_each_kind_of_difference_is_counted(pair) -> None:
    derived, page = pair
    row = pl.int_range(pl.len())
    changed = derived.frame.with_columns(
        pl.when(row == 3).then(pl.col("close") + 0.01).otherwise(pl.col("close")).alias("close"),
        pl.when(row == 5).then(pl.col("volume") + 1e-7).otherwise(pl.col("volume")).alias("volume"),
        pl.when(row == 6).then(pl.col("volume") + 1e-12).otherwise(pl.col("volume")).alias("volume_noise"),
    )
    native = Candles(M15, changed.drop("volume_noise").slice(1))

    audit = compare(derived, native, page)

    assert (audit.absent, audit.other_prices, audit.other_volumes) == (1, 1, 1)
    assert not audit.is_clean


async def test_a_download_runs_the_audit_last(serving, store, fast) -> None:
    window = Window(datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 4, 1, tzinfo=UTC))
    wanted = [DatasetRange(dataset=dataset, window=window) for dataset in (M5, M15)]
    async with serving() as served:
        (progress,) = await run_loop.run(
            wanted,
            store=store,
            access={"coinbase": fast(served.url)},
            native=False,
            now=lambda: datetime(2024, 1, 1, tzinfo=UTC),
            options=RunOptions(confirm_after_seconds=0.0),
        )

    assert progress.error is None
    assert [audit.is_clean for audit in progress.audits] == [True]
    assert progress.audits[0].candles > 250
