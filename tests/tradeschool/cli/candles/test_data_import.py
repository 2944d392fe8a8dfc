import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.factories.candle_files import table, times, unix, written
from tradeschool.atomic_files import STAGING, is_swept
from tradeschool.markets import registry
from tradeschool.markets.catalogue import find_dataset
from tradeschool.store.frame_store import FrameStore
from tradeschool.views import import_result

Command = Callable[..., tuple[int, str, str]]
HEADER = "ts,open,high,low,close,volume"


@pytest.fixture
def minutes(tmp_path: Path) -> Path:
    """Two files of a folder, with a gap of two candles between them."""
    moments = times(24)
    for name, part in (("a", moments[:10]), ("b", moments[12:])):
        written(tmp_path / "coinbase" / f"BTCUSD_{name}.csv", [HEADER, *table(part, unix())])
    written(tmp_path / "coinbase" / "readme.md", ["x"])
    return tmp_path / "coinbase"


def test_a_dry_run_shows_what_is_understood_and_stores_nothing(command: Command, minutes: Path) -> None:
    code, out, _ = command("data", "import", "coinbase", "--dry-run")

    assert code == 0
    assert out.splitlines() == [
        "coinbase/BTCUSD_a.csv: plain, mid prices, times in UTC or with an offset",
        "  columns ts=ts, open=open, high=high, low=low, close=close, volume=volume",
        "  first 2024-01-02 00:00:00 UTC open=100 high=100.09 low=99.93 close=100.01 volume=1",
        "  last  2024-01-02 00:45:00 UTC open=100.09 high=100.18 low=100.02 close=100.1 volume=10",
        "  10 rows, step 5 min, no gaps",
        "coinbase/BTCUSD_b.csv: plain, mid prices, times in UTC or with an offset",
        "  columns ts=ts, open=open, high=high, low=low, close=close, volume=volume",
        "  first 2024-01-02 01:00:00 UTC open=100 high=100.09 low=99.93 close=100.01 volume=1",
        "  last  2024-01-02 01:55:00 UTC open=100.11 high=100.2 low=100.04 close=100.12 volume=12",
        "  12 rows, step 5 min, no gaps",
        "coinbase/BTC-USD/M5: 22 of 24 candles in 2024-01-02..2024-01-02 02:00 would be sealed: 1 gap with 2 candles",
        "coinbase/readme.md: ignored, because it is no candle file",
        "dry run: nothing was stored",
    ]
    assert not Path("data").exists()


def test_a_dry_run_as_json(command: Command, minutes: Path) -> None:
    told = json.loads(command("data", "import", "coinbase", "--dry-run", "--json")[1])

    assert (told["dataset"], told["rows"], told["expected"], told["missing"]) == ("coinbase/BTC-USD/M5", 22, 24, 2)
    assert (told["dry_run"], told["ignored"]) == (True, ["coinbase/readme.md"])
    assert [(file["rows"], file["step_seconds"], file["format"]) for file in told["imported"]] == [
        (10, 300, "plain"),
        (12, 300, "plain"),
    ]
    assert told["imported"][0]["first"]["ts"] == "2024-01-02T00:00:00Z"
    assert not Path("data").exists()


def test_a_folder_is_sealed_as_one_range(command: Command, store: FrameStore, minutes: Path) -> None:
    code, out, _ = command("data", "import", "coinbase")

    assert code == 0
    assert "22 of 24 candles in 2024-01-02..2024-01-02 02:00 sealed, imported:BTCUSD_a.csv and 1 more" in out
    assert store.verify(find_dataset("coinbase/BTC-USD/M5"))


def test_what_a_killed_import_left_is_removed(command: Command, store: FrameStore, minutes: Path) -> None:
    written(store.root / STAGING / "import-1-2024-000000-x.parquet", ["x"])

    assert command("data", "import", "coinbase")[0] == 0
    assert is_swept(store.root)


def test_an_instrument_is_defined_together_with_its_candles(command: Command, minutes: Path) -> None:
    words = ("data", "import", "coinbase", "--pair", "ES/USD", "--provider", "files", "--tick", "0.01")
    assert command(*words, "--calendar", "24/7", "--dry-run")[0] == 0
    assert not Path("data").exists()

    assert command(*words, "--calendar", "24/7")[0] == 0
    registry.use(Path("data"))
    assert find_dataset("files/ES-USD/M5").instrument.decimals == 2


def test_a_definition_is_not_stored_with_a_damaged_file(command: Command, tmp_path: Path) -> None:
    written(tmp_path / "x.csv", [HEADER, *table(times(3), unix()), "x"])
    code, _, told = command("data", "import", "x.csv", "--pair", "ES/USD", "--tick", "0.01")

    assert (code, told) == (4, "tradeschool: x.csv, line 5: has 1 of 6 fields: the row is cut off\n")
    assert not list(Path("data").rglob("*.json"))


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((), 2, "Missing argument 'PATH...'"),
        (("nothing.csv",), 2, "nothing.csv: no such file or folder"),
        (("empty",), 4, "empty: no candle files"),
        (("empty.csv",), 4, "empty.csv: is empty; expected candles"),
        (("coinbase", "--dataset", "coinbase/BTC-USD/M5", "--pair", "BTC/USD"), 2, "it says the same as --pair"),
        (("coinbase", "--dataset", "coinbase/BTC-USD/M5", "--timeframe", "M5"), 2, "it says the same as --timeframe"),
        (("coinbase", "--timeframe", "M7"), 2, "unknown timeframe"),
        (("coinbase/readme.md",), 2, "readme.md: unknown file type"),
    ],
)
def test_what_cannot_be_imported_has_an_exit_code(
    command: Command, minutes: Path, tmp_path: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.csv").touch()
    found, _, error = command("data", "import", *words)

    assert found == code
    assert told in error


def test_progress_is_a_line_every_five_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(import_result.time, "monotonic", lambda: clock[0])
    progress = import_result.ImportProgress()
    for second in range(12):
        clock[0] = float(second)
        progress("x.csv", second * 100_000_000, 2_000_000_000)

    assert capsys.readouterr().err.splitlines() == [
        "read 500 of 2,000 MB (25%), x.csv",
        "read 1,000 of 2,000 MB (50%), x.csv",
    ]
