"""The trial ledger of one study: requested, finished and committed trials; rebuilt from the study alone.

Results arrive in any order. They are committed in order of number, and trial n is sampled from trials 0..n-lag, so
the trial table does not depend on the order of arrival. A trial may be sampled before its history is committed: if
the commit is lost, the same results come again and lead to the same sample.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from optimizer.level.spec import Mode
from optimizer.objective.trial_result import Evaluation
from optimizer.search.early_stopping import EarlyStopping
from optimizer.search.sampler import SearchSpace, TrialHistory, TrialRequest, ask
from optimizer.search.study import OpenStudy, TrialOrigin, failed_trial, finished_trial, repeated_trial
from tradeschool.errors import StudyChanged, TradeschoolError
from tradeschool.plain_text import plain
from workers.queue.messages import BatchResult, TrialBatch, TrialResult

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyProgress:
    """The progress of a study, in trials."""

    trials: int
    """Planned trials; trials reused from an earlier attempt are not counted here or below."""
    complete: int
    pruned: int
    failed: int
    open: int
    """Sent and without a result."""

    @property
    def finished(self) -> int:
        """Committed trials."""
        return self.complete + self.pruned + self.failed

    @property
    def is_done(self) -> bool:
        """Whether every planned trial is committed."""
        return self.finished >= self.trials


class TrialLedger:
    """The trials of one study: committed, finished, open and not yet sampled."""

    def __init__(
        self,
        *,
        study: OpenStudy,
        space: SearchSpace,
        trials: int,
        batch: Callable[[tuple[TrialRequest, ...]], TrialBatch],
        clock: Callable[[], float],
        reused: int = 0,
        early_stop: int | None = None,
    ) -> None:
        """`trials` counts all trials, including the first `reused` ones of an earlier attempt."""
        self._study, self._space, self._trials, self._make_batch, self._clock = study, space, trials, batch, clock
        self._known = _checked(study)
        """Trials 0, 1, ... without a gap, finished; the first `_stored` of them are committed."""
        self._stored = len(self._known)
        self._reused, self._early_stopping = reused, EarlyStopping(early_stop, reused)
        self._states = Counter(trial.state for trial in self._known[reused:])
        self._given_up: set[int] = set()
        self._history = TrialHistory(space.distributions)
        self._open: dict[int, TrialRequest] = {}
        self._digests: dict[int, str] = {}
        self._settled: dict[int, FrozenTrial] = {}
        """Finished trials that an earlier one is still missing before."""
        self._next = len(self._known)
        for trial in self._known:
            self._end_if_over(trial)
        if space.mode is Mode.ASYNC:
            for trial in self._known:
                self._history.append(trial)

    def is_open(self, number: int) -> bool:
        """Whether the trial was sampled and has no result."""
        return number in self._open

    def ask_until(self, end: int) -> tuple[TrialRequest, ...] | None:
        """Sample all trials up to `end`, and return the requests of those that do not repeat an earlier trial.

        None if one of them has to wait for earlier trials, or all trials are sampled.
        """
        end = min(end, self._trials)
        if end <= self._next or not self._may_ask(end):
            return None
        # A trial that repeats an earlier one has its result at once, which may stop the search early.
        sampled = [self._ask(number) for number in range(self._next, end) if number < self._trials]
        self._next = end
        return tuple(trial_request for trial_request in sampled if self.is_open(trial_request.number))

    @property
    def next_number(self) -> int:
        """The first trial that is not sampled."""
        return self._next

    def batch(self, numbers: range) -> TrialBatch | None:
        """A batch of the open trials among `numbers`; None if there are none."""
        trial_requests = tuple(self._open[number] for number in numbers if self.is_open(number))
        return self._make_batch(trial_requests) if trial_requests else None

    def get_ready(self) -> None:
        """Load what the sampler needs for trials with a history, before the first of them."""
        self._history.get_ready()

    def accept(self, result: BatchResult) -> None:
        """Accept the first result of each trial; a result of another request is ignored."""
        for found in result.trials:
            if self._digests.get(found.number) != found.request_digest:
                log.info("result ignored", extra={"action": "result_ignored", "trial": found.number})
                continue
            self._take(found, result.worker)

    def fail(self, number: int, reason: str) -> None:
        """Fail an open trial."""
        origin = TrialOrigin(worker="", started=self._clock(), seconds=0.0)
        self._settle(failed_trial(self._open[number], self._space.distributions, reason, origin))
        self._given_up.add(number)
        log.error("trial given up", extra={"action": "trial_given_up", "trial": number, "reason": reason})

    def commit(self) -> int:
        """Commit the finished trials that are next in order, and return their number.

        Raises:
            StudyChanged, ServiceUnreachable: See `OpenStudy.commit`; the ledger is unusable after that.
        """
        ready = self._known[self._stored :]
        if ready:
            self._study.commit(*ready)
        self._stored += len(ready)
        self._states.update(trial.state for trial in ready)
        return len(ready)

    def progress(self) -> StudyProgress:
        """The progress of the study."""
        return StudyProgress(
            trials=self._trials - self._reused,
            complete=self._states[TrialState.COMPLETE],
            pruned=self._states[TrialState.PRUNED],
            failed=self._states[TrialState.FAIL],
            open=len(self._open),
        )

    def _ask(self, number: int) -> TrialRequest:
        if self._space.mode is Mode.LAGGED:
            while len(self._history) < self._space.visible(number):
                self._history.append(self._known[len(self._history)])
        trial_request = ask(self._space, self._history, number)
        self._open[number] = trial_request
        self._digests[number] = self._make_batch((trial_request,)).request_digests()[0]
        if trial_request.known is not None:
            self._settle(repeated_trial(trial_request, trial_request.known, self._clock()))
        return trial_request

    def _may_ask(self, end: int) -> bool:
        if self._space.mode is Mode.ASYNC:
            return len(self._open) + end - self._next <= self._space.lag
        return self._space.visible(end - 1) <= len(self._known)

    def _settle(self, trial: FrozenTrial) -> None:
        if self._space.mode is Mode.ASYNC:
            self._history.append(trial)
        self._settled[trial.number] = trial
        del self._open[trial.number]
        while len(self._known) < self._trials and (following := self._settled.pop(len(self._known), None)):
            self._known.append(following)
            self._end_if_over(following)

    def _end_if_over(self, trial: FrozenTrial) -> None:
        """Stop after this trial if early stopping says so; open trials after it are dropped."""
        if not self._early_stopping.is_over(trial):
            return
        self._trials = trial.number + 1
        for number in [number for number in self._open if number >= self._trials]:
            del self._open[number], self._digests[number]

    def _take(self, found: TrialResult, worker: str) -> None:
        number = found.number
        if trial_request := self._open.get(number):
            self._settle(self._trial(trial_request, found, worker))
            return
        earlier = self._settled.get(number) or self._known[number]
        if number in self._given_up:
            log.warning("result too late", extra={"action": "result_too_late", "trial": number, "worker": worker})
        elif not _agree(earlier, self._trial(_request_of(earlier), found, worker)):
            log.error(
                "two results of a trial differ", extra={"action": "results_differ", "trial": number, "worker": worker}
            )

    def _trial(self, trial_request: TrialRequest, found: TrialResult, worker: str) -> FrozenTrial:
        origin = TrialOrigin(worker=worker, started=found.started, seconds=found.seconds)
        reason = plain(found.failure or "")[:512] or "the worker sent no evaluation"
        if found.failure is None and found.evaluation is not None:
            try:
                evaluation = Evaluation.from_json(found.evaluation)
                return finished_trial(trial_request, self._space.distributions, evaluation, origin)
            except TradeschoolError as error:
                reason = " ".join(str(error).split())[:512]
        return failed_trial(trial_request, self._space.distributions, reason, origin)


def _checked(study: OpenStudy) -> list[FrozenTrial]:
    trials = study.trials()
    for position, trial in enumerate(trials):
        if trial.number != position or not trial.state.is_finished():
            raise StudyChanged(
                f"study {study.name}: expected finished trials 0..{len(trials) - 1}, but found trial {trial.number} "
                f"{trial.state.name}: another program writes to it; start a new run"
            )
    return trials


def _request_of(trial: FrozenTrial) -> TrialRequest:
    return TrialRequest(number=trial.number, parameters=dict(trial.params), thresholds=(), known=None)


def _agree(one: FrozenTrial, other: FrozenTrial) -> bool:
    return _results(one) == _results(other)


def _results(trial: FrozenTrial) -> str:
    # Compared as text, because NaN of a step without a value does not equal itself.
    steps, constraints = sorted(trial.intermediate_values.items()), sorted(trial.constraints.items())
    return repr((trial.state, trial.values, steps, constraints))
