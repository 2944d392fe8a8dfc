"""The versioned wire format between coordinator and workers: batches of trials or of surrogate markets, and results.

A batch holds small JSON values only: no URL, secret, dotted name or path. The candles and the objective are the
worker's own, see `workers.work_horse.evaluator`.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Annotated, ClassVar, Literal, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, ValidationError, model_validator

from optimizer.level.spec import Level, Part
from optimizer.runs.fingerprint import release
from tradeschool.errors import ForeignFile
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.plain_text import plain

VERSION = 2
"""Version of the wire format; messages of version 1 named no release."""
MAX_RELEASE = 80
MAX_REASON = 440
"""Characters of an exception's text at most."""
FUNCTION = "workers.work_horse.evaluator.evaluate_trials"
"""The function of a job that evaluates trials."""
SURROGATE_FUNCTION = "workers.work_horse.evaluator.run_surrogates"
"""The function of a job that repeats a curriculum in surrogate markets; a job may name no third one."""
log = logging.getLogger(__name__)
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
Number = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(max_length=512)]
BatchKind = Literal["batch", "surrogates"]
Arrays = TypeVar("Arrays")
Arrays_co = TypeVar("Arrays_co", covariant=True)
Prepared = TypeVar("Prepared")


class CandleStore(Protocol[Arrays_co]):
    """The candles of a worker."""

    def arrays(self, dataset: Dataset, window: Window) -> Arrays_co:
        """The candles of a sealed window; read without polars, which hangs a process that forks after it."""

    def digest(self, dataset: Dataset, window: Window) -> str:
        """The same text on every machine that holds the same candles of that window."""


class OtherRelease(Exception):
    """A batch is that of another release: a worker of that release evaluates it, and another puts it back."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    v: Literal[2] = 2


class _BatchMessage(_Message):
    release: Text = Field(default_factory=release)
    """Release of the coordinator; a worker of another release puts the job back."""

    @classmethod
    def parse(cls, payload: object) -> Self:
        """Parse a job's argument.

        Raises:
            ValueError: It is no batch of this version.
        """
        try:
            return cls.model_validate_json(json.dumps(payload))
        except ValidationError as error:
            raise ValueError(_said(error)) from None


class TrialBatch(_BatchMessage):
    """Trials to evaluate; the argument of a job."""

    function: ClassVar[str] = FUNCTION
    kind: ClassVar[BatchKind] = "batch"
    """What its signature is for."""
    can_begin_again: ClassVar[bool] = False
    """Whether a worker that is told to end returns it to the queue instead of finishing it."""

    study: Name
    numbers: Annotated[tuple[Number, ...], Field(min_length=1, max_length=256)]
    parameters: tuple[dict[Name, int | FiniteFloat], ...]
    """One entry per trial."""
    thresholds: tuple[tuple[FiniteFloat | None, ...], ...]
    """One entry per trial, one value per step: the trial is pruned if its best value so far is lower."""
    level: Level
    digests: dict[Text, Text]
    """Digests of the coordinator's candles, see `level_digests`."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not len(self.numbers) == len(self.parameters) == len(self.thresholds):
            raise ValueError("numbers, parameters and thresholds must have one entry per trial")
        return self

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels that it evaluates."""
        return (self.level,)

    @property
    def trials(self) -> int:
        """Number of its trials, by which studies share the workers."""
        return len(self.numbers)

    @property
    def key(self) -> str:
        """A text that identifies everything that its level's preparation depends on."""
        return json.dumps([self.level.model_dump(mode="json"), self.digests], sort_keys=True)

    def request_digests(self) -> tuple[str, ...]:
        """Per trial, a digest of everything that its evaluation depends on; it ties a result to its request."""
        level = self.level.model_dump(mode="json")
        setting = json.dumps([self.v, self.release, self.study, level, self.digests], sort_keys=True)
        context = blake2b(setting.encode(), digest_size=16)
        requests = zip(self.numbers, self.parameters, self.thresholds, strict=True)
        return tuple(_digest_on(context.copy(), json.dumps(request, sort_keys=True)) for request in requests)


class SurrogateBatch(_BatchMessage):
    """Surrogate markets in which to repeat a curriculum; the argument of a job of the null test."""

    function: ClassVar[str] = SURROGATE_FUNCTION
    kind: ClassVar[BatchKind] = "surrogates"
    can_begin_again: ClassVar[bool] = True

    study: Name
    numbers: Annotated[tuple[Number, ...], Field(min_length=1, max_length=256)]
    """Of the surrogate markets."""
    levels: Annotated[tuple[Level, ...], Field(min_length=1, max_length=64)]
    """The curriculum, as written."""
    seed: int
    """Of the run."""
    digests: dict[Text, Text]
    """Digests of the coordinator's candles, see `curriculum_digests`."""

    @model_validator(mode="after")
    def _has_one_holdout(self) -> Self:
        if len({level.holdout for level in self.levels}) > 1:
            raise ValueError("all levels must have the same holdout period")
        return self

    @property
    def key(self) -> str:
        """A text that identifies the curriculum and its candles."""
        levels = [level.model_dump(mode="json") for level in self.levels]
        return json.dumps(["surrogates", levels, self.seed, self.digests], sort_keys=True)

    @property
    def trials(self) -> int:
        """Number of trials of the first attempt at each level, in all its markets."""
        return len(self.numbers) * sum(level.trials for level in self.levels)

    def request_digests(self) -> tuple[str, ...]:
        """Per surrogate market, a digest of everything that its run depends on."""
        context = blake2b(json.dumps([self.v, self.release, self.study, self.key]).encode(), digest_size=16)
        return tuple(_digest_on(context.copy(), str(number)) for number in self.numbers)


Batch = TrialBatch | SurrogateBatch
BATCHES: Mapping[str, type[TrialBatch] | type[SurrogateBatch]] = {
    each.function: each for each in (TrialBatch, SurrogateBatch)
}
"""The argument of a job by the function that it names."""


class TrialResult(_Message):
    """The result of one trial or surrogate market: an evaluation, or the reason why there is none."""

    number: Number
    request_digest: Text
    """See `TrialBatch.request_digests`."""
    started: FiniteFloat
    """Unix time in seconds."""
    seconds: FiniteFloat
    evaluation: Annotated[str, Field(max_length=65_536)] | None = None
    """`Evaluation.to_json`; of a surrogate market a `NullRun`."""
    failure: Text | None = None
    """The exception of the strategy; another attempt would raise it again."""


class BatchResult(_Message):
    """The result of a job, which a worker pushes on the study's list."""

    study: Name
    worker: Text
    trials: tuple[TrialResult, ...] = ()
    refused: Text | None = None
    """Why this worker cannot evaluate the batch although another may: its candles are missing, or differ."""

    @classmethod
    def parse(cls, payload: object) -> "BatchResult":
        """Parse a job's return value.

        Raises:
            ValueError: It is no result.
        """
        return cls.model_validate_json(payload if isinstance(payload, str | bytes) else json.dumps(payload))


def require_release(payload: JsonValue) -> None:
    """Check that a batch comes from a coordinator of this release, before its fields are read.

    Raises:
        OtherRelease: It comes from another one.
    """
    match payload:
        case {"v": int(version), "study": str(), "numbers": list(), **rest}:
            theirs = rest.get("release", f"one with messages of version {version}")
            if version != VERSION or theirs != release():
                said = plain(str(theirs))[:MAX_RELEASE]
                raise OtherRelease(f"the search has release {said}, this worker has {release()}")


def level_digests(level: Level, store: CandleStore[Arrays]) -> dict[str, str]:
    """The digest of every dataset's train part, by `dataset window`.

    Raises:
        DataError: Candles are missing.
    """
    windows = [(dataset.source, level.window(dataset, Part.TRAIN)) for dataset in level.datasets]
    return {f"{dataset.name} {window.name}": store.digest(dataset, window) for dataset, window in windows}


def curriculum_digests(levels: Sequence[Level], store: CandleStore[Arrays]) -> dict[str, str]:
    """The digest of every dataset's whole window over all levels, by `dataset window`.

    Raises:
        DataError: Candles are missing.
    """
    windows = dict.fromkeys((dataset.source, dataset.window) for level in levels for dataset in level.datasets)
    return {f"{dataset.name} {window.name}": store.digest(dataset, window) for dataset, window in windows}


def check_digests(digests: Mapping[str, str], own: Mapping[str, str]) -> None:
    """Compare the candles of a worker with those of the coordinator; `own` are the worker's digests.

    Raises:
        ForeignFile: A digest differs.
    """
    for name, digest in own.items():
        if digests.get(name) != digest:
            raise ForeignFile(
                f"{name}: this worker's candles differ from the coordinator's: expected {digests.get(name)}, "
                f"was {digest}: fetch or copy the same data to every machine"
            )


def _said(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"not a batch of version {VERSION}: {'.'.join(map(str, first['loc']))}: {first['msg']}"


def _digest_on(context: blake2b, request: str) -> str:
    context.update(request.encode())
    return context.hexdigest()
