"""`tradeschool markets`, against the simulated exchange, and commands that accept its names."""

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fetcher.simulator.candles.generated import GeneratedCandles
from fetcher.simulator.candles.universe import listed_instruments
from fetcher.simulator.server import RunningExchange, serve
from tests.factories.exchanges import exchange_of
from tradeschool.markets.instrument_file import read, store_list

RANGE = ("--timerange", "20210301-20210303")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OANDA_API_TOKEN", "any")
    at("http://127.0.0.1:9", monkeypatch)
    return tmp_path


def at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COINBASE_{}", "OANDA_{}", "PROVIDERS__BINANCE__{}"):
        monkeypatch.setenv("TRADESCHOOL_FETCH__" + name.format("URL"), url)
        monkeypatch.setenv("TRADESCHOOL_FETCH__" + name.format("RATE"), "1000")
    monkeypatch.setenv("TRADESCHOOL_FETCH__PATIENCE_SECONDS", "0.2")


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningExchange]:
    """All listed instruments, served in a thread; the commands run their own event loops."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    served = serve(exchange_of(GeneratedCandles(seed=3, instruments=listed_instruments())))
    running = asyncio.run_coroutine_threadsafe(served.__aenter__(), loop).result()
    at(running.url, monkeypatch)
    try:
        yield running
    finally:
        asyncio.run_coroutine_threadsafe(served.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def paths(exchange: RunningExchange) -> list[str]:
    return [each.path for each in exchange.requests]


def test_the_lists_are_requested_once_and_counted(command, exchange: RunningExchange) -> None:
    code, out, said = command("markets", "list")
    assert (code, said) == (0, "")
    for provider, kinds in (
        ("binance", "crypto 13"),
        ("coinbase", "crypto 14"),
        ("oanda", "fx 68, metal 23, index 19"),
    ):
        assert any(provider in line and kinds in line for line in out.splitlines()), out
    assert sorted(paths(exchange)) == ["/api/v3/exchangeInfo", "/products"]

    command("markets", "list")
    assert len(exchange.requests) == 2

    command("markets", "list", "coinbase", "--refresh")
    assert paths(exchange)[2:] == ["/products"]


def test_a_list_as_json_has_every_fact(command, exchange: RunningExchange) -> None:
    found = json.loads(command("markets", "list", "oanda", "--kind", "metal", "--json")[1])

    assert {each["kind"] for each in found} == {"metal"}
    assert next(each for each in found if each["base"] == "XAU" and each["quote"] == "USD") == {
        "name": "oanda:XAU/USD",
        "provider": "oanda",
        "base": "XAU",
        "quote": "USD",
        "kind": "metal",
        "tick": "0.001",
        "decimals": 3,
        "integer_bits": 32,
        "calendar": "fx-breaks",
        "has_spread": True,
        "status": "online",
        "dataset": "oanda/XAU-USD",
    }


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("SOL", "binance:SOL/USDT"),
        ("xbt", "binance:BTC/USDC"),
        ("SOL/USD", "coinbase:SOL/USD"),
        ("jpy", "binance:BTC/JPY"),
    ],
)
def test_search_finds_a_part_of_a_name(command, exchange: RunningExchange, text: str, first: str) -> None:
    found = [each["name"] for each in json.loads(command("markets", "search", text, "--json")[1])]

    assert first in found[:2], found


def test_search_without_a_match_gives_the_most_similar_names(command, exchange: RunningExchange) -> None:
    code, out, _ = command("markets", "search", "SOLUDS")

    assert code == 0
    assert "no name contains 'SOLUDS'; the most similar ones:" in out
    assert "coinbase:SOL/USD" in out


def test_search_without_a_similar_name_prints_no_empty_table(command, exchange: RunningExchange) -> None:
    code, out, _ = command("markets", "search", "@@@@")

    assert (code, out.strip()) == (0, "no name contains '@@@@'")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ETH/BTC", "is ambiguous: name its provider, one of binance:ETH/BTC, coinbase:ETH/BTC"),
        ("SOL/UDS", "unknown pair 'SOL/UDS': did you mean coinbase:SOL/USD"),
        ("binance:SOL/USD", "did you mean binance:SOL/USDT?"),
    ],
)
def test_a_name_that_is_not_clear_is_told(command, exchange: RunningExchange, name: str, said: str) -> None:
    code, _, told = command("markets", "show", name)

    assert (code, len(told.splitlines())) == (2, 1)
    assert told.startswith("tradeschool: ")
    assert said in told


def test_providers_that_do_not_answer_are_told_once_and_the_stored_lists_are_used(command, folder: Path) -> None:
    code, _, said = command("fetch", "--pairs", "NOPE/USD", *RANGE)

    lines = said.splitlines()
    assert code == 2
    assert sorted(line.split()[0] for line in lines[:-1]) == ["binance", "coinbase"]
    assert all("did not send its product list" in line and "no list is stored" in line for line in lines[:-1])
    assert lines[-1].startswith("tradeschool: unknown pair 'NOPE/USD'")


def test_an_old_list_is_requested_again_for_an_unknown_name_only(
    command, exchange: RunningExchange, folder: Path
) -> None:
    command("markets", "list")
    stored = read(folder / "data").lists["coinbase"].instruments
    store_list(folder / "data", "coinbase", stored, datetime.now(UTC) - timedelta(hours=2))
    before = len(exchange.requests)

    assert command("markets", "show", "SOL/USD")[0] == 0
    assert len(exchange.requests) == before

    assert command("markets", "show", "SOL/XYZ")[0] == 2
    assert paths(exchange)[before:] == ["/products"]

    assert command("markets", "show", "SOL/XYZ")[0] == 2
    assert len(exchange.requests) == before + 1


def test_a_shipped_pair_needs_no_list(command, exchange: RunningExchange) -> None:
    assert command("fetch", "--pairs", "XBT/USD", "--timeframes", "H1", *RANGE)[0] == 0

    assert "/products" not in paths(exchange)


def test_listed_instruments_are_fetched_told_and_traded(command, exchange: RunningExchange) -> None:
    pairs = "SOL-USD,USDJPY,oanda:XAU/USD,SHIB/USDT"
    assert command("fetch", "--pairs", pairs, "--timeframes", "M5", *RANGE)[0] == 0

    rows = {each["dataset"]: each for each in json.loads(command("data", "status", "--json")[1])}
    assert sorted(rows) == [
        "binance/SHIB-USDT/M5",
        "coinbase/SOL-USD/M5",
        "oanda/USD-JPY/M5",
        "oanda/XAU-USD/M5",
    ]
    assert {each["coverage"] for each in rows.values()} == {1.0}
    assert 0.25 < rows["coinbase/SOL-USD/M5"]["density"] < 0.4
    assert rows["oanda/XAU-USD/M5"]["expected"] == 2 * 23 * 12
    assert "coverage 100.000%, density 3" in command("markets", "show", "SOL/USD")[1]

    code, out, said = command(
        "backtest", "sma_cross", "--json", "-p", "fast=3", "-p", "slow=8", *(f"--dataset={name}" for name in rows)
    )
    assert code == 0, said
    assert len(json.loads(out)["datasets"]) == 4


def test_an_instrument_of_the_settings_is_known_without_a_list(command, folder: Path) -> None:
    (folder / "tradeschool.toml").write_text(
        '[[instruments]]\nprovider = "coinbase"\nbase = "FOO"\nquote = "USD"\ntick = "0.001"\n'
        '[[instruments]]\nprovider = "files"\nbase = "ES"\nquote = "USD"\ntick = "0.25"\nkind = "index"\n'
        'calendar = "fx"\nspread = false\n'
    )

    assert '"decimals": 3' in command("markets", "show", "coinbase:FOO/USD", "--json")[1]
    shown = json.loads(command("markets", "show", "files:ES/USD", "--json")[1])
    assert (shown["tick"], shown["calendar"], shown["has_spread"]) == ("0.25", "fx", False)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('tick = "0"', "tick '0': expected a positive decimal"),
        ('tick = "0.01"\nkind = "shares"', "unknown kind 'shares'"),
        ('tick = "0.01"\ncalendar = "moon"', "moon"),
        ('tick = "0.01"\ncolour = "red"', "colour"),
    ],
)
def test_a_wrong_instrument_of_the_settings_is_one_line(command, folder: Path, line: str, said: str) -> None:
    (folder / "tradeschool.toml").write_text(
        f'[[instruments]]\nprovider = "files"\nbase = "ES"\nquote = "USD"\n{line}\n'
    )
    code, _, told = command("markets", "list")

    assert code == 2
    assert said in told
    assert len(told.splitlines()) == 1
