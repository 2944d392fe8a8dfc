"""What a fill costs, as fractions and ticks, from a level's costs in basis points.

A fill's price is what the candle shows, in whole ticks; everything below is booked beside it, in money:

| fill | fee rate on notional | slippage rate on notional | half-spread of its bar |
|---|---|---|---|
| entry, exit by signal, stop, end | yes | yes | yes |
| target | yes | no | no |
| a midnight (UTC) over which a position is held | financing on the notional at entry | no | no |
"""

from dataclasses import dataclass

from optimizer.level import Costs
from tradeschool.market import Market

BPS = 1e-4
"""One basis point, a hundredth of a percent, as a fraction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Costs as fractions of the notional: of each side of a trade, and of each day that it is held."""

    fee: float
    slippage: float
    financing: float = 0.0
    """Of the entry's notional, for each midnight (UTC) over which a position is held."""

    @classmethod
    def of(cls, costs: Costs, market: Market) -> "Rates":
        """The rates that a level sets for a market."""
        if market is Market.CRYPTO:
            return cls(
                fee=costs.crypto_fee_bps * BPS,
                slippage=costs.crypto_slippage_bps * BPS,
                financing=costs.crypto_financing_bps * BPS,
            )
        return cls(
            fee=costs.fx_fee_bps * BPS, slippage=costs.fx_slippage_bps * BPS, financing=costs.fx_financing_bps * BPS
        )
