"""Trading costs of a fill as fractions of the notional, converted from a level's basis points.

A fill's price is a candle price in whole ticks. All costs are booked separately, in money:

| fill | fee rate on notional | slippage rate on notional | half-spread of its bar |
|---|---|---|---|
| entry, exit by signal, stop, end | yes | yes | yes |
| target | yes | no | no |
| each midnight (UTC) that a position is held over | financing on the entry notional | no | no |
"""

from dataclasses import dataclass

from optimizer.level.costs import Costs
from tradeschool.markets.instruments import Market

BPS = 1e-4
"""One basis point (0.01 %) as a fraction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRates:
    """Cost rates as fractions of the notional: fee and slippage per side, financing per day held."""

    fee: float
    slippage: float
    financing: float = 0.0
    """Fraction of the entry notional, charged at each midnight (UTC) that a position is held over."""

    @classmethod
    def of(cls, costs: Costs, market: Market) -> "CostRates":
        """Return the rates that a level sets for a market: those of crypto without a spread, those of FX with one."""
        if not market.has_spread:
            return cls(
                fee=costs.crypto_fee_bps * BPS,
                slippage=costs.crypto_slippage_bps * BPS,
                financing=costs.crypto_financing_bps * BPS,
            )
        return cls(
            fee=costs.fx_fee_bps * BPS, slippage=costs.fx_slippage_bps * BPS, financing=costs.fx_financing_bps * BPS
        )
