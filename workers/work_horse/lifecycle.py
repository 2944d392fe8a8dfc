"""Where a worker keeps its horse: one at a time, made for a level, replaced whenever it may be harmed.

A built-in strategy is made ready in the worker, and every horse is a fork of that. A user's strategy is a stranger's
code: the worker never imports it. Its horse does, at its first order, under limits of time and memory, and after each
order the worker looks for what it has left behind.
"""

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic

from rq.timeouts import BaseTimeoutException

from tradeschool.errors import DataError, StrategyNotImported, TradeschoolError
from tradeschool.plain_text import plain_error
from workers.isolation.strategy_allowlist import is_users
from workers.queue.messages import Arrays, Prepared, TrialBatch, level_key
from workers.queue.trial_queue import NOT_IMPORTED
from workers.work_horse.child import Duty, Stage
from workers.work_horse.evaluator import Evaluator, evaluate_trials
from workers.work_horse.process import WorkHorse, WorkHorseResult

IMPORT_SECONDS = 30
"""How long the import of a user's strategy may take; less where a trial may take less."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StableSettings:
    """How closely a horse is watched, in whole seconds, and how long it lives."""

    monitoring_seconds: int = 3
    """Between two looks at a horse that is at work."""
    hang_seconds: int = 3
    """How long after its time-out native code that ignores it is killed."""
    trials_per_horse: int = 100
    """After so many trials a horse is replaced, so that what a strategy leaks does not add up."""
    memory_bytes: int | None = None
    """How much a horse may allocate; None is without limit."""


class OrderNotBegun(Exception):
    """The worker was told to end before the first trial of an order began."""


class Stable(Generic[Arrays, Prepared]):
    """One worker's horse."""

    def __init__(
        self, evaluator: Evaluator[Arrays, Prepared], settings: StableSettings, close: Callable[[], None]
    ) -> None:
        """`close` is called in each horse first, to let go of what belongs to the worker."""
        self._bench, self._settings, self._close = evaluator, settings, close
        self._horse: WorkHorse | None = None
        self._key = ""

    @property
    def pid(self) -> int:
        """The process that evaluates, 0 where there is none."""
        return self._horse.pid if self._horse else 0

    def evaluate(
        self,
        batch: TrialBatch,
        timeout_seconds: int,
        *,
        is_first: bool,
        renew: Callable[[], None],
        is_told_to_end: Callable[[], bool] = lambda: False,
    ) -> WorkHorseResult:
        """How the order ended. `renew` is called now and then; a job that is tried again gets a fresh horse.

        Raises:
            DataError: where candles are missing, or are not those that the coordinator knows.
            OrderNotBegun: where the worker is told to end while a user's strategy is imported or prepared.
        """
        work_horse = self._horse_for(batch, renew, is_fresh=not is_first)
        work_horse.send(batch.model_dump_json().encode(), timeout_seconds, len(batch.numbers))
        while (reply := work_horse.wait(self._settings.monitoring_seconds)) is None:
            if work_horse.seconds > work_horse.limit + self._settings.hang_seconds:
                log.warning("hanging job killed", extra={"action": "job_killed", "worker": self._bench.worker})
                reply = work_horse.give_up()
                break
            if work_horse.is_getting_ready and is_told_to_end():
                self.empty()
                raise OrderNotBegun
            work_horse.go_on()
            renew()
        if left := work_horse.left_behind() if not reply.is_harmed else "":
            log.info("horse replaced", extra={"action": "horse_replaced", "left_behind": left})
        if reply.is_harmed or left:
            self.empty()
        return reply

    def kill(self) -> None:
        """End what is at work at once."""
        if self._horse:
            self._horse.kill()

    def empty(self) -> None:
        """Let the horse go."""
        if self._horse:
            self._horse.retire()
        self._horse = None

    def _horse_for(self, batch: TrialBatch, renew: Callable[[], None], *, is_fresh: bool) -> WorkHorse:
        """The horse of the order's level."""
        key, work_horse = level_key(batch), self._horse
        is_worn = work_horse is not None and work_horse.trials >= self._settings.trials_per_horse
        if work_horse is not None and key == self._key and not is_worn and not is_fresh:
            return work_horse
        self.empty()
        standby_run = self._strange_duty(batch) if is_users(batch.level) else self._own_duty(batch, renew)
        self._horse, self._key = WorkHorse(standby_run), key
        return self._horse

    def _own_duty(self, batch: TrialBatch, renew: Callable[[], None]) -> Duty:
        self._bench.make_ready(batch, renew)
        return Duty(evaluate=self._evaluate, close=self._close, memory_bytes=self._settings.memory_bytes)

    def _strange_duty(self, batch: TrialBatch) -> Duty:
        self._bench.check(batch.level, batch.digests)
        blame = f"{NOT_IMPORTED}: {batch.level.strategy}"
        return Duty(
            evaluate=self._evaluate,
            close=self._close,
            memory_bytes=self._settings.memory_bytes,
            stages=(
                Stage(act=self._load, blame=blame, reason=_import_reason, most_seconds=IMPORT_SECONDS),
                Stage(act=self._make_ready, blame=f"{blame}: preparing its candles", is_ours=True),
            ),
            is_strange=True,
        )

    def _evaluate(self, order: bytes) -> bytes:
        return evaluate_trials(order, self._bench)

    def _load(self, order: bytes) -> None:
        self._bench.load_strategy(TrialBatch.parse(json.loads(order)).level)

    def _make_ready(self, order: bytes) -> None:
        with suppress(DataError):  # the answer says so
            self._bench.make_ready(TrialBatch.parse(json.loads(order)), beat=lambda: None)


def _import_reason(error: BaseException) -> str:
    """Why a module cannot be imported, without a repetition of that it cannot."""
    if isinstance(error, StrategyNotImported) and not isinstance(error.__cause__, BaseTimeoutException):
        return error.reason
    return plain_error(error.__cause__ if isinstance(error, TradeschoolError) and error.__cause__ else error)
