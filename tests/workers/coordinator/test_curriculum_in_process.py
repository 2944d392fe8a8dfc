"""A curriculum in one process has the winners, gates and recommendation of a run of the coordinator."""

from dataclasses import replace

import pytest

from optimizer.level.constraints import Analysis, StressLimits
from optimizer.level.spec import Level, Split
from optimizer.runs.run_record import RunRecord
from optimizer.search.trial_table import export
from optimizer.validation.in_process.curriculum_in_process import InProcessRun, run_in_process
from optimizer.validation.recommendation import needs_null_test
from tests.factories.in_process_runs import ALMOST, ANY, DATASETS, NONE, RunHarness, level
from tests.factories.stores import seal_made
from tradeschool.markets.catalogue import HOLDOUT_WINDOW, find_dataset
from tradeschool.store.frame_store import FrameStore

SEED = 3
MILD = StressLimits(
    windows=(),
    costs_profit_factor=0.01,
    costs_sharpe_kept=0,
    late_sharpe_kept=0,
    missing_sharpe_kept=0,
    shuffled_drawdown=1,
)
PASSED = (
    level("1", ANY),
    level("2", ANY, narrow=True, analyses=(Analysis.SIMILARITY, Analysis.STABILITY)),
    level("3", ANY, trials=12, stress=MILD, analyses=(Analysis.STABILITY, Analysis.REGIMES)),
)
LAST_FAILED = (level("1", ANY, analyses=(Analysis.REGIMES,)), level("2", ALMOST, retries=2, relax=0.3))
WALKED = (
    level("1", ANY, split=Split(scheme="walk_forward", windows=2)),
    level("2", ALMOST, retries=1, narrow=True, split=Split(scheme="walk_forward", windows=3, anchored=False)),
    level("3", ANY, split=Split(scheme="walk_forward", windows=2), analyses=(Analysis.STABILITY, Analysis.REGIMES)),
)
GIVEN_UP = (level("1", ANY), level("2", ALMOST, retries=1), level("3", ANY))
NO_WINNER = (level("1", NONE, retries=1), level("2", ANY))


@pytest.fixture
def whole(harness: RunHarness, tmp_path) -> RunHarness:
    """A harness with candles of the holdout period."""
    store = FrameStore(tmp_path / "holdout_candles")
    for name in DATASETS:
        seal_made(store, find_dataset(name), HOLDOUT_WINDOW)
    return RunHarness(replace(harness.context, holdout=store))


@pytest.mark.parametrize("levels", [PASSED, LAST_FAILED, WALKED, GIVEN_UP, NO_WINNER])
def test_one_process_decides_as_the_coordinator(whole: RunHarness, levels: tuple[Level, ...]) -> None:
    whole.begin(*levels, seed=SEED, surrogates=1)
    ended = whole.run()
    context = whole.context

    run = run_in_process(levels, SEED, context.store.arrays, context.holdout.arrays, surrogates=1)

    assert (run.outcome, run.last) == (ended.outcome, ended.level)
    assert _tables(run) == [whole.table(row.level, row.number) for row in ended.record.attempts]
    assert _attempts(run) == _recorded(ended.record)
    assert ended.record.recommendation is not None
    assert (ended.record.null_test is not None) == needs_null_test(levels, ended.record.verdicts)
    assert run.recommendation.model_dump_json() == ended.record.recommendation.model_dump_json()


def test_the_null_test_is_left_out_where_alpha_is_not_positive(whole: RunHarness) -> None:
    """Seeds 12 and 3 end with a negative and a positive alpha."""
    levels = (level("1", ANY), level("2", ANY, trials=12))
    store = whole.context.store

    without, tested = (run_in_process(levels, seed, store.arrays, None, surrogates=1) for seed in (12, 3))

    assert (without.recommendation.skill.surrogates, tested.recommendation.skill.surrogates) == (0, 1)
    assert without.recommendation.skill.out_of_sample.t < 0


def test_without_holdout_candles_the_recommendation_says_so(whole: RunHarness) -> None:
    run = run_in_process(PASSED, SEED, whole.context.store.arrays, None)

    evidence = run.recommendation.evidence
    assert evidence is not None
    assert (evidence.holdout, evidence.holdout_missing) == (None, "no candles of the holdout period were given")
    assert {check.name: check.met for check in run.recommendation.checks}["holdout"] is None


def _tables(run: InProcessRun) -> list[bytes]:
    return [export(each.trials, "csv") for each in run.attempts]


def _attempts(run: InProcessRun) -> list[tuple[object, ...]]:
    found = []
    for each in run.attempts:
        assert each.findings is not None
        winner = each.findings.winner
        found.append(
            (
                each.level.name,
                each.number,
                each.inherited.parameters,
                each.inherited.reason,
                each.until,
                _windows(each.windows),
                each.reused,
                each.findings.passed,
                each.findings.reason,
                winner.number if winner else None,
                winner.parameters if winner else None,
                [repr(reading) for reading in each.findings.readings],
            )
        )
    return found


def _windows(windows) -> list[tuple[object, ...]]:
    return [(each.number, each.reused, each.until, each.parameters) for each in windows]


def _recorded(record: RunRecord) -> list[tuple[object, ...]]:
    rows = [(row, row.verdict) for row in record.attempts if row.verdict]
    return [
        (
            row.level,
            row.number,
            row.inherited,
            row.inherited_reason,
            row.until,
            _windows(row.windows),
            row.reused,
            verdict.passed,
            verdict.reason,
            verdict.trial,
            verdict.parameters,
            [repr(reading) for reading in verdict.readings],
        )
        for row, verdict in rows
    ]
