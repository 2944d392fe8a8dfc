"""Instruments that are known without any product list: those of the default curriculum and two of Binance."""

from tradeschool.markets.instruments import Instrument, Market

BTC_USD = Instrument(provider="coinbase", base="BTC", quote="USD", market=Market.CRYPTO, decimals=2)
ETH_USD = Instrument(provider="coinbase", base="ETH", quote="USD", market=Market.CRYPTO, decimals=2)
EUR_USD = Instrument(provider="oanda", base="EUR", quote="USD", market=Market.FX, decimals=5)
GBP_USD = Instrument(provider="oanda", base="GBP", quote="USD", market=Market.FX, decimals=5)
BTC_USDT = Instrument(provider="binance", base="BTC", quote="USDT", market=Market.CRYPTO, decimals=2)
ETH_USDT = Instrument(provider="binance", base="ETH", quote="USDT", market=Market.CRYPTO, decimals=2)
CURRICULUM_INSTRUMENTS = (BTC_USD, EUR_USD, ETH_USD, GBP_USD)
"""Instruments of the default curriculum in download order: those of the first level come first."""
INSTRUMENTS = (*CURRICULUM_INSTRUMENTS, BTC_USDT, ETH_USDT)
"""All shipped instruments; those outside the curriculum are downloaded only when named explicitly."""
