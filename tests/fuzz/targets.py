"""Every reader of foreign input, with valid examples and the errors that it may raise."""

import gzip
import io
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import polars as pl
from redis import Redis

from fetcher.importing.importer import import_candles
from fetcher.importing.request import ImportRequest
from fetcher.protocol.provider import Page, Provider
from fetcher.provider_registry import load
from optimizer.curriculum.level_files import load_levels
from tests.fuzz.mutations import damaged, damaged_json
from tradeschool.errors import ForeignFile, InvalidCandles, ProviderError, SettingsError
from tradeschool.markets.catalogue import BTC_USD, find_dataset
from tradeschool.markets.instrument_file import FILE_NAME
from tradeschool.markets.instrument_file import read as read_instruments
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.settings import loading
from tradeschool.store.frame_store import FrameStore
from workers.queue.job_allowlist import JobRefused, TrialJob
from workers.queue.messages import BatchResult, TrialBatch

START = datetime(2024, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
LOCAL, MINUTES = "-local.csv", "-minutes.csv"
"""Import targets that need an option: a time zone, and resampling."""
BTC = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)


@dataclass(frozen=True, kw_only=True)
class Target:
    """One reader of foreign input."""

    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    """Sound inputs; each is read without an error."""
    errors: tuple[type[Exception], ...]
    """What an unsound one may raise."""
    is_json: bool = False

    def inputs(self):
        """A hypothesis strategy of damaged seeds."""
        return damaged_json(self.seeds) if self.is_json else damaged(self.seeds)


def targets(folder: Path) -> Mapping[str, Target]:
    """Every target by its name; files are written below `folder`."""
    return {
        **{f"{each.name}-{each.source}": _page(each) for each in load().values()},
        **{f"{each.name}-{each.source}-refusal": _refusal(each) for each in load().values()},
        **{f"{each.name}-{each.source}-products": _products(each) for each in load().values()},
        "instruments": _file(
            folder / FILE_NAME, lambda path: read_instruments(path.parent), (INSTRUMENT_FILE,), ForeignFile
        ),
        "curriculum": _file(folder / "curriculum.toml", load_levels, (CURRICULUM,), SettingsError),
        "settings": _file(folder / "tradeschool.toml", _load_settings, (SETTINGS,), SettingsError),
        "dotenv": _file(folder / ".env", partial(_load_dotenv, folder), (DOTENV,), SettingsError),
        "batch": _json(lambda body: TrialBatch.parse(_tree(body)), ORDER),
        "result": _json(BatchResult.parse, ANSWER),
        "job": Target(read=_job, seeds=(json.dumps(JOB).encode(),), errors=(JobRefused,), is_json=True),
        **{f"import{suffix}": _import(folder, suffix, seed) for suffix, seed in _import_seeds(folder).items()},
    }


def _page(provider: Provider) -> Target:
    dataset = find_dataset(f"{provider.name}/{PAIRS[provider.name]}/M5")
    page = Page(dataset=dataset, window=Window.of_seconds(int(START.timestamp()), int(START.timestamp()) + 86_400))
    read = partial(provider.parse, page=page)
    seeds = BODIES[f"{provider.name}-{provider.source}"]
    return Target(read=read, seeds=seeds, errors=(ProviderError, InvalidCandles), is_json=True)


def _products(provider: Provider) -> Target:
    seeds = (PRODUCTS[f"{provider.name}-{provider.source}"],)
    return Target(read=provider.products, seeds=seeds, errors=(ProviderError,), is_json=True)


def _refusal(provider: Provider) -> Target:
    """Reading the body of a refusal returns the error and never raises."""
    return Target(read=lambda body: provider.refusal(400, body, "page"), seeds=REFUSALS, errors=(), is_json=True)


def _file(path: Path, read: Callable[[Path], object], seeds: tuple[bytes, ...], error: type[Exception]) -> Target:
    def written(body: bytes) -> object:
        path.write_bytes(body)
        return read(path)

    return Target(read=written, seeds=seeds, errors=(error,))


def _json(read: Callable[[bytes], object], seed: object) -> Target:
    return Target(read=read, seeds=(json.dumps(seed).encode(),), errors=(ValueError,), is_json=True)


def _tree(body: bytes) -> object:
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error


def _load_settings(path: Path) -> object:
    return loading.load(file=path)


def _load_dotenv(folder: Path, path: Path) -> object:
    before = Path.cwd()
    os.chdir(folder)
    try:
        return loading.load()
    finally:
        os.chdir(before)


def _job(body: bytes) -> object:
    """A job's hash as Redis holds it: names to bytes."""
    try:
        tree = _tree(body)
    except ValueError:
        tree = None
    if not isinstance(tree, dict) or "data" not in tree:
        raise JobRefused("no hash of a job")
    fields = {str(name).encode(errors="replace"): str(value).encode(errors="replace") for name, value in tree.items()}
    fields[b"data"] = zlib.compress(fields[b"data"])
    job = TrialJob("run-L1-a1-0-0-a1", connection=Redis())  # it connects to nothing
    job.restore(fields)
    return job.payload()


def _import(folder: Path, suffix: str, seed: bytes) -> Target:
    path, store = folder / f"file{suffix}", FrameStore(folder / f"data{suffix}")
    request = ImportRequest(
        dataset=BTC, zone="America/New_York" if suffix == LOCAL else None, resample=suffix == MINUTES
    )

    def read(body: bytes) -> object:
        path.write_bytes(body)
        return import_candles([path], request, store, now=NOW)

    return Target(read=read, seeds=(seed,), errors=(InvalidCandles, SettingsError))


def _import_seeds(folder: Path) -> dict[str, bytes]:
    frame = pl.DataFrame({name: [float(value)] * 6 for name, value in zip(COLUMNS, (10, 12, 9, 11, 5), strict=True)})
    times = pl.datetime_range(START, START.replace(minute=25), "5m", time_zone="UTC", eager=True)
    frame = frame.insert_column(0, times.alias("date"))
    rows = [[int(time.timestamp() * 1000), 10.0, 12.0, 9.0, 11.0, 5.0] for time in times]
    packed = {".parquet": frame.write_parquet, ".feather": frame.write_ipc}
    seeds = {suffix: _written(write) for suffix, write in packed.items()}
    return {
        **seeds,
        ".csv": CSV,
        ".csv.gz": gzip.compress(CSV),
        ".zip": _zipped({"a/1.csv": CSV[: CSV.index(b"2024-01-01T00:15")], "readme.md": b"x"}),
        **_import_texts(),
        ".json": json.dumps(rows).encode(),
        ".json.gz": gzip.compress(json.dumps(rows).encode()),
    }


def _import_texts() -> dict[str, bytes]:
    """Texts of other forms: one that is broken around each of their particular rules is refused, too."""
    binance, local, minutes, quoted = [], [], [], []
    for at in range(12):
        unix = int(START.timestamp()) + at * 300
        binance.append(f"{unix * 1000},10.0,12.0,9.0,11.0,5.0,{unix * 1000 + 299999},50,3,2,20,0")
        local.append(f"2024.03.11\t{at // 12:02}:{at % 12 * 5:02}:00\t10.0\t12.0\t9.0\t11.0\t5\t0\t6")
        minutes.append(f"{START.replace(minute=at):%d/%m/%Y %H:%M} +0000;10,25;12,5;9;11,75;5")
        quoted.append(f'"{unix}","10.0","12.0","9.0","11.0","5.0","55.0"')
    header = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>"
    quoted_header = ["https://www.CryptoDataDownload.com", "unix,open,high,low,close,Volume BTC,Volume USD"]
    return {
        "-binance.csv": "\n".join(binance).encode(),
        LOCAL: "\r\n".join([header, *local]).encode("utf-16"),
        MINUTES: "\n".join(["date;open;high;low;close;volume", *minutes]).encode(),
        "-quoted.csv": "\n".join([*quoted_header, *quoted[::-1]]).encode(),
    }


def _zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return buffer.getvalue()


def _written(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


PAIRS = {"coinbase": "BTC-USD", "oanda": "EUR-USD", "binance": "BTC-USDT"}
COLUMNS = ("open", "high", "low", "close", "volume")
CSV = b"timestamp,open,high,low,close,volume\n" + b"".join(
    f"2024-01-01T00:{minute:02}:00Z,10,12,9,11,5\n".encode() for minute in range(0, 30, 5)
)
BODIES = {
    "coinbase-exchange": (b"[[1704067500,9.5,12,10,11.25,5.5],[1704067200,9,12,10,11,5]]", b"[]"),
    "coinbase-advanced_trade": (
        b'{"candles":[{"start":"1704067200","low":"9","high":"12","open":"10","close":"11","volume":"5"}]}',
        b'{"candles":[]}',
    ),
    "oanda-v20": (
        b'{"instrument":"EUR_USD","granularity":"M5","candles":[{"complete":true,"volume":47,"time":"1704153600.000000000",'
        b'"bid":{"o":"1.10","h":"1.11","l":"1.09","c":"1.10"},"mid":{"o":"1.10","h":"1.11","l":"1.09","c":"1.10"},'
        b'"ask":{"o":"1.10","h":"1.11","l":"1.09","c":"1.10"}}]}',
    ),
    "binance-spot": (
        b'[[1704067200000,"10","12","9","11","5",1704067499999,"50",3,"2","20","0"]]',
        b"[]",
    ),
}
PRODUCTS = {
    "coinbase-exchange": b'[{"id":"SOL-USD","base_currency":"SOL","quote_currency":"USD","quote_increment":"0.01",'
    b'"status":"online","trading_disabled":false}]',
    "coinbase-advanced_trade": b'{"products":[{"base_currency_id":"SOL","quote_currency_id":"USD","price_increment":'
    b'"0.01","status":"online","product_type":"SPOT","trading_disabled":false}],"num_products":1}',
    "binance-spot": b'{"symbols":[{"symbol":"SOLUSDT","status":"TRADING","baseAsset":"SOL","quoteAsset":"USDT",'
    b'"isSpotTradingAllowed":true,"filters":[{"filterType":"PRICE_FILTER","tickSize":"0.01000000"}]}]}',
    "oanda-v20": b'{"instruments":[{"name":"SPX500_USD","type":"CFD","displayPrecision":1,'
    b'"tags":[{"type":"ASSET_CLASS","name":"INDEX"}]}],"lastTransactionID":"1"}',
}
INSTRUMENT_FILE = (
    b'{"version":1,"providers":{"coinbase":{"fetched_at":"2026-11-30T12:00:00+00:00","instruments":[{"base":"SOL",'
    b'"quote":"USD","kind":"crypto","tick":"0.01","status":"offline","finer_history":true}]}},"defined":[{"provider":'
    b'"files","base":"ES","quote":"USD","kind":"index","tick":"0.25","calendar":"fx","spread":false}]}'
)
REFUSALS = (
    b'{"message":"NotFound"}',
    b'{"errorMessage":"Invalid value specified for \'instrument\'"}',
    b'{"code":-1121,"msg":"Invalid symbol."}',
    b'{"error":"NOT_FOUND","error_details":"valid product_id is required","message":"x"}',
    b'"text"',
)
CURRICULUM = b"""[[level]]
name = "1"
title = "Three weeks"
direction = "both"
strategy = "sma_cross"
trials = 8
lag = 4
datasets = [{ dataset = "coinbase/BTC-USD/M5", start = 2023-01-01, end = 2023-01-22 }]
split = { train = 0.6, validation = 0.2, test = 0.2, embargo_days = 1 }
gate = { win_rate = 0.5, sharpe = 0.1, max_drawdown_intrabar = 0.9, profit_factor = 0.01 }
min_trades = { train = 1, validation = 1 }
ranges = { fast = [3, 20], slow = [21, 60], stop_atr = [1.0, 4.0] }
constraints = ["max_drawdown_intrabar <= 0.15"]
retries = 0
"""
SETTINGS = b"""data_dir = "data"
min_coverage = 0.99
log_format = "json"

[fetch]
coinbase_rate = 3.0
coinbase_url = "http://127.0.0.1:1"

[work]
trials_per_job = 4

[serve]
port = 8765
"""
DOTENV = b"""TRADESCHOOL_DATA_DIR=data
TRADESCHOOL_FETCH__COINBASE_RATE=2.5
OANDA_API_TOKEN="abc"
"""
LEVEL = {
    "name": "1",
    "title": "Long",
    "direction": "long",
    "trials": 40,
    "datasets": [{"dataset": "coinbase/BTC-USD/M5", "start": "2020-01-01", "end": "2022-01-01"}],
    "gate": {"win_rate": 0.5, "sharpe": 0.8, "max_drawdown_intrabar": 0.15, "profit_factor": 1.3},
    "ranges": {"fast": [5, 50], "stop_atr": [1.0, 5.0]},
}
ORDER = {
    "v": 2,
    "study": "r-L1-a1",
    "numbers": [0],
    "parameters": [{"fast": 5, "stop_atr": 1.5}],
    "thresholds": [[None, 0.5]],
    "level": LEVEL,
    "digests": {"coinbase/BTC-USD/M5 20200101-20210314": "d1"},
}
ANSWER = {
    "v": 2,
    "study": "r-L1-a1",
    "worker": "w",
    "trials": [
        {
            "v": 2,
            "number": 0,
            "request_digest": "q",
            "started": 1.0,
            "seconds": 0.5,
            "evaluation": "{}",
            "failure": None,
        },
    ],
    "refused": None,
}
JOB = {
    "data": '["workers.work_horse.evaluator.evaluate_trials", null, [{"v": 1}], {}]',
    "status": "queued",
    "created_at": "2024-01-01T00:00:00.000000Z",
    "timeout": "30",
    "ttl": "",
}
