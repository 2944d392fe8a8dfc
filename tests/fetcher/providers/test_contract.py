"""Contract tests of all providers; a new provider module is tested automatically."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from fetcher import providers
from fetcher.download import run_loop
from fetcher.protocol.provider import Access, Page, Provider
from fetcher.provider_registry import find, load
from fetcher.providers import coinbase
from fetcher.simulator.faults import Faults
from tradeschool.app.download.dataset_download import access_to
from tradeschool.errors import ProviderRejected, ProviderUnusable, SettingsError
from tradeschool.markets.catalogue import INSTRUMENTS, DatasetRange
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.settings.model import Settings
from tradeschool.settings.sections import FetchSettings

START = datetime(2020, 1, 6, tzinfo=UTC)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
FAULTS = "5xx=0.05,html=0.05,cut=0.05,empty=0.1,duplicate=0.1"


@pytest.fixture(params=load().values(), ids=load())
def provider(request: pytest.FixtureRequest) -> Provider:
    return request.param


@pytest.fixture(params=Timeframe, ids=lambda timeframe: timeframe.name)
def page(request: pytest.FixtureRequest, provider: Provider) -> Page:
    instrument = next(each for each in INSTRUMENTS if each.provider == provider.name)
    timeframe: Timeframe = request.param
    window = Window(START, START + provider.slots_per_page * timeframe.duration)
    return Page(dataset=Dataset(instrument=instrument, timeframe=timeframe), window=window)


def test_a_provider_is_registered_by_its_file() -> None:
    files = {path.stem for path in Path(coinbase.__file__).parent.glob("[!_]*.py")}

    assert load().keys() == files
    assert load()["coinbase"] is coinbase.PROVIDER


@pytest.fixture
def dropped_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of a provider whose module was only copied into the folder."""
    (tmp_path / "kraken.py").write_text(
        "from fetcher.providers.binance import Binance\n\n"
        "class Kraken(Binance):\n    name = 'kraken'\n    url = 'https://api.kraken.com'\n    rate = 1.0\n\n"
        "PROVIDER = Kraken()\n"
    )
    monkeypatch.setattr(providers, "__path__", [*providers.__path__, str(tmp_path)])
    load.cache_clear()
    yield "kraken"
    load.cache_clear()
    sys.modules.pop("fetcher.providers.kraken", None)
    vars(providers).pop("kraken", None)


def test_a_provider_needs_one_file_only(dropped_in: str) -> None:
    """The file declares URL, rate and token; command and settings need no change."""
    access = access_to(dropped_in, Settings())

    assert find(dropped_in).name == dropped_in
    assert (access.url, access.rate, access.token) == ("https://api.kraken.com", 1.0, None)


def test_an_unknown_provider_is_reported_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"unknown provider 'kraken': expected one of binance, coinbase, oanda$"):
        find("kraken")


def test_an_unknown_source_is_reported_with_the_known_ones() -> None:
    with pytest.raises(
        SettingsError, match="unknown source 'pro' of coinbase: expected one of exchange, advanced_trade"
    ):
        find("coinbase", "pro")


def test_every_instrument_has_its_provider() -> None:
    assert {instrument.provider for instrument in INSTRUMENTS} == {provider.name for provider in load().values()}


def test_a_source_is_found_by_name_or_by_default(provider: Provider) -> None:
    assert find(provider.name, provider.source) is provider
    assert find(provider.name) is load()[provider.name]


def test_a_provider_declares_its_url_and_rate(provider: Provider) -> None:
    assert provider.url.startswith("https://")
    assert provider.rate > 0
    assert provider.connections >= 1
    assert provider.slots_per_page >= 1
    assert 429 in provider.busy


def test_a_missing_token_is_reported_before_the_first_request(provider: Provider) -> None:
    if not provider.needs_token:
        assert provider.headers(None) == provider.headers("ignored")
        return
    with pytest.raises(SettingsError, match="needs a token"):
        provider.headers(None)


@pytest.mark.parametrize("faults", ["", FAULTS], ids=["undisturbed", "with faults"])
async def test_a_whole_fetch_equals_the_source(provider: Provider, faults: str, serving, store, generated) -> None:
    """All timeframes over the loopback exchange are equal to the last digit; the longest page is requested."""
    instrument = next(each for each in INSTRUMENTS if each.provider == provider.name)
    length = 2 * provider.slots_per_page * Timeframe.M5.duration
    window = Window(START, START + timedelta(days=-(-length // timedelta(days=1))))
    datasets = [Dataset(instrument=instrument, timeframe=timeframe) for timeframe in Timeframe]
    async with serving(faults=Faults.parse(faults)) as served:
        access = Access(url=served.url, rate=2000.0, source=provider.source, token="any", patience_seconds=20.0)
        progress = await run_loop.run(
            [DatasetRange(dataset=dataset, window=window) for dataset in datasets],
            store=store,
            access={provider.name: access},
            native=True,
            now=lambda: NOW,
            options=run_loop.RunOptions(confirm_after_seconds=0.0),
        )

    assert [each.error for each in progress] == [None] * 3
    for dataset in datasets:
        found, source = (
            store.arrays(dataset, window),
            generated.candles(dataset, window.start_seconds, window.end_seconds),
        )
        assert found.time.tolist() == source.times.tolist()
        assert np.array_equal(np.column_stack([found.open, found.high, found.low, found.close]), source.prices)
        assert np.array_equal(found.volume, source.volumes)


@pytest.mark.parametrize("answer", [b"", b"<!DOCTYPE html>", b"{", b"\x00", b"{}", b'"text"', b"[[]]"])
def test_an_invalid_response_is_unusable(provider: Provider, page: Page, answer: bytes) -> None:
    with pytest.raises(ProviderUnusable, match=str(page.dataset)):
        provider.parse(answer, page)


@pytest.mark.parametrize("answer", [b"", b"<!DOCTYPE html>", b"{", b"\xff", b"{}"])
def test_a_refusal_is_reported_with_status_and_page(provider: Provider, answer: bytes) -> None:
    error = provider.refusal(403, answer, "the page")

    assert isinstance(error, ProviderRejected)
    assert error.status == 403
    assert str(error).startswith(f"the page: {provider.name} answered 403: ")


def test_requests_are_sent_below_the_configured_url(provider: Provider, page: Page) -> None:
    assert provider.request(page).path.startswith("/")
    assert provider.probe(page.dataset).path.startswith("/")


def test_the_settings_list_the_coinbase_sources() -> None:
    """The settings cannot check them, because the shared package does not import the fetcher."""
    named = get_args(FetchSettings.model_fields["coinbase_source"].annotation)

    assert set(named) == {provider.source for provider in load().values() if provider.name == "coinbase"}
