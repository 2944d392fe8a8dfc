import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tradeschool.errors import ForeignFile, SettingsError, StoreUnwritable
from tradeschool.markets import registry
from tradeschool.markets.catalogue import BTC_USD, find_dataset, find_instrument
from tradeschool.markets.definition import define_instrument
from tradeschool.markets.instrument_file import instrument_of, read, store_list
from tradeschool.markets.instruments import Instrument, Market

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def coinbase(base: str, tick: str = "0.01", **more: str) -> Instrument:
    return instrument_of({"base": base, "quote": "USD", "kind": "crypto", "tick": tick, **more}, "coinbase")


def test_a_defined_instrument_is_known_by_name_to_every_later_process(tmp_path: Path) -> None:
    defined = define_instrument(tmp_path, provider="dukascopy", base="usd", quote="jpy", kind="fx", tick="0.001")
    registry.use(tmp_path)  # as another process does

    assert find_instrument("USD/JPY") == defined
    assert find_dataset("dukascopy/USD-JPY/M5").name == "dukascopy/USD-JPY/M5"
    assert (defined.decimals, defined.calendar, defined.has_spread) == (3, "fx", True)


def test_a_second_definition_replaces_the_first(tmp_path: Path) -> None:
    for tick in ("0.01", "0.25"):
        define_instrument(tmp_path, provider="files", base="ES", quote="USD", kind="index", tick=tick, calendar="fx")

    [kept] = read(tmp_path).defined
    assert (kept.exact_tick, kept.decimals, kept.calendar) == (Decimal("0.25"), 2, "fx")


def test_concurrent_definitions_lose_none(tmp_path: Path) -> None:
    def define(number: int) -> None:
        define_instrument(tmp_path, provider="files", base=f"A{number}", quote="USD", kind="crypto", tick="0.01")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(define, range(24)))

    assert {each.base for each in read(tmp_path).defined} == {f"A{number}" for number in range(24)}


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"tick": "0"}, "tick '0': expected a positive decimal number"),
        ({"tick": "nan"}, "tick 'nan': expected a positive decimal"),
        ({"tick": "1e-13"}, "at most 12 places"),
        ({"kind": "shares"}, "unknown kind 'shares': expected one of crypto, fx"),
        ({"base": "../X"}, "base '../X': expected up to 24 letters and digits"),
        ({"base": "A" * 25}, "expected up to 24"),
        ({"provider": "a/b"}, "provider 'a/b'"),
        ({"quote": ""}, "quote: expected a text, was ''"),
    ],
)
def test_a_wrong_value_is_told_and_nothing_is_stored(tmp_path: Path, entry: dict[str, str], problem: str) -> None:
    given = {"provider": "files", "base": "ES", "quote": "USD", "kind": "index", "tick": "0.25"} | entry

    with pytest.raises(SettingsError) as error:
        define_instrument(tmp_path, **given)  # type: ignore[arg-type]

    assert problem in str(error.value)
    assert not (tmp_path / "instruments.json").exists()


def test_a_product_list_keeps_finer_ticks_and_delisted_instruments(tmp_path: Path) -> None:
    store_list(tmp_path, "coinbase", [coinbase("SOL", "0.001"), coinbase("OLD"), coinbase("NEW", "0.01")], NOON)
    store_list(tmp_path, "coinbase", [coinbase("SOL", "0.01"), coinbase("NEW", "0.0001", status="offline")], NOON)

    known = {each.base: each for each in read(tmp_path).lists["coinbase"].instruments}
    assert {base: (each.decimals, each.status) for base, each in known.items()} == {
        "SOL": (3, "online"),
        "OLD": (2, "delisted"),
        "NEW": (4, "offline"),
    }


def test_the_file_survives_what_it_stores(tmp_path: Path) -> None:
    given = (coinbase("PEPE", "0.00000001"), coinbase("ES", "0.25", calendar="XNYS", symbol="ES-PERP"))
    store_list(tmp_path, "coinbase", given, NOON)

    found = read(tmp_path).lists["coinbase"]
    assert found.fetched_at == NOON
    assert {
        each.base: (each.exact_tick, each.integer_bits, each.calendar, each.symbol) for each in found.instruments
    } == {
        "PEPE": (Decimal("0.00000001"), 64, "24/7", ""),
        "ES": (Decimal("0.25"), 32, "XNYS", "ES-PERP"),
    }


def test_other_users_cannot_write_the_file_and_no_temporary_file_is_left(tmp_path: Path) -> None:
    store_list(tmp_path, "coinbase", [coinbase("SOL")], NOON)

    assert not stat.S_IMODE((tmp_path / "instruments.json").stat().st_mode) & 0o022
    assert not list((tmp_path / ".staging").iterdir())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        (json.dumps({"version": 2}), "version 2, expected 1: update tradeschool"),
        (json.dumps({"version": 1, "providers": {}}), "cannot be read: KeyError: 'defined'"),
        (json.dumps({"version": 1, "providers": {"coinbase": []}, "defined": []}), "cannot be read"),
        (json.dumps({"version": 1, "providers": {}, "defined": [{"base": "A"}]}), "quote: expected a text"),
    ],
)
def test_a_damaged_file_is_one_clear_line_and_shipped_names_still_work(
    tmp_path: Path, content: str, problem: str
) -> None:
    (tmp_path / "instruments.json").write_text(content)
    registry.use(tmp_path)

    assert find_instrument("BTC/USD") is BTC_USD
    with pytest.raises(ForeignFile) as error:
        find_instrument("SOL/USD")
    assert problem in str(error.value)
    assert "instruments.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreUnwritable, match="fix permissions or set data_dir"):
        store_list(tmp_path / "file", "coinbase", [coinbase("SOL")], NOON)


def test_instruments_reach_another_process_as_json(tmp_path: Path) -> None:
    define_instrument(tmp_path, provider="files", base="AAA", quote="USD", kind="stock", tick="0.01")
    registry.use(tmp_path, [coinbase("SOL", "0.001")])
    told = json.loads(json.dumps(registry.as_json()))
    registry.use(None)

    registry.use_json(told)

    assert find_instrument("SOL/USD").decimals == 3
    assert find_instrument("AAA/USD").market is Market.STOCK
