"""A small study and the ways to search it: over the queue, or in this process as the reference."""

import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from optimizer.level.spec import Level, Parameters
from optimizer.search.study import OpenStudy, StudyFacts, open_study
from optimizer.search.trial_table import export
from tests.workers import worker_process
from workers.connection.redis_client import make_client
from workers.connection.signing import Signer
from workers.coordinator.study.coordinator import StudyRun
from workers.coordinator.study.job_recovery import CoordinatorSettings
from workers.coordinator.study.trial_ledger import StudyProgress
from workers.queue.dispatch import Dispatcher, QueueDispatcher
from workers.queue.job_allowlist import TrialQueue
from workers.queue.messages import level_digests
from workers.worker.in_process_dispatch import InProcessDispatcher


@dataclass(frozen=True)
class Plan:
    """A study plan with helpers that run it."""

    folder: Path
    url: str
    title: str = "plain"
    trials: int = 16
    lag: int = 4
    trials_per_job: int = 1
    job_timeout: int = 120
    attempts: int = 3
    digest: str = "d1"
    study: str = "run-L1-a1"
    seed: int = 7
    mode: str = "lagged"
    strategy: str = "sma_cross"
    database: str | None = None
    """URL of the study database; None is a SQLite file in the folder."""
    first_points: tuple[Parameters, ...] = field(default=())
    key: str | None = None
    """Signing key of batches and results, or None."""

    @property
    def level(self) -> Level:
        return Level.model_validate(
            {
                "name": "1",
                "title": self.title,
                "direction": "long",
                "strategy": self.strategy,
                "trials": self.trials,
                "lag": self.lag,
                "mode": self.mode,
                "datasets": [{"dataset": "coinbase/BTC-USD/M5", "start": "2020-01-01", "end": "2022-01-01"}],
                "gate": {"win_rate": 0.5, "sharpe": 0.8, "max_drawdown_intrabar": 0.15, "profit_factor": 1.3},
                "ranges": {"fast": [5, 50], "slow": [60, 200], "stop": [1.0, 5.5]},
            }
        )

    @property
    def facts(self) -> StudyFacts:
        return StudyFacts(level=self.level, seed=self.seed, fingerprints={"data": "d1"}, first_points=self.first_points)

    @property
    def storage(self) -> str:
        return self.database or f"sqlite:///{self.folder / 'study.db'}"

    @property
    def settings(self) -> CoordinatorSettings:
        return CoordinatorSettings(
            trials_per_job=self.trials_per_job, reconcile_seconds=0.3, orphan_seconds=0.6, attempts=self.attempts
        )

    @property
    def queue(self) -> TrialQueue:
        return TrialQueue(connection=make_client(self.url))

    def open(self) -> OpenStudy:
        return open_study(self.storage, self.study, self.facts)

    def run(self, study: OpenStudy, dispatcher: Dispatcher | None = None, database: str = "") -> StudyRun:
        level = self.level
        signer = Signer(self.key.encode() if self.key else None)
        queued = QueueDispatcher(
            self.queue, study=self.study, url=self.url, job_timeout_seconds=self.job_timeout, signer=signer
        )
        return StudyRun(
            study=study,
            facts=self.facts,
            space=worker_process.search_space(self.facts),
            digests=level_digests(level, worker_process.Candles(self.digest)),
            dispatcher=dispatcher or queued,
            settings=self.settings,
            database=database,
        )

    def finish(self, run: StudyRun, seconds: float = 300.0) -> StudyProgress:
        end = time.monotonic() + seconds
        while not (progress := run.reconcile(wait_seconds=0.2)).is_done:
            assert time.monotonic() < end, f"not done after {seconds} s: {progress}"
        return progress

    def table_by_queue(self) -> bytes:
        study = self.open()
        self.finish(self.run(study))
        table = export(study.trials(), "csv")
        study.close()
        return table

    def table_in_process(self) -> bytes:
        plan = replace(self, folder=self.folder / "here", title="plain", database=None)
        plan.folder.mkdir(exist_ok=True)
        study = plan.open()
        plan.finish(plan.run(study, InProcessDispatcher(worker_process.make_evaluator("here"))))
        table = export(study.trials(), "csv")
        study.close()
        assert b"complete" in table, "no trial completed, so that the table proves nothing"
        return table

    def as_json(self) -> str:
        return json.dumps(
            {
                "study": self.study,
                "storage": self.storage,
                "url": self.url,
                "seed": self.seed,
                "level": self.level.model_dump(mode="json"),
                "first_points": list(self.first_points),
                "trials_per_job": self.trials_per_job,
                "job_timeout": self.job_timeout,
                "key": self.key,
                "digests": level_digests(self.level, worker_process.Candles(self.digest)),
            }
        )
