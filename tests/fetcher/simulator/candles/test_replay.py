import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from fetcher.download.derive import derive
from fetcher.simulator.candles.replay import ReplayedCandles
from fetcher.simulator.candles.replay_mapping import DEFAULT_MAPPING, read_mapping
from tradeschool.errors import DataError, SettingsError
from tradeschool.markets.catalogue import BTC_USD, ETH_USD, EUR_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import DEFAULT_TIMEFRAMES, Timeframe
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.frame import Candles

BTC_M5 = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
EUR_H1 = Dataset(instrument=EUR_USD, timeframe=Timeframe.H1)
START = datetime(2022, 3, 1, tzinfo=UTC)
ALWAYS = (0, int(datetime(2030, 1, 1, tzinfo=UTC).timestamp()))


def crypto_frame(n_rows=30, step=timedelta(minutes=5)):
    prices = np.arange(n_rows, dtype=np.float64) + 100
    return pl.DataFrame(
        {
            "ts": pl.Series([START + n * step for n in range(n_rows)], dtype=pl.Datetime("us", "UTC")),
            "open": prices,
            "high": prices + 2,
            "low": prices - 2,
            "close": prices + 1,
            "volume": np.arange(n_rows) / 10,
        }
    )


def bid_frame():
    prices = [[1.1, 1.10007, 1.09998, 1.10001], [1.10001, 1.10002, 1.1, 1.1]]
    return crypto_frame(2, timedelta(hours=1)).with_columns(
        pl.Series(name, [row[column] for row in prices]) for column, name in enumerate(("open", "high", "low", "close"))
    )


def quote_frame():
    bid = bid_frame()
    named = {"o": "open", "h": "high", "l": "low", "c": "close"}
    return bid.select(
        "ts",
        *(pl.col(name).alias(f"bid_{letter}") for letter, name in named.items()),
        *((pl.col(name) + 0.5).alias(f"ask_{letter}") for letter, name in named.items()),
        "volume",
    )


@pytest.fixture
def folder(tmp_path):
    """A folder of one crypto file and one FX file with its quotes."""
    crypto_frame().write_parquet(tmp_path / "btc.parquet")
    bid_frame().write_parquet(tmp_path / "eur.parquet")
    quote_frame().write_parquet(tmp_path / "quotes.parquet")
    return tmp_path


CRYPTO = """
[[candles]]
pair = "BTC/USD"
timeframe = "M5"
file = "btc.parquet"
aggregate = ["M15", "H1"]
"""
FX = """
[[candles]]
pair = "EUR/USD"
timeframe = "H1"
file = "eur.parquet"
"""


def replayed(folder, text=CRYPTO):
    mapping = folder / "mapping.toml"
    mapping.write_text(text)
    return ReplayedCandles(folder, mapping)


class TestTinyFolder:
    def test_a_file_is_served_unchanged(self, folder):
        candles = replayed(folder).candles(BTC_M5, *ALWAYS)
        frame = crypto_frame()

        assert candles.times.tolist() == frame["ts"].dt.epoch("s").to_list()
        assert candles.prices.tolist() == [list(row) for row in frame.select("open", "high", "low", "close").rows()]
        assert candles.volumes.tolist() == frame["volume"].to_list()
        assert candles.bid is None

    def test_longer_timeframes_are_built(self, folder):
        hours = replayed(folder).candles(BTC_M5.at(Timeframe.H1), *ALWAYS)

        assert hours.prices.tolist() == [[100, 113, 98, 112], [112, 125, 110, 124], [124, 131, 122, 130]]
        assert hours.volumes.tolist() == [6.6, 21.0, 15.9]

    def test_a_dataset_that_is_not_mapped_is_empty(self, folder):
        source = replayed(folder, CRYPTO.replace('aggregate = ["M15", "H1"]', ""))

        assert len(source.candles(BTC_M5.at(Timeframe.H1), *ALWAYS)) == 0
        assert len(source.candles(EUR_H1, *ALWAYS)) == 0

    def test_instruments_and_datasets_come_from_the_mapping(self, folder):
        source = replayed(folder, CRYPTO + FX + "spread_pips = 1.4\n")

        assert source.instruments == (BTC_USD, EUR_USD)
        assert source.datasets == (*(BTC_M5.at(timeframe) for timeframe in DEFAULT_TIMEFRAMES), EUR_H1)

    def test_bid_and_ask_come_from_one_file_and_mid_from_the_other(self, folder):
        candles = replayed(folder, FX + 'bid_ask_file = "quotes.parquet"\n').candles(EUR_H1, *ALWAYS)

        assert candles.prices.tolist() == candles.bid.tolist()
        assert candles.ask[0].tolist() == pytest.approx([1.6, 1.60007, 1.59998, 1.60001])

    def test_a_spread_sets_ask_above_mid_above_bid(self, folder):
        candles = replayed(folder, FX + "spread_pips = 1.4\n").candles(EUR_H1, *ALWAYS)

        assert candles.bid[0].tolist() == [1.1, 1.10007, 1.09998, 1.10001]
        assert candles.prices[0].tolist() == [1.10007, 1.10014, 1.10005, 1.10008]
        assert candles.ask[0].tolist() == [1.10014, 1.10021, 1.10012, 1.10015]

    def test_a_mid_price_between_two_ticks_rounds_to_even(self, folder):
        candles = replayed(folder, FX + "spread_pips = 0.1\n").candles(EUR_H1, *ALWAYS)

        assert candles.prices[0].tolist() == [1.1, 1.10008, 1.09998, 1.10002]


WRONG = {
    "missing": (lambda frame: frame.drop("volume"), "column 'volume' is missing; found ts, open, high, low, close"),
    "type": (lambda frame: frame.with_columns(pl.col("open").cast(pl.Float32)), "expected Float64, was Float32"),
    "zone": (
        lambda frame: frame.with_columns(pl.col("ts").dt.replace_time_zone(None)),
        "column 'ts': expected Datetime",
    ),
    "reversed": (lambda frame: frame.reverse(), "ts must be strictly increasing"),
    "doubled": (lambda frame: pl.concat([frame[:1], frame]), "ts must be strictly increasing"),
    "null": (lambda frame: frame.with_columns(low=pl.when(pl.col("low") > 99).then("low")), "'low': 2 rows are null"),
    "nan": (lambda frame: frame.with_columns(high=pl.lit(float("nan"))), "column 'high': every number must be finite"),
}


class TestWrongFolder:
    @pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
    def test_an_invalid_file_is_reported(self, folder, change, message):
        change(crypto_frame()).write_parquet(folder / "btc.parquet")
        with pytest.raises(DataError) as raised:
            replayed(folder)

        assert message in str(raised.value)
        assert str(folder / "btc.parquet") in str(raised.value)

    def test_a_missing_file_is_refused(self, folder):
        (folder / "btc.parquet").unlink()

        with pytest.raises(DataError, match=r"btc\.parquet: file does not exist"):
            replayed(folder)

    def test_a_file_that_is_not_parquet_is_refused(self, folder):
        (folder / "btc.parquet").write_text("ts,open")

        with pytest.raises(DataError, match=r"btc\.parquet: not a readable parquet file"):
            replayed(folder)

    def test_quotes_of_other_times_are_refused(self, folder):
        quote_frame()[:1].write_parquet(folder / "quotes.parquet")

        with pytest.raises(DataError, match=r"its 1 times differ from the 2 times of eur\.parquet"):
            replayed(folder, FX + 'bid_ask_file = "quotes.parquet"\n')

    def test_a_missing_folder_is_refused(self, tmp_path):
        with pytest.raises(SettingsError, match=r"replay folder .*nowhere is not a folder"):
            ReplayedCandles(tmp_path / "nowhere")


@pytest.fixture(scope="module")
def real(shared):
    return ReplayedCandles(shared / "data")


@pytest.fixture
def read(shared):
    return lambda file: pl.read_parquet(shared / "data" / file)


class TestRealFolder:
    @pytest.mark.parametrize("file", read_mapping(DEFAULT_MAPPING), ids=lambda file: file.file)
    @pytest.mark.parametrize("year", range(2019, 2026))
    def test_a_window_has_the_rows_of_the_file(self, real, read, file, year):
        window = (datetime(year, 1, 1, tzinfo=UTC), datetime(year, 7, 1, tzinfo=UTC))
        rows = read(file.file).filter(pl.col("ts").is_between(*window, closed="left"))
        candles = real.candles(file.dataset, *(int(bound.timestamp()) for bound in window))

        assert candles.times.tolist() == rows["ts"].dt.epoch("s").to_list()

    @pytest.mark.parametrize("instrument", [BTC_USD, ETH_USD], ids=lambda instrument: instrument.name)
    @pytest.mark.parametrize("timeframe", [Timeframe.M15, Timeframe.H1])
    def test_longer_crypto_equals_the_reference_resampling(self, real, read, instrument, timeframe):
        m5 = Dataset(instrument=instrument, timeframe=Timeframe.M5)
        frame = read(f"binance_{instrument.base}-USDT_5m.parquet")
        expected = derive(Candles(m5, frame), timeframe)
        candles = real.candles(m5.at(timeframe), *ALWAYS)

        assert candles.times.tolist() == expected.times.tolist()
        assert (candles.prices == expected.frame.select("open", "high", "low", "close").to_numpy()).all()
        assert np.abs(candles.volumes - expected.frame["volume"].to_numpy()).max() < 1.1e-8

    def test_recorded_bid_and_ask_are_served(self, real, read):
        quotes = read("oanda-bidask_EUR-USD_1h.parquet")
        candles = real.candles(EUR_H1, *ALWAYS)

        assert (candles.bid == quotes.select("bid_o", "bid_h", "bid_l", "bid_c").to_numpy()).all()
        assert (candles.ask == quotes.select("ask_o", "ask_h", "ask_l", "ask_c").to_numpy()).all()

    @pytest.mark.parametrize(
        ("timeframe", "file"), [(Timeframe.M15, "mt5b_EUR-USD_15m"), (Timeframe.M5, "mt5a_EUR-USD_5m")]
    )
    def test_a_bid_file_gets_the_configured_spread(self, real, read, timeframe, file):
        candles = real.candles(EUR_H1.at(timeframe), *ALWAYS)
        bid = read(f"{file}.parquet").select("open", "high", "low", "close").to_numpy()

        assert np.abs(candles.bid - bid).max() < 1e-9
        assert np.abs(candles.prices - bid - 0.00007).max() < 1e-9
        assert np.abs(candles.ask - bid - 0.00014).max() < 1e-9

    async def test_recorded_candles_are_served_over_the_protocol(self, real, serving, recorded):
        """The response recorded over a weekend has equal prices."""
        taken = json.loads(recorded("oanda/o08"))
        query = {"from": "2024-09-06T20:00:00Z", "to": "2024-09-08T22:00:00Z", "granularity": "H1", "price": "MBA"}
        async with serving(real, now=lambda: ALWAYS[1]) as client:
            reply = await client.get("/v3/instruments/EUR_USD/candles", **query)

        assert reply.json == taken

    async def test_the_newest_page_after_the_file_is_its_last_page(self, real, serving):
        async with serving(real, now=lambda: ALWAYS[1]) as client:
            newest = (await client.get("/products/BTC-USD/candles", granularity=300)).json
            after = await client.get(
                "/products/BTC-USD/candles", granularity=300, start="2024-04-01T00:00:00Z", end="2024-04-01T12:00:00Z"
            )

        assert len(newest) == 350
        assert newest[0][0] == int(datetime(2024, 3, 31, 23, 55, tzinfo=UTC).timestamp())
        assert after.json == []

    def test_a_known_price_move_is_at_the_right_time(self, real):
        """Bitcoin fell from about 7,900 to below 5,000 on 12 and 13 March 2020."""
        fall = Window(datetime(2020, 3, 12, tzinfo=UTC), datetime(2020, 3, 14, tzinfo=UTC))
        prices = real.candles(BTC_M5.at(Timeframe.H1), fall.start_seconds, fall.end_seconds).prices

        assert prices[0, 0] > 7_800
        assert prices[:, 2].min() < 5_000
