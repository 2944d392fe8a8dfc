"""Import of small files in the formats of other programs, and of real files if available."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fetcher.importing.forms.layout import FileFormat
from fetcher.importing.importer import import_candles
from fetcher.importing.request import ImportRequest
from tests.factories.interruptions import Stopped
from tradeschool.errors import InvalidCandles, SettingsError, TradeschoolError
from tradeschool.markets.catalogue import BTC_USD, EUR_USD, GBP_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.findings import FindingKind
from tradeschool.ohlcv.frame import Candles
from tradeschool.store import GapReason, Seal
from tradeschool.store.frame_store import FrameStore

BTC = Dataset(instrument=BTC_USD, timeframe=Timeframe.H1)
EUR = Dataset(instrument=EUR_USD, timeframe=Timeframe.H1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
START = datetime(2021, 3, 1, tzinfo=UTC)
DAY = Window(START, START + timedelta(days=1))
PRICES = ("open", "high", "low", "close", "volume")
CSV = "time,open,high,low,close,volume\n"

Made = Callable[[Dataset, Window], Candles]


def put(path: Path, store: FrameStore, dataset: Dataset = BTC, now: datetime = NOW, **options: Any) -> Seal:
    (imported,) = import_candles([path], ImportRequest(dataset=dataset, **options), store, now=now).datasets
    assert imported.seal
    return imported.seal


def rows(count: int = 24, step: int = 3600) -> list[str]:
    start = int(START.timestamp())
    return [f"{start + at * step},100,102,99,101,{at + 1}" for at in range(count)]


def csv(tmp_path: Path, lines: list[str], header: str = CSV) -> Path:
    path = tmp_path / "candles.csv"
    path.write_text(header + "\n".join(lines) + "\n")
    return path


def vendor(tmp_path: Path, header: str, *, swapped: int = 0, in_progress: bool = False) -> Path:
    """CryptoDataDownload's format: URL, header, newest first; the first rows of the day may have swapped volumes."""
    lines = []
    for at in range(24):
        time = START + timedelta(hours=at)
        volumes = {"btc": at + 1.0, "usd": (at + 1) * 101.0}
        if at < swapped:
            volumes = {"btc": volumes["usd"], "usd": volumes["btc"]}
        if in_progress and at == 23:
            volumes = {"btc": 0.0, "usd": 0.0}
        order = [name.split()[1].lower() for name in header.split(",") if name.startswith("Volume ")]
        unix = int(time.timestamp()) * (1000 if at > 11 else 1)
        lines.append(
            f"{unix},{time:%Y-%m-%d %H:%M:%S},BTC/USD,100,102,99,101,{','.join(str(volumes[x]) for x in order)}"
        )
    path = tmp_path / "Coinbase_BTCUSD_1h.csv"
    path.write_text("\n".join(["https://www.CryptoDataDownload.com", header, *lines[::-1]]) + "\n")
    return path


HEADER = "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD"


def test_a_plain_csv_is_sealed_with_its_name(tmp_path: Path, store: FrameStore) -> None:
    seal = put(csv(tmp_path, rows()), store)

    assert (seal.source, seal.window, seal.rows, seal.missing) == ("imported:candles.csv", DAY, 24, 0)
    assert store.verify(BTC) == [seal]
    assert store.arrays(BTC, DAY).volume.tolist() == [at + 1 for at in range(24)]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather"])
@pytest.mark.parametrize("dataset", [BTC, EUR], ids=str)
def test_an_export_is_imported_unchanged(
    tmp_path: Path, store: FrameStore, made: Made, dataset: Dataset, suffix: str
) -> None:
    candles, path = made(dataset, DAY), tmp_path / f"out{suffix}"
    {".csv": candles.frame.write_csv, ".parquet": candles.frame.write_parquet, ".feather": candles.frame.write_ipc}[
        suffix
    ](path)
    put(path, store, dataset)

    assert store.candles(dataset, DAY).frame.equals(candles.frame)


@pytest.mark.parametrize("unit", ["ms", "ns"])
def test_freqtrade_feather_is_read(tmp_path: Path, store: FrameStore, made: Made, unit: str) -> None:
    frame = made(BTC, DAY).frame.rename({"ts": "date"}).with_columns(pl.col("date").dt.cast_time_unit(unit))
    frame.write_ipc(tmp_path / "BTC_USD-1h.feather", compression="lz4")
    put(tmp_path / "BTC_USD-1h.feather", store, form=FileFormat.FREQTRADE)

    assert store.candles(BTC, DAY).frame.equals(made(BTC, DAY).frame)


@pytest.mark.parametrize("name", ["BTC_USD-1h.json", "BTC_USD-1h.json.gz"])
def test_freqtrade_json_is_read(tmp_path: Path, store: FrameStore, made: Made, name: str) -> None:
    times = made(BTC, DAY).times.tolist()
    body = json.dumps([[time * 1000, 100, 102.5, 99, 101, 1.5] for time in times]).encode()
    (tmp_path / name).write_bytes(gzip.compress(body) if name.endswith("gz") else body)

    assert put(tmp_path / name, store).window == DAY


@pytest.mark.parametrize("header", [HEADER, "unix,date,symbol,open,high,low,close,Volume USD,Volume BTC"])
def test_a_vendor_volume_column_is_found_by_name(tmp_path: Path, store: FrameStore, header: str) -> None:
    """The file is newest first, starts with a URL line, and changes the unit of its Unix times."""
    seal = put(vendor(tmp_path, header), store)

    assert (seal.rows, seal.window, seal.findings) == (24, DAY, ())
    assert store.arrays(BTC, DAY).volume.tolist() == [at + 1 for at in range(24)]


def test_swapped_volume_columns_are_reported_and_corrected(tmp_path: Path, store: FrameStore) -> None:
    (finding,) = put(vendor(tmp_path, HEADER, swapped=5), store).findings

    assert (finding.kind, finding.rows, finding.start) == (FindingKind.SWAPPED_VOLUMES, 5, START)
    assert store.arrays(BTC, DAY).volume.tolist() == [at + 1 for at in range(24)]


def test_an_unfinished_last_candle_is_dropped_with_a_warning(tmp_path: Path, store: FrameStore) -> None:
    seal = put(vendor(tmp_path, HEADER, in_progress=True), store)

    assert (seal.rows, seal.end) == (23, DAY.end - timedelta(hours=1))
    assert [finding.kind for finding in seal.findings] == [FindingKind.UNFINISHED]


def test_an_open_candle_is_dropped(tmp_path: Path, store: FrameStore) -> None:
    seal = put(csv(tmp_path, rows()), store, now=DAY.end - timedelta(minutes=1))

    assert seal.rows == 23


def test_candles_missing_in_the_file_are_gaps(tmp_path: Path, store: FrameStore) -> None:
    (gap,) = put(csv(tmp_path, rows()[:5] + rows()[8:]), store).gaps

    assert (gap.slots, gap.reason) == (3, GapReason.NOT_IN_FILE)


def test_a_declared_time_range_is_sealed(tmp_path: Path, store: FrameStore) -> None:
    two_days = Window(START, START + timedelta(days=2))
    seal = put(csv(tmp_path, rows()), store, window=two_days)

    assert (seal.window, seal.rows, seal.missing) == (two_days, 24, 24)


def test_the_spread_of_fx_is_declared_in_pips(tmp_path: Path, store: FrameStore, made: Made) -> None:
    made(EUR, DAY).frame.drop("half_spread").write_parquet(tmp_path / "eur.parquet")
    put(tmp_path / "eur.parquet", store, EUR, spread_pips=1.4)
    half_spread = store.arrays(EUR, DAY).half_spread

    assert half_spread is not None
    assert half_spread.tolist() == pytest.approx([0.00007] * len(half_spread))


def test_an_import_is_replaced_by_a_longer_one(tmp_path: Path, store: FrameStore) -> None:
    put(csv(tmp_path, rows(12)), store)
    seal = put(csv(tmp_path, rows()), store)

    assert store.seals(BTC) == [seal]


def test_an_import_never_replaces_fetched_candles(tmp_path: Path, store: FrameStore) -> None:
    fetched = put(csv(tmp_path, rows()), store).model_copy(update={"source": "fetched"})
    store.seal(BTC, fetched)

    with pytest.raises(SettingsError, match=r"is already sealed \(fetched\).*--timerange"):
        put(csv(tmp_path, rows()), store)
    assert store.verify(BTC) == [fetched]


def test_an_import_interrupted_before_its_seal_can_be_repeated(tmp_path: Path, store: FrameStore) -> None:
    class StoppingStore(FrameStore):
        def seal(self, *args) -> None:
            raise Stopped

    first = put(csv(tmp_path, rows()), store)
    with pytest.raises(Stopped):
        put(csv(tmp_path, rows()), StoppingStore(store.root))
    assert store.seals(BTC) == []

    assert put(csv(tmp_path, rows()), store) == first


@pytest.mark.parametrize(
    ("lines", "header", "options", "told"),
    [
        (
            rows(24, 60),
            CSV,
            {},
            r"candles.csv, line 3: wrong step: the candles are 60 s apart, expected 3600 s; add --resample",
        ),
        (rows(24, 4 * 3600), CSV, {}, r"candles.csv: wrong step: the candles are 14400 s apart, expected 3600 s"),
        (
            [*rows(), rows()[-1]],
            CSV,
            {},
            "line 26: the time 2021-03-01 23:00:00 is that of line 25 again: times must be strictly incr",
        ),
        (["2021-03-01 00:00,1,2,1,1,1"], CSV, {}, "give one, such as --time-zone"),
        (rows(), CSV.replace("volume", "amount"), {}, "column volume is missing; found time, open"),
        (["1614556800,1,2,1,x,1"], CSV, {}, r"line 2: close 'x': expected a number"),
        (["1614556800,1,2,3,1,1"], CSV, {}, "low must be the lowest price"),
        (
            ["1614556800,1,2,1,1,1,ETH/USD"],
            CSV.replace("\n", ",symbol\n"),
            {},
            "contains symbol ETH/USD, expected BTC/USD",
        ),
        (rows(), CSV, {"form": FileFormat.CRYPTODATADOWNLOAD}, "is not of the form cryptodatadownload"),
        (rows(), CSV, {"form": FileFormat.FREQTRADE}, "column date is missing"),
        (rows(), CSV, {"spread_pips": 1.0}, "has no spread; omit the option"),
        (rows(), CSV, {"dataset": EUR}, "give the full spread, such as --spread-pips"),
        (rows(), CSV, {"window": Window(NOW - timedelta(days=1), NOW)}, "no candles in"),
    ],
    ids=[
        *("minutes", "four hours", "doubled", "no zone", "no volume", "no number", "contract", "other pair"),
        *("not the vendor's", "not freqtrade's", "spread of crypto", "no spread of FX", "nothing in range"),
    ],
)
def test_an_unsupported_import_is_reported(
    tmp_path: Path, store: FrameStore, lines: list[str], header: str, options: dict, told: str
) -> None:
    with pytest.raises(TradeschoolError, match=told) as caught:
        put(csv(tmp_path, lines, header), store, **options)
    assert "\n" not in str(caught.value)
    assert store.seals(BTC) == store.seals(EUR) == []


@pytest.mark.parametrize("microseconds", [-(2**62), 2**62])
def test_times_outside_the_calendar_are_reported(tmp_path: Path, store: FrameStore, microseconds: int) -> None:
    frame = pl.DataFrame({"date": [microseconds], **{each: [1.0] for each in PRICES}})
    frame.with_columns(pl.col("date").cast(pl.Datetime("us", "UTC"))).write_ipc(tmp_path / "x.feather")

    with pytest.raises(InvalidCandles, match=r"row 1: time .* is not in 1900\.\.2200"):
        put(tmp_path / "x.feather", store)


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.feather", "x.json"])
def test_a_file_with_the_wrong_format_is_reported(tmp_path: Path, store: FrameStore, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x00\x01\x02" * 50)

    with pytest.raises(InvalidCandles):
        put(tmp_path / name, store)


def test_an_unknown_suffix_is_reported(tmp_path: Path, store: FrameStore) -> None:
    (tmp_path / "x.xlsx").touch()

    with pytest.raises(SettingsError, match=r"expected a name that ends in \.csv"):
        put(tmp_path / "x.xlsx", store)


def test_a_year_of_fx_in_the_wrong_time_zone_is_refused(tmp_path: Path, store: FrameStore, made: Made) -> None:
    year = Window(datetime(2021, 1, 4, tzinfo=UTC), datetime(2021, 12, 1, tzinfo=UTC))
    athens = pl.col("ts").dt.convert_time_zone("Europe/Athens").dt.replace_time_zone(None)
    made(EUR, year).frame.with_columns(athens).write_csv(tmp_path / "broker.csv")

    with pytest.raises(InvalidCandles, match=r"wrong time zone .* the time zone and the timeframe"):
        put(tmp_path / "broker.csv", store, EUR, zone="UTC")
    put(tmp_path / "broker.csv", store, EUR, zone="Europe/Athens")
    assert store.seals(EUR)[0].missing == 0


@pytest.mark.parametrize(
    ("name", "dataset", "options"),
    [
        ("coinbase-cdd_BTC-USD_1h", BTC, {}),
        ("binance_BTC-USDT_5m", BTC.at(Timeframe.M5), {}),
        ("mt5b_GBP-USD_15m", Dataset(instrument=GBP_USD, timeframe=Timeframe.M15), {"spread_pips": 1.8}),
        ("oanda_EUR-USD_1h", EUR, {"spread_pips": 1.4}),
    ],
)
def test_real_files_are_imported(shared: Path, store: FrameStore, name: str, dataset: Dataset, options: dict) -> None:
    path = shared / "data" / f"{name}.parquet"
    seal = put(path, store, dataset, **options)

    assert seal.rows == pl.scan_parquet(path).select(pl.len()).collect().item()
    assert seal.coverage > 0.97
