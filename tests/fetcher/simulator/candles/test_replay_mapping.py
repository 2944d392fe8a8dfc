import pytest

from fetcher.simulator.candles.replay_mapping import DEFAULT_MAPPING, ReplayFile, read_mapping
from tradeschool.errors import SettingsError
from tradeschool.markets.catalogue import BTC_USD, ETH_USD, EUR_USD, GBP_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe

LONGER = (Timeframe.M15, Timeframe.H1)


@pytest.fixture
def mapping(tmp_path):
    def write(text):
        path = tmp_path / "mapping.toml"
        path.write_text(text)
        return path

    return write


def entry(pair="BTC/USD", timeframe="M5", **more):
    lines = {"pair": pair, "timeframe": timeframe, "file": "a.parquet"} | more
    return "[[candles]]\n" + "\n".join(f"{name} = {value!r}" for name, value in lines.items()) + "\n"


def test_the_default_mapping_serves_all_twelve_datasets():
    assert read_mapping(DEFAULT_MAPPING) == (
        ReplayFile(dataset=of(BTC_USD, Timeframe.M5), file="binance_BTC-USDT_5m.parquet", aggregate=LONGER),
        ReplayFile(dataset=of(ETH_USD, Timeframe.M5), file="binance_ETH-USDT_5m.parquet", aggregate=LONGER),
        ReplayFile(
            dataset=of(EUR_USD, Timeframe.H1),
            file="oanda_EUR-USD_1h.parquet",
            bid_ask_file="oanda-bidask_EUR-USD_1h.parquet",
        ),
        ReplayFile(
            dataset=of(GBP_USD, Timeframe.H1),
            file="oanda_GBP-USD_1h.parquet",
            bid_ask_file="oanda-bidask_GBP-USD_1h.parquet",
        ),
        ReplayFile(dataset=of(EUR_USD, Timeframe.M15), file="mt5b_EUR-USD_15m.parquet", spread_ticks=14),
        ReplayFile(dataset=of(GBP_USD, Timeframe.M15), file="mt5b_GBP-USD_15m.parquet", spread_ticks=18),
        ReplayFile(dataset=of(EUR_USD, Timeframe.M5), file="mt5a_EUR-USD_5m.parquet", spread_ticks=14),
        ReplayFile(dataset=of(GBP_USD, Timeframe.M5), file="mt5a_GBP-USD_5m.parquet", spread_ticks=18),
    )


def of(instrument, timeframe):
    return Dataset(instrument=instrument, timeframe=timeframe)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "missing required field `candles`"),
        ("candles = []", "has no entries"),
        ("[[candles]", "is not valid TOML"),
        (entry(colour="red"), "unknown field `colour`"),
        (entry(aggregate="H1"), "Expected `array`, got `str`"),
        (entry("XRP/USD"), "unknown pair 'XRP/USD'"),
        (entry(timeframe="M2"), "unknown timeframe 'M2'"),
        (entry(aggregate=["M2"]), "unknown timeframe 'M2'"),
        (entry(timeframe="M15", aggregate=["M5"]), "M5 is not longer than M15"),
        (entry(aggregate=["M5"]), "M5 is not longer than M5"),
        (entry() + entry(), "coinbase/BTC-USD/M5 is served from two files"),
        (entry(aggregate=["H1"]) + entry(timeframe="H1"), "coinbase/BTC-USD/H1 is served from two files"),
        (entry(spread_pips=1.4), "crypto has no bid and ask"),
        (entry("EUR/USD"), "expected one of bid_ask_file and spread_pips, was 0"),
        (entry("EUR/USD", spread_pips=1.4, bid_ask_file="b"), "expected one of bid_ask_file and spread_pips, was 2"),
        (entry("EUR/USD", spread_pips=1.45), "expected a positive multiple of 0.1 for EUR/USD, was 1.45"),
        (entry("EUR/USD", spread_pips=0), "expected a positive multiple of 0.1 for EUR/USD, was 0"),
        (entry("EUR/USD", spread_pips="wide"), "Expected `float | null`, got `str`"),
    ],
)
def test_an_invalid_mapping_is_reported(mapping, text, message):
    path = mapping(text)
    with pytest.raises(SettingsError) as raised:
        read_mapping(path)

    assert message in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_missing_mapping_is_reported(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere\.toml cannot be read: No such file or directory"):
        read_mapping(tmp_path / "nowhere.toml")
