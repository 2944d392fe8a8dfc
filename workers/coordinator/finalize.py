"""The last step of a run: how far luck comes is measured, the recommendation made and told, the files written."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue, ValidationError

from optimizer.curriculum.state_machine import End, Outcome, Recommend
from optimizer.report.files import write_escalation, write_lineage, write_null, write_report
from optimizer.runs.run_store import RunRecord
from optimizer.validation.analyses.null_test import Luck, null_of
from optimizer.validation.evidence import Draw
from tradeschool.errors import SettingsError, StoreUnwritable
from tradeschool.store.atomic_files import append_line
from workers.coordinator import event_log, isolated_steps
from workers.coordinator.context import Place
from workers.coordinator.leadership import Role, require_role
from workers.coordinator.run_record import end_reason, save
from workers.processes.process_group import Crew, cores, crew

DRAWS_NAME = "null.jsonl"
"""In a level's folder: what each surrogate market came to, so that none is drawn twice."""

TellLuck = Callable[[str, int, int], None]
"""Told of a level, how many surrogate markets are done, and of how many."""


def _nothing(*_: object) -> None:
    """For whoever does not ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finale:
    """How whoever carries a run has its last step made."""

    processes: int = field(default_factory=cores)
    tell: TellLuck = _nothing
    wait_for_sealed: Callable[[Callable[[], bool]], None] = _nothing
    """Waits until it is so that the sealed period is there, as long as there is hope."""


class Conclusion:
    """The last step of a run, made by whoever holds its role; see `concluding`."""

    def __init__(self, place: Place, role: Role, stop: Callable[[], bool], finale: Finale, hands: Crew) -> None:
        self._place, self._role, self._stop, self._finale, self._hands = place, role, stop, finale, hands

    def conclude(self, record: RunRecord, action: Recommend) -> RunRecord:
        """The run with its luck measured and its recommendation, both written down.

        Raises:
            KeyboardInterrupt: where it was told to stop.
            RoleLost: where another process may be at work on the run.
            DataError: where candles of the run are missing, or changed.
        """
        if action.outcome is Outcome.PASSED:
            self._finale.wait_for_sealed(lambda: self._place.sealed_lack(record.level(action.level)) is None)
        else:
            attempt, reason = record.last(action.level), end_reason(record, action.outcome, action.level)
            assert attempt is not None, "what is given up was tried"
            folder = self._place.folder(record.name)
            _tell_once(folder, "level_escalated", level=action.level, attempt=attempt.number, reason=reason)
        # Of a gate that was missed, nobody asks whether luck could have met it.
        passed = [row.level for row in record.attempts if row.verdict and row.verdict.passed]
        for level in passed if record.surrogates else ():
            record = self.with_luck(record, level, record.surrogates)
        recommendation = isolated_steps.weigh(self._place, record, action, self._hands, self._stop)
        require_role(self._role)
        before = record.recommendation
        if before is None or (before.action, before.reason) != (recommendation.action, recommendation.reason):
            said = f"{recommendation.rule}: {recommendation.reason}"
            self._tell(record, "recommendation", action=recommendation.action_words, reason=said)
        return save(self._place, record.model_copy(update={"recommendation": recommendation}))

    def with_luck(self, record: RunRecord, level: str, count: int) -> RunRecord:
        """The run with the luck of a level that was judged, over at least `count` surrogate markets, written down.

        What was drawn before stays, and a kill loses the draws under way alone.

        Raises:
            SettingsError: where the level was not judged yet.
            KeyboardInterrupt, RoleLost, DataError: as `conclude` does.
        """
        rows = [row for row in record.attempts if row.level == level and row.verdict]
        if not rows:
            raise SettingsError(f"run {record.name}: level {level} was not judged yet")
        self._place.require_candles(record.level(level))
        luck = Luck(level=record.level(level), attempts=len(rows), inherited=rows[0].inherited, seed=record.seed)
        null = null_of(luck, self._draws(self._place.folder(record.name) / level / DRAWS_NAME, luck, count))
        require_role(self._role)
        write_null(self._place.results_dir, self._place.folder(record.name), level, null)
        if record.nulls.get(level) == null:
            return record
        self._tell(record, "luck_measured", level=level, said=null.sentence)
        return save(self._place, record.model_copy(update={"nulls": {**record.nulls, level: null}}))

    def _draws(self, path: Path, luck: Luck, count: int) -> list[Draw]:
        """Those that a file holds, and as many more as are missing, in order of number."""
        draws = read_draws(path, luck.attempts)
        missing = [number for number in range(count) if number not in draws]

        def take(draw: Draw) -> None:
            append_line(path, draw.model_dump_json())
            draws[draw.surrogate] = draw
            self._finale.tell(luck.level.name, len(draws), max(count, len(draws)))
            if self._stop():
                raise KeyboardInterrupt

        isolated_steps.draw(self._place, luck, missing, self._hands, take, self._stop)
        return [draws[number] for number in sorted(draws)]

    def _tell(self, record: RunRecord, event: str, **facts: JsonValue) -> None:
        event_log.record(self._place.folder(record.name), event, **facts)


@contextmanager
def concluding(place: Place, role: Role, stop: Callable[[], bool], finale: Finale) -> Iterator[Conclusion]:
    """What makes a run's last step, with as many processes as `finale` says until the block ends."""
    with crew(finale.processes) as hands:
        yield Conclusion(place, role, stop, finale, hands)


def write_end(place: Place, record: RunRecord, end: End) -> None:
    """Publish the files of a run that is over. Idempotent: the same files again, and no second event."""
    folder = place.folder(record.name)
    write_lineage(place.results_dir, folder, record)
    write_report(place.results_dir, folder, record)
    if end.outcome is Outcome.ESCALATED:
        missed = [each.verdict.shortfall for each in record.attempts if each.level == end.level and each.verdict]
        write_escalation(place.results_dir, folder, record.level(end.level), missed)
    reason = end_reason(record, end.outcome, end.level)
    _tell_once(folder, "run_finished", run=record.name, outcome=end.outcome, reason=reason)


def _tell_once(folder: Path, event: str, **facts: JsonValue) -> None:
    if event not in {known.name for known in event_log.read(folder)}:
        event_log.record(folder, event, **facts)


def read_draws(path: Path, attempts: int) -> dict[int, Draw]:
    """The draws of a file by their number, as far as they are whole and of as many attempts.

    Raises:
        StoreUnwritable: where the file cannot be read.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StoreUnwritable(f"cannot read {path}: {error.strerror or error}; fix permissions") from error
    found = {}
    for line in lines:
        with suppress(ValidationError):  # cut by a kill
            draw = Draw.model_validate_json(line)
            if draw.attempts_allowed == attempts:
                found[draw.surrogate] = draw
    return found
