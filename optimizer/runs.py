"""The runs of a curriculum, kept in the study's database: one row of facts a run, rewritten as it goes on.

Any process that reaches the database can go on with any run; the files of a run are made from this and the studies.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, JsonValue, ValidationError
from sqlalchemy import create_engine, insert, select, update
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from optimizer.attempts import at_attempt
from optimizer.curriculum import Attempt, Facts, Rung
from optimizer.database import RUNS, driver_arguments
from optimizer.evidence import Null
from optimizer.gate import Reading
from optimizer.kept import Kept
from optimizer.level import Level, Part
from optimizer.recommendation import Recommendation
from tradeschool.errors import ServiceUnreachable, SettingsError
from tradeschool.urls import mask_url

SURROGATES = 20
"""Markets without skill in which a search is repeated, where nobody says how many."""
Fingerprints = dict[str, str]
Numbers = dict[str, int | float]
"""Parameters as they are stored: a whole number stays one."""


class Verdict(Kept):
    """What came of an attempt."""

    passed: bool
    reason: str
    finished: int
    """The attempt's own trials; those that were carried over are not among them."""
    trial: int | None
    """The winner's number; None where no trial was feasible on train."""
    parameters: Numbers | None
    readings: tuple[Reading, ...]
    """The gate on validation."""
    figures: dict[Part, dict[str, float]]
    """The winner's metrics, by part."""
    shortfall: dict[str, JsonValue]
    """What was missed and by how much; empty where nothing was."""
    relaxed: float
    """By which share the gate's targets were lowered; 0 as a rule."""


class AttemptRow(Kept):
    """One attempt at a level; it stands here from before its first trial."""

    level: str
    number: int
    fingerprints: Fingerprints
    """Of code and candles, as they were when it was begun."""
    inherited: Numbers | None
    """The winner of the level before."""
    carried: int
    """How many trials of earlier attempts its study begins with."""
    searched: bool = False
    """Whether its last trial is committed."""
    verdict: Verdict | None = None


class Forced(Kept):
    """A user's word that a run goes on although what it depends on has changed."""

    time: AwareDatetime
    what: str
    """code, settings, or a dataset and its window."""
    was: str
    now: str


class RunRecord(Kept):
    """All that is known of a run."""

    version: Literal[3] = 3
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    seed: int
    levels: Annotated[tuple[Level, ...], Field(min_length=1)]
    created: AwareDatetime
    fingerprints: Fingerprints
    """Of code and settings; a run goes on only where they are the same, or where a user insists."""
    candles: Fingerprints = Field(default_factory=dict)
    """Of each range of candles that was looked at, by dataset and window; the same holds for them."""
    attempts: tuple[AttemptRow, ...] = ()
    forced: tuple[Forced, ...] = ()
    surrogates: Annotated[int, Field(ge=0)] = SURROGATES
    """In how many markets without skill the search of each level that was passed is repeated at the end."""
    nulls: dict[str, Null] = Field(default_factory=dict)
    """What that came to, by level."""
    recommendation: Recommendation | None = None
    """What the run comes to; None before its end."""

    def level(self, name: str) -> Level:
        """The level of that name, as the curriculum says it."""
        return next(level for level in self.levels if level.name == name)

    def before(self, name: str) -> Level | None:
        """The level before that one; None for the first."""
        place = [level.name for level in self.levels].index(name)
        return self.levels[place - 1] if place else None

    def attempt(self, level: str, number: int) -> AttemptRow | None:
        """What is known of an attempt; None where it was not begun."""
        return next((each for each in self.attempts if (each.level, each.number) == (level, number)), None)

    def last(self, level: str) -> AttemptRow | None:
        """The latest attempt at a level; None where there was none."""
        return next((each for each in reversed(self.attempts) if each.level == level), None)

    def searched_level(self, attempt: AttemptRow) -> Level:
        """The level as an attempt searches it."""
        return at_attempt(self.level(attempt.level), attempt.number, attempt.inherited)

    def study(self, level: str, attempt: int) -> str:
        """The name of an attempt's study."""
        return f"{self.name}-L{level}-a{attempt}"

    def facts(self, ready: frozenset[str]) -> Facts:
        """What the ladder has to know; `ready` names the levels whose candles are sealed."""
        return Facts(
            rungs=[Rung(name=level.name, retries=level.retries) for level in self.levels],
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
        """The run with that attempt added, or in the place of what was known of it."""
        kept = [each for each in self.attempts if (each.level, each.number) != (attempt.level, attempt.number)]
        return self.model_copy(update={"attempts": (*kept, attempt)})


class Runs:
    """The table of runs in one database."""

    def __init__(self, url: str) -> None:
        self._where = mask_url(url)
        with self._translated():
            self._file = _sqlite_file(url)
            self._engine: Engine = create_engine(url, connect_args=driver_arguments(url), pool_pre_ping=True)

    def add(self, record: RunRecord) -> None:
        """Write a new run down.

        Raises:
            SettingsError: where there is one of that name.
            ServiceUnreachable: where the database does not answer.
        """
        with self._translated():
            RUNS.metadata.create_all(self._engine)
            try:
                with self._engine.begin() as connection:
                    connection.execute(insert(RUNS).values(name=record.name, facts=record.model_dump_json()))
            except IntegrityError:
                raise SettingsError(
                    f"there is a run {record.name} in {self._where}; go on with it: "
                    f"tradeschool optimize resume {record.name}"
                ) from None

    def write(self, record: RunRecord) -> None:
        """Replace what is known of a run.

        Raises:
            ServiceUnreachable: where the database does not answer, or does not know the run any more.
        """
        with self._translated(), self._engine.begin() as connection:
            row = update(RUNS).where(RUNS.c.name == record.name).values(facts=record.model_dump_json())
            if connection.execute(row).rowcount != 1:
                raise ServiceUnreachable(
                    f"study database {self._where}: run {record.name} is gone from it: was it moved or replaced?"
                )

    def read(self, name: str) -> RunRecord:
        """What is known of a run.

        Raises:
            SettingsError: where there is none of that name, or another version wrote it.
            ServiceUnreachable: where the database does not answer.
        """
        with self._connected() as names:
            if name in names:
                return parsed(name, names[name])
        raise SettingsError(f"no run {name!r} in {self._where}; see: tradeschool optimize list")

    def all(self) -> list[RunRecord]:
        """Every run, in order of name.

        Raises:
            SettingsError: where another version wrote one of them.
            ServiceUnreachable: where the database does not answer.
        """
        with self._connected() as names:
            return [parsed(name, facts) for name, facts in sorted(names.items())]

    def close(self) -> None:
        """Give the database's connections back."""
        self._engine.dispose()

    @contextmanager
    def _connected(self) -> Iterator[Mapping[str, str]]:
        """The facts of all runs as they are stored; looking makes no database."""
        if self._file and not self._file.exists():
            yield {}
            return
        with self._translated():
            RUNS.metadata.create_all(self._engine)
            with self._engine.connect() as connection:
                yield {row.name: row.facts for row in connection.execute(select(RUNS.c.name, RUNS.c.facts))}

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (ArgumentError, NoSuchModuleError, ImportError, SQLAlchemyError) as error:
            reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            raise ServiceUnreachable(
                f"study database {self._where}: {reason}: is it running, is storage_url right?"
            ) from error


def _sqlite_file(url: str) -> Path | None:
    parsed = make_url(url)
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database and parsed.database != ":memory:"
    return Path(str(parsed.database)) if is_file else None


def parsed(name: str, facts: str) -> RunRecord:
    """The run that a row says.

    Raises:
        SettingsError: where another version wrote it.
    """
    try:
        return RunRecord.model_validate_json(facts)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"run {name} was written by another version: {where}: {first['msg']}; begin a new run"
        ) from None
