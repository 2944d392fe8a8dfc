"""Trading costs of a level, as rates or by presets."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from optimizer.level.constraints import StrictModel
from optimizer.level.cost_presets import presets_of
from tradeschool.errors import SettingsError


class Costs(StrictModel):
    """Trading costs per side. Half-spread and slippage apply to market and stop fills, not to targets.

    FX pays the half-spread stored with its candles; crypto candles store none and pay slippage.

    Written as `costs = "coinbase.taker.10k"`, as a list of presets, or as a table of rates, whose `preset` key names
    presets for the rates that the table does not set.
    """

    crypto_fee_bps: Annotated[float, Field(ge=0)] = 5.0
    """Basis points of the notional."""
    crypto_slippage_bps: Annotated[float, Field(ge=0)] = 2.0
    """Basis points of the price."""
    fx_fee_bps: Annotated[float, Field(ge=0)] = 0.0
    fx_slippage_bps: Annotated[float, Field(ge=0)] = 0.0
    crypto_financing_bps: Annotated[float, Field(ge=0)] = 0.0
    """Basis points of the entry notional, charged at each midnight (UTC) that a position is held over."""
    fx_financing_bps: Annotated[float, Field(ge=0)] = 0.0
    preset: Annotated[tuple[str, ...], Field(exclude_if=lambda names: not names)] = ()
    """Names of the presets that the rates come from; empty without presets."""

    @model_validator(mode="before")
    @classmethod
    def _expand_presets(cls, given: object) -> object:
        """Replace preset names by their rates; rates that are given have precedence."""
        table = dict(given) if isinstance(given, Mapping) else {"preset": given}
        named = table.get("preset")
        if not named or not isinstance(named, str | list | tuple):
            return given
        try:
            presets = presets_of(named.split(",") if isinstance(named, str) else [str(name) for name in named])
        except SettingsError as error:
            raise ValueError(str(error)) from None
        rates = {name: rate for preset in presets for name, rate in preset.rates.items()}
        return {**rates, **table, "preset": tuple(preset.name for preset in presets)}

    @property
    def rates(self) -> dict[str, float]:
        """The rates by field name."""
        return self.model_dump(exclude={"preset"})

    @property
    def sentence(self) -> str:
        """Presets and rates in words."""
        crypto = f"crypto {self.crypto_fee_bps:g} bps fee and {self.crypto_slippage_bps:g} bps slippage"
        fx = f"FX {self.fx_fee_bps:g} bps fee, {self.fx_slippage_bps:g} bps slippage and the half-spread of the candles"
        return f"{', '.join(self.preset) or 'no preset'}; per side: {crypto}, {fx}"


def costs_of(presets: str) -> Costs:
    """Return the costs of preset names, separated by commas; other rates are the defaults.

    Raises:
        SettingsError: if a preset is unknown, or two are for the same market.
    """
    return Costs(preset=tuple(preset.name for preset in presets_of(presets.split(","))))
