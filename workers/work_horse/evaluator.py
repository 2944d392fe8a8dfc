"""Evaluates the trials of a job with this worker's candles and objective."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
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
    BatchResult,
    CandleStore,
    Prepared,
    TrialBatch,
    TrialResult,
    check_digests,
    level_key,
)

log = logging.getLogger(__name__)


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
        strategies: AllowedStrategies | None = None,
        load: Callable[[str], object] = lambda name: None,
        store_of: Callable[[Level], CandleStore[Arrays]] | None = None,
    ) -> None:
        """`plan` asks a level's strategy what it needs; what it returns prepares candles and runs none of its code.

        `strategies` limits the strategies of batches; None: no limit. `load` imports one.
        `store_of` returns the store for a level, without the holdout period of its curriculum; None: `store`.
        """
        self.worker, self._strategies = worker, strategies
        self._share, self._load, self._store_of = share, load, store_of or (lambda level: store)
        self._plan, self._evaluate = plan, evaluate
        self._planned: dict[str, Callable[[Part, Callable[[Dataset, Window], Arrays]], tuple[Prepared, ...]]] = {}
        self._ready: dict[str, tuple[Prepared, ...]] = {}

    def plan(self, batch: TrialBatch) -> None:
        """Ask the strategy of the batch's level what it needs; `make_ready` then runs none of its code."""
        key = level_key(batch)
        if key not in self._planned:
            self._planned = {key: self._plan(batch.level)}

    def make_ready(self, batch: TrialBatch, heartbeat: Callable[[], None]) -> tuple[Prepared, ...]:
        """The prepared candles of the batch's level, read once and kept until another level comes.

        `heartbeat` is called before each dataset is read.

        Raises:
            DataError: Candles are missing, or differ from the coordinator's.
        """
        key = level_key(batch)
        if key not in self._ready:
            store = self._store_of(batch.level)
            check_digests(batch.level, batch.digests, store)
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
        if self._strategies is not None:
            self._strategies.require(level)

    def check(self, level: Level, digests: Mapping[str, str]) -> None:
        """Check a study's strategy and candles without importing or preparing anything.

        Raises:
            StrategyNotAllowed: The worker's settings do not name the strategy.
            DataError: Candles are missing, or differ.
        """
        self.require_strategy(level)
        check_digests(level, digests, self._store_of(level))

    def load_strategy(self, level: Level) -> None:
        """Import a level's strategy and objectives.

        Raises:
            StrategyNotAllowed: The worker's settings do not name it; nothing is imported.
        """
        self.require_strategy(level)
        self._load(level.strategy)
        for code in trial_code(level):
            if code.kind == "objective":
                find_objective(code.name)

    def evaluate(self, batch: TrialBatch, caught: type[BaseException] = Exception) -> BatchResult:
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
        started, clock = time.time(), time.monotonic()
        evaluation, failure = None, None
        try:
            evaluation = self._evaluate(level, prepared, dict(parameters), thresholds).to_json()
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
    return evaluator.evaluate(TrialBatch.parse(json.loads(batch)), caught=BaseException).model_dump_json().encode()


def _error_text(error: BaseException) -> str:
    """Such as `ZeroDivisionError: division by zero, on coinbase/BTC-USD/M5`."""
    dataset = facts_of(error).get("dataset")
    return f"{plain_error(error)[:MAX_REASON]}{f', on {dataset}' if dataset else ''}"


def _truncated(text: str) -> str:
    return plain(text)[:512]


def _no_heartbeat() -> None:
    """Default: no lease to renew."""
