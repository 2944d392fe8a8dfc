"""What travels between conductor and workers, and the function that RQ names: a wire format with a version.

An order holds small JSON values only: no URL, no secret, no dotted name, no path. What is needed besides, the
candles and the objective, is the worker's own `Bench`.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Annotated, Generic, Literal, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator
from rq.timeouts import BaseTimeoutException

from optimizer.evaluation import Evaluation
from optimizer.level import Level, Parameters, Part
from tradeschool.errors import DataError, ForeignFile
from tradeschool.log import about, facts_of
from tradeschool.market import Dataset, Window
from tradeschool.plain import plain, plain_error
from workers.names import about_study
from workers.strategies import AllowedStrategies

VERSION = 1
MOST_REASON = 440
"""Characters of an exception's text."""
FUNCTION = "workers.jobs.evaluate_trials"
"""The only function that a job may name."""

log = logging.getLogger(__name__)

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
Number = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(max_length=512)]

Arrays = TypeVar("Arrays")
Arrays_co = TypeVar("Arrays_co", covariant=True)
Prepared = TypeVar("Prepared")


class CandleStore(Protocol[Arrays_co]):
    """Where a worker finds its candles."""

    def arrays(self, dataset: Dataset, window: Window) -> Arrays_co:
        """The candles of a sealed window; read without polars, which hangs a process that forks after it."""

    def digest(self, dataset: Dataset, window: Window) -> str:
        """The same text on every machine that holds the same candles of that window."""


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    v: Literal[1] = 1


class Order(_Wire):
    """Trials to evaluate; the argument of a job."""

    study: Name
    numbers: Annotated[tuple[Number, ...], Field(min_length=1, max_length=256)]
    parameters: tuple[dict[Name, int | FiniteFloat], ...]
    """By trial."""
    thresholds: tuple[tuple[FiniteFloat | None, ...], ...]
    """By trial and step: the trial is pruned where its best value so far is below."""
    level: Level
    digests: dict[Text, Text]
    """Of the candles that the conductor knows, see `level_digests`."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not len(self.numbers) == len(self.parameters) == len(self.thresholds):
            raise ValueError("numbers, parameters and thresholds must have one entry a trial")
        return self

    @classmethod
    def parse(cls, payload: object) -> "Order":
        """The order of a job's argument; raises ValueError where it is none of this version."""
        try:
            return cls.model_validate_json(json.dumps(payload))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"not an order of version {VERSION}: {where}: {first['msg']}") from None

    def questions(self) -> tuple[str, ...]:
        """By trial, a digest of everything that its evaluation depends on: it ties an answer to its question."""
        setting = json.dumps([self.v, self.study, self.level.model_dump(mode="json"), self.digests], sort_keys=True)
        context = blake2b(setting.encode(), digest_size=16)
        asked = zip(self.numbers, self.parameters, self.thresholds, strict=True)
        return tuple(_digest_on(context.copy(), json.dumps(question, sort_keys=True)) for question in asked)


class TrialAnswer(_Wire):
    """What became of one trial: an evaluation, or the reason why there is none."""

    number: Number
    question: Text
    """See `Order.questions`."""
    started: FiniteFloat
    """Unix time in seconds."""
    seconds: FiniteFloat
    evaluation: Annotated[str, Field(max_length=65_536)] | None = None
    """`Evaluation.to_json`."""
    failure: Text | None = None
    """The strategy raised this; to ask again would raise it again."""


class Answer(_Wire):
    """What a job returns, and what a worker pushes on the study's list of results."""

    study: Name
    worker: Text
    trials: tuple[TrialAnswer, ...] = ()
    refused: Text | None = None
    """This worker cannot evaluate the order, but another one may: its candles are missing, or are others."""

    @classmethod
    def parse(cls, payload: object) -> "Answer":
        """The answer in a job's return value; raises ValueError where it is none."""
        return cls.model_validate_json(payload if isinstance(payload, str | bytes) else json.dumps(payload))


class Bench(Generic[Arrays, Prepared]):
    """One worker's place of work: its candles, its objective, and the levels that it has made ready."""

    def __init__(
        self,
        *,
        store: CandleStore[Arrays],
        prepare: Callable[[Level, Part, Callable[[Dataset, Window], Arrays]], tuple[Prepared, ...]],
        evaluate: Callable[[Level, tuple[Prepared, ...], Parameters, Sequence[float | None]], Evaluation],
        worker: str,
        share: Callable[[tuple[Prepared, ...], str], tuple[Prepared, ...]] = lambda prepared, key: prepared,
        strategies: AllowedStrategies | None = None,
        load: Callable[[str], object] = lambda name: None,
    ) -> None:
        """`strategies` limits what orders may name; None where they come from this very process. `load` imports one."""
        self.worker, self._strategies = worker, strategies
        self._share, self._load = share, load
        self._store, self._prepare, self._evaluate = store, prepare, evaluate
        self._ready: dict[str, tuple[Prepared, ...]] = {}

    def make_ready(self, order: Order, beat: Callable[[], None]) -> tuple[Prepared, ...]:
        """The level's candles in memory, read once and kept until another level comes.

        `beat` is called before each dataset is read.

        Raises:
            DataError: where candles are missing, or are not those that the conductor knows.
        """
        key = level_key(order)
        if key not in self._ready:
            _check_digests(order.level, order.digests, self._store)

            def read(dataset: Dataset, window: Window) -> Arrays:
                beat()
                return self._store.arrays(dataset, window)

            self._ready = {}  # what the last level had mapped or held goes before the next one's comes
            self._ready = {key: self._share(self._prepare(order.level, Part.TRAIN, read), key)}
        return self._ready[key]

    def require_strategy(self, level: Level) -> None:
        """Refuse a level whose strategy this worker may not import.

        Raises:
            StrategyNotAllowed: where its settings do not name it.
        """
        if self._strategies is not None:
            self._strategies.require(level)

    def check(self, level: Level, digests: Mapping[str, str]) -> None:
        """Refuse where this worker may not import a study's strategy, or its candles are not those of the study.

        Raises:
            StrategyNotAllowed: where its settings do not name the strategy.
            DataError: where candles are missing, or are others.
        """
        self.require_strategy(level)
        _check_digests(level, digests, self._store)

    def load_strategy(self, level: Level) -> None:
        """Import what a level names, where this worker may.

        Raises:
            StrategyNotAllowed: before anything is imported.
        """
        self.require_strategy(level)
        self._load(level.strategy)

    def answer(self, order: Order, caught: type[BaseException] = Exception) -> Answer:
        """Every trial of the order evaluated; a strategy's exception is an answer, missing candles a refusal.

        `caught`: what of a strategy's is an answer; in a process of its own nobody else raises an exit, or interrupts.

        Raises:
            StrategyNotAllowed: before anything is imported.
        """
        self.require_strategy(order.level)
        try:
            prepared = self.make_ready(order, beat=_rest)
        except DataError as error:
            return Answer(study=order.study, worker=self.worker, refused=_short(str(error)))
        asked = zip(order.numbers, order.questions(), order.parameters, order.thresholds, strict=True)
        with about(**about_study(order.study)):
            trials = tuple(self._answer_one(order.level, prepared, caught, *question) for question in asked)
        return Answer(study=order.study, worker=self.worker, trials=trials)

    def _answer_one(
        self,
        level: Level,
        prepared: tuple[Prepared, ...],
        caught: type[BaseException],
        number: int,
        question: str,
        parameters: Parameters,
        thresholds: Sequence[float | None],
    ) -> TrialAnswer:
        started, clock = time.time(), time.monotonic()
        evaluation, failure = None, None
        try:
            evaluation = self._evaluate(level, prepared, dict(parameters), thresholds).to_json()
        except (BaseTimeoutException, MemoryError):
            raise  # says something of this process, not of the trial
        except caught as error:  # a strategy is a stranger's code: whatever it raises is its answer
            failure = _short(_told(error))
            log.warning("trial failed", exc_info=True, extra={"action": "trial_failed", "trial": number})
        seconds = time.monotonic() - clock
        return TrialAnswer(
            number=number, question=question, started=started, seconds=seconds, evaluation=evaluation, failure=failure
        )


def evaluate_trials(order: bytes, bench: Bench[Arrays, Prepared]) -> bytes:
    """What the job `FUNCTION` does: an order in, an answer out, both JSON.

    Raises:
        ValueError: where it is no order of this version.
    """
    return bench.answer(Order.parse(json.loads(order)), caught=BaseException).model_dump_json().encode()


def level_key(order: Order) -> str:
    """Stands for everything that a level's preparation depends on."""
    return json.dumps([order.level.model_dump(mode="json"), order.digests], sort_keys=True)


def level_digests(level: Level, store: CandleStore[Arrays]) -> dict[str, str]:
    """The digest of every dataset's train part, by `dataset window`.

    Raises:
        DataError: where candles are missing.
    """
    windows = [(dataset.source, level.window(dataset, Part.TRAIN)) for dataset in level.datasets]
    return {f"{dataset.name} {window.name}": store.digest(dataset, window) for dataset, window in windows}


def _check_digests(level: Level, digests: Mapping[str, str], store: CandleStore[Arrays]) -> None:
    for name, digest in level_digests(level, store).items():
        if digests.get(name) != digest:
            raise ForeignFile(
                f"{name}: this worker holds other candles than the conductor: expected {digests.get(name)}, "
                f"was {digest}: fetch or copy the same data to every machine"
            )


def _digest_on(context: blake2b, question: str) -> str:
    context.update(question.encode())
    return context.hexdigest()


def _told(error: BaseException) -> str:
    """Such as `ZeroDivisionError: division by zero, on coinbase/BTC-USD/M5`."""
    dataset = facts_of(error).get("dataset")
    return f"{plain_error(error)[:MOST_REASON]}{f', on {dataset}' if dataset else ''}"


def _short(text: str) -> str:
    return plain(text)[:512]


def _rest() -> None:
    """Nobody waits for a heartbeat."""
