"""Tests that synthetic candles contain no profit before costs: their four prices are points of one random walk."""

from datetime import UTC, datetime

import numpy as np
import pytest

from fetcher.simulator.candles.generated import GeneratedCandles
from fetcher.simulator.candles.source import CLOSE, HIGH, LOW, OPEN
from tradeschool.markets.catalogue import INSTRUMENTS
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe

START, END = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2021, 2022))


@pytest.fixture(scope="module", params=[1.0, 0.33], ids=["every slot traded", "a third of the slots traded"])
def logs(request: pytest.FixtureRequest) -> np.ndarray:
    """Log prices of a year of Ether, shape (n_candles, 4)."""
    ether = next(each for each in INSTRUMENTS if each.full_name == "coinbase:ETH/USD")
    made = GeneratedCandles(seed=5, traded={ether: request.param})
    return np.log(made.candles(Dataset(instrument=ether, timeframe=Timeframe.M5), START, END).prices)


def test_an_open_away_from_the_previous_close_says_nothing_of_the_close(logs: np.ndarray) -> None:
    jump, body = logs[1:, OPEN] - logs[:-1, CLOSE], logs[1:, CLOSE] - logs[1:, OPEN]

    assert abs(np.corrcoef(jump, body)[0, 1]) < 0.02


def test_the_variance_between_closes_is_that_of_jump_and_candle(logs: np.ndarray) -> None:
    jump, body = logs[1:, OPEN] - logs[:-1, CLOSE], logs[1:, CLOSE] - logs[1:, OPEN]

    assert np.var(np.diff(logs[:, CLOSE])) == pytest.approx(np.var(jump) + np.var(body), rel=0.02)


def test_highs_and_lows_are_those_of_a_random_walk(logs: np.ndarray) -> None:
    """The expected product of the distances of high from close and open is half of the variance, as for a walk."""
    above = np.mean((logs[:, HIGH] - logs[:, CLOSE]) * (logs[:, HIGH] - logs[:, OPEN]))
    below = np.mean((logs[:, LOW] - logs[:, CLOSE]) * (logs[:, LOW] - logs[:, OPEN]))
    variance = np.mean((logs[:, CLOSE] - logs[:, OPEN]) ** 2)

    assert above == pytest.approx(variance / 2, rel=0.03)
    assert below == pytest.approx(variance / 2, rel=0.03)
