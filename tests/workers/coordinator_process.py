"""A coordinator as a program that a test can kill."""

import json
import runpy
import sys
import time
from pathlib import Path

from optimizer.level.spec import Level
from optimizer.search.study import StudyFacts, open_study
from workers.connection.reconnect import Outage
from workers.connection.signing import Signer
from workers.coordinator.leadership import wait_for_leadership
from workers.coordinator.study.coordinator import StudyRun, coordinate
from workers.coordinator.study.job_recovery import CoordinatorSettings
from workers.queue.dispatch import QueueDispatcher
from workers.queue.job_allowlist import TrialQueue
from workers.queue.trial_queue import connect

WORKER_PROGRAM = runpy.run_path(str(Path(__file__).with_name("worker_process.py")))


def main(text: str) -> None:
    plan = json.loads(text)
    level = Level.model_validate(plan["level"])
    name, storage, url = plan["study"], plan["storage"], plan["url"]
    facts = StudyFacts(
        level=level, seed=plan["seed"], fingerprints={"data": "d1"}, first_points=tuple(plan["first_points"])
    )
    signer = Signer(plan["key"].encode() if plan["key"] else None)
    settings = CoordinatorSettings(trials_per_job=plan["trials_per_job"], reconcile_seconds=0.3, orphan_seconds=0.6)

    def make() -> StudyRun:
        queue = TrialQueue(connection=connect(url))
        return StudyRun(
            study=open_study(storage, name, facts),
            facts=facts,
            distributions=WORKER_PROGRAM["distributions"](level),
            repair=lambda parameters: WORKER_PROGRAM["repair"](level, parameters),
            digests=plan["digests"],
            dispatcher=QueueDispatcher(
                queue, study=name, url=url, job_timeout_seconds=plan["job_timeout"], signer=signer
            ),
            settings=settings,
        )

    leadership = wait_for_leadership(storage, name, stop=lambda: False, sleep=lambda _: time.sleep(0.1))
    assert leadership is not None
    sys.stdout.write("conducting\n")
    sys.stdout.flush()
    coordinate(make, outage=Outage(), stop=lambda: False, report=lambda _: None, wait_seconds=0.2)
    leadership.release()


if __name__ == "__main__":
    main(sys.argv[1])
