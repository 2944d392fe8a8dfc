"""Risk budget of a level: the volatility or the drawdown that each trial's account is sized to."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from optimizer.level.constraints import StrictModel

DEFAULT_VOLATILITY = 0.10


class Risk(StrictModel):
    """Risk budget: exactly one of `target_volatility` and `max_drawdown`; without either, a volatility of 0.10.

    The size of a trial's account is solved on train and fixed for all later days.
    """

    target_volatility: Annotated[float, Field(gt=0, le=10)] | None = None
    """Annualised standard deviation of the portfolio's daily returns on train."""
    max_drawdown: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Intrabar drawdown of the portfolio on train, as a fraction of its peak."""
    max_leverage: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Upper limit of a position's notional over the equity of its dataset's share of the account."""

    @model_validator(mode="before")
    @classmethod
    def _has_a_budget(cls, given: object) -> object:
        budgets = ("target_volatility", "max_drawdown")
        if isinstance(given, Mapping) and all(given.get(name) is None for name in budgets):
            return {**given, "target_volatility": DEFAULT_VOLATILITY}
        return given

    @model_validator(mode="after")
    def _has_one_budget(self) -> Self:
        if self.target_volatility is not None and self.max_drawdown is not None:
            raise ValueError("expected target_volatility or max_drawdown, not both")
        return self

    @property
    def sentence(self) -> str:
        """The budget in words, without a full stop."""
        budget = (
            f"{self.target_volatility:.3g} volatility a year"
            if self.target_volatility is not None
            else f"{self.max_drawdown:.3g} drawdown"
        )
        return f"account sized to {budget} on train, leverage at most {self.max_leverage:g}"
