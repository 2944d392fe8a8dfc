"""Probability of backtest overfitting (PBO) by combinatorially symmetric cross-validation (CSCV).

PBO is the share of splits in which the best trial on one half of the days is below the median on the other half.
Source: D. H. Bailey, J. Borwein, M. Lopez de Prado and Q. J. Zhu, The Probability of Backtest Overfitting (2017), J. of
Computational Finance 20:39-69.
"""

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

PARTS = 16
BATCH = 1_000
"""Number of splits per batch, to limit memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CscvResult:
    """Result of CSCV."""

    probability: float
    """PBO: share of splits whose winner is at or below the median of the other half; NaN with fewer than 2 trials."""
    logits: NDArray[np.float64]
    """Logit of the winner's relative rank on the other half, one per split: 0 is the median, positive is better."""
    trials: int
    """Number of trials with varying returns."""


def overfitting(returns: NDArray[np.floating], parts: int = PARTS) -> CscvResult:
    """Run CSCV over trials' returns of one period each, shape (n_days, n_trials), ranked by Sharpe ratio.

    The days are cut into `parts` consecutive parts, an even number; every half of the parts is a split. Trials with
    constant returns, such as those without a trade, have no Sharpe ratio and are excluded.

    Raises:
        ValueError: `parts` is odd, or there are fewer than two days per part.
    """
    if parts % 2 or len(returns) < 2 * parts:
        raise ValueError(f"expected an even number of parts of at least two days each, was {parts} of {len(returns)}")
    moving = returns[:, np.ptp(returns, axis=0) > 0].astype(np.float64)
    trials = moving.shape[1]
    if trials < 2:
        return CscvResult(probability=math.nan, logits=np.empty(0), trials=trials)
    counts, sums, squares = _parts(moving, parts)
    halves = _halves(parts)
    logits = np.concatenate(
        [_logits(halves[start : start + BATCH], counts, sums, squares) for start in range(0, len(halves), BATCH)]
    )
    return CscvResult(probability=float(np.mean(logits <= 0)), logits=logits, trials=trials)


def _parts(
    returns: NDArray[np.float64], parts: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return days, sums and sums of squares of each part, from which Sharpe ratios of halves are computed."""
    starts = np.linspace(0, len(returns), parts + 1).astype(int)[:-1]
    counts = np.diff(np.append(starts, len(returns))).astype(np.float64)
    return counts, np.add.reduceat(returns, starts, axis=0), np.add.reduceat(returns**2, starts, axis=0)


def _halves(parts: int) -> NDArray[np.float64]:
    """Return every half of the parts as a row of ones and zeros, shape (n_splits, parts)."""
    chosen = np.array(list(combinations(range(parts), parts // 2)))
    halves = np.zeros((len(chosen), parts))
    np.put_along_axis(halves, chosen, 1.0, axis=1)
    return halves


def _logits(
    halves: NDArray[np.float64],
    counts: NDArray[np.float64],
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> NDArray[np.float64]:
    winner = np.argmax(_sharpe(halves, counts, sums, squares), axis=1)
    others = _sharpe(1.0 - halves, counts, sums, squares)
    reached = np.take_along_axis(others, winner[:, None], axis=1)
    rank = (others < reached).sum(axis=1) + ((others == reached).sum(axis=1) + 1) / 2
    share = rank / (others.shape[1] + 1)
    logits: NDArray[np.float64] = np.log(share / (1.0 - share))
    return logits


def _sharpe(
    halves: NDArray[np.float64],
    counts: NDArray[np.float64],
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return mean over deviation, shape (n_splits, n_trials); -inf for a constant half, so that it never wins."""
    days = (halves @ counts)[:, None]
    mean = halves @ sums / days
    variance = halves @ squares / days - mean**2
    is_flat = variance <= 1e-14 * (halves @ squares / days)  # zero up to rounding
    ratios: NDArray[np.float64] = np.full(mean.shape, -np.inf)
    np.divide(mean, np.sqrt(np.maximum(variance, 0.0)), out=ratios, where=~is_flat)
    return ratios
