import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from pyarrow import feather

from fetcher.download.page_ledger import PageLedger
from fetcher.download.plan import DownloadPlan
from fetcher.download.sealing import Publisher
from fetcher.protocol.provider import Page
from tradeschool.candles.frame import Candles
from tradeschool.markets.catalogue import BTC_USD, EUR_USD, DatasetRange
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.store import Seal
from tradeschool.store.frame_store import FrameStore

BTC = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
EUR = Dataset(instrument=EUR_USD, timeframe=Timeframe.H1)
WEEK = Window(datetime(2021, 3, 1, tzinfo=UTC), datetime(2021, 3, 5, tzinfo=UTC))
DAY = Window(datetime(2021, 3, 1, tzinfo=UTC), datetime(2021, 3, 2, tzinfo=UTC))
NOW = datetime(2026, 1, 1, tzinfo=UTC)

Command = Callable[..., tuple[int, str, str]]
Made = Callable[[Dataset, Window], Candles]


@pytest.fixture
def store(tmp_path: Path) -> FrameStore:
    """The candle store at the default path."""
    return FrameStore(tmp_path / "data")


def publish(store: FrameStore, candles: Candles) -> Seal:
    """Seal candles with Coinbase as their source."""
    rows = candles.frame.select(pl.col("ts").dt.epoch("s"), "low", "high", "open", "close", "volume").rows()
    ledger = PageLedger(store.root)
    page = Page(dataset=BTC, window=DAY)
    ledger.add(page, json.dumps(rows[::-1]).encode(), rows=len(rows), complete=True)
    (seal,) = Publisher(store, ledger, lambda: NOW).publish(DownloadPlan(wanted=DatasetRange(dataset=BTC, window=DAY)))
    ledger.close()
    return seal


def with_flat_candles(candles: Candles) -> Candles:
    flat = {name: pl.col("open") for name in ("high", "low", "close")}
    return Candles(candles.dataset, candles.frame.with_columns(volume=pl.lit(0.0), **flat))


def test_failed_pages_are_listed_with_the_gaps_and_a_reason(command: Command, store: FrameStore, made: Made) -> None:
    publish(store, made(BTC, DAY))
    with PageLedger(store.root) as ledger:
        ledger.fail(Page(dataset=EUR, window=DAY), "oanda refuses")
    code, out, _ = command("data", "gaps", "--json")

    assert code == 0
    assert json.loads(out) == [
        {
            "dataset": EUR.name,
            "start": "2021-03-01T00:00:00Z",
            "end": "2021-03-02T00:00:00Z",
            "slots": 24,
            "reason": "failed: oanda refuses",
        }
    ]


def test_every_slot_has_a_state(command: Command, store: FrameStore, made: Made) -> None:
    publish(store, made(BTC, DAY))
    code, out, _ = command("data", "account", BTC.name, "--timerange", "20210301-20210303", "--json")
    (found,) = json.loads(out)

    assert code == 0
    assert found["range"] == "2021-03-01..2021-03-03"
    assert (found["stored"], found["not yet requested"]) == (288, 288)
    assert "not yet requested" in command("data", "account", BTC.name)[1]
    assert len(json.loads(command("data", "account", "--json")[1])) == 15


def test_findings_are_shown_with_kind_and_place(command: Command, store: FrameStore, made: Made) -> None:
    publish(store, with_flat_candles(made(BTC, DAY)))
    code, out, _ = command("data", "findings", "--json")
    kinds = {each["kind"]: each for each in json.loads(out)}

    assert code == 0
    assert kinds["flat without volume"]["rows"] == 288
    assert kinds["flat without volume"]["dataset"] == BTC.name
    assert kinds["flat without volume"]["severity"] == "warn"
    assert "flat without volume" in command("data", "findings", BTC.name)[1]


def test_status_names_the_kinds_of_findings(command: Command, store: FrameStore, made: Made) -> None:
    publish(store, with_flat_candles(made(BTC, DAY)))
    (status,) = json.loads(command("data", "status", "--json")[1])

    assert "flat without volume" in status["findings"]


def test_repair_reports_an_intact_folder(command: Command, store: FrameStore, made: Made) -> None:
    publish(store, made(BTC, DAY))

    assert command("data", "repair") == (0, "nothing to repair\n", "")


def test_repair_prints_the_next_command(command: Command, store: FrameStore, made: Made) -> None:
    seal = publish(store, made(BTC, DAY))
    (store.folder(BTC) / seal.files[0].path).write_bytes(b"changed")
    code, out, _ = command("data", "repair", BTC.name)

    assert code == 0
    assert "2021-03-01..2021-03-02: seal removed" in out
    assert out.endswith("tradeschool fetch --pairs BTC/USD --timeframes M5 --timerange 20210301-20210302\n")
    assert store.seals(BTC) == []


def test_repair_prints_its_actions_as_json(command: Command, store: FrameStore, made: Made) -> None:
    seal = publish(store, made(BTC, DAY))
    (store.folder(BTC) / seal.files[0].path).unlink()
    told = json.loads(command("data", "repair", "--json")[1])

    assert told["repaired"][0]["unsealed"] == [{"dataset": BTC.name, "range": "20210301-20210302"}]
    assert told["repaired"][0]["forgotten"] == ["20210301-20210302"]
    assert len(told["run"]) == 1


def test_a_lost_page_of_an_active_download_needs_no_range(command: Command, store: FrameStore) -> None:
    ledger = PageLedger(store.root)
    ledger.add(Page(dataset=BTC, window=DAY), b"[]", rows=0, complete=False)
    ledger.close()
    _, out, _ = command("data", "repair")

    assert out.endswith("run:\ntradeschool fetch\n")


def test_import_seals_and_prints_findings(command: Command, store: FrameStore, tmp_path: Path) -> None:
    lines = [f"{DAY.start_seconds + at * 300},10,10,10,10,0" for at in range(288)]
    (tmp_path / "vendor.csv").write_text("unix,open,high,low,close,volume\n" + "\n".join(lines))
    code, out, _ = command("data", "import", "vendor.csv", "--dataset", BTC.name)

    assert code == 0
    assert "288 of 288 candles in 2021-03-01..2021-03-02 sealed, imported:vendor.csv" in out
    assert "flat without volume (2021): 288 candles with equal prices and no volume" in out
    assert store.seals(BTC)[0].source == "imported:vendor.csv"


def test_import_prints_the_seal_as_json(command: Command, store: FrameStore, tmp_path: Path, made: Made) -> None:
    made(BTC, DAY).frame.write_csv(tmp_path / "ours.csv")
    words = ("data", "import", "ours.csv", "--dataset", BTC.name, "--format", "plain", "--json")
    told = json.loads(command(*words)[1])

    assert (told["rows"], told["missing"], told["source"]) == (288, 0, "imported:ours.csv")
    assert store.verify(BTC)


def test_import_without_a_zone_is_refused_in_one_line(command: Command, tmp_path: Path) -> None:
    (tmp_path / "vendor.csv").write_text("date,open,high,low,close,volume\n2021-03-01 00:00,1,2,1,1,1\n")
    code, _, told = command("data", "import", "vendor.csv", "--dataset", BTC.name)

    assert (code, told.count("\n")) == (2, 1)
    assert "--time-zone UTC" in told


def test_a_damaged_imported_range_must_be_imported_again(
    command: Command, store: FrameStore, tmp_path: Path, made: Made
) -> None:
    made(BTC, DAY).frame.write_csv(tmp_path / "ours.csv")
    command("data", "import", "ours.csv", "--dataset", BTC.name)
    (store.folder(BTC) / store.seals(BTC)[0].files[0].path).unlink()
    _, out, _ = command("data", "repair")

    assert "imported:ours.csv: seal removed; import the file again" in out
    assert command("data", "import", "ours.csv", "--dataset", BTC.name)[0] == 0


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".feather"])
def test_export_writes_every_candle(
    command: Command, store: FrameStore, tmp_path: Path, made: Made, suffix: str
) -> None:
    publish(store, made(BTC, DAY))
    code, out, _ = command("data", "export", BTC.name, "--out", f"out{suffix}")
    read = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".feather": pl.read_ipc}[suffix]

    assert (code, out) == (0, f"288 candles in out{suffix}\n")
    assert read(tmp_path / f"out{suffix}").columns == ["ts", "open", "high", "low", "close", "volume"]


def test_the_freqtrade_export_equals_files_of_freqtrade(
    command: Command, store: FrameStore, tmp_path: Path, made: Made
) -> None:
    """Read with pyarrow, as pandas does for freqtrade."""
    publish(store, made(BTC, DAY))
    command("data", "export", BTC.name, "--layout", "freqtrade", "--out", "user_data/data/coinbase")
    table = feather.read_table(tmp_path / "user_data/data/coinbase/BTC_USD-5m.feather")

    assert table.column_names == ["date", "open", "high", "low", "close", "volume"]
    assert str(table.schema.field("date").type) == "timestamp[ms, tz=UTC]"
    assert table.num_rows == 288
    assert table["date"][0].as_py() == DAY.start


def test_a_freqtrade_export_of_fx_without_spread_can_be_imported(
    command: Command, store: FrameStore, tmp_path: Path, made: Made
) -> None:
    made(EUR, WEEK).frame.write_parquet(tmp_path / "eur.parquet")
    command("data", "import", "eur.parquet", "--dataset", EUR.name)
    command("data", "export", EUR.name, "--layout", "freqtrade", "--out", ".")
    exported = tmp_path / "EUR_USD-1h.feather"
    assert "half_spread" not in pl.read_ipc(exported).columns

    words = ("data", "import", str(exported), "--dataset", EUR.name, "--spread-pips", "2")
    assert command(*words)[0] == 0
    assert store.arrays(EUR, WEEK).close.tolist() == made(EUR, WEEK).frame["close"].to_list()


def test_an_empty_export_is_reported(command: Command) -> None:
    code, _, told = command("data", "export", BTC.name, "--out", "out.csv")

    assert code == 4
    assert "no sealed candles" in told


def test_an_export_with_unknown_suffix_is_reported(command: Command) -> None:
    code, _, told = command("data", "export", BTC.name, "--out", "out.xlsx")

    assert code == 2
    assert "expected a file name that ends in" in told


def test_status_shows_imported_ranges(command: Command, store: FrameStore, tmp_path: Path, made: Made) -> None:
    made(BTC, DAY).frame.write_csv(tmp_path / "ours.csv")
    command("data", "import", "ours.csv", "--dataset", BTC.name)
    (status,) = json.loads(command("data", "status", "--json")[1])

    assert (status["imported"], status["derived"]) == (True, False)
    assert "imported" in command("data", "status")[1]
