"""How a run stands: each level's attempts, trials, best so far and gate, from the run's files and its studies."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from pydantic import JsonValue, ValidationError

from optimizer.gate import Reading, gate_readings
from optimizer.level import Level, Part
from optimizer.watch import SeenTrial, StudyWatch
from workers.search import RECORD_NAME, read_record
from workers.tally import Tally, tally

SAFE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
EQUITY_NAME = "equity.json"
MOST_BYTES = 32_000_000
"""Of a result file that is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStanding:
    """One attempt at a level: one study."""

    attempt: int
    study: str
    tally: Tally

    def to_json(self) -> dict[str, JsonValue]:
        """For programs."""
        tally, best = self.tally, self.tally.best
        return {
            "attempt": self.attempt,
            "study": self.study,
            "trials": tally.trials,
            "complete": tally.complete,
            "pruned": tally.pruned,
            "failed": tally.failed,
            "finished": tally.finished,
            "best": {"number": best.number, "value": best.value, "parameters": dict(best.parameters)} if best else None,
            "pace_per_minute": tally.pace_per_minute,
            "eta_seconds": tally.eta_seconds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelStanding:
    """One level of a run."""

    level: str
    title: str
    direction: str
    state: str
    """waiting, searching, judging, passed or missed."""
    retries: int
    attempts: tuple[AttemptStanding, ...]
    """In order; the last one is the one that counts."""
    gate: tuple[Mapping[str, JsonValue], ...]
    """Each criterion: name, value, target, met."""
    gate_part: str
    """Of which part the values are: validation once it was judged; train, of the best trial, before."""
    winner: int | None
    """The trial whose parameters the level chose."""
    reason: str
    """Why the gate is met or missed."""
    has_equity: bool
    """Whether the winner's equity was written down."""
    null: JsonValue
    """What the same search finds where there is no skill; null where it was not asked."""
    datasets: tuple[Mapping[str, str], ...]
    """Each dataset with its first day, and the first day after."""

    def to_json(self) -> dict[str, JsonValue]:
        """For programs."""
        attempts: list[JsonValue] = [attempt.to_json() for attempt in self.attempts]
        return {
            **asdict(self),
            "attempts": attempts,
            "gate": [dict(reading) for reading in self.gate],
            "datasets": [dict(dataset) for dataset in self.datasets],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One run."""

    run: str
    seed: int
    created: datetime
    levels: tuple[LevelStanding, ...]
    recommendation: JsonValue
    """What the run came to; null before its end."""
    has_report: bool

    @property
    def current(self) -> LevelStanding:
        """The level that is searched, judged or waited for; the last one that was begun where all is over."""
        begun = [level for level in self.levels if level.attempts]
        busy = [level for level in self.levels if level.state in {"searching", "judging"}]
        return (busy or begun[-1:] or list(self.levels))[0]

    def to_json(self) -> dict[str, JsonValue]:
        """For programs."""
        levels: list[JsonValue] = [level.to_json() for level in self.levels]
        return {
            "run": self.run,
            "seed": self.seed,
            "created": self.created.isoformat(),
            "levels": levels,
            "recommendation": self.recommendation,
            "has_report": self.has_report,
        }


def runs(results_dir: Path) -> list[str]:
    """The names of all runs, the newest last."""
    records = [path for path in results_dir.glob(f"*/{RECORD_NAME}") if SAFE_NAME.fullmatch(path.parent.name)]
    return [path.parent.name for path in sorted(records, key=_begun)]


def newest_run(results_dir: Path) -> str | None:
    """The run that was begun last, None where there is none."""
    return next(reversed(runs(results_dir)), None)


def stand(results_dir: Path, name: str, studies: StudyWatch, now: float) -> Standing:
    """How a run stands.

    Raises:
        SettingsError: where there is no such run.
        ServiceUnreachable: where the study's database does not answer.
    """
    record, folder = read_record(results_dir, name), results_dir / name
    found = studies.studies(f"{record.name}-L")
    return Standing(
        run=record.name,
        seed=record.seed,
        created=record.created,
        levels=tuple(_level(record.name, level, folder, studies, found, now) for level in record.levels),
        recommendation=read_json(folder / "recommendation.json"),
        has_report=(folder / "report.html").is_file(),
    )


def read_json(path: Path) -> JsonValue:
    """What a file of a run says, None where it is absent, too large or cannot be read."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        found: JsonValue = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found


def _begun(record: Path) -> float:
    try:
        return record.stat().st_mtime
    except OSError:
        return 0.0


def _level(
    run: str, level: Level, folder: Path, studies: StudyWatch, found: Sequence[str], now: float
) -> LevelStanding:
    prefix = re.compile(rf"{re.escape(run)}-L{level.name}-a(\d+)")
    numbers = sorted(int(match[1]) for study in found if (match := prefix.fullmatch(study)))
    attempts = tuple(_attempt(level, f"{run}-L{level.name}-a{number}", number, studies, now) for number in numbers)
    verdict = read_json(folder / level.name / "gate.json")
    judged = verdict if isinstance(verdict, dict) and attempts and verdict.get("attempt") == numbers[-1] else {}
    passed = judged.get("passed")
    gate = judged.get("gate")
    best = attempts[-1].tally.best if attempts else None
    return LevelStanding(
        level=level.name,
        title=level.title,
        direction=level.direction.value,
        state=_state(attempts, passed),
        retries=level.retries,
        attempts=attempts,
        gate=tuple(each for each in gate if isinstance(each, dict)) if isinstance(gate, list) else _so_far(level, best),
        gate_part="validation" if judged else "train",
        winner=_whole(judged.get("trial")),
        reason=str(judged.get("reason") or ""),
        has_equity=bool(judged) and (folder / level.name / EQUITY_NAME).is_file(),
        null=judged.get("null"),
        datasets=tuple(
            {"dataset": each.dataset, "start": each.start.isoformat(), "end": each.end.isoformat()}
            for each in level.datasets
        ),
    )


def _attempt(level: Level, study: str, number: int, studies: StudyWatch, now: float) -> AttemptStanding:
    facts = studies.facts(study)
    carried, wanted = _whole(facts.get("carried")) or 0, _searched(level, facts.get("level")).trials
    found = tally(studies.trials(study), carried=carried, wanted=wanted, now=now)
    return AttemptStanding(attempt=number, study=study, tally=found)


def _searched(level: Level, stored: JsonValue) -> Level:
    """The level as an attempt searches it: a retry has more trials and wider ranges than what is written."""
    try:
        return Level.model_validate(stored) if stored else level
    except ValidationError:
        return level


def _state(attempts: Sequence[AttemptStanding], passed: JsonValue) -> str:
    if not attempts:
        return "waiting"
    if isinstance(passed, bool):
        return "passed" if passed else "missed"
    return "judging" if attempts[-1].tally.finished >= attempts[-1].tally.trials else "searching"


def _so_far(level: Level, best: SeenTrial | None) -> tuple[Mapping[str, JsonValue], ...]:
    """What the gate would say of the best trial's figures on train; of nothing where there is none."""
    figures = best.metrics if best else {}
    known = {name: float("nan") if value is None else value for name, value in figures.items()}
    try:
        return tuple(_as_json(reading) for reading in gate_readings(level, _Known(known), Part.TRAIN))
    except (KeyError, TypeError):
        return ()


class _Known(dict[str, float]):
    """Figures that were not measured are no numbers."""

    def __missing__(self, key: str) -> float:
        return float("nan")


def _as_json(reading: Reading) -> Mapping[str, JsonValue]:
    return reading.as_json()


def _whole(value: JsonValue) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
