"""Ten searches at once on one queue and two workers advance together; each table is that of a search alone."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from optimizer.search.trial_table import export
from tests.workers.study_plan import Plan
from workers.monitoring.snapshot import take_snapshot
from workers.queue.job_names import size_of, study_of
from workers.queue.turns import AHEAD_TRIALS
from workers.web.metrics import MetricsCollector
from workers.web.topics import TopicStore

STUDIES, TICKETS = 10, 160
LARGE, SMALL = 24, 2
"""The lag of the first study, which may have that many trials open, and that of the others."""


def plans_of(plan: Plan, tickets: Path) -> list[Plan]:
    """Small studies with seeds of their own; the first has a large lag, every third sends two trials a job."""
    made = [
        replace(
            plan,
            folder=plan.folder / f"study{number}",
            study=f"study{number}-L1-a1",
            title=f"tickets {tickets}",
            seed=number,
            lag=SMALL if number else LARGE,
            trials=26 if number else 80,
            trials_per_job=1 if number % 3 else 2,
        )
        for number in range(STUDIES)
    ]
    for each in made:
        each.folder.mkdir()
    return made


def finished_trials(plan: Plan) -> Counter[str]:
    jobs = [entry.decode() for entry in plan.queue.connection.zrange("rq:finished:trials", 0, -1)]
    return Counter({job: size_of(job) for job in jobs})


def by_study(plan: Plan) -> dict[str, int]:
    counts = Counter[str]()
    for job, trials in finished_trials(plan).items():
        counts[study_of(job)] += trials
    return dict(counts)


def table_of(plan: Plan) -> bytes:
    study = plan.open()
    table = export(study.trials(), "csv")
    study.close()
    return table


def test_ten_searches_share_two_workers(plan, start, start_worker, eventually, tmp_path: Path) -> None:
    plans, queue = plans_of(plan, tmp_path), plan.queue
    coordinators = [start("coordinator_process.py", each.as_json()) for each in plans]
    open_jobs = sum(each.lag // each.trials_per_job for each in plans)
    eventually(lambda: queue.connection.llen(queue.key) == open_jobs)
    for ticket in range(TICKETS):
        (tmp_path / str(ticket)).touch()
    for _ in range(2):
        start_worker()
    eventually(lambda: not any(tmp_path.iterdir()) and sum(finished_trials(plan).values()) >= TICKETS - 4)
    counts, snapshot = by_study(plan), take_snapshot(queue)
    topics = TopicStore()
    topics.put("queue", {"queue": snapshot.to_json()})
    (metric,) = [each for each in MetricsCollector(topics).collect() if each.name == "tradeschool_study_trials"]
    (tmp_path / "all").touch()
    codes = [coordinator.wait(timeout=300) for coordinator in coordinators]

    fair = TICKETS / STUDIES
    assert counts.keys() == {each.study for each in plans}, "every study has advanced"
    assert max(counts.values()) <= fair + AHEAD_TRIALS + 2, counts
    assert {each.study: each.trials for each in snapshot.studies} == {each.study: each.trials for each in plans}
    assert sum(each.queued for each in snapshot.studies) == snapshot.queued
    assert sum(each.started for each in snapshot.studies) == snapshot.started == 2
    totals = {sample.labels["study"]: sample.value for sample in metric.samples if sample.labels["state"] == "total"}
    assert totals == {each.study: each.trials for each in plans}
    assert codes == [0] * STUDIES
    for each in plans:
        assert table_of(each) == each.table_in_process(), each.study
