"""Tests of `ts.optimize`, the Python form of `optimize run`; docs/notebook.ipynb runs a whole search."""

import inspect
from dataclasses import fields

import pytest

import tradeschool as ts
from tradeschool.app.search.search_request import SearchOptions

OTHER_NAMES = {"level_name": "level", "objectives": "objective"}
OWN_NAMES = {"name", "config"}


def test_every_option_of_a_search_is_an_argument() -> None:
    options = {OTHER_NAMES.get(each.name, each.name) for each in fields(SearchOptions)} - {"default_costs"}

    assert set(inspect.signature(ts.optimize).parameters) == options | OWN_NAMES


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"trials": 0}, "trials: expected at least 1, was 0"),
        ({"seed": -1}, "seed: expected 0 to 4294967295, was -1"),
        ({"workers": -2}, "workers: expected at least 0, was -2"),
        ({"surrogates": 10_001}, "surrogates: expected 0 to 10000, was 10001"),
        ({"mode": "fast"}, "mode: expected lagged or async, was 'fast'"),
        ({"constraints": "sharpe = 1"}, "sharpe = 1"),
    ],
)
def test_an_option_out_of_its_limits_is_one_line(options: dict, told: str) -> None:
    with pytest.raises(ts.TradeschoolError) as caught:
        ts.optimize(**options)

    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
