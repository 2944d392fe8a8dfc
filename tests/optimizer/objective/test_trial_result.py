"""Evaluation: JSON round trip, and rejection of invalid input."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.level.metric_names import METRICS
from optimizer.objective.trial_result import CONSTRAINTS, Evaluation, TrialOutcome, rounded
from tradeschool.errors import TradeschoolError

finite = st.floats(allow_nan=False, allow_infinity=False)
evaluations = st.builds(
    Evaluation,
    state=st.just(TrialOutcome.PRUNED),
    value=st.none() | finite,
    intermediate=st.lists(st.floats(allow_infinity=False), max_size=4).map(tuple),
    constraints=st.fixed_dictionaries(dict.fromkeys(CONSTRAINTS, finite)),
    metrics=st.fixed_dictionaries(dict.fromkeys(METRICS, finite | st.just(math.nan) | st.just(math.inf))),
    pruned_reason=st.text(min_size=1),
)
SOUND = Evaluation(
    state=TrialOutcome.COMPLETE,
    value=1.5,
    intermediate=(math.nan, 1.5),
    constraints=dict.fromkeys(CONSTRAINTS, -0.25),
    metrics={**dict.fromkeys(METRICS, 0.5), "profit_factor": math.inf, "calmar": math.nan},
    pruned_reason=None,
)


@given(evaluations)
def test_an_evaluation_survives_a_json_round_trip(evaluation):
    assert comparable(Evaluation.from_json(evaluation.to_json())) == comparable(evaluation)


def comparable(evaluation: Evaluation) -> str:
    """A value for comparison in which NaN equals NaN and key order is irrelevant."""
    names = [dict(sorted(named.items())) for named in (evaluation.constraints, evaluation.metrics)]
    return repr((dataclasses.replace(evaluation, constraints={}, metrics={}), names))


def test_nan_is_null_in_json_and_infinity_is_flagged():
    wire = json.loads(SOUND.to_json())

    assert wire["metrics"]["profit_factor"] is None
    assert wire["metrics"]["calmar"] is None
    assert wire["infinite"] == ["profit_factor"]
    assert wire["intermediate"] == [None, 1.5]


@pytest.mark.parametrize(
    "change",
    [
        {"state": "failed"},
        {"state": 1},
        {"state": "pruned"},
        {"value": "1.5"},
        {"value": None},
        {"value": True},
        {"intermediate": {"0": 1.5}},
        {"intermediate": ["1.5"]},
        {"constraints": {}},
        {"constraints": dict.fromkeys(CONSTRAINTS)},
        {"constraints": {name: 0.0 for name in CONSTRAINTS if name != "drawdown"} | {"extra": 0.0}},
        {"metrics": {"sharpe": 1.0}},
        {"metrics": {**dict.fromkeys(METRICS, 0.5), "profit_factor": None, "evil": 1.0}},
        {"infinite": ["sharpe"]},
        {"infinite": ["nothing"]},
        {"pruned_reason": "although complete"},
        {"func": "os.system"},
    ],
    ids=str,
)
def test_a_result_of_unknown_format_is_refused(change):
    wire = {**json.loads(SOUND.to_json()), **change}

    with pytest.raises(TradeschoolError, match="a trial's result cannot be read"):
        Evaluation.from_json(json.dumps(wire))


@pytest.mark.parametrize("key", json.loads(SOUND.to_json()))
def test_a_missing_key_is_refused(key):
    wire = {name: value for name, value in json.loads(SOUND.to_json()).items() if name != key}

    with pytest.raises(TradeschoolError, match=key):
        Evaluation.from_json(json.dumps(wire))


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", '"{}"', b"\xff\xfe", "[" * 100_000, SOUND.to_json().replace("1.5", "NaN")],
    ids=["empty", "cut", "null", "list", "string", "bytes", "deep", "nan"],
)
def test_a_value_of_another_type_is_refused(text):
    with pytest.raises(TradeschoolError, match="a trial's result cannot be read"):
        Evaluation.from_json(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1 / 3, 0.333333333333), (123456789.0123456, 123456789.012), (0.0, 0.0), (-1e-300 / 3, -3.33333333333e-301)],
)
def test_values_keep_twelve_digits(value, expected):
    assert rounded(value) == expected


def test_rounding_keeps_non_finite_values():
    assert math.isnan(rounded(math.nan))
    assert rounded(math.inf) == math.inf


def test_a_trial_without_positive_constraints_is_feasible():
    assert SOUND.is_feasible


def test_one_positive_constraint_makes_a_trial_infeasible():
    worse = json.loads(SOUND.to_json())
    worse["constraints"]["drawdown"] = 1e-9

    assert not Evaluation.from_json(json.dumps(worse)).is_feasible
