"""The instruments that the simulated exchange lists: the shipped ones, others of each provider, and any that are added.

The prices are plausible, not historical: the value of the base over the value of the quote, both in USD.
"""

import math
from zlib import crc32

from fetcher.protocol.oanda_instruments import shipped_instruments
from tradeschool.errors import SettingsError
from tradeschool.markets.instrument_file import instrument_of
from tradeschool.markets.instruments import Instrument
from tradeschool.markets.names import SEPARATORS, split_provider
from tradeschool.markets.shipped import INSTRUMENTS

CRYPTO = {
    "coinbase": (
        *("SOL/USD 0.01", "LTC/USD 0.01", "XRP/USD 0.0001", "ADA/USD 0.0001", "DOGE/USD 0.00001", "LINK/USD 0.001"),
        *(
            "AVAX/USD 0.01",
            "SHIB/USD 0.00000001",
            "ETH/BTC 0.00001",
            "BTC/EUR 0.01",
            "BTC/GBP 0.01",
            "SOL/BTC 0.000001",
        ),
    ),
    "binance": (
        *("SOL/USDT 0.01", "BNB/USDT 0.01", "XRP/USDT 0.0001", "ADA/USDT 0.0001", "DOGE/USDT 0.00001"),
        *("SHIB/USDT 0.00000001", "LTC/USDT 0.01", "LINK/USDT 0.01", "ETH/BTC 0.00001", "BTC/USDC 0.01", "BTC/JPY 1"),
    ),
}
"""Pairs with their ticks, by provider."""
USD_VALUES = {
    "USD": 1.0,
    "USDT": 1.0,
    "USDC": 1.0,
    "EUR": 1.12,
    "GBP": 1.29,
    "JPY": 0.0078,
    "CHF": 1.08,
    "AUD": 0.7,
    "NZD": 0.65,
    "CAD": 0.76,
    "SGD": 0.74,
    "HKD": 0.128,
    "CNH": 0.147,
    "SEK": 0.105,
    "NOK": 0.11,
    "DKK": 0.15,
    "PLN": 0.25,
    "CZK": 0.044,
    "HUF": 0.003,
    "TRY": 0.08,
    "ZAR": 0.062,
    "MXN": 0.052,
    "THB": 0.03,
    "XAU": 1_850.0,
    "XAG": 24.0,
    "XPT": 980.0,
    "XPD": 1_900.0,
    "BTC": 24_000.0,
    "ETH": 1_600.0,
    "SOL": 60.0,
    "LTC": 100.0,
    "XRP": 0.55,
    "ADA": 0.6,
    "DOGE": 0.1,
    "LINK": 12.0,
    "AVAX": 30.0,
    "SHIB": 0.00002,
    "BNB": 320.0,
    "BCO": 75.0,
    "WTICO": 70.0,
    "NATGAS": 3.5,
    "CORN": 5.5,
    "SOYBN": 13.0,
    "WHEAT": 6.5,
    "SUGAR": 0.2,
    "XCU": 4.0,
}
"""Value of one unit in USD."""
INDEX_LEVELS = {
    "AU200": 7_000.0,
    "CH20": 11_000.0,
    "CHINAH": 7_500.0,
    "DE30": 14_500.0,
    "ESPIX": 9_000.0,
    "EU50": 4_000.0,
    "FR40": 6_500.0,
    "HK33": 22_000.0,
    "JP225": 28_000.0,
    "JP225Y": 28_000.0,
    "NAS100": 13_000.0,
    "SPX500": 4_100.0,
    "UK100": 7_300.0,
    "US30": 34_000.0,
    "CN50": 14_000.0,
    "NL25": 700.0,
    "SG30": 330.0,
    "TWIX": 550.0,
    "US2000": 1_900.0,
    "DE10YB": 155.0,
    "UK10YB": 115.0,
    "USB02Y": 105.0,
    "USB05Y": 112.0,
    "USB10Y": 120.0,
    "USB30Y": 140.0,
}
"""Price in the quote currency."""
TICKS_OF_A_PRICE = 5
"""Significant digits of the price of an added instrument."""
KINDS = {"oanda": "fx"}
"""Kind of an added instrument by provider; crypto otherwise."""


def plausible_price(instrument: Instrument) -> float:
    """Return an initial price; of an unknown base, a random one that depends on its name only."""
    if instrument.base in INDEX_LEVELS:
        return INDEX_LEVELS[instrument.base]
    return _value(instrument.base) / _value(instrument.quote)


def listed_instruments() -> tuple[Instrument, ...]:
    """Return the instruments of the simulated exchange: the shipped ones first."""
    crypto = [
        instrument_of({**_parts(pair), "kind": "crypto", "tick": tick}, provider)
        for provider, entries in CRYPTO.items()
        for pair, tick in (entry.split() for entry in entries)
    ]
    return tuple(dict.fromkeys((*INSTRUMENTS, *crypto, *shipped_instruments())))


def added_instrument(text: str) -> Instrument:
    """Return an instrument of a name with a provider, such as `coinbase:FOO/USD`, with a plausible tick.

    Raises:
        SettingsError: if the name has no provider, or is malformed.
    """
    provider, pair = split_provider(text)
    if provider is None or len(SEPARATORS.split(pair)) != 2:
        raise SettingsError(f"instrument {text!r}: expected provider:BASE/QUOTE, such as coinbase:FOO/USD")
    entry = {**_parts(pair.upper()), "kind": KINDS.get(provider, "crypto")}
    price = plausible_price(instrument_of({**entry, "tick": "1"}, provider))
    decimals = max(0, TICKS_OF_A_PRICE - 1 - math.floor(math.log10(price)))
    return instrument_of({**entry, "tick": f"{10.0**-decimals:.{decimals}f}"}, provider)


def _parts(pair: str) -> dict[str, str]:
    base, quote = SEPARATORS.split(pair)
    return {"base": base, "quote": quote}


def _value(currency: str) -> float:
    if currency in USD_VALUES:
        return USD_VALUES[currency]
    return float(10 ** (crc32(currency.encode()) % 4_000 / 1_000 - 1))  # 0.1 to 1,000
