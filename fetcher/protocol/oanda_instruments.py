"""OANDA's usual instruments with their ticks, for users without an account id.

Source: developer.oanda.com, REST v20, "Instrument" (`displayPrecision`), and the instrument lists of practice accounts
as published by open-source clients. An account's own list takes precedence. An older or finer price than the tick here
is no error: prices decide when candles are loaded (`Instrument.has_finer_history`).
"""

from decimal import Decimal

from tradeschool.markets.instruments import Instrument, Market

FX_5 = (
    "AUD_CAD AUD_CHF AUD_HKD AUD_NZD AUD_SGD AUD_USD CAD_CHF CAD_HKD CAD_SGD CHF_HKD CHF_ZAR EUR_AUD EUR_CAD EUR_CHF "
    "EUR_CZK EUR_DKK EUR_GBP EUR_HKD EUR_NOK EUR_NZD EUR_PLN EUR_SEK EUR_SGD EUR_TRY EUR_USD EUR_ZAR GBP_AUD GBP_CAD "
    "GBP_CHF GBP_HKD GBP_NZD GBP_PLN GBP_SGD GBP_USD GBP_ZAR NZD_CAD NZD_CHF NZD_HKD NZD_SGD NZD_USD SGD_CHF USD_CAD "
    "USD_CHF USD_CNH USD_CZK USD_DKK USD_HKD USD_MXN USD_NOK USD_PLN USD_SEK USD_SGD USD_TRY USD_ZAR TRY_JPY HKD_JPY"
)
FX_3 = "AUD_JPY CAD_JPY CHF_JPY EUR_HUF EUR_JPY GBP_JPY NZD_JPY SGD_JPY USD_HUF USD_JPY USD_THB ZAR_JPY"
METALS_3 = "XAU_AUD XAU_CAD XAU_CHF XAU_EUR XAU_GBP XAU_HKD XAU_NZD XAU_SGD XAU_USD XAU_XAG XPD_USD XPT_USD"
METALS_5 = "XAG_AUD XAG_CAD XAG_CHF XAG_EUR XAG_GBP XAG_HKD XAG_NZD XAG_SGD XAG_USD"
METALS_0 = "XAU_JPY XAG_JPY"
INDICES_1 = (
    "AU200_AUD CH20_CHF CHINAH_HKD DE30_EUR ESPIX_EUR EU50_EUR FR40_EUR HK33_HKD JP225_USD JP225Y_JPY NAS100_USD "
    "SPX500_USD UK100_GBP US30_USD"
)
INDICES_3 = "CN50_USD NL25_EUR SG30_SGD TWIX_USD US2000_USD"
COMMODITIES_3 = "BCO_USD CORN_USD NATGAS_USD SOYBN_USD WHEAT_USD WTICO_USD"
COMMODITIES_5 = "SUGAR_USD XCU_USD"
BONDS_3 = "DE10YB_EUR UK10YB_GBP USB02Y_USD USB05Y_USD USB10Y_USD USB30Y_USD"

TABLE = (
    (Market.FX, 5, FX_5),
    (Market.FX, 3, FX_3),
    (Market.METAL, 3, METALS_3),
    (Market.METAL, 5, METALS_5),
    (Market.METAL, 0, METALS_0),
    (Market.INDEX, 1, INDICES_1),
    (Market.INDEX, 3, INDICES_3),
    (Market.COMMODITY, 3, COMMODITIES_3),
    (Market.COMMODITY, 5, COMMODITIES_5),
    (Market.BOND, 3, BONDS_3),
)
"""Kind, decimal places of the tick, and names."""


def shipped_instruments() -> tuple[Instrument, ...]:
    """Return OANDA's usual instruments."""
    return tuple(_instrument(market, decimals, name) for market, decimals, names in TABLE for name in names.split())


def _instrument(market: Market, decimals: int, name: str) -> Instrument:
    base, _, quote = name.partition("_")
    return Instrument(
        provider="oanda",
        base=base,
        quote=quote,
        market=market,
        decimals=decimals,
        tick_size=Decimal(1).scaleb(-decimals),
        has_finer_history=True,
    )
