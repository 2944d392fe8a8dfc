"""Notifications: each event is sent once, by one process, also after restarts."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.factories.downloads import provider_state
from tests.factories.runs import CREATED, make_context, make_run_record
from tradeschool.notify import Notification
from tradeschool.settings.sections import EVENTS
from tradeschool.store.download_status import DownloadState, DownloadStatus
from workers.coordinator import event_log
from workers.monitoring.notifications import NotificationMonitor, notification_lock
from workers.monitoring.overview import Overview, Sources, View
from workers.monitoring.run_status import RunStatus
from workers.monitoring.snapshot import Snapshot
from workers.monitoring.stall_detection import Stall
from workers.monitoring.worker_snapshot import WorkerSnapshot

START = 1_800_000_000.0


class ServiceHarness:
    """An installation with a clock and queue controlled by the test."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now, self.told = folder, START, list[Notification]()
        self.overview = Overview(
            Sources(
                redis_url=f"unix://{folder}/absent",
                context=make_context(folder),
                datasets=[],
            ),
            clock=lambda: self.now,
            is_quiet=True,
        )
        self.workers: tuple[WorkerSnapshot, ...] | None = None
        self.overview.queue = self.queue  # type: ignore[method-assign]
        self.stall: Stall | None = None
        self._seen_run = self.overview.run
        self.overview.run = self.run  # type: ignore[method-assign]

    def run(self, name: str | None = None) -> View[RunStatus]:
        seen = self._seen_run(name)
        return View(value=replace(seen.value, stall=self.stall, is_active=True)) if seen.value else seen

    def queue(self) -> View[Snapshot]:
        if self.workers is None:
            return View(error="away")
        counts = dict.fromkeys(("queued", "started", "finished", "failed", "deferred", "scheduled"), 0)
        pace = {"oldest_seconds": 0.0, "throughput_per_minute": 0}
        return View(value=Snapshot(**counts, **pace, workers=self.workers))  # type: ignore[arg-type]

    def notifications(self, **options: object) -> NotificationMonitor:
        given = {"wanted": frozenset(EVENTS.split(",")), "digest_seconds": 0.0} | options
        made = NotificationMonitor(overview=self.overview, tell=self.told.append, folder=self.folder / "state", **given)  # type: ignore[arg-type]
        made.begin()
        return made

    def begin_run(self, name: str = "r1") -> Path:
        context = self.overview.sources.context
        make_run_record(context, name=name, created=CREATED + timedelta(hours=len(self.overview.studies.runs())))
        folder = context.folder(name)
        event_log.record(folder, "run_started", run=name, seed=7)
        return folder

    def fetch(
        self,
        *,
        holdout: tuple[str, ...] = (),
        error: str | None = None,
        banned: bool = False,
        paused: float = 0.0,
        running: bool = True,
    ):
        provider = provider_state(requests=1, paused_seconds=paused)
        download = DownloadState(
            dataset="coinbase/BTC-USD/M5",
            range="2020",
            pages_done=30,
            pages_total=90,
            reached=None,
            sealed=holdout,
            error=error,
            banned=banned,
        )
        time = datetime.fromtimestamp(self.now, UTC)
        record = DownloadStatus(
            time=time, running=running, eta_seconds=120, providers=(provider,), downloads=(download,)
        )
        record.publish(self.folder / "data")

    def said(self) -> list[str]:
        names = [message.event for message in self.told]
        self.told.clear()
        return names


@pytest.fixture
def context(tmp_path: Path) -> Iterator[ServiceHarness]:
    made = ServiceHarness(tmp_path)
    yield made
    made.overview.close()


def worker(age: float, name: str = "w1") -> WorkerSnapshot:
    return WorkerSnapshot(name=name, host="h1", state="busy", heartbeat_age_seconds=age, done=1, failed=0)


@pytest.mark.parametrize(
    ("action", "kind"), [("deploy", "good"), ("paper trade", "warning"), ("do not deploy", "bad"), ("other", "bad")]
)
def test_the_severity_of_a_recommendation_follows_its_verdict(context: ServiceHarness, action: str, kind: str) -> None:
    notifications = context.notifications()
    event_log.record(context.begin_run(), "recommendation", action=action, reason="a check is not met")
    notifications.look()

    assert [(message.event, message.kind, message.title) for message in context.told] == [
        ("recommendation", kind, f"recommendation: {action}: a check is not met")
    ]


def test_run_events_are_sent_as_they_occur(context: ServiceHarness) -> None:
    notifications = context.notifications()
    run = context.begin_run()
    event_log.record(run, "level_started", level="1", attempt=1, trials=10)
    event_log.record(run, "level_failed", level="1", attempt=1, reason="sharpe")
    event_log.record(run, "run_finished", run="r1", outcome="escalated", reason="level 1 is given up")
    notifications.look()

    assert [(message.event, message.kind) for message in context.told] == [
        ("level_failed", "bad"),
        ("run_finished", "bad"),
    ]
    assert context.told[0].title == "level 1, attempt 1: the gate failed: sharpe"
    assert context.told[0].facts["attempt"] == 1
    context.told.clear()
    notifications.look()
    assert context.said() == []


def test_events_before_the_first_start_are_not_sent(context: ServiceHarness) -> None:
    run = context.begin_run()
    event_log.record(run, "level_passed", level="1", attempt=1, trial=3)
    context.fetch(holdout=("coinbase/BTC-USD/M5",))
    notifications = context.notifications()
    notifications.look()

    assert context.said() == []


def test_a_new_sender_continues_after_the_last_sent_event(context: ServiceHarness) -> None:
    context.notifications().look()
    run = context.begin_run()
    context.fetch(holdout=("coinbase/BTC-USD/M5",))
    event_log.record(run, "level_passed", level="1", attempt=1, trial=3)
    context.notifications().look()
    assert sorted(context.said()) == ["dataset_sealed", "level_passed"]
    event_log.record(run, "level_failed", level="2", attempt=1, reason="x")
    context.notifications().look()

    assert context.said() == ["level_failed"]


def test_an_unreadable_state_file_sends_nothing_twice(context: ServiceHarness) -> None:
    run = context.begin_run()
    event_log.record(run, "level_passed", level="1", attempt=1, trial=3)
    (context.folder / "state").mkdir()
    (context.folder / "state" / "notifications.json").write_text("{")
    context.notifications().look()

    assert context.said() == []


def test_an_observed_event_is_logged_in_the_run_and_sent_once(context: ServiceHarness) -> None:
    notifications = context.notifications()
    run = context.begin_run()
    notifications.look()
    context.fetch(holdout=("coinbase/BTC-USD/M5", "coinbase/BTC-USD/M15"))
    for _ in range(3):
        notifications.look()

    assert context.said() == ["dataset_sealed", "dataset_sealed"]
    assert [event.name for event in event_log.read(run)] == ["run_started", "dataset_sealed", "dataset_sealed"]


def test_events_of_the_run_fetcher_are_not_repeated(context: ServiceHarness) -> None:
    notifications = context.notifications()
    run = context.begin_run()
    event_log.record(run, "dataset_sealed", dataset="coinbase/BTC-USD/M5", window="2020", rows=3)
    context.fetch(holdout=("coinbase/BTC-USD/M5",))
    for _ in range(2):
        notifications.look()

    assert context.said() == ["dataset_sealed"]
    assert [event.name for event in event_log.read(run)] == ["run_started", "dataset_sealed"]


def test_the_log_of_a_finished_run_is_not_extended(context: ServiceHarness) -> None:
    notifications = context.notifications()
    run = context.begin_run()
    event_log.record(run, "run_finished", run="r1", outcome="passed", reason="every gate is met")
    notifications.look()
    context.fetch(holdout=("coinbase/BTC-USD/M5",))
    notifications.look()

    assert context.said() == ["run_finished", "dataset_sealed"]
    assert len(event_log.read(run)) == 2


def test_forward_tests_of_a_finished_run_are_sent_by_their_own_command(context: ServiceHarness) -> None:
    """Their events come after the run's end, and do not make the run active again."""
    folder = context.begin_run()
    sender = context.notifications()
    event_log.record(folder, "run_finished", run="r1", outcome="passed", reason="every gate is met")
    sender.look()
    assert context.said() == ["run_finished"]
    event_log.record(folder, "forward_started", run="r1", name="live", start="2026-01-01")
    event_log.record(folder, "forward_decided", run="r1", name="live", action="deploy", day="2026-06-01", reason="e")
    sender.look()

    assert context.said() == []
    assert not sender._under_way


def test_only_a_silent_worker_is_reported_lost(context: ServiceHarness) -> None:
    notifications = context.notifications()
    context.workers = (worker(3.0, "w1"), worker(4.0, "w2"))
    notifications.look()
    context.workers = (worker(16.0, "w1"),)
    notifications.look()
    context.workers = (worker(21.0, "w1"),)
    notifications.look()

    (message,) = context.told
    assert (message.event, message.kind, message.facts["worker"]) == ("worker_lost", "warning", "w1")


def test_a_long_pause_is_sent_once_and_a_short_one_never(context: ServiceHarness) -> None:
    notifications = context.notifications()
    context.fetch(paused=2.0)
    notifications.look()
    for seconds in (0, 2, 4):
        context.now = START + seconds
        context.fetch(paused=100.0 - seconds)
        notifications.look()

    assert context.said() == ["provider_paused"]


@pytest.mark.parametrize(("banned", "event"), [(True, "provider_banned"), (False, "download_failed")])
def test_a_ban_has_its_own_event(context: ServiceHarness, banned: bool, event: str) -> None:
    notifications, error = context.notifications(), "coinbase asks for a pause of 7200 s (page: status 418)"
    context.fetch(error=error, banned=banned)
    notifications.look()
    notifications.look()

    (message,) = context.told
    assert (message.event, message.kind) == (event, "bad")
    assert error in message.title


def test_a_killed_fetcher_is_reported(context: ServiceHarness) -> None:
    notifications = context.notifications()
    context.fetch()
    notifications.look()
    context.now += 60
    notifications.look()
    notifications.look()

    assert context.said() == ["fetcher_lost"]


def test_only_selected_events_are_sent(context: ServiceHarness) -> None:
    notifications = context.notifications(wanted=frozenset({"level_passed"}))
    run = context.begin_run()
    for name in ("level_failed", "level_passed", "run_finished"):
        event_log.record(run, name, level="1")
    notifications.look()

    assert context.said() == ["level_passed"]


def test_a_digest_reports_done_and_remaining_work(context: ServiceHarness) -> None:
    notifications = context.notifications(digest_seconds=1_800.0)
    context.now += 1_900
    notifications.look()
    assert context.said() == [], "nothing goes on"
    context.begin_run()
    context.fetch()
    context.workers = (
        WorkerSnapshot(
            name="w",
            host="h1",
            state="busy",
            heartbeat_age_seconds=1,
            done=1,
            failed=0,
            cpu_seconds=65,
            memory_bytes=10**9,
        ),
    )
    notifications.look()
    assert context.said() == [], "not yet"
    context.now += 1_800
    context.fetch()
    notifications.look()

    (message,) = context.told
    assert (message.event, message.title) == ("digest", "run r1: progress")
    text = "\n".join(message.lines)
    for words in ("level 1: waiting", "30 of 90 pages (+30), about 2 min left", "1 workers on h1: 65 s of CPU time"):
        assert words in text, text
    assert "1.00 GB of memory" in text
    assert "GB free" in text
    context.told.clear()
    context.now += 1_800
    context.fetch()
    notifications.look()
    assert "30 of 90 pages (+0)" in "\n".join(context.told[0].lines)


def test_no_digest_is_sent_if_disabled(context: ServiceHarness) -> None:
    notifications = context.notifications(digest_seconds=0.0)
    context.begin_run()
    context.now += 10**6
    notifications.look()

    assert context.said() == []


def test_the_due_time_of_a_digest_survives_a_restart(context: ServiceHarness) -> None:
    context.notifications(digest_seconds=1_800.0)
    context.begin_run()
    context.now += 1_000
    context.notifications(digest_seconds=1_800.0).look()
    assert context.said() == []
    context.now += 900

    context.notifications(digest_seconds=1_800.0).look()
    assert context.said() == ["digest"]


HOLD = """
import sys
from pathlib import Path
from workers.monitoring.notifications import notification_lock
with notification_lock(Path(sys.argv[1])) as is_ours:
    print(is_ours(), flush=True)
    sys.stdin.read()
"""


def test_a_stall_and_its_end_are_sent_once(context: ServiceHarness) -> None:
    folder = context.begin_run()
    notifications = context.notifications()
    context.stall = Stall.NO_WORKERS
    for _ in range(4):
        notifications.look()
        context.now += 10
    notifications = context.notifications()
    notifications.look()
    assert context.said() == ["search_stalled"]
    context.stall = None
    notifications.look()
    notifications.look()

    assert context.said() == ["search_resumed"]
    assert [event.sentence for event in event_log.read(folder)][1:] == [
        "the search is stalled: no worker is connected; start some: tradeschool worker start -n 2",
        "the search continues after 40 s",
    ]


def test_starting_workers_are_no_stall(context: ServiceHarness) -> None:
    context.begin_run()
    notifications = context.notifications()
    for stall in (Stall.NO_WORKERS, Stall.NO_WORKERS, None, Stall.NO_WORKERS):
        context.stall = stall
        notifications.look()
        context.now += 20

    assert context.said() == []


def test_one_of_several_processes_sends_until_it_is_killed(tmp_path: Path, eventually: Callable[..., None]) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "True\n"
    with notification_lock(tmp_path) as is_ours:
        assert not is_ours()
        first.kill()
        first.communicate()
        eventually(is_ours)


def test_a_failed_state_write_stops_no_process(context: ServiceHarness, caplog: pytest.LogCaptureFixture) -> None:
    (context.folder / "state").write_text("a file where a folder should be")
    notifications = context.notifications()
    context.begin_run()
    notifications.look()

    assert "notification state not saved" in caplog.text


def test_the_state_file_stays_small_over_days(context: ServiceHarness) -> None:
    notifications = context.notifications()
    for start in (0, 1_100):
        context.workers = tuple(worker(16.0, f"w{number}") for number in range(start, start + 1_100))
        notifications.look()

    assert len(context.told) == 2_200
    assert (context.folder / "state" / "notifications.json").stat().st_size < 100_000
