"""Product lists: what each provider's own list gives, and what happens when it does not come."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from fetcher.product_lists import refresh_list
from fetcher.protocol.provider import Access
from fetcher.provider_registry import find, load
from fetcher.simulator.candles.generated import GeneratedCandles
from fetcher.simulator.candles.universe import listed_instruments
from fetcher.simulator.faults import Faults
from fetcher.simulator.server import serve
from tests.factories.exchanges import exchange_of
from tradeschool.errors import ProviderUnusable
from tradeschool.markets.instrument_file import read, store_list
from tradeschool.markets.instruments import Instrument, Market

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
COINBASE = (
    b'[{"id":"SOL-USD","base_currency":"SOL","quote_currency":"USD","quote_increment":"0.01","base_increment":'
    b'"0.00000001","display_name":"SOL/USD","min_market_funds":"1","margin_enabled":false,"post_only":false,'
    b'"limit_only":false,"cancel_only":false,"status":"online","status_message":"","trading_disabled":false,'
    b'"fx_stablecoin":false,"auction_mode":false},'
    b'{"id":"SHIB-USD","base_currency":"SHIB","quote_currency":"USD","quote_increment":"0.00000001","status":"online"},'
    b'{"id":"REP-USD","base_currency":"REP","quote_currency":"USD","quote_increment":"0.01","status":"delisted"},'
    b'{"id":"XYZ-USD","base_currency":"XYZ","quote_currency":"USD","quote_increment":"0.01","status":"online",'
    b'"trading_disabled":true},'
    b'{"id":"../-USD","base_currency":"../","quote_currency":"USD","quote_increment":"0.01","status":"online"},'
    b'{"id":"BAD-USD","base_currency":"BAD","quote_currency":"USD","quote_increment":"","status":"online"}]'
)
"""Products in the form of api.exchange.coinbase.com/products; the last two cannot be used."""
ADVANCED = (
    b'{"products":[{"product_id":"SOL-USD","price":"20","base_increment":"0.00000001","quote_increment":"0.01",'
    b'"price_increment":"0.01","base_currency_id":"SOL","quote_currency_id":"USD","status":"online",'
    b'"product_type":"SPOT","trading_disabled":false},'
    b'{"product_id":"BIT-31MAY24-CDE","base_currency_id":"","quote_currency_id":"USD","price_increment":"5",'
    b'"status":"","product_type":"FUTURE"}],"num_products":2}'
)
BINANCE = (
    b'{"timezone":"UTC","serverTime":1,"rateLimits":[],"exchangeFilters":[],"symbols":['
    b'{"symbol":"SOLUSDT","status":"TRADING","baseAsset":"SOL","quoteAsset":"USDT","isSpotTradingAllowed":true,'
    b'"filters":[{"filterType":"LOT_SIZE","minQty":"0.001"},{"filterType":"PRICE_FILTER","minPrice":"0.01000000",'
    b'"maxPrice":"10000.00000000","tickSize":"0.01000000"}]},'
    b'{"symbol":"1000SATSUSDT","status":"BREAK","baseAsset":"1000SATS","quoteAsset":"USDT","isSpotTradingAllowed":true,'
    b'"filters":[{"filterType":"PRICE_FILTER","tickSize":"0.00000001"}]},'
    b'{"symbol":"OLDUSDT","status":"TRADING","baseAsset":"OLD","quoteAsset":"USDT","isSpotTradingAllowed":false,'
    b'"filters":[]}]}'
)
OANDA = (
    b'{"instruments":[{"name":"USD_JPY","type":"CURRENCY","displayName":"USD/JPY","pipLocation":-2,'
    b'"displayPrecision":3,"tradeUnitsPrecision":0},'
    b'{"name":"XAU_USD","type":"METAL","displayName":"Gold","pipLocation":-2,"displayPrecision":3},'
    b'{"name":"SPX500_USD","type":"CFD","displayName":"US SPX 500","pipLocation":0,"displayPrecision":1},'
    b'{"name":"WTICO_USD","type":"CFD","displayName":"West Texas Oil","pipLocation":-2,"displayPrecision":3},'
    b'{"name":"NEW_USD","type":"CFD","displayName":"New","pipLocation":-2,"displayPrecision":2,'
    b'"tags":[{"type":"ASSET_CLASS","name":"COMMODITY"}]}],"lastTransactionID":"6356"}'
)
FORMS = {
    ("coinbase", "exchange"): (
        COINBASE,
        {
            "SOL/USD": ("0.01", 32, "crypto", "24/7", "online"),
            "SHIB/USD": ("0.00000001", 64, "crypto", "24/7", "online"),
            "REP/USD": ("0.01", 32, "crypto", "24/7", "delisted"),
            "XYZ/USD": ("0.01", 32, "crypto", "24/7", "disabled"),
        },
    ),
    ("coinbase", "advanced_trade"): (ADVANCED, {"SOL/USD": ("0.01", 32, "crypto", "24/7", "online")}),
    ("binance", "spot"): (
        BINANCE,
        {
            "SOL/USDT": ("0.01", 32, "crypto", "24/7", "online"),
            "1000SATS/USDT": ("0.00000001", 64, "crypto", "24/7", "break"),
        },
    ),
    ("oanda", "v20"): (
        OANDA,
        {
            "USD/JPY": ("0.001", 32, "fx", "fx", "online"),
            "XAU/USD": ("0.001", 32, "metal", "fx-breaks", "online"),
            "SPX500/USD": ("0.1", 32, "index", "fx-breaks", "online"),
            "WTICO/USD": ("0.001", 32, "commodity", "fx-breaks", "online"),
            "NEW/USD": ("0.01", 32, "commodity", "fx-breaks", "online"),
        },
    ),
}


@pytest.mark.parametrize("api", FORMS, ids=" ".join)
def test_a_list_is_read_in_the_form_of_its_provider(api: tuple[str, str]) -> None:
    body, expected = FORMS[api]

    assert {
        each.pair: (f"{each.exact_tick:f}", each.integer_bits, each.market.value, each.calendar, each.status)
        for each in find(*api).products(body)
    } == expected


@pytest.mark.parametrize("name", load())
@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[1]", b'{"message":"NotFound"}', b"\xff", b"[" * 5000])
def test_any_other_body_is_unusable(name: str, body: bytes) -> None:
    with pytest.raises(ProviderUnusable, match="expected"):
        load()[name].products(body)


@pytest.mark.parametrize("name", load())
async def test_the_simulator_lists_what_it_serves(name: str, fast: Callable[..., Access], tmp_path: Path) -> None:
    provider = load()[name]
    expected = {each.full_name: each.exact_tick for each in listed_instruments() if each.provider == provider.name}

    async with serve(exchange_of(GeneratedCandles(instruments=listed_instruments()))) as exchange:
        done = await refresh_list(
            provider.name, fast(exchange.url, source=provider.source), tmp_path, lambda: NOON, account="101-1-1-1"
        )

    assert (done.error, done.is_fresh, done.requests) == ("", True, 1)
    stored = read(tmp_path).lists[provider.name]
    assert stored.fetched_at == NOON
    assert {each.full_name: each.exact_tick for each in stored.instruments} == expected


async def test_oanda_without_an_account_gives_its_usual_instruments_without_a_request(
    fast: Callable[..., Access], tmp_path: Path
) -> None:
    done = await refresh_list("oanda", fast("http://127.0.0.1:9", token=None), tmp_path, lambda: NOON)

    known = {each.pair: each for each in read(tmp_path).lists["oanda"].instruments}
    assert (done.error, done.requests, done.instruments) == ("", 0, len(known))
    facts = {
        name: (known[name].exact_tick, known[name].market) for name in ("EUR/USD", "USD/JPY", "XAU/USD", "SPX500/USD")
    }
    assert facts == {
        "EUR/USD": (Decimal("0.00001"), Market.FX),
        "USD/JPY": (Decimal("0.001"), Market.FX),
        "XAU/USD": (Decimal("0.001"), Market.METAL),
        "SPX500/USD": (Decimal("0.1"), Market.INDEX),
    }


async def test_faults_are_retried_as_for_pages(serving, fast: Callable[..., Access], tmp_path: Path) -> None:
    async with serving(faults=Faults.parse("5xx=0.3,html=0.3,cut=0.2"), seed=5) as exchange:
        done = await refresh_list("coinbase", fast(exchange.url, patience_seconds=60), tmp_path, lambda: NOON)

    assert done.error == ""
    assert done.requests > 1
    assert {each.pair for each in read(tmp_path).lists["coinbase"].instruments} == {"BTC/USD", "ETH/USD"}


def stored_sol(folder: Path) -> Instrument:
    [sol] = find("coinbase").products(msgspec.json.encode(msgspec.json.decode(COINBASE)[:1]))
    store_list(folder, "coinbase", [sol], NOON - timedelta(days=1))
    return sol


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (lambda: web.Response(status=503), "does not respond"),
        (None, "does not respond"),
        (lambda: web.Response(status=403, text="blocked"), "coinbase answered 403: blocked"),
        (lambda: web.Response(text="<html>maintenance</html>"), "expected products"),
    ],
    ids=["503", "closed connection", "403", "html"],
)
async def test_a_provider_that_does_not_answer_leaves_the_stored_list_in_use(
    scripted, fast: Callable[..., Access], tmp_path: Path, response: Callable[[], web.Response] | None, reason: str
) -> None:
    sol = stored_sol(tmp_path)
    before = (tmp_path / "instruments.json").read_bytes()

    async with scripted(response) as server:
        done = await refresh_list("coinbase", fast(server.url), tmp_path, lambda: NOON)

    assert reason in done.error
    assert not done.is_fresh
    assert done.line().startswith("coinbase did not send its product list (")
    assert done.line().endswith("; using the stored list of 1 instruments")
    assert (tmp_path / "instruments.json").read_bytes() == before
    assert read(tmp_path).lists["coinbase"].instruments == (sol,)


async def test_without_a_stored_list_the_line_says_so(fast: Callable[..., Access], tmp_path: Path) -> None:
    done = await refresh_list("coinbase", fast("http://127.0.0.1:9"), tmp_path, lambda: NOON)

    assert done.line().endswith("; no list is stored")
    assert not (tmp_path / "instruments.json").exists()


async def test_an_unreachable_oanda_account_gives_the_usual_instruments(
    fast: Callable[..., Access], tmp_path: Path
) -> None:
    done = await refresh_list("oanda", fast("http://127.0.0.1:9"), tmp_path, lambda: NOON, account="101-1")

    assert "does not respond" in done.error
    assert done.is_fresh
    assert done.instruments > 100


async def test_a_list_is_one_request(serving, fast: Callable[..., Access], tmp_path: Path) -> None:
    async with serving() as exchange:
        done = await refresh_list("binance", fast(exchange.url), tmp_path, lambda: NOON)
        [request] = exchange.requests

    assert (request.path, request.query, done.requests) == ("/api/v3/exchangeInfo", "showPermissionSets=false", 1)
