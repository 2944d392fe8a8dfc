"""What has been asked, answered and committed of one study; rebuilt from the study alone.

Answers come in any order. They are taken and committed in number order, and trial n is asked from trials 0..n-lag,
so the trial table does not depend on that order. A question may be asked before what it looks at is committed: were
the commit lost, the same answers would be found again, and lead to the same question.
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
    """How far a study is."""

    trials: int
    """Wanted in all; those that were carried over from an earlier attempt are neither wanted nor counted."""
    complete: int
    pruned: int
    failed: int
    open: int
    """Asked and not yet answered."""

    @property
    def finished(self) -> int:
        """Trials that are committed."""
        return self.complete + self.pruned + self.failed

    @property
    def is_done(self) -> bool:
        """Whether every wanted trial is committed."""
        return self.finished >= self.trials


class TrialLedger:
    """One study's trials: committed, buffered, open, and not yet asked."""

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
        """`trials` in all, the first `reused` of an earlier attempt among them."""
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
        """Whether the trial was asked and nothing is known of it yet."""
        return number in self._open

    def ask_until(self, end: int) -> tuple[TrialRequest, ...] | None:
        """The questions of all trials from the next one to `end`, without those that memory answers.

        None where one of them has to wait for earlier trials, or where all have been asked.
        """
        end = min(end, self._trials)
        if end <= self._next or not self._may_ask(end):
            return None
        # A trial that memory answers may end the search in between.
        asked = [self._ask(number) for number in range(self._next, end) if number < self._trials]
        self._next = end
        return tuple(trial_request for trial_request in asked if self.is_open(trial_request.number))

    @property
    def next_number(self) -> int:
        """The first trial that has not been asked."""
        return self._next

    def batch(self, numbers: range) -> TrialBatch | None:
        """The order for those trials of the range that are open; None where none is."""
        trial_requests = tuple(self._open[number] for number in numbers if self.is_open(number))
        return self._make_batch(trial_requests) if trial_requests else None

    def get_ready(self) -> None:
        """Load what a question that learns from others needs, while there is time."""
        self._history.get_ready()

    def accept(self, result: BatchResult) -> None:
        """Take each trial's answer, the first of several; one that answers another question counts for nothing."""
        for found in result.trials:
            if self._digests.get(found.number) != found.request_digest:
                log.info("answer ignored", extra={"action": "result_ignored", "trial": found.number})
                continue
            self._take(found, result.worker)

    def fail(self, number: int, reason: str) -> None:
        """End an open trial without a value."""
        origin = TrialOrigin(worker="", started=self._clock(), seconds=0.0)
        self._settle(failed_trial(self._open[number], self._space.distributions, reason, origin))
        self._given_up.add(number)
        log.error("trial given up", extra={"action": "trial_given_up", "trial": number, "reason": reason})

    def commit(self) -> int:
        """Store every trial whose turn it is; how many that were.

        Raises:
            StudyChanged, ServiceUnreachable: see `OpenStudy.commit`; the ledger is not to be used after that.
        """
        ready = self._known[self._stored :]
        if ready:
            self._study.commit(*ready)
        self._stored += len(ready)
        self._states.update(trial.state for trial in ready)
        return len(ready)

    def progress(self) -> StudyProgress:
        """How far the study is."""
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
        """Want no trial after this one, where the search has gone on long enough; those asked already are dropped."""
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
            log.warning("answer too late", extra={"action": "result_too_late", "trial": number, "worker": worker})
        elif not _agree(earlier, self._trial(_request_of(earlier), found, worker)):
            log.error("two answers differ", extra={"action": "results_differ", "trial": number, "worker": worker})

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
                f"{trial.state.name}: something else than a coordinator writes to it; start a new run"
            )
    return trials


def _request_of(trial: FrozenTrial) -> TrialRequest:
    return TrialRequest(number=trial.number, parameters=dict(trial.params), thresholds=(), known=None)


def _agree(one: FrozenTrial, other: FrozenTrial) -> bool:
    return _results(one) == _results(other)


def _results(trial: FrozenTrial) -> str:
    # As text, because a step without a value is NaN, which equals nothing.
    steps, constraints = sorted(trial.intermediate_values.items()), sorted(trial.constraints.items())
    return repr((trial.state, trial.values, steps, constraints))
