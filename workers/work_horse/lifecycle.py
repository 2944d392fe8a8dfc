"""The lifecycle of a worker's work horse: one at a time, made for a level, replaced when it may be damaged.

The worker prepares a built-in strategy itself, and forks each work horse from that state. It never imports a user's
strategy: the work horse does so at its first batch, under limits of time and memory, and the worker checks after each
batch what was left behind.
"""

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic

from rq.timeouts import BaseTimeoutException

from optimizer.level.spec import Level
from tradeschool.errors import DataError, StrategyNotImported, TradeschoolError
from tradeschool.object_storage.waiting import during_waits
from tradeschool.plain_text import located_error, plain_error
from workers.isolation.strategy_allowlist import trial_code, trial_code_label, user_code
from workers.queue.messages import Arrays, Batch, Prepared, SurrogateBatch, TrialBatch
from workers.queue.trial_queue import NOT_IMPORTED
from workers.work_horse.child import PreparationStep, WorkHorseTask
from workers.work_horse.evaluator import Evaluator, evaluate_trials, run_surrogates
from workers.work_horse.process import WorkHorse, WorkHorseResult

NOTICE_SECONDS = 5
"""Time after which a warning names the import or warm-up that a work horse is waited for."""
WARM_UP = "at warm-up"
"""Names the step in the reason of a strategy that is imported but cannot be prepared."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkHorseSettings:
    """Monitoring and lifetime of work horses; times in whole seconds."""

    monitoring_seconds: int = 3
    """Time between two checks of a busy work horse."""
    hang_seconds: int = 3
    """Time after a time-out at which native code that ignores it is killed."""
    trials_per_horse: int = 100
    """Trials after which a work horse is replaced, so that memory leaks of a strategy do not add up."""
    memory_bytes: int | None = None
    """Limit of memory; None is half of the machine's (`workers.processes.memory_limit`)."""
    import_seconds: int = 60
    """Time limit for importing a user's strategy, and of its warm-up, where a trial's time-out is not shorter."""


class BatchNotStarted(Exception):
    """The worker was told to end before the first trial of a batch started, or in a batch that can begin again."""


class WorkHorseManager(Generic[Arrays, Prepared]):
    """Keeps the work horse of one worker."""

    def __init__(
        self, evaluator: Evaluator[Arrays, Prepared], settings: WorkHorseSettings, close: Callable[[], None]
    ) -> None:
        """`close` is called first in each work horse, to close the worker's connections."""
        self._evaluator, self._settings, self._close = evaluator, settings, close
        self._horse: WorkHorse | None = None
        self._key, self._noticed = "", ""

    @property
    def pid(self) -> int:
        """Process id of the work horse, 0 if there is none."""
        return self._horse.pid if self._horse else 0

    def evaluate(
        self,
        batch: Batch,
        timeout_seconds: int,
        *,
        is_first: bool,
        renew: Callable[[], None],
        is_ending: Callable[[], bool] = lambda: False,
    ) -> WorkHorseResult:
        """The outcome of a batch. `renew` is called every few seconds; a retried job gets a new work horse.

        Raises:
            DataError: Candles are missing, or differ from the coordinator's.
            BatchNotStarted: The worker is told to end while a user's strategy is imported or prepared, or while a batch
                runs that can begin again elsewhere.
        """
        work_horse = self._horse_for(batch, renew, is_fresh=not is_first)
        work_horse.send(batch.model_dump_json().encode(), timeout_seconds, len(batch.numbers))
        while (result := work_horse.wait(self._settings.monitoring_seconds)) is None:
            if work_horse.elapsed_seconds > work_horse.limit_seconds + self._settings.hang_seconds:
                log.warning("hanging job killed", extra={"action": "job_killed", "worker": self._evaluator.worker})
                result = work_horse.kill_late()
                break
            if (work_horse.is_preparing or batch.can_begin_again) and is_ending():
                self.kill()
                self.retire()
                raise BatchNotStarted
            self._notice_wait(work_horse, batch.levels[0].strategy)
            work_horse.resume_if_stopped()
            renew()
        if leftovers := work_horse.leftovers() if not result.is_damaged else "":
            log.info("work horse replaced", extra={"action": "horse_replaced", "left_behind": leftovers})
        if result.is_damaged or leftovers:
            self.retire()
        return result

    def kill(self) -> None:
        """Kill the work horse."""
        if self._horse:
            self._horse.kill()

    def retire(self) -> None:
        """End the work horse."""
        if self._horse:
            self._horse.retire()
        self._horse = None

    def _notice_wait(self, work_horse: WorkHorse, strategy: str) -> None:
        """Log once per level that a strategy's code takes long before the first trial."""
        is_late = work_horse.is_preparing and work_horse.elapsed_seconds > NOTICE_SECONDS
        if is_late and self._noticed != self._key:
            self._noticed = self._key
            limit = {"strategy": strategy, "limit_seconds": work_horse.limit_seconds}
            log.warning("waiting for a strategy's import or warm-up", extra={"action": "strategy_awaited", **limit})

    def _horse_for(self, batch: Batch, renew: Callable[[], None], *, is_fresh: bool) -> WorkHorse:
        """The work horse of the batch's level or curriculum."""
        key, work_horse = batch.key, self._horse
        is_worn = work_horse is not None and work_horse.trials >= self._settings.trials_per_horse
        if work_horse is not None and key == self._key and not is_worn and not is_fresh:
            return work_horse
        self.retire()
        is_untrusted = user_code(batch.levels) if isinstance(batch, SurrogateBatch) else trial_code(batch.level)
        with during_waits(renew):  # a bucket may answer slowly
            task = self._untrusted_task(batch) if is_untrusted else self._trusted_task(batch, renew)
        self._horse, self._key = WorkHorse(task), key
        return self._horse

    def _trusted_task(self, batch: Batch, renew: Callable[[], None]) -> WorkHorseTask:
        if isinstance(batch, TrialBatch):
            self._evaluator.make_ready(batch, renew)
        else:
            self._evaluator.check_batch(batch)
        return WorkHorseTask(
            evaluate=self._function(batch), close=self._close, memory_bytes=self._settings.memory_bytes
        )

    def _untrusted_task(self, batch: Batch) -> WorkHorseTask:
        self._evaluator.check_batch(batch)
        failure, seconds = f"{NOT_IMPORTED}: {_code_name(batch)}", self._settings.import_seconds
        load = PreparationStep(run=self._load, failure=failure, describe=_import_reason, timeout_seconds=seconds)
        prepare = (
            PreparationStep(
                run=self._plan, failure=f"{failure}: {WARM_UP}", describe=_warm_up_reason, timeout_seconds=seconds
            ),
            PreparationStep(run=self._make_ready, failure=f"{failure}: preparing its candles", is_trusted=True),
        )
        return WorkHorseTask(
            evaluate=self._function(batch),
            close=self._close,
            memory_bytes=self._settings.memory_bytes,
            steps=(load, *prepare) if isinstance(batch, TrialBatch) else (load,),
            is_untrusted=True,
        )

    def _function(self, batch: Batch) -> Callable[[bytes], bytes]:
        return self._evaluate if isinstance(batch, TrialBatch) else self._run_surrogates

    def _run_surrogates(self, batch: bytes) -> bytes:
        return run_surrogates(batch, self._evaluator)

    def _evaluate(self, batch: bytes) -> bytes:
        return evaluate_trials(batch, self._evaluator)

    def _load(self, batch: bytes) -> None:
        for level in _levels_of(json.loads(batch)):
            self._evaluator.load_strategy(level)

    def _plan(self, batch: bytes) -> None:
        self._evaluator.plan(TrialBatch.parse(json.loads(batch)))

    def _make_ready(self, batch: bytes) -> None:
        with suppress(DataError):  # `evaluate` reports it in the result
            self._evaluator.make_ready(TrialBatch.parse(json.loads(batch)), heartbeat=lambda: None)


def _levels_of(payload: object) -> Sequence[Level]:
    """The levels of a batch of either kind, one per strategy and objectives."""
    is_trials = isinstance(payload, dict) and "level" in payload
    batch: Batch = TrialBatch.parse(payload) if is_trials else SurrogateBatch.parse(payload)
    return list({(level.strategy, level.objective): level for level in batch.levels}.values())


def _code_name(batch: Batch) -> str:
    """The users' objects of a batch, for messages."""
    if isinstance(batch, TrialBatch):
        return trial_code_label(batch.level).name
    return ", ".join(code.name for code in user_code(batch.levels))


def _import_reason(error: BaseException) -> str:
    """The reason of a failed import, without the words that the step's failure text has already."""
    if isinstance(error, StrategyNotImported) and not isinstance(error.__cause__, BaseTimeoutException):
        return error.reason
    return plain_error(error.__cause__ if isinstance(error, TradeschoolError) and error.__cause__ else error)


def _warm_up_reason(error: BaseException) -> str:
    """The reason of a failed warm-up: with its line of code, unless the project itself raises it."""
    return plain_error(error) if isinstance(error, TradeschoolError | BaseTimeoutException) else located_error(error)
