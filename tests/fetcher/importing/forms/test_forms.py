"""Each form of candle file, written by hand, gives the candles that it holds."""

import gzip
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from fetcher.importing.forms.layout import FileFormat
from fetcher.importing.importer import ImportResult
from tests.factories.candle_files import START, row, strftime, table, times, unix, written
from tradeschool.errors import InvalidCandles, SettingsError
from tradeschool.markets.catalogue import BTC_USD, BTC_USDT, EUR_USD, GBP_USD
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.timeframes import Timeframe
from tradeschool.ohlcv.frame import Candles
from tradeschool.store.frame_store import FrameStore

Import = Callable[..., ImportResult]
COUNT = 12
SECONDS = unix()
OHLC = "open,high,low,close"
PRICES = ("open", "high", "low", "close")


def stored(result: ImportResult, store: FrameStore) -> Candles:
    """The candles of the only dataset, as the store returns them."""
    (dataset,) = result.datasets
    assert dataset.seal
    return store.candles(dataset.ready.dataset, dataset.seal.window)


def dataset_of(instrument: Instrument, timeframe: Timeframe = Timeframe.M5) -> Dataset:
    return Dataset(instrument=instrument, timeframe=timeframe)


def check(candles: Candles, *, level: float = 100.0, digits: int = 2, first: datetime = START) -> None:
    """Compare with what `table` wrote."""
    expected = [[float(text) for text in row(at, level, digits)[:4]] for at in range(len(candles))]
    assert candles.frame.select(PRICES).rows() == [tuple(prices) for prices in expected]
    assert candles.frame["ts"].to_list() == times(len(candles), candles.dataset.timeframe.seconds, first)


def form_of(result: ImportResult) -> str:
    return result.datasets[0].files[0].form


def binance_row(scale: int) -> Callable[[int], list[str]]:
    moments = times(COUNT)
    return lambda at: [str((int(moments[at].timestamp()) + 300) * scale - 1), "500.0", "10", "2.5", "250.0", "0"]


BINANCE_HEADER = f"open_time,{OHLC},volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"


@pytest.mark.parametrize("has_header", [False, True], ids=["spot", "futures"])
@pytest.mark.parametrize("scale", [1_000, 1_000_000], ids=["ms", "us"])
def test_binance(tmp_path: Path, store: FrameStore, run_import: Import, scale: int, has_header: bool) -> None:
    lines = table(times(COUNT), unix(scale), more=binance_row(scale))
    path = written(tmp_path / "BTCUSDT-5m-2024-01.csv", [BINANCE_HEADER, *lines] if has_header else lines)
    result = run_import(path)
    candles = stored(result, store)

    assert (form_of(result), candles.dataset) == ("binance", dataset_of(BTC_USDT))
    check(candles)
    assert candles.frame["volume"].to_list() == [at + 1 for at in range(COUNT)]


def test_binance_months_in_ms_and_us_are_one_range(tmp_path: Path, store: FrameStore, run_import: Import) -> None:
    moments = times(COUNT)
    for name, part, scale in (("a", slice(0, 5), 1_000), ("b", slice(5, COUNT), 1_000_000)):
        lines = table(moments, unix(scale), more=binance_row(scale))[part]
        with zipfile.ZipFile(tmp_path / f"BTCUSDT-5m-{name}.zip", "w") as archive:
            archive.writestr(f"data/BTCUSDT-5m-{name}.csv", "\n".join(lines))
        (tmp_path / f"BTCUSDT-5m-{name}.zip.CHECKSUM").write_text("abc")
    result = run_import(tmp_path)

    check(stored(result, store))
    assert len(result.ignored) == 2


def test_binance_contracts_are_not_a_volume(tmp_path: Path, store: FrameStore, run_import: Import) -> None:
    """A coin-margined future counts its volume in contracts; the base volume stands in another column."""
    path = written(tmp_path / "BTCUSD_PERP-5m-2024-01.csv", table(times(COUNT), unix(1_000), more=binance_row(1_000)))

    assert set(stored(run_import(path, dataset=dataset_of(BTC_USD)), store).frame["volume"]) == {500.0}


MT5_HEADER = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>"
HELSINKI = ZoneInfo("Europe/Helsinki")


def broker(form: str) -> Callable[[datetime], str]:
    return lambda moment: moment.astimezone(HELSINKI).strftime(form)


def test_metatrader_5(tmp_path: Path, store: FrameStore, run_import: Import) -> None:
    """Bid prices and a spread of six points: mid prices lie three points above them."""
    lines = table(
        times(COUNT), broker("%Y.%m.%d\t%H:%M:%S"), separator="\t", level=1.1, digits=5, more=lambda at: ["0", "6"]
    )
    path = written(tmp_path / "EURUSD_M5_202401020200_202401020255.csv", [MT5_HEADER, *lines], "utf-16")
    result = run_import(path, zone="Europe/Helsinki")

    assert (form_of(result), result.datasets[0].ready.dataset) == ("metatrader", dataset_of(EUR_USD))
    check(stored(result, store), level=1.10003, digits=5)
    assert set(stored(result, store).frame["half_spread"]) == {3e-5}


def test_metatrader_s_python_package(tmp_path: Path, store: FrameStore, run_import: Import) -> None:
    """Unix times that count the seconds of the broker's clock."""
    lines = table(
        [moment + timedelta(hours=2) for moment in times(COUNT)],
        unix(),
        level=1.1,
        digits=5,
        more=lambda at: ["6", "0"],
    )
    path = written(tmp_path / "EURUSD.csv", [f"time,{OHLC},tick_volume,spread,real_volume", *lines])

    check(stored(run_import(path, zone="Europe/Helsinki"), store), level=1.10003, digits=5)


def test_an_odd_spread_gives_prices_in_whole_ticks(tmp_path: Path, store: FrameStore, run_import: Import) -> None:
    lines = table(
        times(COUNT), broker("%Y.%m.%d\t%H:%M:%S"), separator="\t", level=1.1, digits=5, more=lambda at: ["0", "7"]
    )
    path = written(tmp_path / "EURUSD_M5.csv", [MT5_HEADER, *lines])
    candles = stored(run_import(path, zone="Europe/Helsinki"), store)

    check(candles, level=1.10004, digits=5)
    assert set(candles.frame["half_spread"]) == {3.5e-5}


def test_metatrader_4(tmp_path: Path, store: FrameStore, run_import: Import) -> None:
    path = written(tmp_path / "EURUSD5.csv", table(times(COUNT), broker("%Y.%m.%d,%H:%M"), level=1.1, digits=5))
    result = run_import(path, zone="Europe/Helsinki", spread_pips=1.0)

    assert form_of(result) == "metatrader"
    check(stored(result, store), level=1.10005, digits=5)


def test_a_broker_s_time_needs_its_zone(tmp_path: Path, run_import: Import) -> None:
    path = written(tmp_path / "EURUSD5.csv", table(times(COUNT), broker("%Y.%m.%d,%H:%M"), level=1.1, digits=5))

    with pytest.raises(SettingsError, match=r"EURUSD5\.csv: times such as 2024\.01\.02 .*--time-zone"):
        run_import(path, spread_pips=1.0)


@pytest.mark.parametrize("moment", [datetime(2024, 1, 2, 5, tzinfo=UTC), datetime(2024, 7, 2, 5, tzinfo=UTC)])
@pytest.mark.parametrize(
    ("name", "form", "separator"),
    [
        ("DAT_ASCII_EURUSD_M1_202401.csv", "%Y%m%d %H%M%S", ";"),
        ("DAT_MT_EURUSD_M1_202401.csv", "%Y.%m.%d,%H:%M", ","),
        ("DAT_NT_EURUSD_M1_202401.csv", "%Y%m%d %H%M%S", ";"),
    ],
)
def test_histdata(
    tmp_path: Path, store: FrameStore, run_import: Import, name: str, form: str, separator: str, moment: datetime
) -> None:
    """Eastern Standard Time is five hours behind UTC, in summer, too."""
    eastern = [each - timedelta(hours=5) for each in times(COUNT, start=moment)]
    lines = table(eastern, strftime(form), separator=separator, level=1.1, digits=5)
    result = run_import(written(tmp_path / name, lines), spread_pips=1.0)

    assert form_of(result) == "histdata"
    check(stored(result, store), level=1.10005, digits=5, first=moment)


DUKASCOPY_HEADER = "time,Open,High,Low,Close,Volume "


@pytest.mark.parametrize(
    ("header", "time"),
    [
        ("Gmt time", strftime("%d.%m.%Y %H:%M:%S.000")),
        ("Local time", lambda moment: (moment + timedelta(hours=1)).strftime("%d.%m.%Y %H:%M:%S.000 GMT+0100")),
        ("Time (UTC)", strftime("%Y.%m.%d %H:%M:%S")),
        ("Time (EET)", broker("%Y.%m.%d %H:%M:%S")),
    ],
)
def test_dukascopy(
    tmp_path: Path, store: FrameStore, run_import: Import, header: str, time: Callable[[datetime], str]
) -> None:
    """Bid and ask 12 points apart: mid prices lie six points above the bid."""
    for side, level in (("BID", 1.27), ("ASK", 1.27012)):
        lines = table(times(COUNT), time, level=level, digits=5)
        name = f"GBPUSD_Candlestick_5_M_{side}_02.01.2024-02.01.2024.csv"
        written(tmp_path / name, [DUKASCOPY_HEADER.replace("time", header), *lines])
    result = run_import(tmp_path / "GBPUSD_*.csv")

    assert (form_of(result), result.datasets[0].ready.dataset) == ("dukascopy", dataset_of(GBP_USD))
    check(stored(result, store), level=1.27006, digits=5)
    assert set(stored(result, store).frame["half_spread"]) == {6e-5}


def dukascopy_sides(tmp_path: Path, bid: list[str], ask: list[str]) -> list[Path]:
    header = DUKASCOPY_HEADER.replace("time", "Gmt time")
    return [
        written(tmp_path / f"GBPUSD_Candlestick_5_M_{side}_x.csv", [header, *lines])
        for side, lines in (("BID", bid), ("ASK", ask))
    ]


def test_a_bid_candle_without_its_ask_candle_is_refused(tmp_path: Path, run_import: Import) -> None:
    bid = table(times(COUNT), strftime("%d.%m.%Y %H:%M:%S"), level=1.27, digits=5)

    with pytest.raises(InvalidCandles, match=r"BID_x\.csv, line 13: the bid candle 2024-01-02 00:55 .* no ask candle"):
        run_import(*dukascopy_sides(tmp_path, bid, bid[:-1]))


def test_a_bid_above_its_ask_is_refused(tmp_path: Path, run_import: Import) -> None:
    low, high = (table(times(COUNT), strftime("%d.%m.%Y %H:%M:%S"), level=each, digits=5) for each in (1.27, 1.28))

    with pytest.raises(InvalidCandles, match=r"line 2: the bid 1\.28 is above the ask 1\.27"):
        run_import(*dukascopy_sides(tmp_path, high, low))


def test_one_side_alone_needs_a_spread(tmp_path: Path, store: FrameStore, run_import: Import) -> None:
    lines = table(times(COUNT), strftime("%d.%m.%Y %H:%M:%S"), level=1.27, digits=5)
    bid, ask = dukascopy_sides(tmp_path, lines, lines)

    with pytest.raises(SettingsError, match=r"--spread-pips 1\.4, or import it together with the file of the other"):
        run_import(bid)
    check(stored(run_import(ask, spread_pips=2.0), store), level=1.2699, digits=5)


@pytest.mark.parametrize("time", [unix(), strftime("%Y-%m-%dT%H:%M:%SZ"), strftime("%Y-%m-%dT%H:%M:%S+00:00")])
def test_tradingview(tmp_path: Path, store: FrameStore, run_import: Import, time: Callable[[datetime], str]) -> None:
    lines = table(times(COUNT), time, more=lambda at: ["", "7.5"])
    path = written(tmp_path / "COINBASE_BTCUSD, 5.csv", [f"time,{OHLC},Volume,Plot,Volume MA", *lines])
    result = run_import(path)

    assert (form_of(result), result.datasets[0].ready.dataset) == ("tradingview", dataset_of(BTC_USD))
    check(stored(result, store))


def test_a_chart_without_volume_says_which_option_helps(tmp_path: Path, store: FrameStore, run_import: Import) -> None:
    lines = [line.rpartition(",")[0] for line in table(times(COUNT), unix())]
    path = written(tmp_path / "COINBASE_BTCUSD, 5.csv", [f"time,{OHLC}", *lines])

    with pytest.raises(InvalidCandles, match=r"column volume is missing.*--columns volume=none"):
        run_import(path)
    assert set(stored(run_import(path, columns="volume=none"), store).frame["volume"]) == {0.0}


def yfinance_rows() -> list[str]:
    """Close, high, low, open, volume; prices with the noise of single precision."""
    lines = []
    for at, moment in enumerate(times(COUNT)):
        open_, high, low, close = (f"{float(text) + 0.0003}" for text in row(at)[:4])
        lines.append(f"{moment:%Y-%m-%d %H:%M:%S+00:00},{close},{high},{low},{open_},{at + 1}")
    return lines


@pytest.mark.parametrize(
    "header",
    [
        ["Datetime,Close,High,Low,Open,Volume"],
        ["Price,Close,High,Low,Open,Volume", "Ticker,BTC-USD,BTC-USD,BTC-USD,BTC-USD,BTC-USD", "Datetime,,,,,"],
        [",Close,High,Low,Open,Volume", "Datetime,BTC-USD,BTC-USD,BTC-USD,BTC-USD,BTC-USD"],
    ],
    ids=["one", "three", "two"],
)
def test_yfinance(tmp_path: Path, store: FrameStore, run_import: Import, header: list[str]) -> None:
    path = written(tmp_path / "history.csv", [*header, *yfinance_rows()])
    options = {} if len(header) > 1 else {"dataset": dataset_of(BTC_USD)}
    result = run_import(path, **options)

    assert (form_of(result), result.datasets[0].ready.dataset) == ("yfinance", dataset_of(BTC_USD))
    check(stored(result, store))


def test_yfinance_of_several_tickers_is_refused(tmp_path: Path, run_import: Import) -> None:
    header = ["Price,Close,High,Low,Open,Volume", "Ticker,BTC-USD,ETH-USD,BTC-USD,ETH-USD,BTC-USD", "Datetime,,,,,"]
    path = written(tmp_path / "history.csv", [*header, *yfinance_rows()])

    with pytest.raises(InvalidCandles, match=r"history\.csv: has the tickers BTC-USD, ETH-USD; write one file per"):
        run_import(path)


def test_kraken(tmp_path: Path, store: FrameStore, run_import: Import) -> None:
    path = written(tmp_path / "XBTUSD_5.csv", table(times(COUNT), unix(), more=lambda at: ["42"]))

    with pytest.raises(SettingsError, match=r"no known instrument of kraken; with this name there is coinbase:BTC/USD"):
        run_import(path)
    result = run_import(path, tick="0.01")
    candles = stored(result, store)
    assert (form_of(result), candles.dataset.name) == ("kraken", "kraken/BTC-USD/M5")
    check(candles)
    assert candles.frame["volume"].to_list() == [at + 1 for at in range(COUNT)]


def test_cryptodatadownload(tmp_path: Path, store: FrameStore, run_import: Import) -> None:
    """Newest first below an address, and Unix times that change from seconds to milliseconds."""
    lines = [
        f"{int(moment.timestamp()) * (1000 if at > 5 else 1)},{moment:%Y-%m-%d %H:%M:%S},BTC/USD,"
        f"{','.join(row(at)[:4])},{(at + 1) * 100},{at + 1}"
        for at, moment in enumerate(times(COUNT))
    ]
    header = ["https://www.CryptoDataDownload.com", f"unix,date,symbol,{OHLC},Volume USD,Volume BTC"]
    result = run_import(written(tmp_path / "Coinbase_BTCUSD_5m.csv", [*header, *lines[::-1]]))

    assert (form_of(result), result.datasets[0].files[0].newest_first) == ("cryptodatadownload", True)
    check(stored(result, store))
    assert stored(result, store).frame["volume"].to_list() == [at + 1 for at in range(COUNT)]


def candle_frame() -> pl.DataFrame:
    columns = [[float(text) for text in row(at)] for at in range(COUNT)]
    frame = pl.DataFrame(columns, schema=[*PRICES, "volume"], orient="row")
    return frame.insert_column(0, pl.Series("date", times(COUNT), dtype=pl.Datetime("ms", "UTC")))


@pytest.mark.parametrize("suffix", ["feather", "parquet", "json", "json.gz"])
def test_freqtrade(tmp_path: Path, store: FrameStore, run_import: Import, suffix: str) -> None:
    path = tmp_path / "binance" / f"BTC_USDT-5m.{suffix}"
    path.parent.mkdir()
    rows = [[int(time.timestamp() * 1000), *numbers] for time, *numbers in candle_frame().rows()]
    body = json.dumps(rows).encode()
    if suffix == "feather":
        candle_frame().write_ipc(path, compression="lz4")
    elif suffix == "parquet":
        candle_frame().write_parquet(path)
    else:
        path.write_bytes(gzip.compress(body) if suffix.endswith("gz") else body)
    result = run_import(path)

    assert (form_of(result), result.datasets[0].ready.dataset) == ("freqtrade", dataset_of(BTC_USDT))
    check(stored(result, store))


@pytest.mark.parametrize("is_nested", [False, True])
def test_ccxt(tmp_path: Path, store: FrameStore, run_import: Import, is_nested: bool) -> None:
    rows = [[int(time.timestamp() * 1000), *numbers] for time, *numbers in candle_frame().rows()]
    path = written(tmp_path / "binance-dump.json", [json.dumps({"BTC/USDT": {"5m": rows}} if is_nested else rows)])
    result = run_import(path, **({} if is_nested else {"pair": "BTC/USDT"}))

    assert (form_of(result), result.datasets[0].ready.dataset) == ("ccxt", dataset_of(BTC_USDT))
    check(stored(result, store))


@pytest.mark.parametrize(
    "body", ["[[1,2,3]]", '{"a": [], "b": 1}', '{"a": [1], "b": [2]}', "{", "3", "[[1,2,3,4,5,[]]]"]
)
def test_json_of_another_shape_is_told(tmp_path: Path, run_import: Import, body: str) -> None:
    with pytest.raises(InvalidCandles, match=r"x\.json"):
        run_import(written(tmp_path / "x.json", [body]), dataset=dataset_of(BTC_USD))


def plain_lines(header: str, time: Callable[[datetime], str] = SECONDS, separator: str = ",") -> list[str]:
    """A header, with commas, and rows with another separator."""
    return [header.replace(",", separator), *table(times(COUNT), time, separator=separator)]


NAMED = f"date,{OHLC},volume"
TS = f"ts,{OHLC},volume"
MAPPED = "ts=when,open=a,high=b,low=c,close=4,volume=5"
TWO_TIMES = "ts=d+t,open=2,high=3,low=4,close=5,volume=6"


@pytest.mark.parametrize(
    ("lines", "options"),
    [
        (plain_lines(TS, separator=";"), {}),
        (plain_lines(TS, unix(1_000), separator="|"), {}),
        ([f"volume,ts,{OHLC}", *(",".join(each.rsplit(",", 1)[::-1]) for each in table(times(COUNT), unix()))], {}),
        (["sep=;", *(each.replace(".", ",") for each in plain_lines(TS, separator=";"))], {}),
        ([f"{each}," for each in plain_lines(TS)], {}),
        (table(times(COUNT), unix()), {}),
        (["", *plain_lines(TS), ""], {}),
        (plain_lines(f"date,time,{OHLC},volume", strftime("%Y%m%d,%H%M%S")), {"zone": "UTC"}),
        (plain_lines(NAMED, strftime("%Y%m%d%H%M")), {"zone": "UTC"}),
        (plain_lines(NAMED, strftime('"%b %d, %Y %H:%M"')), {"zone": "UTC"}),
        (plain_lines(NAMED, strftime("%d-%b-%Y %I:%M %p")), {"zone": "UTC"}),
        (plain_lines("when,a,b,c,d,e"), {"columns": MAPPED}),
        (plain_lines("d,t,a,b,c,d,e", strftime("%Y-%m-%d,%H:%M")), {"columns": TWO_TIMES, "zone": "UTC"}),
        (plain_lines(NAMED, strftime("%d/%m/%Y %H:%M")), {"time_format": "%d/%m/%Y %H:%M", "zone": "UTC"}),
        (plain_lines(NAMED, strftime("%d.%m.%Y %H:%M")), {"zone": "UTC"}),
    ],
    ids=[
        *("semicolons", "bars", "other order", "decimal comma", "comma at the end", "no header", "blank lines"),
        *("date and time", "digits", "month name", "twelve hours", "mapping", "two columns of time", "time format"),
        "points",
    ],
)
def test_plain(tmp_path: Path, store: FrameStore, run_import: Import, lines: list[str], options: dict) -> None:
    result = run_import(written(tmp_path / "x.csv", lines), dataset=dataset_of(BTC_USD), **options)

    assert form_of(result) == "plain"
    check(stored(result, store))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_obeyed(tmp_path: Path, store: FrameStore, run_import: Import, encoding: str) -> None:
    path = written(tmp_path / "x.csv", [f"ts,{OHLC},volume", *table(times(COUNT), unix())], encoding)

    check(stored(run_import(path, dataset=dataset_of(BTC_USD)), store))


@pytest.mark.parametrize("names", [("bid_o", "ask_o"), ("bidopen", "askopen"), ("Bid Open", "Ask Open")], ids=str)
def test_bid_and_ask_in_one_file(tmp_path: Path, store: FrameStore, run_import: Import, names: tuple[str, str]) -> None:
    forms = [name.replace("pen", "") for name in names] if names[0] == "bid_o" else names
    sides = {"bid_o": "ohlc"}.get(names[0], PRICES)
    header = ["ts", *(f"{form.removesuffix('o')}{each}" for form in forms for each in sides)] if sides == "ohlc" else [
        "ts", *(name.replace("open", each).replace("Open", each) for name in names for each in PRICES)
    ]  # fmt: skip
    lines = [
        ",".join([unix()(moment), *row(at, 1.1, 5)[:4], *row(at, 1.10012, 5)[:4], "5"])
        for at, moment in enumerate(times(COUNT))
    ]
    result = run_import(
        written(tmp_path / "x.csv", [",".join([*header, "volume"]), *lines]), dataset=dataset_of(EUR_USD)
    )

    check(stored(result, store), level=1.10006, digits=5)
    assert set(stored(result, store).frame["half_spread"]) == {6e-5}


@pytest.mark.parametrize("form", [each for each in FileFormat if each not in {FileFormat.AUTO, FileFormat.PLAIN}])
def test_a_form_that_is_given_is_not_that_of_any_file(tmp_path: Path, run_import: Import, form: FileFormat) -> None:
    path = written(tmp_path / "x.csv", [f"when,{OHLC},volume", *table(times(COUNT), unix())])

    with pytest.raises(InvalidCandles, match=r"x\.csv: (is not of the form|column date is missing)"):
        run_import(path, dataset=dataset_of(BTC_USD), form=form)
