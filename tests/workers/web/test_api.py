"""API: it returns the current state and reports unreachable services."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import resources

import pytest
from redis import Redis

from tradeschool.embedded_valkey.server import EmbeddedValkey
from workers.monitoring.overview import Overview, Sources
from workers.monitoring.queue_history import HistorySample
from workers.monitoring.snapshot import take_snapshot
from workers.web import api, app
from workers.web.auth import Auth
from workers.web.topics import TopicStore

SPEC = json.loads((resources.files("workers.web") / "static" / "openapi.json").read_text())
MOMENT = HistorySample(time=1_000, queued=1, started=1, failed=0, throughput_per_minute=5, workers=2)


@contextmanager
def stream(page) -> Iterator[Iterator[tuple[str, dict]]]:
    """Yield the events of a stream."""
    answer = page.get("/api/stream", stream=True)
    assert answer.headers["Content-Type"] == "text/event-stream"

    def parsed() -> Iterator[tuple[str, dict]]:
        name = ""
        for line in answer.iter_lines(chunk_size=1):
            field, _, value = line.decode().partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                yield name, json.loads(value)

    yield parsed()
    answer.close()


def eventually(look, seconds: float = 60.0):
    """Wait longer than two polls of a server without open pages."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"not so after {seconds} s"
        time.sleep(0.05)
    return found


def test_a_new_stream_receives_every_topic_at_once(page, context) -> None:
    context.begin_run()
    with stream(page) as told:
        seen = dict(next(told) for _ in range(6))

    assert set(seen) == {"queue", "run", "events", "candles", "download", "forward"}


def finished(topic) -> int:
    """Finished trials of the first level."""
    return sum(attempt["finished"] for attempt in topic["run"]["levels"][0]["attempts"])


def test_changes_are_sent_to_an_open_stream(page, context, plan) -> None:
    context.begin_run()
    with stream(page) as told:
        study = plan.open()
        plan.run(study).reconcile()
        study.close()
        context.add_trials(3)

        queued = next(topic for name, topic in told if name == "queue" and topic["queue"]["queued"])
        run = next(topic for name, topic in told if name == "run" and finished(topic) == 3)

    assert queued["queue"]["queued"] == plan.lag
    assert run["run"]["run"] == "r1"


def test_a_topic_equals_the_output_of_its_command(page, plan) -> None:
    study = plan.open()
    plan.run(study).reconcile()
    study.close()

    told = eventually(lambda: (found := page.get("/api/queue").json()["queue"]) and found["queued"] and found)

    known = take_snapshot(plan.queue, time.time()).to_json()
    assert {**told, "oldest_seconds": 0} == {**json.loads(json.dumps(known)), "oldest_seconds": 0}


def test_trials_are_paginated(page, context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.web.details.MAX_ROWS", 7)
    context.begin_run()
    context.add_trials(12)
    rows, after, more = [], 0, True
    while more:
        found = page.get(f"/api/runs/r1/levels/1/attempts/1/trials?after={after}").json()
        rows += found["trials"]
        after, more = found["next"], found["more"]

    assert [row[0] for row in rows] == list(range(12))
    assert found["columns"][-2:] == ["fast", "stop"]
    assert rows[3][:4] == [3, "complete", 0.3, True]
    assert rows[4][1:4] == ["pruned", 0.4, False]


def test_parameter_importance_is_shown_with_enough_trials(page, context) -> None:
    context.begin_run()
    context.add_trials(5)
    path = "/api/runs/r1/levels/1/attempts/1/importance"
    assert page.get(path).json()["importances"] == {}
    context.add_trials(35)

    found = eventually(lambda: page.get(path).json()["importances"])

    assert set(found) == {"fast", "stop"}
    assert sum(found.values()) == pytest.approx(1.0, abs=0.001)


def test_a_verdict_updates_the_run(page, context) -> None:
    context.begin_run()
    context.add_trials(40)
    context.judge(passed=True)

    level = page.get("/api/runs/r1").json()["levels"][0]

    assert (level["state"], level["winner"], level["gate_part"]) == ("passed", 3, "validation")
    assert level["labels"]["sharpe"] == "Sharpe ratio"
    assert level["labels"].keys() >= {reading["name"] for reading in level["gate"]}


def test_events_have_their_messages(page, context) -> None:
    context.begin_run()

    (event,) = page.get("/api/runs/r1/events").json()["events"]

    assert (event["event"], event["sentence"]) == ("run_started", "run r1 started, seed 7")


@pytest.mark.parametrize(
    "path",
    [
        "/api/runs/absent",
        "/api/runs/..",
        "/api/runs/%2e%2e",
        "/api/runs/r1%2f..",
        "/api/runs/r1/report",
        "/api/runs/r1/levels/1/equity",
        "/api/runs/r1/levels/%2e%2e/equity",
        "/api/runs/r1/levels/1/attempts/0/trials",
        "/api/runs/r1/levels/1/attempts/x/trials",
        "/api/absent",
    ],
)
def test_an_unknown_resource_is_404_with_one_line(page, context, path: str) -> None:
    context.begin_run()
    (context.folder / "run.json").write_text("{}")
    answer = page.get(path)

    assert answer.status_code == 404
    assert "error" in answer.json()


@pytest.mark.parametrize("after", ["-1", "x", "", "1e3", "99999999999999999999"])
def test_an_invalid_offset_is_400(page, context, after: str) -> None:
    context.begin_run()
    answer = page.get(f"/api/runs/r1/levels/1/attempts/1/trials?after={after}")

    assert answer.status_code == 400
    assert answer.json()["error"].startswith("after: expected a whole number")


@pytest.mark.parametrize("detail", ["trials", "importance"])
@pytest.mark.parametrize("window", ["0", "53", "x", ""])
def test_an_invalid_window_is_400(page, context, detail: str, window: str) -> None:
    context.begin_run()
    answer = page.get(f"/api/runs/r1/levels/1/attempts/1/{detail}?window={window}")

    assert answer.status_code == 400
    assert answer.json()["error"] == "window: expected a whole number from 1 to 52"


def test_a_report_is_served_without_running_scripts(page, context) -> None:
    context.begin_run()
    (context.results / "r1" / "report.html").write_text("<h1>Report</h1><script>alert(1)</script>")
    answer = page.get("/api/runs/r1/report")

    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert "script-src" not in answer.headers["Content-Security-Policy"]


def test_equity_is_read_from_the_result_file(page, context) -> None:
    context.begin_run()
    context.judge(passed=True)
    found = {"days": [1, 2], "equity": [1.0, 1.1], "buy_and_hold": [1.0, 1.2], "drawdown": [0.0, 0.0]}
    (context.results / "r1" / "1" / "equity.json").write_text(json.dumps(found))

    assert page.get("/api/runs/r1/levels/1/equity").json() == found


def test_failed_jobs_have_a_reason_and_can_be_requeued(page, context, plan, fail_a_job) -> None:
    context.begin_run()
    job = fail_a_job(plan)
    (told,) = page.get("/api/failed").json()["jobs"]
    assert (told["job"], told["trials"], told["level"], told["attempt"]) == (job, "0", "1", 1)
    assert "no luck" in told["reason"]
    answer = page.post("/api/failed/requeue", json={"jobs": [job, "absent", "rq:job:../x"]})

    assert answer.json() == {"requeued": [job]}
    assert plan.queue.job_ids[-1] == job
    assert plan.queue.fetch_job(job).get_status() == "queued"
    again = page.post("/api/failed/requeue", json={"jobs": [job]})
    assert again.json() == {"requeued": []}
    assert plan.queue.job_ids.count(job) == 1
    assert page.get("/api/runs/r1/events").json()["events"][-1]["event"] == "jobs_requeued"


def test_a_requeued_job_is_evaluated(page, context, plan, start_worker, fail_a_job) -> None:
    context.begin_run()
    fail_a_job(plan)
    page.post("/api/failed/requeue", json={})
    start_worker()

    eventually(lambda: take_snapshot(plan.queue, time.time()).finished == plan.lag)
    assert take_snapshot(plan.queue, time.time()).failed == 0


@pytest.mark.parametrize(
    "body", ["", "[]", "{", '{"jobs": 3}', '{"jobs": [3]}', '{"all": true}', '{"jobs": ' + "[" * 5000, "nul"]
)
def test_a_body_without_job_ids_is_400(page, body: str) -> None:
    answer = page.post("/api/failed/requeue", data=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_body_that_is_too_large_is_413(page) -> None:
    body = json.dumps({"jobs": ["x" * 100] * 20_000})
    answer = page.post("/api/failed/requeue", data=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 413


def test_during_a_redis_outage_other_topics_are_served(context, serve, client) -> None:
    context.redis_url = "redis://:s3cret@127.0.0.1:9/0"
    context.begin_run()
    with serve(context) as url:
        page = client(url)
        queue = eventually(lambda: (found := page.get("/api/queue")).status_code == 200 and found.json())
        run = eventually(lambda: (found := page.get("/api/run")).status_code == 200 and found.json())
        failed = page.get("/api/failed")
        health = page.get("/healthz")

    assert "does not answer" in queue["error"]
    assert "s3cret" not in json.dumps(queue)
    assert run["run"]["run"] == "r1"
    assert failed.status_code == 503
    assert "does not answer" in failed.json()["error"]
    assert health.json() == {"status": "ok", "redis": "unreachable"}


def test_a_stopped_embedded_server_between_runs_is_no_error(
    context, serve, client, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = EmbeddedValkey.of(context.folder / "state")
    embedded.folder.mkdir(parents=True)
    (embedded.folder / "history.json").write_text(json.dumps([asdict(MOMENT)]))
    sources = Sources(redis_url=embedded.url, context=context.context, datasets=[], embedded=embedded)
    monkeypatch.setattr(context, "overview", lambda: Overview(sources), raising=False)
    with serve(context) as url:
        page = client(url)
        queue = eventually(lambda: (found := page.get("/api/queue")).status_code == 200 and found.json())
        history, health, metrics = page.get("/api/history"), page.get("/healthz"), page.get("/metrics").text

    assert (queue["error"], queue["queue"]) == ("", None)
    assert "not running: no run is active" in queue["note"]
    assert history.json() == {"error": "", "samples": [asdict(MOMENT)]}
    assert health.json() == {"status": "ok", "redis": "not running"}
    assert "tradeschool_redis_up 0.0" in metrics
    assert 'tradeschool_up{source="queue"} 1.0' in metrics


def error_of_run(page) -> str | None:
    """The reason for missing values; None before the first look, which is answered with status 503."""
    answer = page.get("/api/run")
    return answer.json()["error"] if answer.status_code == 200 else None


def test_during_a_database_outage_result_files_are_served(context, serve, client, postgres) -> None:
    server, context.storage_url = postgres
    context.begin_run("away")
    with serve(context) as url, client(url) as page, stream(page):  # watched, it looks every two seconds

        def error() -> str | None:
            return error_of_run(page)

        eventually(lambda: page.get("/api/run").json().get("run"))
        server.stop()
        try:
            told = eventually(error)
            level_status, files = page.get("/api/runs/away"), page.get("/api/runs/away/events")
            health = page.get("/healthz")
        finally:
            server.start()
        eventually(lambda: error() == "")

        assert told.startswith("study database postgresql")
        assert level_status.status_code == 503
        assert [event["event"] for event in files.json()["events"]] == ["run_started"]
        assert health.json()["status"] == "ok"
        assert page.get("/api/run").json()["run"]["run"] == "away"


def test_a_failing_topic_does_not_stop_the_others(page, context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.web.poller.as_page", lambda level_status: 1 / 0)
    context.begin_run()

    with stream(page):
        told = eventually(lambda: error_of_run(page))
    assert told == "run: not readable; see the log of tradeschool serve"
    assert page.get("/api/queue").status_code == 200


def test_every_route_is_documented_and_exists(context) -> None:
    served = {
        (route.method.lower(), route.resource.canonical)
        for route in app.make_app(context.overview(), Auth(token=None)).router.routes()
        if route.method != "HEAD" and not route.resource.canonical.startswith(("/static/", "/log", "/api/openapi"))
    }
    documented = {(method, path) for path, methods in SPEC["paths"].items() for method in methods}

    assert served - {("get", "/")} == documented


def test_every_response_matches_its_documented_schema(page, context, schema_of) -> None:
    """Schemathesis generates valid and invalid calls and validates every response against the document."""
    context.begin_run()
    context.add_trials(12)
    assert schema_of(page.url) > 50


class Rounds:
    """Block the poller between two polls until the test releases it."""

    PARTS = 6

    def __init__(self) -> None:
        self._paused = threading.Semaphore(0)
        self._released: list[asyncio.Event] = []

    async def pause(self, topics: TopicStore, watched_seconds: float, idle_seconds: float) -> None:
        """Replacement of `TopicStore.pause`."""
        released = asyncio.Event()
        self._released.append(released)
        self._paused.release()
        await released.wait()

    def wait(self) -> None:
        """Wait until every part has been polled."""
        assert all(self._paused.acquire(timeout=60) for _ in range(self.PARTS))

    def next(self, loop: asyncio.AbstractEventLoop) -> None:
        """Poll every part once more."""
        released, self._released = self._released, []
        for each in released:
            loop.call_soon_threadsafe(each.set)
        self.wait()


def test_200_open_streams_cost_as_many_reads_as_one(
    context, killable_server, serve_on, client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of Redis commands per poll, counted by Redis, does not depend on the number of pages."""
    rounds = Rounds()
    monkeypatch.setattr(TopicStore, "pause", lambda topics, watched, idle: rounds.pause(topics, watched, idle))
    monkeypatch.setattr(
        "workers.monitoring.overview.record_sample", lambda *_: None
    )  # it keeps what it saw once in five seconds
    context.redis_url = killable_server.url
    context.begin_run()
    connection = Redis.from_url(killable_server.url)

    def commands() -> int:
        return int(connection.info("stats")["total_commands_processed"])

    with serve_on(context) as (url, loop), client(url) as page, stream(page) as one:
        rounds.wait()
        heard = [next(one) for _ in range(rounds.PARTS)]
        rounds.next(loop)
        before = commands()
        rounds.next(loop)
        alone = commands() - before
        others = [page.get("/api/stream", stream=True) for _ in range(199)]
        told = [next(each.iter_lines()) for each in others]
        rounds.next(loop)
        with_all = commands() - before - alone
        for each in others:
            each.close()
    connection.close()

    assert len(heard) == rounds.PARTS
    assert len(told) == 199
    assert with_all == alone > 1, "the question for the count is one of them"


def test_the_number_of_streams_is_limited(page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MAX_STREAMS", 2)
    open_pages = [page.get("/api/stream", stream=True) for _ in range(2)]
    refused = page.get("/api/stream")
    for each in open_pages:
        each.close()

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")


def test_an_idle_stream_sends_keep_alives(page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "KEEPALIVE_SECONDS", 0.05)
    monkeypatch.setattr("workers.web.topics.TopicStore.changes", never)
    answer = page.get("/api/stream", stream=True)
    lines = answer.iter_lines(chunk_size=1)

    assert b": beat" in [next(lines) for _ in range(4)]
    answer.close()


async def never(topics, seen: int):
    await asyncio.sleep(3600)


def test_a_closed_stream_is_removed(page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MAX_STREAMS", 1)
    with stream(page) as told:
        next(told)
        assert page.get("/api/stream").status_code == 503

    def opens() -> bool:
        answer = page.get("/api/stream", stream=True)
        answer.close()
        return bool(answer.status_code == 200)

    assert eventually(opens)
