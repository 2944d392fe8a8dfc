"""Evaluates the trials or surrogate markets of a job with this worker's candles and objective."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic

from rq.timeouts import BaseTimeoutException

from optimizer.level.spec import Level, Parameters, Part
from optimizer.objective.trial_result import Evaluation
from optimizer.strategies.registry import find_objective
from tradeschool.errors import DataError
from tradeschool.log import about, facts_of
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.plain_text import plain, plain_error
from workers.isolation.strategy_allowlist import AllowedStrategies, trial_code
from workers.queue.job_names import about_study
from workers.queue.messages import (
    MAX_REASON,
    Arrays,
    Batch,
    BatchResult,
    CandleStore,
    Prepared,
    SurrogateBatch,
    TrialBatch,
    TrialResult,
    check_digests,
    curriculum_digests,
    level_digests,
)

log = logging.getLogger(__name__)


RunSurrogate = Callable[[Sequence[Level], int, Callable[[Dataset, Window], Arrays], int], str]
"""Function of a curriculum, its seed, its candles and the number of a surrogate market; returns a `NullRun` as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyImports:
    """The strategies that a worker may import, and the function that imports one."""

    allowed: AllowedStrategies | None = None
    """None: no limit."""
    load: Callable[[str], object] = lambda name: None
    provide: Callable[[Sequence[Level], Mapping[str, str]], None] = lambda levels, digests: None
    """Makes the modules of levels importable, with the sources of the digests; it imports none."""


class Evaluator(Generic[Arrays, Prepared]):
    """The candles and the objective of one worker, and the level that it has prepared."""

    def __init__(
        self,
        *,
        store: CandleStore[Arrays],
        plan: Callable[[Level], Callable[[Part, Callable[[Dataset, Window], Arrays]], tuple[Prepared, ...]]],
        evaluate: Callable[[Level, tuple[Prepared, ...], Parameters, Sequence[float | None]], Evaluation],
        worker: str,
        share: Callable[[tuple[Prepared, ...], str], tuple[Prepared, ...]] = lambda prepared, key: prepared,
        strategies: StrategyImports = StrategyImports(),
        store_of: Callable[[Level], CandleStore[Arrays]] | None = None,
        run_surrogate: RunSurrogate[Arrays] | None = None,
    ) -> None:
        """`plan` asks a level's strategy what it needs; what it returns prepares candles and runs none of its code.

        `store_of` returns the store for a level, without the holdout period of its curriculum; None: `store`.
        `run_surrogate` runs a curriculum in a surrogate market and returns its result as JSON; None: it is refused.
        """
        self.worker, self._strategies = worker, strategies
        self._share, self._store_of = share, store_of or (lambda level: store)
        self._plan, self._evaluate, self._run_surrogate = plan, evaluate, run_surrogate
        self._planned: dict[str, Callable[[Part, Callable[[Dataset, Window], Arrays]], tuple[Prepared, ...]]] = {}
        self._ready: dict[str, tuple[Prepared, ...]] = {}

    def plan(self, batch: TrialBatch) -> None:
        """Ask the strategy of the batch's level what it needs; `make_ready` then runs none of its code."""
        key = batch.key
        if key not in self._planned:
            self._planned = {key: self._plan(batch.level)}

    def make_ready(self, batch: TrialBatch, heartbeat: Callable[[], None]) -> tuple[Prepared, ...]:
        """The prepared candles of the batch's level, read once and kept until another level comes.

        `heartbeat` is called before each dataset is read.

        Raises:
            DataError: Candles are missing, or differ from the coordinator's.
        """
        key = batch.key
        if key not in self._ready:
            store = self._store_of(batch.level)
            check_digests(batch.digests, level_digests(batch.level, store))
            self.plan(batch)

            def read(dataset: Dataset, window: Window) -> Arrays:
                heartbeat()
                return store.arrays(dataset, window)

            self._ready = {}  # frees the memory of the last level first
            self._ready = {key: self._share(self._planned[key](Part.TRAIN, read), key)}
        return self._ready[key]

    def require_strategy(self, level: Level) -> None:
        """Check that this worker may import a level's strategy.

        Raises:
            StrategyNotAllowed: Its settings do not name it.
        """
        if self._strategies.allowed is not None:
            self._strategies.allowed.require(level)

    def check(self, level: Level, digests: Mapping[str, str]) -> None:
        """Check a study's strategy and candles without importing or preparing anything.

        Raises:
            StrategyNotAllowed: The worker's settings do not name the strategy.
            DataError: Candles are missing, or differ.
        """
        self.require_strategy(level)
        self._strategies.provide([level], digests)
        check_digests(digests, level_digests(level, self._store_of(level)))

    def check_batch(self, batch: Batch) -> None:
        """Check the strategies and candles of a batch without importing or preparing anything.

        Raises:
            StrategyNotAllowed: The worker's settings do not name the strategy.
            DataError: Candles are missing, or differ.
        """
        if isinstance(batch, TrialBatch):
            self.check(batch.level, batch.digests)
            return
        self.require_code(batch)
        check_digests(batch.digests, curriculum_digests(batch.levels, self._store_of(batch.levels[0])))

    def require_code(self, batch: Batch) -> None:
        """Check that this worker may import what a batch names; surrogate markets need the samplers, too.

        Raises:
            StrategyNotAllowed: Its settings do not name it.
        """
        for level in batch.levels:
            self.require_strategy(level)
            if self._strategies.allowed is not None and isinstance(batch, SurrogateBatch):
                self._strategies.allowed.require_sampler(level)
        self._strategies.provide(batch.levels, batch.digests)

    def load_strategy(self, level: Level) -> None:
        """Import a level's strategy and objectives.

        Raises:
            StrategyNotAllowed: The worker's settings do not name it; nothing is imported.
        """
        self.require_strategy(level)
        self._strategies.load(level.strategy)
        for code in trial_code(level):
            if code.kind == "objective":
                find_objective(code.name)

    def evaluate(self, batch: Batch, caught: type[BaseException] = Exception) -> BatchResult:
        """Evaluate a batch of trials or of surrogate markets; see `evaluate_trials` and `run_surrogates`."""
        if isinstance(batch, SurrogateBatch):
            return self.run_surrogates(batch, caught)
        return self.evaluate_trials(batch, caught)

    def run_surrogates(self, batch: SurrogateBatch, caught: type[BaseException] = Exception) -> BatchResult:
        """Run the curriculum in every surrogate market of a batch; an exception fails its market.

        Raises:
            StrategyNotAllowed: The worker's settings do not name the strategy; nothing is imported.
        """
        self.require_code(batch)
        run, store = self._run_surrogate, self._store_of(batch.levels[0])
        if run is None:
            return BatchResult(study=batch.study, worker=self.worker, refused="this worker runs no null tests")
        try:
            check_digests(batch.digests, curriculum_digests(batch.levels, store))
        except DataError as error:
            return BatchResult(study=batch.study, worker=self.worker, refused=_truncated(str(error)))
        with about(**about_study(batch.study)):
            trials = tuple(
                self._result(number, digest, caught, partial(run, batch.levels, batch.seed, store.arrays, number))
                for number, digest in zip(batch.numbers, batch.request_digests(), strict=True)
            )
        return BatchResult(study=batch.study, worker=self.worker, trials=trials)

    def evaluate_trials(self, batch: TrialBatch, caught: type[BaseException] = Exception) -> BatchResult:
        """Evaluate every trial of a batch; a strategy's exception fails its trial, missing candles refuse the batch.

        `caught` are the exceptions that fail a trial; a work horse passes BaseException, which includes SystemExit.

        Raises:
            StrategyNotAllowed: The worker's settings do not name the strategy; nothing is imported.
        """
        self.require_strategy(batch.level)
        try:
            prepared = self.make_ready(batch, heartbeat=_no_heartbeat)
        except DataError as error:
            return BatchResult(study=batch.study, worker=self.worker, refused=_truncated(str(error)))
        requests = zip(batch.numbers, batch.request_digests(), batch.parameters, batch.thresholds, strict=True)
        with about(**about_study(batch.study)):
            trials = tuple(self._evaluate_one(batch.level, prepared, caught, *request) for request in requests)
        return BatchResult(study=batch.study, worker=self.worker, trials=trials)

    def _evaluate_one(
        self,
        level: Level,
        prepared: tuple[Prepared, ...],
        caught: type[BaseException],
        number: int,
        request_digest: str,
        parameters: Parameters,
        thresholds: Sequence[float | None],
    ) -> TrialResult:
        def run() -> str:
            return self._evaluate(level, prepared, dict(parameters), thresholds).to_json()

        return self._result(number, request_digest, caught, run)

    def _result(
        self, number: int, request_digest: str, caught: type[BaseException], run: Callable[[], str]
    ) -> TrialResult:
        started, clock = time.time(), time.monotonic()
        evaluation, failure = None, None
        try:
            evaluation = run()
        except (BaseTimeoutException, MemoryError):
            raise  # concerns the process, not the trial
        except caught as error:  # a strategy may raise anything
            failure = _truncated(_error_text(error))
            log.warning("trial failed", exc_info=True, extra={"action": "trial_failed", "trial": number})
        seconds = time.monotonic() - clock
        return TrialResult(
            number=number,
            request_digest=request_digest,
            started=started,
            seconds=seconds,
            evaluation=evaluation,
            failure=failure,
        )


def evaluate_trials(batch: bytes, evaluator: Evaluator[Arrays, Prepared]) -> bytes:
    """The function of a job (`FUNCTION`): takes a batch and returns its result, both JSON.

    Raises:
        ValueError: It is no batch of this version.
    """
    parsed = TrialBatch.parse(json.loads(batch))
    return evaluator.evaluate_trials(parsed, caught=BaseException).model_dump_json().encode()


def run_surrogates(batch: bytes, evaluator: Evaluator[Arrays, Prepared]) -> bytes:
    """The function of a job of the null test (`SURROGATE_FUNCTION`): takes a batch and returns its result, both JSON.

    Raises:
        ValueError: It is no batch of this version.
    """
    parsed = SurrogateBatch.parse(json.loads(batch))
    return evaluator.run_surrogates(parsed, caught=BaseException).model_dump_json().encode()


def _error_text(error: BaseException) -> str:
    """Such as `ZeroDivisionError: division by zero, on coinbase/BTC-USD/M5`."""
    dataset = facts_of(error).get("dataset")
    return f"{plain_error(error)[:MAX_REASON]}{f', on {dataset}' if dataset else ''}"


def _truncated(text: str) -> str:
    return plain(text)[:512]


def _no_heartbeat() -> None:
    """Default: no lease to renew."""
