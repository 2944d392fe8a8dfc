"""The daily series in a level's `equity.json`, as accounts by part."""

from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError, model_validator

from optimizer.objective.portfolio import Portfolio
from optimizer.validation.evidence import HoldoutResult


class EquityFile(BaseModel):
    """The columns of `equity.json` that an account needs; see `level_contents.equity_json`."""

    model_config = ConfigDict(frozen=True)

    days: tuple[int, ...]
    part: tuple[str, ...]
    equity: tuple[float, ...]
    drawdown: tuple[float, ...]

    @model_validator(mode="after")
    def _has_columns_of_one_length(self) -> Self:
        if len({len(self.days), len(self.part), len(self.equity), len(self.drawdown)}) > 1:
            raise ValueError("the columns differ in length")
        return self


def accounts_of(content: JsonValue) -> dict[str, Portfolio]:
    """Return the account of each part in an equity file; none if the file is absent or damaged."""
    try:
        found = EquityFile.model_validate(content)
    except ValidationError:
        return {}
    parts = np.array(found.part)
    columns = [np.array(each) for each in (found.days, found.equity, found.drawdown)]
    return {part: _account(*(column[parts == part] for column in columns)) for part in dict.fromkeys(found.part)}


def holdout_account(found: HoldoutResult) -> Portfolio:
    """Return the account of the holdout period."""
    return _account(np.array(found.days), np.array(found.equity), np.array(found.drawdown))


def _account(days: np.ndarray, equity: np.ndarray, drawdown: np.ndarray) -> Portfolio:
    """Return an account from its value at the end of each day, 1 at the start, and the drawdown of each day's low.

    A day's low is at most its start, so without a drawdown the low is the start itself.
    """
    starts = np.concatenate(([1.0], equity[:-1]))
    lows = np.maximum.accumulate(starts) * (1.0 - drawdown)
    moving = starts > 0
    returns, low_returns = np.zeros(len(days)), np.zeros(len(days))
    returns[moving] = equity[moving] / starts[moving] - 1.0
    low_returns[moving] = lows[moving] / starts[moving] - 1.0
    return Portfolio(days=days.astype(np.int64), returns=returns, low_returns=low_returns)
