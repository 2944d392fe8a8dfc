"""Tree-structured Parzen estimator (TPE): proposes the candidate that good trials make most likely.

This is Optuna's estimator with Optuna's defaults, in the compiled loops of `optimizer.search.methods.parzen` instead of
many small arrays, ten times faster. Equal kernels are ordered by trial number, whereas Optuna's order depends on the
processor's sort; this makes results equal on all processors.

Source: Watanabe, Tree-structured Parzen estimator, arXiv 2304.11127; Optuna 5.0, samplers/_tpe.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from optimizer.compilation.jit import is_compiled
from optimizer.search.methods.parzen import density, draw, rival_density

CANDIDATES = 24
"""Number of candidates drawn from the good trials."""
FULL_WEIGHT = 25
"""Number of latest trials with full weight; older trials have decreasing weights."""
MAX_BELOW = 25
BELOW_FRACTION = 0.1
"""Share of trials that count as good, at most `MAX_BELOW`."""
MAX_ABOVE = 300
"""Maximum number of other trials used, latest first. Optuna uses all, so each request costs more than the last; the
omitted trials would have the smallest weights.
"""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SearchAxes:
    """The searched parameters, sorted by name; each array of shape (n_parameters,)."""

    names: tuple[str, ...]
    distributions: tuple[IntDistribution | FloatDistribution, ...]
    lows: Array
    """Lowest and highest value of a kernel's support: half a step beyond the range; logarithms on log axes."""
    highs: Array
    steps: Array
    """Step; 0 without one."""
    logs: NDArray[np.bool_]
    first: Array
    """Lowest and highest value, each of shape (n_parameters, 1)."""
    last: Array
    cheap: NDArray[np.intp]
    """Order of the axes in which those whose densities are cheap, because they have no step, come first."""

    @classmethod
    def of(cls, distributions: Mapping[str, BaseDistribution]) -> "SearchAxes | None":
        """Build the axes; None if a parameter is not a numeric range or numba is absent."""
        ranges = {
            name: each for name, each in distributions.items() if isinstance(each, IntDistribution | FloatDistribution)
        }
        if not ranges or len(ranges) < len(distributions) or not is_compiled():
            return None
        found = tuple(ranges[name] for name in sorted(ranges))
        steps = np.array([float(each.step or 0.0) for each in found])
        logs = np.array([each.log for each in found])
        first, last = np.array([[float(each.low)] for each in found]), np.array([[float(each.high)] for each in found])
        lows, highs = first[:, 0] - steps / 2, last[:, 0] + steps / 2
        lows[logs], highs[logs] = np.log(lows[logs]), np.log(highs[logs])
        cheap = np.argsort(steps > 0, kind="stable")
        return cls(tuple(sorted(ranges)), found, lows, highs, steps, logs, first, last, cheap)

    def kernels(self, values: Array) -> "ParzenKernels":
        """Return one kernel per trial plus the prior; `values`: shape (n_parameters, n_trials), in order of number."""
        lows, highs = self.lows[:, np.newaxis], self.highs[:, np.newaxis]
        seen = values.copy()
        seen[self.logs] = np.log(values[self.logs])
        centres = np.concatenate((seen, 0.5 * (lows + highs)), axis=1)
        widths = np.concatenate((_widths(seen, lows, highs), highs - lows), axis=1)
        count = values.shape[1]
        weights = np.append(_weights(count), 1.0)
        return ParzenKernels(self, centres, widths, weights / weights.sum())


@dataclass(frozen=True, slots=True)
class ParzenKernels:
    """Mixture of truncated normal distributions with the same weights on every axis."""

    axes: SearchAxes
    centres: Array
    """Shape (n_parameters, n_kernels); `widths` has the same."""
    widths: Array
    weights: Array
    """Shape (n_kernels,); sums to 1."""

    def draw(self, random: np.random.RandomState) -> Array:
        """Draw candidates, shape (n_parameters, `CANDIDATES`), rounded to the grid of a stepped parameter."""
        axes = self.axes
        shares = self.weights.cumsum()
        # As `random.choice` with probabilities draws, without its checks.
        chosen = (shares / shares[-1]).searchsorted(random.random_sample(CANDIDATES), side="right")
        quantiles = random.uniform(low=0, high=1, size=(len(axes.names), CANDIDATES))
        drawn = np.empty_like(quantiles)
        draw(drawn, quantiles, self.centres[:, chosen], self.widths[:, chosen], axes.lows, axes.highs)
        drawn[axes.logs] = np.exp(drawn[axes.logs])
        stepped = np.flatnonzero(axes.steps)
        if len(stepped):
            low, high, step = axes.first[stepped], axes.last[stepped], axes.steps[stepped, np.newaxis]
            drawn[stepped] = np.clip(low + np.round((drawn[stepped] - low) / step) * step, low, high)
        return drawn

    def log_density(self, candidates: "Steps") -> Array:
        """Return the log density of each candidate; for a stepped parameter the probability of its step."""
        total = np.empty(len(candidates.left))
        density(total, *candidates, *self._by_place())
        return np.log(total)

    def least_dense(self, candidates: "Steps", log_good: Array) -> int:
        """Return the candidate with the highest `log_good` over the log density: the first highest, if several are."""
        total = np.empty(len(candidates.left))
        rival_density(total, log_good, *candidates, *self._by_place())
        return int(np.argmax(log_good - np.log(total)))

    def _by_place(self) -> tuple[Array, Array, Array, Array]:
        """Return centres and widths, kernel first, weights, and the support's ends; cheap axes first."""
        axes, cheap = self.axes, self.axes.cheap
        centres, widths = (np.ascontiguousarray(each[cheap].T) for each in (self.centres, self.widths))
        return centres, widths, self.weights, np.stack((axes.lows[cheap], axes.highs[cheap]))


class Steps(NamedTuple):
    """The borders of candidates' steps, shape (`CANDIDATES`, n_parameters), cheap axes first; equal without a step."""

    left: Array
    right: Array

    @classmethod
    def of(cls, axes: SearchAxes, candidates: Array) -> "Steps":
        """Return the steps of candidates, shape (n_parameters, `CANDIDATES`)."""
        halves = axes.steps[:, np.newaxis] / 2
        left, right = candidates - halves, candidates + halves
        left[axes.logs], right[axes.logs] = np.log(left[axes.logs]), np.log(right[axes.logs])
        return cls(np.ascontiguousarray(left[axes.cheap].T), np.ascontiguousarray(right[axes.cheap].T))


def suggest(axes: SearchAxes, below: Array, above: Array, random: np.random.RandomState) -> dict[str, float]:
    """Return the candidate with the highest density ratio of good to other trials, by name.

    `below` and `above`: values of the good and the other trials, shape (n_parameters, n_trials), in order of number.
    """
    good, others = axes.kernels(below), axes.kernels(above)
    candidates = good.draw(random)
    steps = Steps.of(axes, candidates)
    best = others.least_dense(steps, good.log_density(steps))
    found = zip(axes.names, axes.distributions, candidates[:, best], strict=True)
    return {name: distribution.to_external_repr(float(value)) for name, distribution, value in found}


def load(axes: SearchAxes) -> None:
    """Load the compiled loops into memory, from the cache or by compiling, before the first request."""
    lowest = np.array([[float(each.low)] for each in axes.distributions])
    suggest(axes, lowest, lowest, np.random.RandomState(0))


def split(order: Sequence[int], count: int) -> tuple[list[int], list[int]]:
    """Split indices into good and other trials, oldest first; `order` holds `count` indices, best first."""
    good = sorted(order[: min(math.ceil(BELOW_FRACTION * count), MAX_BELOW)])
    held = set(good)
    others = [place for place in range(max(0, count - MAX_ABOVE - len(good)), count) if place not in held]
    return good, others[-MAX_ABOVE:]


def _weights(count: int) -> Array:
    if count < FULL_WEIGHT:
        return np.ones(count)
    return np.concatenate([np.linspace(1.0 / count, 1.0, num=count - FULL_WEIGHT), np.ones(FULL_WEIGHT)])


def _widths(centres: Array, lows: Array, highs: Array) -> Array:
    """Return kernel widths: the distance to the farther neighbour, clipped; the first and last use their only
    neighbour. `centres`: shape (n_parameters, n_kernels); `lows` and `highs`: shape (n_parameters, 1).
    """
    count = centres.shape[1]
    order = np.argsort(centres, axis=1, kind="stable")
    gaps = np.diff(np.concatenate((lows, np.take_along_axis(centres, order, axis=1), highs), axis=1), axis=1)
    ordered = np.maximum(gaps[:, :-1], gaps[:, 1:])
    if count > 1:
        ordered[:, 0], ordered[:, -1] = gaps[:, 1], gaps[:, -2]
    widths = np.empty_like(centres)
    np.put_along_axis(widths, order, ordered, axis=1)
    return np.clip(widths, (highs - lows) / min(100.0, 2.0 + count), highs - lows)
