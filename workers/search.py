"""A run from its first trial to its verdict: each level searched by the queue's workers, and judged here.

What a run is stands in `results/<run>/run.json`; how far it is, in its studies. So any process can go on with it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from optuna.trial import FrozenTrial
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from optimizer import fingerprint
from optimizer.backtest.prepare import Prepared
from optimizer.level import Level, Part
from optimizer.objective import backtest, distributions, judge, prepare_level, repair
from optimizer.portfolio import Portfolio, portfolio
from optimizer.report.files import Findings, log_opening, write_findings
from optimizer.selection import Winner, candidates, choose
from optimizer.study import OpenStudy, StudyFacts, open_study
from tradeschool.errors import SettingsError
from tradeschool.settings import WorkSettings
from tradeschool.store import Store
from tradeschool.store.files import publish_text
from workers.carrier import QueueCarrier
from workers.conductor import ConductorSettings, Run, conduct
from workers.guard import TrialQueue
from workers.jobs import level_digests
from workers.ledger import Progress
from workers.queue import connect
from workers.role import wait_to_claim
from workers.signing import Signer

RECORD_NAME = "run.json"
ATTEMPT = 1
Tell = Callable[[Level, Progress], None]


class RunRecord(BaseModel):
    """What decides a run's results; written once, before its first trial."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    seed: int
    levels: tuple[Level, ...]
    created: AwareDatetime
    code: str
    """Digest of the code; a run goes on only where it is the same."""

    def study(self, level: Level) -> str:
        """The name of a level's study."""
        return f"{self.name}-L{level.name}-a{ATTEMPT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run finds and leaves what it works with."""

    store: Store
    results_dir: Path
    storage_url: str
    min_coverage: float
    work: WorkSettings

    def folder(self, run: str) -> Path:
        """A run's own folder."""
        return self.results_dir / run


def new_run_name(now: datetime, seed: int) -> str:
    """Such as `20261122-181500-s7`."""
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-s{seed}"


def begin(place: Place, name: str, levels: tuple[Level, ...], seed: int, now: datetime) -> RunRecord:
    """A new run, written down.

    Raises:
        SettingsError: where a level cannot be searched, or there is a run of that name.
    """
    if (place.folder(name) / RECORD_NAME).exists():
        raise SettingsError(f"there is a run {name} in {place.results_dir}; go on with it: tradeschool optimize resume")
    for level in levels:
        distributions(level)
    try:
        record = RunRecord(name=name, seed=seed, levels=levels, created=now, code=fingerprint.of_code())
    except ValidationError:
        raise SettingsError(f"run name {name!r}: expected up to 64 letters, digits, dashes and underscores") from None
    publish_text(place.results_dir, place.folder(name) / RECORD_NAME, record.model_dump_json(indent=1) + "\n")
    return record


def resume(place: Place, name: str) -> RunRecord:
    """A run that was begun before.

    Raises:
        SettingsError: where there is none, or the code is not what it was begun with.
    """
    record, code = read_record(place.results_dir, name), fingerprint.of_code()
    if record.code != code:
        raise SettingsError(
            f"run {name} was begun with other code ({record.code}, now {code}): its trials could not be compared; "
            "begin a new run"
        )
    return record


def read_record(results_dir: Path, name: str) -> RunRecord:
    """A run as it was written down.

    Raises:
        SettingsError: where there is none, or it cannot be read.
    """
    path = results_dir / name / RECORD_NAME
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise SettingsError(f"no run {name!r} in {results_dir}; see: tradeschool optimize list") from None
    except (OSError, ValidationError) as error:
        raise SettingsError(f"{path}: cannot be read as a run: {str(error).splitlines()[0]}") from error


def require_candles(place: Place, level: Level) -> None:
    """Refuse to go on without every candle that a level names.

    Raises:
        DataIncomplete: which dataset lacks what.
    """
    for dataset in level.datasets:
        place.store.require(dataset.source, dataset.window, place.min_coverage)


def search(
    place: Place, record: RunRecord, level: Level, redis_url: str, tell: Tell, stop: Callable[[], bool]
) -> Findings:
    """Have a level's trials evaluated, choose and judge its winner, and write down all of it.

    Takes the place of a conductor that is gone, and waits for one that is at work.

    Raises:
        KeyboardInterrupt: where `stop` says so before the last trial.
        DataIncomplete: which candles are missing.
        SettingsError: where the candles are not those that the level's search was begun with.
        ServiceUnreachable: where Redis or the study's database stays away.
    """
    require_candles(place, level)
    facts = _facts(place, record, level)
    role = wait_to_claim(place.storage_url, record.study(level), stop=stop, sleep=time.sleep)
    if role is None:
        raise KeyboardInterrupt
    study = open_study(place.storage_url, record.study(level), facts)
    try:
        _conduct(place, study, facts, redis_url, tell, stop)
        return _judge(place, record, level, study.trials())
    finally:
        study.close()
        role.release()


def _conduct(
    place: Place, study: OpenStudy, facts: StudyFacts, redis_url: str, tell: Tell, stop: Callable[[], bool]
) -> None:
    level = facts.level
    settings = ConductorSettings(trials_per_job=place.work.trials_per_job)
    digests = level_digests(level, place.store)

    def make() -> Run:
        carrier = QueueCarrier(
            TrialQueue(connection=connect(redis_url)),
            study=study.name,
            url=redis_url,
            job_timeout_seconds=place.work.trial_timeout_seconds,
            signer=Signer(place.work.key()),
        )
        return Run(
            study=study,
            facts=facts,
            distributions=distributions(level),
            repair=lambda parameters: repair(level, parameters),
            digests=digests,
            carrier=carrier,
            settings=settings,
        )

    if conduct(make, settings=settings, stop=stop, report=lambda progress: tell(level, progress)) is None:
        raise KeyboardInterrupt


def _judge(place: Place, record: RunRecord, level: Level, trials: list[FrozenTrial]) -> Findings:
    folder = place.folder(record.name)
    parts = {part: prepare_level(level, part, place.store.arrays) for part in Part}
    log_opening(folder, level, ATTEMPT, Part.VALIDATION, [trial.number for trial in candidates(trials)], _now())
    winner = choose(level, trials, parts[Part.TRAIN], parts[Part.VALIDATION])
    if winner:
        log_opening(folder, level, ATTEMPT, Part.TEST, [winner.number], _now())
    findings = Findings(
        level=level,
        attempt=ATTEMPT,
        trials=tuple(trials),
        winner=winner,
        test=judge(level, parts[Part.TEST], winner.parameters, Part.TEST) if winner else None,
        accounts={part: _account(level, parts[part], winner) for part in Part} if winner else {},
    )
    write_findings(place.results_dir, folder, findings)
    return findings


def _account(level: Level, prepared: tuple[Prepared, ...], winner: Winner) -> Portfolio:
    return portfolio([backtest(level, dataset, winner.parameters) for dataset in prepared])


def _facts(place: Place, record: RunRecord, level: Level) -> StudyFacts:
    digests = {
        f"{dataset.dataset} {dataset.window.name}": place.store.digest(dataset.source, dataset.window)
        for dataset in level.datasets
    }
    fingerprints = {"code": record.code, "candles": fingerprint.of_data(digests)}
    return StudyFacts(level=level, seed=record.seed, fingerprints=fingerprints)


def _now() -> datetime:
    return datetime.now(UTC)
