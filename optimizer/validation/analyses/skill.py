"""Skill: the t-statistic of an account's alpha against buy-and-hold, on days that no search read."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from optimizer.level.spec import Part
from optimizer.objective.metrics import DAYS_A_YEAR
from optimizer.objective.portfolio import Portfolio
from optimizer.objective.trial_result import finite_or_none
from optimizer.validation.evidence import Skill
from optimizer.validation.statistics.alpha import alpha_of
from optimizer.validation.statistics.bootstrap import interval, sharpe_ratios
from optimizer.validation.statistics.sharpe import ReturnMoments

RESAMPLES = 2_000
"""Resamples of the Sharpe ratio's interval."""
Floats = NDArray[np.float64]


def skill_of(part: str, account: Portfolio, benchmark: Portfolio, seed: int) -> Skill:
    """Return the skill of an account; `benchmark`: buy-and-hold of the same datasets on the same days."""
    returns = account.returns
    found, moments = alpha_of(returns, benchmark.returns), ReturnMoments.of(returns)

    def ratios(resampled: Floats) -> Floats:
        return sharpe_ratios(resampled) * math.sqrt(DAYS_A_YEAR)

    low, high = interval(returns, ratios, seed, resamples=RESAMPLES)
    return Skill(
        part=part,
        first_day=int(account.days[0]) if len(account.days) else 0,
        last_day=int(account.days[-1]) if len(account.days) else 0,
        days=found.periods,
        alpha_a_year=found.alpha * DAYS_A_YEAR,
        standard_error_a_year=found.standard_error * DAYS_A_YEAR,
        beta=found.beta,
        t=found.t,
        lags=found.lags,
        p=found.p,
        sharpe=finite_or_none(moments.sharpe * math.sqrt(DAYS_A_YEAR)),
        sharpe_low=finite_or_none(low),
        sharpe_high=finite_or_none(high),
        skewness=finite_or_none(moments.skewness),
        kurtosis=finite_or_none(moments.kurtosis),
    )


def out_of_sample_skill(
    accounts: Mapping[Part, Portfolio], benchmark: Mapping[Part, Portfolio], seed: int
) -> Skill | None:
    """Return the skill of the part that selected nothing: test, or the stitched windows where there is no test.

    None without a winner.
    """
    part = next((part for part in (Part.TEST, Part.VALIDATION) if part in accounts), None)
    return skill_of(part, accounts[part], benchmark[part], seed) if part else None
