"""Run record: all facts of a run, from which any process can continue it; its files are derived from them."""

import math
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, JsonValue, field_validator

from optimizer.curriculum.attempts import at_attempt
from optimizer.curriculum.retry_plan import AttemptFacts, RetryPlan, plan_retry
from optimizer.curriculum.state_machine import Attempt, LevelSpec, RunFacts
from optimizer.level.holdout import Holdout
from optimizer.level.metric_names import LEVERAGE, SIZE
from optimizer.level.spec import Level, Part
from optimizer.level.walk_forward import last_search, window_level
from optimizer.objective.sizing import WHOLE
from optimizer.validation.evidence import NullTest, Skill
from optimizer.validation.gate import Criterion
from optimizer.validation.recommendation import Recommendation
from optimizer.validation.stored_model import StoredModel

SURROGATES = 20
"""Default number of surrogate markets of the null test."""


Fingerprints = dict[str, str]


Numbers = dict[str, int | float]
"""Stored parameters; whole numbers stay integers."""


class Verdict(StoredModel):
    """Verdict on an attempt."""

    passed: bool
    reason: str
    finished: int
    """Number of the attempt's own trials, without those carried over."""
    trial: int | None
    """The winner's trial number; None if no trial was feasible on train."""
    parameters: Numbers | None
    readings: tuple[Criterion, ...]
    """The gate on validation."""
    figures: dict[Part, dict[str, float]]
    """The winner's metrics by part."""
    shortfall: dict[str, JsonValue]
    """Missed criteria and their shortfall; empty if none was missed."""
    relaxed: float
    """Share by which the gate's targets were relaxed; usually 0."""
    facts: AttemptFacts | None = None
    """What the plan of a retry depends on; None if the gate passed."""
    skill: Skill | None = None
    """Skill of the winner on the days that selected nothing; None without a winner."""

    @property
    def validation_days(self) -> float:
        """Number of days behind the readings; NaN without a winner."""
        return self.figures.get(Part.VALIDATION, {}).get("days", math.nan)

    @property
    def nearest(self) -> Mapping[str, float]:
        """Without a winner: what the nearest trial misses on train, by constraint."""
        return nearest_of(self.shortfall)

    @property
    def size(self) -> float:
        """Size of the winner's account, solved on train; 1 without a risk budget."""
        return self.figures.get(Part.TRAIN, {}).get(SIZE, WHOLE)

    @property
    def leverage(self) -> float | None:
        """Largest notional of a position over the equity on train; None without a risk budget."""
        return self.figures.get(Part.TRAIN, {}).get(LEVERAGE)


class WindowRow(StoredModel):
    """One window of a walk-forward; stored before the first trial of its search, and again with its choice."""

    number: int
    """Counted from 1."""
    inherited: Numbers | None
    """The choice of the previous level that its search starts from."""
    inherited_reason: str
    """Where that choice comes from, or why there is none."""
    until: date
    """First day after all days that its choice depends on, those of its first points included."""
    reused: int = 0
    """Number of trials carried over from earlier attempts."""
    searched: bool = False
    """Whether its last trial is committed and its choice made."""
    finished: int = 0
    """Number of its own trials, without those carried over."""
    trial: int | None = None
    """The chosen trial; None if no trial met every constraint: the window holds cash."""
    parameters: Numbers | None = None
    size: float = 1.0
    """Share of the account that the choice trades, solved on its train."""
    train: dict[str, float | None] = Field(default_factory=dict)
    """Metrics of the choice on its train."""
    validation: dict[str, float | None] = Field(default_factory=dict)
    """Metrics of the choice on the window's out-of-sample days; empty before the attempt is judged."""


class AttemptRow(StoredModel):
    """One attempt at a level; stored before its first trial."""

    level: str
    number: int
    fingerprints: Fingerprints
    """Fingerprints of code and candles at its start."""
    inherited: Numbers | None
    """The choice of the previous level that the search starts from; with `walk_forward` the last search."""
    inherited_reason: str = ""
    """Where that choice comes from, or why there is none."""
    until: date | None = None
    """First day after all days that the winner depends on, those of its first points included."""
    reused: int
    """Number of trials carried over from earlier attempts."""
    retries: tuple[RetryPlan, ...] = ()
    """The plans of all retries up to this attempt, its own last; empty for the first attempt."""
    windows: tuple[WindowRow, ...] = ()
    """The windows of a walk-forward that have begun."""
    searched: bool = False
    """Whether its last trial is committed."""
    verdict: Verdict | None = None

    @property
    def retry(self) -> RetryPlan | None:
        """The plan of this attempt; None for the first one."""
        return self.retries[-1] if self.retries else None

    def window(self, number: int) -> WindowRow | None:
        """Return a window; None if it has not begun."""
        return next((each for each in self.windows if each.number == number), None)

    def with_window(self, window: WindowRow) -> "AttemptRow":
        """Return the attempt with a window added or replaced."""
        kept = [each for each in self.windows if each.number != window.number]
        return self.model_copy(update={"windows": (*kept, window)})


class ForcedResume(StoredModel):
    """A user's decision to resume a run although one of its fingerprints has changed."""

    time: AwareDatetime
    what: str
    """Code, settings, or a dataset and its window."""
    was: str
    now: str


class RunRecord(StoredModel):
    """Complete record of a run."""

    version: Literal[4] = 4
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    seed: int
    levels: Annotated[tuple[Level, ...], Field(min_length=1)]
    created: AwareDatetime
    fingerprints: Fingerprints
    """Fingerprints of code and settings; a run resumes only if they are equal or the user forces it."""
    candles: Fingerprints = Field(default_factory=dict)
    """Digests of all candle ranges read, by dataset and window; compared like the fingerprints."""
    attempts: tuple[AttemptRow, ...] = ()
    forced: tuple[ForcedResume, ...] = ()
    surrogates: Annotated[int, Field(ge=0)] = SURROGATES
    """Number of surrogate markets of the null test, run at the end; 0 for none."""
    null_test: NullTest | None = None
    """Result of the null test so far; None before its first surrogate market."""
    recommendation: Recommendation | None = None
    """None before the end of the run."""

    @field_validator("levels")
    @classmethod
    def _share_one_holdout(cls, levels: tuple[Level, ...]) -> tuple[Level, ...]:
        if len({level.holdout for level in levels}) > 1:
            raise ValueError("all levels of a run must have the same holdout period")
        return levels

    @property
    def holdout(self) -> Holdout:
        """The holdout period of the run, the same in all its levels."""
        return self.levels[0].holdout

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The verdict on each level's last judged attempt, by level."""
        return {each.level: each.verdict for each in self.attempts if each.verdict}

    def level(self, name: str) -> Level:
        """Return the level of that name as the curriculum defines it."""
        return next(level for level in self.levels if level.name == name)

    def before(self, name: str) -> Level | None:
        """Return the previous level; None for the first."""
        place = [level.name for level in self.levels].index(name)
        return self.levels[place - 1] if place else None

    def passed_before(self, name: str) -> Level | None:
        """Return the nearest earlier level whose gate passed, from which a level inherits; None if there is none."""
        names = [level.name for level in self.levels]
        earlier = reversed(self.levels[: names.index(name)])
        return next((each for each in earlier if (last := self.last(each.name)) and _has_passed(last)), None)

    def attempt(self, level: str, number: int) -> AttemptRow | None:
        """Return an attempt; None if it has not started."""
        return next((each for each in self.attempts if (each.level, each.number) == (level, number)), None)

    def last(self, level: str) -> AttemptRow | None:
        """Return the latest attempt at a level; None if there is none."""
        return next((each for each in reversed(self.attempts) if each.level == level), None)

    def searched_level(self, attempt: AttemptRow) -> Level:
        """Return the level as an attempt searches it."""
        return at_attempt(self.level(attempt.level), attempt.number, attempt.inherited, attempt.retries)

    def planned_retries(self, level: str, number: int) -> tuple[RetryPlan, ...]:
        """Return the plans of all retries up to an attempt that has not started; the verdict before it decides."""
        earlier = self.attempt(level, number - 1)
        facts = earlier.verdict.facts if earlier and earlier.verdict else None
        if earlier is None or facts is None:
            return ()
        return (*earlier.retries, plan_retry(self.searched_level(earlier), number, facts))

    def study_level(self, attempt: AttemptRow, window: WindowRow | None = None) -> Level:
        """Return the level of an attempt's study, or of a window's: all its days are train with `walk_forward`."""
        if window is None:
            level = self.searched_level(attempt)
            return window_level(level, last_search(level))
        searched = at_attempt(self.level(attempt.level), attempt.number, window.inherited, attempt.retries)
        return window_level(searched, window.number)

    def study(self, level: str, attempt: int, window: int | None = None) -> str:
        """Return the name of an attempt's study, or of a window's."""
        return f"{self.name}-L{level}-a{attempt}" + (f"-w{window}" if window else "")

    def facts(self, ready: frozenset[str]) -> RunFacts:
        """Return the facts for the state machine; `ready`: names of the levels whose candles are sealed."""
        return RunFacts(
            levels=[LevelSpec(name=level.name, retries=level.retries) for level in self.levels],
            attempts=[
                Attempt(
                    level=each.level,
                    number=each.number,
                    searched=each.searched,
                    passed=each.verdict.passed if each.verdict else None,
                )
                for each in self.attempts
            ],
            ready=ready,
            recommended=self.recommendation is not None,
        )

    def with_attempt(self, attempt: AttemptRow) -> "RunRecord":
        """Return the record with an attempt added or replaced."""
        kept = [each for each in self.attempts if (each.level, each.number) != (attempt.level, attempt.number)]
        return self.model_copy(update={"attempts": (*kept, attempt)})


def _has_passed(attempt: AttemptRow) -> bool:
    return attempt.verdict is not None and attempt.verdict.passed


def nearest_of(shortfall: Mapping[str, JsonValue]) -> dict[str, float]:
    """Return the violations of the nearest trial of a shortfall, by constraint; empty if it names none."""
    near = shortfall.get("closest_on_train")
    violations = near.get("violations") if isinstance(near, dict) else None
    if not isinstance(violations, dict):
        return {}
    return {name: float(value) for name, value in violations.items() if isinstance(value, int | float)}
