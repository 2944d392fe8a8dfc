"""What has been asked, answered and committed of one study; rebuilt from the study alone.

Answers come in any order. They are committed in number order, and trial n is asked from trials 0..n-lag, so the
trial table does not depend on that order.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from optimizer.asking import History, Question, Space, ask
from optimizer.evaluation import Evaluation
from optimizer.study import OpenStudy, Origin, failed_trial, finished_trial, repeated_trial
from tradeschool.errors import StudyChanged, TradeschoolError
from workers.jobs import Answer, Order, TrialAnswer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a study is."""

    trials: int
    """Wanted in all."""
    complete: int
    pruned: int
    failed: int
    open: int
    """Asked and not yet committed."""

    @property
    def finished(self) -> int:
        """Trials that are committed."""
        return self.complete + self.pruned + self.failed

    @property
    def is_done(self) -> bool:
        """Whether every wanted trial is committed."""
        return self.finished >= self.trials


class Ledger:
    """One study's trials: committed, buffered, open, and not yet asked."""

    def __init__(
        self,
        *,
        study: OpenStudy,
        space: Space,
        trials: int,
        order: Callable[[tuple[Question, ...]], Order],
        clock: Callable[[], float],
    ) -> None:
        self._study, self._space, self._trials, self._order, self._clock = study, space, trials, order, clock
        self._committed = _checked(study)
        self._history = History(space.distributions)
        self._open: dict[int, Question] = {}
        self._digests: dict[int, str] = {}
        self._settled: dict[int, FrozenTrial] = {}
        self._next = len(self._committed)

    def is_open(self, number: int) -> bool:
        """Whether the trial was asked and nothing is known of it yet."""
        return number in self._open and number not in self._settled

    def ask_until(self, end: int) -> tuple[Question, ...] | None:
        """The questions of all trials from the next one to `end`, without those that memory answers.

        None where one of them has to wait for earlier trials, or where all have been asked.
        """
        end = min(end, self._trials)
        if end <= self._next or self._space.visible(end - 1) > len(self._committed):
            return None
        asked = tuple(self._ask(number) for number in range(self._next, end))
        self._next = end
        return tuple(question for question in asked if self.is_open(question.number))

    @property
    def next_number(self) -> int:
        """The first trial that has not been asked."""
        return self._next

    def order(self, numbers: range) -> Order | None:
        """The order for those trials of the range that are open; None where none is."""
        questions = tuple(self._open[number] for number in numbers if self.is_open(number))
        return self._order(questions) if questions else None

    def accept(self, answer: Answer) -> None:
        """Take each trial's answer, the first of several; one that answers another question counts for nothing."""
        for found in answer.trials:
            if self._digests.get(found.number) != found.question:
                log.info("answer ignored", extra={"action": "answer_ignored", "number": found.number})
                continue
            self._take(found, answer.worker)

    def fail(self, number: int, reason: str) -> None:
        """End an open trial without a value."""
        origin = Origin(worker="", started=self._clock(), seconds=0.0)
        self._settled[number] = failed_trial(self._open[number], self._space.distributions, reason, origin)
        log.error("trial given up", extra={"action": "trial_given_up", "number": number, "reason": reason})

    def commit(self) -> int:
        """Store every settled trial whose turn it is; how many that were.

        Raises:
            StudyChanged, ServiceUnreachable: see `OpenStudy.commit`; the ledger is not to be used after that.
        """
        ready: list[FrozenTrial] = []
        while trial := self._settled.get(len(self._committed) + len(ready)):
            ready.append(trial)
        if ready:
            self._study.commit(*ready)
        for trial in ready:
            self._committed.append(trial)
            self._settled.pop(trial.number)
            self._open.pop(trial.number, None)
        return len(ready)

    def progress(self) -> Progress:
        """How far the study is."""
        states = [trial.state for trial in self._committed]
        return Progress(
            trials=self._trials,
            complete=states.count(TrialState.COMPLETE),
            pruned=states.count(TrialState.PRUNED),
            failed=states.count(TrialState.FAIL),
            open=len(self._open),
        )

    def _ask(self, number: int) -> Question:
        while len(self._history) < self._space.visible(number):
            self._history.append(self._committed[len(self._history)])
        question = ask(self._space, self._history, number)
        self._open[number] = question
        self._digests[number] = self._order((question,)).questions()[0]
        if question.known is not None:
            self._settled[number] = repeated_trial(question, question.known, self._clock())
        return question

    def _take(self, found: TrialAnswer, worker: str) -> None:
        number = found.number
        question = self._open.get(number)
        earlier = self._settled.get(number) or (self._committed[number] if question is None else None)
        trial = self._trial(question or _question_of(earlier), found, worker)
        if earlier is None:
            self._settled[number] = trial
        elif not _agree(earlier, trial):
            log.error("two answers differ", extra={"action": "answers_differ", "number": number, "worker": worker})

    def _trial(self, question: Question, found: TrialAnswer, worker: str) -> FrozenTrial:
        origin = Origin(worker=worker, started=found.started, seconds=found.seconds)
        reason = found.failure or "the worker sent no evaluation"
        if found.failure is None and found.evaluation is not None:
            try:
                evaluation = Evaluation.from_json(found.evaluation)
                return finished_trial(question, self._space.distributions, evaluation, origin)
            except TradeschoolError as error:
                reason = " ".join(str(error).split())[:512]
        return failed_trial(question, self._space.distributions, reason, origin)


def _checked(study: OpenStudy) -> list[FrozenTrial]:
    trials = study.trials()
    for position, trial in enumerate(trials):
        if trial.number != position or not trial.state.is_finished():
            raise StudyChanged(
                f"study {study.name}: expected finished trials 0..{len(trials) - 1}, but found trial {trial.number} "
                f"{trial.state.name}: something else than a conductor writes to it; start a new run"
            )
    return trials


def _question_of(trial: FrozenTrial | None) -> Question:
    assert trial is not None
    return Question(number=trial.number, parameters=dict(trial.params), thresholds=(), known=None)


def _agree(one: FrozenTrial, other: FrozenTrial) -> bool:
    return _results(one) == _results(other)


def _results(trial: FrozenTrial) -> str:
    # As text, because a step without a value is NaN, which equals nothing.
    steps, constraints = sorted(trial.intermediate_values.items()), sorted(trial.constraints.items())
    return repr((trial.state, trial.values, steps, constraints))
