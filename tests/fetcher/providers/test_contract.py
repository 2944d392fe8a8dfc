"""What every provider must do; a new one is tested by being there."""

from datetime import UTC, datetime

import pytest

from fetcher.provider import Page, Provider, find, load
from fetcher.providers import coinbase, oanda
from tradeschool.errors import ProviderRejected, ProviderUnusable, SettingsError
from tradeschool.market import INSTRUMENTS, Dataset, Timeframe, Window

START = datetime(2020, 1, 6, tzinfo=UTC)


@pytest.fixture(params=load().values(), ids=load())
def provider(request: pytest.FixtureRequest) -> Provider:
    return request.param


@pytest.fixture(params=Timeframe, ids=lambda timeframe: timeframe.name)
def page(request: pytest.FixtureRequest, provider: Provider) -> Page:
    instrument = next(each for each in INSTRUMENTS if each.provider == provider.name)
    timeframe: Timeframe = request.param
    window = Window(START, START + provider.slots_per_page * timeframe.duration)
    return Page(dataset=Dataset(instrument=instrument, timeframe=timeframe), window=window)


def test_providers_are_found_by_name() -> None:
    assert load() == {"coinbase": coinbase.PROVIDER, "oanda": oanda.PROVIDER}


def test_an_unknown_provider_is_told_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="unknown provider 'kraken': expected one of coinbase, oanda"):
        find("kraken")


def test_every_instrument_has_its_provider() -> None:
    assert {instrument.provider for instrument in INSTRUMENTS} == load().keys()


@pytest.mark.parametrize("answer", [b"", b"<!DOCTYPE html>", b"{", b"\x00", b"{}", b'"text"', b"[[]]"])
def test_what_is_no_answer_is_unusable(provider: Provider, page: Page, answer: bytes) -> None:
    with pytest.raises(ProviderUnusable, match=str(page.dataset)):
        provider.parse(answer, page)


@pytest.mark.parametrize("answer", [b"", b"<!DOCTYPE html>", b"{", b"\xff", b"{}"])
def test_any_refusal_is_told_with_status_and_page(provider: Provider, answer: bytes) -> None:
    error = provider.refusal(403, answer, "the page")

    assert isinstance(error, ProviderRejected)
    assert error.status == 403
    assert str(error).startswith(f"the page: {provider.name} answered 403: ")


def test_requests_are_below_the_url(provider: Provider, page: Page) -> None:
    assert provider.request(page).path.startswith("/")
    assert provider.probe(page.dataset).path.startswith("/")
