"""What a forward test decides, and when: `python benchmarks/forward/run.py [--quick]`.

Streams of daily returns with a known Sharpe ratio are looked at each day for three years, by the rule's defaults. The
noise is normal, Student t with 4 degrees of freedom, GARCH(1, 1), or many small gains with rare losses.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "fetch"))

from table import Row, machine, markdown, write

from optimizer.forward.rule import DEVIATIONS, ForwardLimits
from optimizer.validation.statistics.confidence_sequence import log_capital

YEAR = 365
STREAMS, QUICK_STREAMS = 10_000, 1_000
DEVIATION = 0.10 / math.sqrt(YEAR)
"""Daily deviation of an account sized to a volatility of 10 % a year."""
BOUND = DEVIATIONS * DEVIATION
LIMITS = ForwardLimits()
DEPLOYED, STOPPED = 1, 2
Floats = np.ndarray


def main() -> None:
    """Print the table and write both files."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help=f"{QUICK_STREAMS:,} streams a row.")
    streams = QUICK_STREAMS if options.parse_args().quick else STREAMS
    about = machine()
    rows = list(measured(streams))
    about["streams"] = f"{streams:,} of {LIMITS.max_days:,} days a row, looked at each day"
    print(markdown(rows, about))
    if streams == STREAMS:
        write(rows, about, "forward")


def measured(streams: int) -> Iterator[Row]:
    """False alarms of the lower limit, days to a deployment, and what the whole rule decides."""
    for name, noise in NOISES.items():
        days, _ = decisions(returns(noise, 0.0, streams), whole=False)
        share = float(np.mean(np.isfinite(days)))
        yield Row(
            target=1,
            what=f"false alarms, {name}",
            wanted="<= 5 %",
            reached=f"{share:.2%}",
            met=share <= LIMITS.alpha_deploy,
        )
    for sharpe in (1.0, 2.0, 3.0):
        for name, noise in NOISES.items():
            days, _ = decisions(returns(noise, sharpe, streams), whole=False)
            median, share = float(np.median(days)), float(np.mean(np.isfinite(days)))
            shown = f"{median:,.0f}" if math.isfinite(median) else f"more than {LIMITS.max_days:,}"
            yield Row(
                target=2,
                what=f"median days to deploy, Sharpe {sharpe:g}, {name}",
                wanted="",
                reached=f"{shown} ({share:.0%} in three years)",
            )
    for sharpe in (-1.0, 0.0, 1.0, 2.0, 3.0):
        _, found = decisions(returns(normal, sharpe, streams), whole=True)
        deployed, stopped = float(np.mean(found == DEPLOYED)), float(np.mean(found == STOPPED))
        yield Row(
            target=3,
            what=f"whole rule, Sharpe {sharpe:g}, normal",
            wanted="",
            reached=f"deploy {deployed:.1%}, stop by a limit {stopped:.1%}, "
            f"stop after three years {1 - deployed - stopped:.1%}",
        )


def decisions(found: Floats, *, whole: bool) -> tuple[Floats, Floats]:
    """The day and kind of each stream's decision; infinite and 0 without one. `whole`: with all reasons to stop."""
    rises = log_capital(found, mean=0.0, bound=BOUND, deviation=DEVIATION) >= -math.log(LIMITS.alpha_deploy)
    deploys = first(np.maximum.accumulate(rises, axis=1) & (np.arange(found.shape[1]) + 1 >= LIMITS.min_days))
    if not whole:
        return deploys, np.where(np.isfinite(deploys), DEPLOYED, 0)
    worthwhile = LIMITS.worthwhile_sharpe * DEVIATION / math.sqrt(YEAR)
    falls = log_capital(-found, mean=-worthwhile, bound=BOUND, deviation=DEVIATION) >= -math.log(LIMITS.alpha_stop)
    equity = np.cumprod(1 + found, axis=1)
    deep = 1 - equity / np.maximum(np.maximum.accumulate(equity, axis=1), 1.0) > LIMITS.max_drawdown
    stops = np.minimum(np.minimum(first(falls), first(deep)), first(found < -BOUND))
    kind = np.where(np.isfinite(stops) & (stops <= deploys), STOPPED, np.where(np.isfinite(deploys), DEPLOYED, 0))
    return np.minimum(stops, deploys), kind


def first(reached: Floats) -> Floats:
    """The first day of each row at which a condition holds; infinite if it never does."""
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.inf)


def returns(noise: Callable[[np.random.Generator, int], Floats], sharpe: float, streams: int) -> Floats:
    """Daily returns with a yearly Sharpe ratio, shape (n_streams, n_days)."""
    return DEVIATION * (noise(np.random.default_rng(1), streams) + sharpe / math.sqrt(YEAR))


def normal(random: np.random.Generator, streams: int) -> Floats:
    """Independent normal noise."""
    return random.standard_normal((streams, LIMITS.max_days))


def student_t(random: np.random.Generator, streams: int) -> Floats:
    """Student's t with 4 degrees of freedom: an infinite kurtosis."""
    return random.standard_t(4, (streams, LIMITS.max_days)) / math.sqrt(2)


def clustered(random: np.random.Generator, streams: int) -> Floats:
    """GARCH(1, 1), T. Bollerslev (1986)."""
    found, variance = np.empty((streams, LIMITS.max_days)), np.ones(streams)
    for day in range(LIMITS.max_days):
        found[:, day] = np.sqrt(variance) * random.standard_normal(streams)
        variance = 0.02 + 0.10 * found[:, day] ** 2 + 0.88 * variance
    return found


def crashes(random: np.random.Generator, streams: int) -> Floats:
    """Many small gains and rare large losses."""
    return 1 - random.exponential(1, (streams, LIMITS.max_days))


NOISES = {"normal": normal, "Student t(4)": student_t, "GARCH(1, 1)": clustered, "rare losses": crashes}

if __name__ == "__main__":
    main()
