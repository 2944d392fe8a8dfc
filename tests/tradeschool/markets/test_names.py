from datetime import UTC, datetime
from pathlib import Path

import pytest

from tradeschool.errors import SettingsError
from tradeschool.markets import registry
from tradeschool.markets.catalogue import BTC_USD, find_dataset, find_instrument
from tradeschool.markets.instrument_file import instrument_of, store_list

LISTS = {
    "coinbase": (("SOL", "USD"), ("ETH", "BTC"), ("BTC", "EUR")),
    "binance": (("SOL", "USDT"), ("ETH", "BTC")),
    "oanda": (("BTC", "USD"), ("XAU", "USD"), ("USD", "JPY")),
}


@pytest.fixture(autouse=True)
def lists(tmp_path: Path) -> Path:
    for provider, pairs in LISTS.items():
        entries = [{"base": base, "quote": quote, "kind": "crypto", "tick": "0.01"} for base, quote in pairs]
        store_list(tmp_path, provider, [instrument_of(each, provider) for each in entries], datetime.now(UTC))
    registry.use(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("BTC/USD", "coinbase:BTC/USD"),
        ("xbt/usd", "coinbase:BTC/USD"),
        ("XBTUSD", "coinbase:BTC/USD"),
        ("XBT-EUR", "coinbase:BTC/EUR"),
        ("oanda:BTC/USD", "oanda:BTC/USD"),
        ("SOL/USD", "coinbase:SOL/USD"),
        ("coinbase:SOL/USD", "coinbase:SOL/USD"),
        ("coinbase/SOL-USD", "coinbase:SOL/USD"),
        ("Coinbase/SOL_USD", "coinbase:SOL/USD"),
        ("SOL-USD", "coinbase:SOL/USD"),
        ("sol usd", "coinbase:SOL/USD"),
        ("SOLUSD", "coinbase:SOL/USD"),
        ("SOLUSDT", "binance:SOL/USDT"),
        ("EUR_USD", "oanda:EUR/USD"),
        ("XAU/USD", "oanda:XAU/USD"),
        ("USDJPY", "oanda:USD/JPY"),
        (" binance:ETHBTC ", "binance:ETH/BTC"),
    ],
)
def test_names_are_read_as_users_write_them(text: str, found: str) -> None:
    assert find_instrument(text).full_name == found


def test_a_shipped_name_reads_no_file(lists: Path) -> None:
    (lists / "instruments.json").write_text("damaged")

    assert find_instrument("BTC/USD") is BTC_USD
    assert find_dataset("coinbase/BTC-USD/M5").instrument is BTC_USD


def test_an_ambiguous_name_lists_the_choices() -> None:
    with pytest.raises(SettingsError) as error:
        find_instrument("ETH/BTC")

    assert str(error.value) == (
        "pair 'ETH/BTC' is ambiguous: name its provider, one of binance:ETH/BTC, coinbase:ETH/BTC"
    )


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("SOL/UDS", "did you mean coinbase:SOL/USD"),
        ("SLO-USD", "coinbase:SOL/USD"),
        ("oanda:SOL/USD", "did you mean coinbase:SOL/USD?"),
        ("SOL/UDS", "find others with: tradeschool markets search SOL"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(text: str, advice: str) -> None:
    with pytest.raises(SettingsError, match="unknown pair") as error:
        find_instrument(text)

    assert advice in str(error.value)


def test_missing_lists_are_requested_once_for_a_name_that_is_not_shipped(lists: Path) -> None:
    asked: list[tuple[str | None, bool]] = []

    def load(provider: str | None, old_too: bool) -> bool:
        asked.append((provider, old_too))
        entry = {"base": "DOGE", "quote": "USD", "kind": "crypto", "tick": "0.00001"}
        store_list(lists, "coinbase", [instrument_of(entry, "coinbase")], datetime.now(UTC))
        return True

    with registry.loading_lists(load):
        find_instrument("BTC/USD")
        assert asked == []
        assert find_instrument("DOGE/USD").decimals == 5
        assert find_instrument("binance:SOL/USDT").provider == "binance"

    assert asked == [(None, True), ("binance", False)]
    assert registry.current().loader is None
