"""Settled candles: the same whether they are sealed, only stored by a continuous download, or both."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from fetcher.download import run_loop
from fetcher.download.follow import FollowPlan, one_round
from fetcher.protocol.provider import Access
from optimizer.forward.rule import ForwardDataset
from tradeschool.app.forward.settled_candles import SettledCandles, first_stored, ready_until
from tradeschool.errors import DataIncomplete
from tradeschool.markets.catalogue import BTC_USD, EUR_USD, DatasetRange
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.store import Store, holdout_store
from tradeschool.store.frame_store import FrameStore

M5, M15 = (Dataset(instrument=BTC_USD, timeframe=each) for each in (Timeframe.M5, Timeframe.M15))
FX = Dataset(instrument=EUR_USD, timeframe=Timeframe.H4)
SINCE = datetime(2022, 12, 28, tzinfo=UTC)
NOW = datetime(2023, 1, 6, 14, 35, tzinfo=UTC)
SETTLED = datetime(2023, 1, 5, 2, tzinfo=UTC)
WHOLE = Window(SINCE, datetime(2023, 1, 5, tzinfo=UTC))


def access(url: str) -> dict[str, Access]:
    return {name: Access(url=url, rate=500.0, token="any", patience_seconds=0.5) for name in ("coinbase", "oanda")}


async def followed(url: str, store: FrameStore, *datasets: Dataset) -> None:
    plan = FollowPlan(datasets=datasets, since=SINCE, settled_after=timedelta(hours=36), native=False)
    health = await one_round(plan, store=store, access=access(url), now=lambda: NOW)
    assert health.errors == ()


async def sealed(url: str, store: FrameStore, *datasets: Dataset) -> None:
    wanted = [DatasetRange(dataset=each, window=WHOLE) for each in datasets]
    progress = await run_loop.run(wanted, store=store, access=access(url), native=False, now=lambda: NOW)
    assert [each.error for each in progress if each.error] == []


@pytest.mark.parametrize("dataset", [M5, M15, FX], ids=str)
async def test_stored_candles_equal_sealed_ones(dataset: Dataset, serving, store, tmp_path) -> None:
    """A year that is sealed, and days of the next one in the ledger; M15 is derived from stored M5 candles."""
    other = FrameStore(tmp_path / "sealed")
    bases = (M5, M15) if dataset is M15 else (dataset,)
    async with serving() as served:
        await followed(served.url, store, *bases)
        await sealed(served.url, other, *bases)

    with SettledCandles([Store(store.root)]) as candles, SettledCandles([Store(other.root)]) as expected:
        assert candles.missing(dataset, WHOLE) == []
        found, wanted = candles.arrays(dataset, WHOLE), expected.arrays(dataset, WHOLE)

    assert len(found) > 30
    assert found.time.tolist() == wanted.time.tolist()
    for name, values in wanted.numbers.items():
        assert np.array_equal(found.numbers[name], values), name


async def test_pages_of_sealed_candles_are_read_from_the_seal(serving, store) -> None:
    """A sealed range's pages have no body any more; M15 is derived from sealed M5 candles."""
    async with serving() as served:
        await sealed(served.url, store, M5)

    with SettledCandles([Store(store.root)]) as candles:
        assert candles.missing(M15, WHOLE) == []
        assert len(candles.arrays(M15, WHOLE)) == 8 * 96


async def test_a_day_is_ready_once_all_datasets_have_it(serving, store) -> None:
    async with serving() as served:
        await followed(served.url, store, M5)
    rules = [ForwardDataset(dataset=each.name, warm_up_bars=10, candles_from=date(2022, 12, 29)) for each in (M5, FX)]

    with SettledCandles([Store(store.root)]) as candles:
        assert ready_until(candles, rules[:1], date(2023, 1, 1), date(2023, 1, 5)) == (date(2023, 1, 5), "")
        ready, why = ready_until(candles, rules[:1], date(2023, 1, 1), date(2023, 1, 8))
        assert ready == date(2023, 1, 5)
        assert why.startswith(f"{M5}: 2023-01-05 02:00..2023-01-08 is not stored yet; run: tradeschool fetch")
        with pytest.raises(DataIncomplete, match="oanda/EUR-USD/H4: 2022-12-29"):
            ready_until(candles, rules, date(2023, 1, 1), date(2023, 1, 5))
        with pytest.raises(DataIncomplete, match="is not stored yet"):
            candles.arrays(M5, Window(SINCE, datetime(2023, 1, 8, tzinfo=UTC)))


async def test_the_warm_up_is_read_from_the_first_stored_day(serving, store) -> None:
    async with serving() as served:
        await followed(served.url, store, M5)

    with SettledCandles([Store(store.root)]) as candles:
        assert first_stored(candles, M5, 10, date(2023, 1, 4)) == date(2022, 12, 30)
        assert first_stored(candles, M5, 2_000, date(2023, 1, 4)) == date(2022, 12, 28)
        assert first_stored(candles, M5, 10, date(2022, 12, 28)) == date(2022, 12, 28)


def test_an_empty_folder_has_no_candles_and_gets_no_ledger(tmp_path) -> None:
    stores = [Store(tmp_path / "data"), holdout_store(tmp_path / "data")]
    with SettledCandles(stores) as candles:
        assert candles.covered(M5) == []
        with pytest.raises(DataIncomplete):
            candles.arrays(M5, WHOLE)

    assert not (tmp_path / "data").exists()
