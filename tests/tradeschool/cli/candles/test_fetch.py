import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fetcher.simulator.faults import Faults
from fetcher.simulator.server import RunningExchange
from tradeschool.app.download.dataset_download import access_to
from tradeschool.cli.main import main
from tradeschool.markets.catalogue import BTC_USD, BTC_USDT
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.timerange import parse_timerange
from tradeschool.settings.loading import load
from tradeschool.store import Store

RANGE = ("--timerange", "20210301-20210303")
TOKEN = "0123secret4567-token"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run the program in this process: exit code, standard output, standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["tradeschool", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Configure the URL of both providers, with a rate limit that does not slow a test."""

    def point(url: str) -> None:
        for name in ("COINBASE", "OANDA"):
            monkeypatch.setenv(f"TRADESCHOOL_FETCH__{name}_URL", url)
            monkeypatch.setenv(f"TRADESCHOOL_FETCH__{name}_RATE", "1000")
        monkeypatch.setenv("TRADESCHOOL_FETCH__PATIENCE_SECONDS", "0.2")

    return point


@pytest.fixture
def exchange(serving, at) -> Callable[..., object]:
    """Serve in a thread; the command runs its own event loop."""

    @contextmanager
    def beside(**options: object) -> Iterator[RunningExchange]:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        context = serving(**options)
        try:
            served = asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result()
            at(served.url)
            yield served
            asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    return beside


def one_line(told: str) -> str:
    (line,) = told.splitlines()
    return line


def test_candles_are_fetched_sealed_and_reported(command, exchange, tmp_path: Path) -> None:
    with exchange():
        code, out, told = command("fetch", "--pairs", "BTC/USD", *RANGE)

    assert code == 0
    assert "coinbase/BTC-USD/M15" in out
    assert "derived" in out
    Store(tmp_path / "data").require(
        Dataset(instrument=BTC_USD, timeframe=Timeframe.H1), parse_timerange(RANGE[1]), 0.9
    )
    assert "Traceback" not in told


def test_json_mode_prints_json_on_standard_output(command, exchange, tmp_path: Path) -> None:
    with exchange():
        code, out, _ = command("fetch", "--pairs", "BTC/USD", "--timeframes", "M5", *RANGE, "--json")
    (row,) = json.loads(out)

    assert code == 0
    assert (row["dataset"], row["expected"], row["derived"]) == ("coinbase/BTC-USD/M5", 576, False)
    assert json.loads((tmp_path / "data" / "download_summary.json").read_text()) == [row]
    assert (
        (tmp_path / "data" / "download_summary.csv").read_text().startswith("dataset,start,end,rows,expected,coverage")
    )


def test_a_finished_download_requests_nothing(command, exchange) -> None:
    with exchange() as served:
        command("fetch", "--pairs", "BTC/USD", *RANGE)
        asked = len(served.requests)
        code, out, _ = command("fetch", "--pairs", "BTC/USD", *RANGE)

        assert len(served.requests) == asked
    assert code == 0
    assert out.startswith("up to date: all 3 dataset ranges are sealed in data")


def test_a_dry_run_makes_no_request_and_needs_no_token(command, at) -> None:
    at("http://127.0.0.1:9")
    code, out, told = command("fetch", "--dry-run", "--json")

    assert code == 0
    assert json.loads(out)["requests"] == {"coinbase": 2806, "oanda": 170 + 6}
    assert one_line(told) == "to download: OANDA needs a token: set OANDA_API_TOKEN or oanda_api_token_file"


def test_an_open_start_is_the_first_day_of_the_dataset(command, monkeypatch: pytest.MonkeyPatch) -> None:
    """EUR/USD has two periods in the catalogue."""
    monkeypatch.setenv("OANDA_API_TOKEN", TOKEN)
    _, out, _ = command("fetch", "--dry-run", "--pairs", "EUR/USD", "--timerange=-20230201", "--json")

    assert [row["range"] for row in json.loads(out)["downloads"]] == ["2020-01-01..2023-02-01"]


def test_a_dry_run_reports_the_required_disk_space(command, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dry run prints the plan, then refuses a disk that is too small."""
    monkeypatch.setenv("TRADESCHOOL_DATA_DIR", str(small_disk))
    code, out, told = command("fetch", "--dry-run", "--pairs", "BTC/USD", "--json")
    plan = json.loads(out)

    assert plan["disk_bytes"] == 25 * (420_768 + 140_256 + 35_064) + 30 * 420_768
    assert plan["free_bytes"] < 600_000
    assert code == 1
    assert "free disk space or set data_dir" in told


def test_a_dry_run_reports_requests_and_time(command) -> None:
    code, out, told = command("fetch", "--dry-run", "--pairs", "BTC/USD")

    assert code == 0
    assert told == ""
    assert "coinbase: 1,403 requests, 7.8 min at 3 requests/s" in out


@pytest.fixture
def binance_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Configure the URL of an additional provider through the environment."""

    def point(url: str) -> None:
        monkeypatch.setenv("TRADESCHOOL_FETCH__PROVIDERS__BINANCE__URL", url)
        monkeypatch.setenv("TRADESCHOOL_FETCH__PROVIDERS__BINANCE__RATE", "1000")

    return point


def test_a_pair_of_another_provider_is_fetched_on_request(command, exchange, binance_at, tmp_path: Path) -> None:
    with exchange() as served:
        binance_at(served.url)
        code, out, _ = command("fetch", "--pairs", "BTC/USDT", *RANGE)
        asked = {seen.protocol for seen in served.requests}

    assert (code, asked) == (0, {"binance"})
    assert "binance/BTC-USDT/H1" in out
    Store(tmp_path / "data").require(
        Dataset(instrument=BTC_USDT, timeframe=Timeframe.M15), parse_timerange(RANGE[1]), 0.9
    )


def test_another_provider_has_its_own_requests_and_rate(command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Default: a thousand candles per request and ten requests per second."""
    assert "binance: 421 requests, 0.7 min at 10 requests/s" in command("fetch", "--dry-run", "--pairs", "BTC/USDT")[1]

    monkeypatch.setenv("TRADESCHOOL_FETCH__PROVIDERS__BINANCE__RATE", "5")
    assert "binance: 421 requests, 1.4 min at 5 requests/s" in command("fetch", "--dry-run", "--pairs", "BTC/USDT")[1]


def test_the_second_coinbase_source_fills_the_same_datasets(
    command, exchange, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with exchange() as served:
        monkeypatch.setenv("TRADESCHOOL_FETCH__COINBASE_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("TRADESCHOOL_FETCH__COINBASE_ADVANCED_URL", served.url)
        monkeypatch.setenv("TRADESCHOOL_FETCH__COINBASE_SOURCE", "advanced_trade")
        code, out, _ = command("fetch", "--pairs", "BTC/USD", *RANGE)
        asked = {seen.protocol for seen in served.requests}

    assert (code, asked) == (0, {"coinbase_advanced"})
    assert "coinbase/BTC-USD/M15" in out
    assert (tmp_path / "data" / "coinbase" / "BTC-USD" / "M5" / "20210301-20210303.seal.json").is_file()


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("COINBASE_SOURCE", "pro", "fetch.coinbase_source: input should be 'exchange' or 'advanced_trade', was 'pro'"),
        ("PROVIDERS__BINANCE__SOURCE", "futures", "unknown source 'futures' of binance: expected one of spot"),
        ("PROVIDERS__KRAKEN__URL", "http://x", "unknown setting TRADESCHOOL_FETCH__PROVIDERS__KRAKEN__URL"),
        ("PROVIDERS__BINANCE__URL", "x", "fetch.providers.binance.url: string should match pattern"),
    ],
)
def test_a_wrong_provider_setting_is_one_line_with_exit_code_2(
    command, variable: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"TRADESCHOOL_FETCH__{variable}", value)
    code, _, said = command("fetch", "--dry-run", "--pairs", "BTC/USDT,BTC/USD")

    assert code == 2
    assert one_line(said).startswith(f"tradeschool: {told}")


def test_a_token_is_sent_only_to_its_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OANDA_API_TOKEN", TOKEN)
    monkeypatch.setenv("TRADESCHOOL_FETCH__PROVIDERS__BINANCE__TOKEN", TOKEN)

    assert {name: access_to(name, load()).token for name in ("binance", "coinbase", "oanda")} == {
        "binance": None,
        "coinbase": None,
        "oanda": TOKEN,
    }


def test_doctor_shows_the_url_of_each_provider(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADESCHOOL_FETCH__COINBASE_SOURCE", "advanced_trade")
    monkeypatch.setenv("TRADESCHOOL_FETCH__PROVIDERS__BINANCE__RATE", "5")
    _, out, _ = command("doctor", "--offline", "--json")

    assert "https://api.coinbase.com (advanced_trade), 3 requests/s" in out
    assert "https://data-api.binance.vision (spot), 5 requests/s" in out


def test_settings_show_the_defaults_of_providers(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADESCHOOL_FETCH__OANDA_RATE", "1")
    monkeypatch.setenv("TRADESCHOOL_FETCH__PROVIDERS__BINANCE__TOKEN", TOKEN)
    shown = json.loads(command("config", "show", "--json")[1])

    assert shown["fetch.coinbase_url"] == "https://api.exchange.coinbase.com"
    assert (shown["fetch.coinbase_rate"], shown["fetch.oanda_rate"]) == ("3.0", "1.0")
    assert shown["fetch.providers.binance.url"] == "https://data-api.binance.vision"
    assert shown["fetch.providers.binance.token"] == "***"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("--timeframes", "M6"),
            "tradeschool: unknown timeframe 'M6', nearest M5 or M15: expected one of M1 (1m), M5 (5m), M15 (15m), "
            "M30 (30m), H1 (1h), H4 (4h), D1 (1d)",
        ),
        (
            ("--timerange", "2020-13"),
            "tradeschool: time range '2020-13': understood '2020' as 2020-01-01, but '13' is no date; expected for "
            "example 20230101-20230201, 2023-01-01..2023-02-01, 20230101-, -20230201, 2023, 2023-05",
        ),
    ],
    ids=["timeframe", "range"],
)
def test_a_wrong_option_is_one_line_with_exit_code_2(command, words: tuple[str, ...], told: str) -> None:
    code, out, said = command("fetch", *words)

    assert (code, out) == (2, "")
    assert one_line(said).startswith(told)


def test_a_range_in_the_future_is_reported_with_the_latest_end(command) -> None:
    code, _, told = command("fetch", "--pairs", "BTC/USD", "--timerange", "20200101-20990101")

    assert code == 2
    assert "time range 2020-01-01..2099-01-01 ends after" in one_line(told)
    assert "the latest possible end is 2" in told


def test_a_misspelt_setting_is_one_line_with_exit_code_2(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADESCHOOL_FETCH__RATE", "3")
    code, _, told = command("fetch")

    assert code == 2
    assert one_line(told).startswith("tradeschool: unknown setting TRADESCHOOL_FETCH__RATE in the environment")


def test_fetching_only_fx_without_token_is_refused(command) -> None:
    code, _, told = command("fetch", "--pairs", "EUR/USD,GBP/USD", *RANGE)

    assert code == 2
    assert one_line(told) == "tradeschool: OANDA needs a token: set OANDA_API_TOKEN or oanda_api_token_file"


def test_without_a_token_crypto_is_fetched_with_a_warning(command, exchange) -> None:
    with exchange():
        code, out, told = command("fetch", "--pairs", "BTC/USD,EUR/USD", *RANGE)

    assert code == 0
    assert "coinbase/BTC-USD/M5" in out
    assert "OANDA needs a token" in told
    assert "skipping 3 dataset ranges of oanda" in told


def test_a_wrong_token_is_one_line_without_the_token(command, exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OANDA_API_TOKEN", TOKEN)
    with exchange(oanda_token="another"):
        code, _, told = command("-v", "fetch", "--pairs", "EUR/USD", *RANGE)

    assert code == 1
    assert told.splitlines()[-1].startswith(
        "tradeschool: oanda/EUR-USD/M5: oanda answered 401: Insufficient authorization"
    )
    assert TOKEN not in told


def test_an_unreachable_provider_is_one_line_with_exit_code_5(command, at) -> None:
    """The error is printed once, even if it ends several datasets."""
    at("http://127.0.0.1:9")
    code, out, told = command("fetch", "--pairs", "BTC/USD,ETH/USD", *RANGE)
    lines = [line for line in told.splitlines() if line.startswith("tradeschool:")]

    assert (code, out) == (5, "")
    assert one_line("\n".join(lines)).startswith("tradeschool: coinbase at http://127.0.0.1:9 does not respond")


def test_a_data_folder_that_is_a_file_is_one_line(command, exchange, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    with exchange():
        code, _, told = command("fetch", "--pairs", "BTC/USD", *RANGE)

    assert code == 1
    assert one_line(told).startswith("tradeschool: cannot write in data: ")


def test_an_unreadable_seal_is_one_line_with_exit_code_4(command, exchange, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "coinbase" / "BTC-USD" / "M5"
    folder.mkdir(parents=True)
    (folder / "20210301-20210303.seal.json").write_text("{}")
    with exchange():
        code, _, told = command("fetch", "--pairs", "BTC/USD", *RANGE)

    assert code == 4
    assert "not a seal of this version" in one_line(told)


def test_temporary_errors_are_logged_and_the_fetch_succeeds(command, exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    with exchange(faults=Faults.parse("5xx=0.4"), seed=1):
        monkeypatch.setenv("TRADESCHOOL_FETCH__PATIENCE_SECONDS", "30")
        code, _, told = command("--log-format", "json", "fetch", "--pairs", "BTC/USD", "--timeframes", "M5", *RANGE)
    logged = [json.loads(line) for line in told.splitlines() if line.startswith("{")]

    assert code == 0
    assert {line["action"] for line in logged} == {"retry"}
