"""Wilder's average true range, computed by hand."""

import numpy as np
import pytest

from optimizer.backtest.entries import distance_ticks
from optimizer.bars.indicators import wilder_atr
from tests.factories.candles import prepared_of


def test_true_range_includes_the_previous_close():
    prepared = prepared_of([(10, 14, 8, 12), (20, 22, 18, 20), (5, 6, 4, 5)])

    atr = wilder_atr(prepared.prices, 1)

    assert atr.tolist() == [6, 22 - 12, 20 - 4]


def test_the_first_value_is_a_mean_and_later_ones_are_smoothed():
    prepared = prepared_of([(10, 14, 8, 12), (12, 14, 10, 12), (12, 22, 12, 20), (20, 20, 20, 20)])

    atr = wilder_atr(prepared.prices, 2)

    assert np.isnan(atr[0])
    assert atr[1:].tolist() == [5, 7.5, 3.75]


def test_fewer_bars_than_the_period_give_no_average():
    prepared = prepared_of([(10, 14, 8, 12)])

    assert np.isnan(wilder_atr(prepared.prices, 2)).all()


@pytest.mark.parametrize(
    ("atr", "multiple", "ticks"), [(7.0, 1.5, 11), (7.0, 1.49, 10), (5.0, 0.5, 3), (0.0, 3.0, 1), (0.4, 1.0, 1)]
)
def test_a_distance_rounds_half_up_to_at_least_one_tick(atr, multiple, ticks):
    assert distance_ticks(np.array([atr]), multiple, np.array([1]), 3).tolist() == [0, ticks, 0]
