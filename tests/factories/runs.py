"""Stored runs: a row in the study database, and seals for the datasets of the run."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from optimizer.curriculum.retry_plan import RetryPlan
from optimizer.level.spec import Level, Part
from optimizer.runs.run_record import AttemptRow, RunRecord, Verdict
from optimizer.runs.run_store import RunStore
from optimizer.validation.checks.check import Axis, Check
from optimizer.validation.checks.skill import Strength
from optimizer.validation.evidence import NullTest
from optimizer.validation.gate import Criterion
from optimizer.validation.recommendation import Recommendation, RecommendedAction, Tier
from tradeschool.settings.sections import WorkSettings
from tradeschool.store import Seal, Store, holdout_store
from workers.coordinator.context import RunContext

CREATED = datetime(2026, 1, 1, tzinfo=UTC)


def make_level(name: str, trials: int = 4) -> Level:
    """A level of one dataset."""
    return Level.model_validate(
        {
            "name": name,
            "title": f"Level {name}",
            "direction": "long",
            "trials": trials,
            "datasets": [{"dataset": "coinbase/BTC-USD/M5", "start": "2020-01-01", "end": "2022-01-01"}],
            "gate": {"win_rate": 0.5, "sharpe": 0.8, "max_drawdown_intrabar": 0.15, "profit_factor": 1.3},
            "ranges": {"fast": [5, 50], "stop": [1.0, 5.0]},
        }
    )


def make_context(folder: Path) -> RunContext:
    """The context of an installation in a folder."""
    return RunContext(
        store=Store(folder / "data"),
        holdout=holdout_store(folder / "data"),
        results_dir=folder / "results",
        storage_url=f"sqlite:///{folder / 'study.sqlite3'}",
        min_coverage=0.9,
        work=WorkSettings(),
    )


def make_run_record(
    context: RunContext, *levels: Level, name: str = "r1", created: datetime = CREATED, is_sealed: bool = False
) -> RunRecord:
    """A new run."""
    record = RunRecord(name=name, seed=7, levels=levels or (make_level("1"),), created=created, fingerprints={})
    context.folder(name).mkdir(parents=True)
    for level in record.levels if is_sealed else ():
        seal_level(context.store, level)
    _with_runs(context, record, is_new=True)
    return record


def make_attempt(
    context: RunContext,
    record: RunRecord,
    level: str = "1",
    number: int = 1,
    *,
    verdict: Verdict | None = None,
    retries: Sequence[RetryPlan] = (),
) -> RunRecord:
    """The run with one more attempt; searched and judged if a verdict is given."""
    row = AttemptRow(
        level=level,
        number=number,
        fingerprints={},
        inherited=None,
        reused=0,
        retries=tuple(retries),
        searched=verdict is not None,
        verdict=verdict,
    )
    changed = record.with_attempt(row)
    _with_runs(context, changed, is_new=False)
    return changed


def searched(context: RunContext, record: RunRecord, level: str = "1") -> RunRecord:
    """The run with the latest attempt of a level completely searched."""
    row = record.last(level)
    assert row is not None
    changed = record.with_attempt(row.model_copy(update={"searched": True}))
    _with_runs(context, changed, is_new=False)
    return changed


def make_verdict(*, passed: bool, reason: str = "as read") -> Verdict:
    """A verdict on trial 3."""
    sharpe = Criterion(
        name="sharpe", value=0.9 if passed else 0.1, target=0.8, is_ceiling=False, low=-0.5, high=1.5, trades=40
    )
    profit = Criterion(name="profit_factor", value=math.inf, target=1.3, is_ceiling=False, trades=40)
    fall = Criterion(name="shuffled_drawdown", value=0.1, target=0.25, is_ceiling=True, trades=40)
    return Verdict(
        passed=passed,
        reason=reason,
        finished=4,
        trial=3,
        parameters={"fast": 9},
        readings=(sharpe, profit, fall),
        figures={Part.TRAIN: {"sharpe": 1.0}},
        shortfall={},
        relaxed=0.0,
    )


def make_null_test(mandates: int = 3) -> NullTest:
    """A null test of forty no-skill markets."""
    return NullTest(
        surrogates=40,
        t=tuple(number / 10 - 2 for number in range(40)),
        sharpe=(-1.5, 0.1, 1.6),
        mandates=mandates,
        pass_rate=mandates / 40,
        low=0.026,
        high=0.199,
        passed={"1": mandates / 40},
        block_days=10.0,
    )


def recommended(context: RunContext, record: RunRecord, reason: str = "as weighed") -> RunRecord:
    """The run with a null test and a negative recommendation."""
    check = Check(name="gate_1", axis=Axis.MANDATE, met=False, found=reason, would_change="sharpe misses 0.8 by 0.7")
    unknown = Check(name="holdout", axis=Axis.BLOCKING, met=None, found="holdout period not opened")
    found = Recommendation(
        action=RecommendedAction.DO_NOT_DEPLOY,
        rule="mandate missed, no evidence of skill",
        reason=reason,
        mandate=False,
        strength=Strength.NONE,
        skill=None,
        tier=Tier.ESCALATED,
        level="1",
        parameters={"fast": 9},
        checks=(check, unknown),
        evidence=None,
    )
    changed = record.model_copy(update={"null_test": make_null_test(), "recommendation": found})
    _with_runs(context, changed, is_new=False)
    return changed


def seal_level(store: Store, level: Level) -> None:
    """Seals without candles, sufficient to check whether a level can start."""
    for each in level.datasets:
        dataset, window = each.source, each.window
        seal = Seal(
            dataset=dataset.name,
            start=window.start,
            end=window.end,
            rows=0,
            expected=0,
            gaps=(),
            derived=False,
            files=(),
            sealed_at=CREATED,
        )
        store.seal(dataset, seal)


def _with_runs(context: RunContext, record: RunRecord, *, is_new: bool) -> None:
    runs = RunStore(context.storage_url)
    try:
        (runs.add if is_new else runs.write)(record)
    finally:
        runs.close()
