"""Null test: summary of the whole curriculum in surrogate markets without skill.

`optimizer.validation.in_process.curriculum_in_process` runs the curriculum in one of them.
"""

from collections.abc import Sequence

import numpy as np

from optimizer.level.spec import Level
from optimizer.objective.metrics import wilson_interval
from optimizer.validation.analyses.surrogate_markets import BLOCK_DAYS
from optimizer.validation.evidence import NullRun, NullTest

QUANTILES = (0.05, 0.5, 0.95)


def null_test_of(levels: Sequence[Level], null_runs: Sequence[NullRun]) -> NullTest | None:
    """Summarise the runs in order of their markets; None without any."""
    if not null_runs:
        return None
    ordered, count = sorted(null_runs, key=lambda each: each.surrogate), len(null_runs)
    mandates = sum(each.mandate for each in ordered)
    low, high = wilson_interval(mandates, count)
    return NullTest(
        surrogates=count,
        t=tuple(each.t for each in ordered),
        sharpe=_quantiles([each.sharpe for each in ordered]),
        mandates=mandates,
        pass_rate=mandates / count,
        low=low,
        high=high,
        passed={level.name: sum(level.name in each.passed for each in ordered) / count for level in levels},
        block_days=BLOCK_DAYS,
    )


def _quantiles(values: Sequence[float | None]) -> tuple[float | None, ...]:
    known = [value for value in values if value is not None]
    return tuple(float(each) for each in np.quantile(known, QUANTILES)) if known else (None,) * len(QUANTILES)
