"""Cost presets: trading costs of providers by name, each with its source and date.

A name is `provider.side.tier`. Coinbase's tiers are named by the lower bound of the trading volume of 30 days in USD:
`10k` is the tier from 10,000 to 50,000. Binance's tiers are its VIP levels; `.bnb` is the price paid in BNB.

`taker` is for orders that fill at once: all entries, exits by signal and stops of the backtest. It leaves the level's
slippage as it is. `maker` charges the maker fee on every fill and no slippage, as if every order rested in the book and
was filled, which is the lower bound of the costs: a real resting order may not be filled.

Fees change. A preset is what its source said on its date; `tradeschool costs show NAME` prints both. Left out, because
no source of the provider itself could be read for them:

- Coinbase from 250 million USD on: the provider's table was cut off below that line.
- Binance VIP 3 to VIP 9: the announcement of 2022 has other rates than later reports, and no later table of Binance
  itself was at hand. For VIP 2 and below, they agree.
- Coinbase's stable pairs, Binance's pairs without a fee, and OANDA's commission per million for accounts with lower
  spreads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches

from tradeschool.errors import SettingsError
from tradeschool.markets.instruments import Market

COINBASE_FEES = "https://help.coinbase.com/en/exchange/trading-and-funding/exchange-fees"
BINANCE_FEES = "https://www.binance.com/en/support/announcement/40669f3da342426c87b083b659673316"
OANDA_PRICES = "bid and ask prices of the candles (OANDA v20 `price=MBA`), stored as half_spread"
NEAR_NAMES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPreset:
    """Named trading costs of one provider."""

    name: str
    market: Market
    rates: Mapping[str, float]
    """Values of `Costs`, by field name; the other fields are the level's."""
    meaning: str
    source: str
    known_on: date | None
    """Day of the source: its publication, or a day on which it is known to have had these rates; None for costs that
    are stored with each candle.
    """

    @property
    def fee_bps(self) -> float:
        """Fee per side, in basis points of the notional."""
        return self.rates[f"{self.market.value}_fee_bps"]


def _coinbase(tier: str, volume: str, taker: float, maker: float) -> tuple[CostPreset, ...]:
    """`known_on`: a link to the page carries the time stamp 2023-08-14; the page itself carries no date."""
    return tuple(
        CostPreset(
            name=f"coinbase.{side}.{tier}",
            market=Market.CRYPTO,
            rates={"crypto_fee_bps": fee, **({"crypto_slippage_bps": 0.0} if side == "maker" else {})},
            meaning=f"Coinbase Exchange, {side} fee, {volume} USD in 30 days",
            source=COINBASE_FEES,
            known_on=date(2023, 8, 14),
        )
        for side, fee in (("taker", taker), ("maker", maker))
    )


def _binance(tier: str, level: str, taker: float, maker: float) -> tuple[CostPreset, ...]:
    return tuple(
        CostPreset(
            name=f"binance.{side}.{tier}{'.bnb' * paid_in_bnb}",
            market=Market.CRYPTO,
            rates={
                "crypto_fee_bps": fee * (0.75 if paid_in_bnb else 1.0),
                **({"crypto_slippage_bps": 0.0} if side == "maker" else {}),
            },
            meaning=f"Binance spot, {side} fee, {level}{', paid in BNB' * paid_in_bnb}",
            source=BINANCE_FEES,
            known_on=date(2022, 5, 31),
        )
        for side, fee in (("taker", taker), ("maker", maker))
        for paid_in_bnb in (False, True)
    )


PRESETS = {
    preset.name: preset
    for preset in (
        *_coinbase("0k", "below 10,000", 60, 40),
        *_coinbase("10k", "10,000 to 50,000", 40, 25),
        *_coinbase("50k", "50,000 to 100,000", 25, 15),
        *_coinbase("100k", "100,000 to 1 million", 20, 10),
        *_coinbase("1m", "1 to 15 million", 18, 8),
        *_coinbase("15m", "15 to 75 million", 16, 6),
        *_coinbase("75m", "75 to 250 million", 12, 3),
        *_binance("regular", "regular user", 10, 10),
        *_binance("vip1", "VIP 1", 10, 9),
        *_binance("vip2", "VIP 2", 10, 8),
        CostPreset(
            name="oanda.spread",
            market=Market.FX,
            rates={"fx_fee_bps": 0.0, "fx_slippage_bps": 0.0},
            meaning="OANDA, no commission: each fill pays the half-spread stored with its candle",
            source=OANDA_PRICES,
            known_on=None,
        ),
    )
}
"""All presets by name."""


def find_preset(name: str) -> CostPreset:
    """Return the preset of a name; the case is ignored.

    Raises:
        SettingsError: if there is none; names the nearest ones.
    """
    wanted = name.strip().lower()
    if wanted in PRESETS:
        return PRESETS[wanted]
    near = ", ".join(get_close_matches(wanted, PRESETS, n=NEAR_NAMES, cutoff=0.3)) or "none is similar"
    raise SettingsError(f"unknown cost preset {name!r}, nearest: {near}; for all run: tradeschool costs list")


def presets_of(names: Sequence[str]) -> tuple[CostPreset, ...]:
    """Return the presets of names such as `coinbase.taker.10k`, at most one for each market.

    Raises:
        SettingsError: if a preset is unknown, or two are for the same market.
    """
    named = [find_preset(name) for name in names if name.strip()]
    found = tuple({preset.name: preset for preset in named}.values())
    for market in Market:
        same = [preset.name for preset in found if preset.market is market]
        if len(same) > 1:
            raise SettingsError(f"cost presets {' and '.join(same)} are both for {market.value}: give one of them")
    return found
