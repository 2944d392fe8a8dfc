"""What is new is said once, by one, whoever notices it and whenever it is restarted."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.factories.runs import CREATED, made_place, made_run
from tradeschool.notify import Message
from tradeschool.settings.sections import EVENTS
from tradeschool.store.download_status import Acquisition, DownloadState, Durations, LaneState
from workers.coordinator import event_log
from workers.monitoring.notifications import Herald, only_one
from workers.monitoring.overview import Lookout, Sources, View
from workers.monitoring.run_status import Standing
from workers.monitoring.snapshot import Snapshot, WorkerSnapshot
from workers.monitoring.stall_detection import Stall

START = 1_800_000_000.0
SPREAD = Durations(bounds_seconds=(), counts=(0,), seconds=0)


class Site:
    """An installation of files whose clock and queue a test moves."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now, self.told = folder, START, list[Message]()
        self.lookout = Lookout(
            Sources(
                redis_url=f"unix://{folder}/absent",
                place=made_place(folder),
                datasets=[],
            ),
            clock=lambda: self.now,
            is_quiet=True,
        )
        self.workers: tuple[WorkerSnapshot, ...] | None = None
        self.lookout.queue = self.queue  # type: ignore[method-assign]
        self.stall: Stall | None = None
        self._seen_run = self.lookout.run
        self.lookout.run = self.run  # type: ignore[method-assign]

    def run(self, name: str | None = None) -> View[Standing]:
        seen = self._seen_run(name)
        return View(value=replace(seen.value, stall=self.stall, at_work=True)) if seen.value else seen

    def queue(self) -> View[Snapshot]:
        if self.workers is None:
            return View(trouble="away")
        counts = dict.fromkeys(("queued", "started", "finished", "failed", "deferred", "scheduled"), 0)
        pace = {"oldest_seconds": 0.0, "throughput_per_minute": 0}
        return View(value=Snapshot(**counts, **pace, workers=self.workers))  # type: ignore[arg-type]

    def herald(self, **options: object) -> Herald:
        given = {"wanted": frozenset(EVENTS.split(",")), "digest_seconds": 0.0} | options
        made = Herald(lookout=self.lookout, tell=self.told.append, folder=self.folder / "state", **given)  # type: ignore[arg-type]
        made.begin()
        return made

    def begin_run(self, name: str = "r1") -> Path:
        place = self.lookout.sources.place
        made_run(place, name=name, created=CREATED + timedelta(hours=len(self.lookout.studies.runs())))
        folder = place.folder(name)
        event_log.record(folder, "run_started", run=name, seed=7)
        return folder

    def fetch(
        self, *, sealed: tuple[str, ...] = (), error: str | None = None, paused: float = 0.0, running: bool = True
    ):
        lane = LaneState(
            provider="coinbase",
            limit_per_second=3,
            requests=1,
            retries=0,
            requests_per_second=1,
            waiting_for_token=0,
            waiting_for_network=0,
            paused_seconds=paused,
            eta_seconds=120,
            outcomes={},
            token_seconds=SPREAD,
            answer_seconds=SPREAD,
        )
        download = DownloadState(
            dataset="coinbase/BTC-USD/M5",
            range="2020",
            pages_done=30,
            pages_total=90,
            reached=None,
            sealed=sealed,
            error=error,
        )
        time = datetime.fromtimestamp(self.now, UTC)
        record = Acquisition(time=time, running=running, eta_seconds=120, lanes=(lane,), downloads=(download,))
        record.publish(self.folder / "data")

    def said(self) -> list[str]:
        names = [message.event for message in self.told]
        self.told.clear()
        return names


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.lookout.close()


def worker(age: float, name: str = "w1") -> WorkerSnapshot:
    return WorkerSnapshot(name=name, host="h1", state="busy", heartbeat_age_seconds=age, done=1, failed=0)


@pytest.mark.parametrize(
    ("action", "kind"), [("deploy", "good"), ("paper trade", "warning"), ("do not deploy", "bad"), ("other", "bad")]
)
def test_a_recommendation_is_as_good_as_what_it_recommends(site: Site, action: str, kind: str) -> None:
    herald = site.herald()
    event_log.record(site.begin_run(), "recommendation", action=action, reason="a check is not met")
    herald.look()

    assert [(message.event, message.kind, message.title) for message in site.told] == [
        ("recommendation", kind, f"recommendation: {action}: a check is not met")
    ]


def test_a_run_s_events_are_said_as_they_come(site: Site) -> None:
    herald = site.herald()
    run = site.begin_run()
    event_log.record(run, "level_started", level="1", attempt=1, trials=10)
    event_log.record(run, "level_missed", level="1", attempt=1, reason="sharpe")
    event_log.record(run, "run_finished", run="r1", outcome="escalated", reason="level 1 is given up")
    herald.look()

    assert [(message.event, message.kind) for message in site.told] == [
        ("level_missed", "bad"),
        ("run_finished", "bad"),
    ]
    assert site.told[0].title == "level 1, attempt 1: the gate is missed: sharpe"
    assert site.told[0].facts["attempt"] == 1
    site.told.clear()
    herald.look()
    assert site.said() == []


def test_what_was_there_before_the_very_first_is_old(site: Site) -> None:
    run = site.begin_run()
    event_log.record(run, "level_passed", level="1", attempt=1, trial=3)
    site.fetch(sealed=("coinbase/BTC-USD/M5",))
    herald = site.herald()
    herald.look()

    assert site.said() == []


def test_another_takes_up_where_the_last_one_left_off(site: Site) -> None:
    site.herald().look()
    run = site.begin_run()
    site.fetch(sealed=("coinbase/BTC-USD/M5",))
    event_log.record(run, "level_passed", level="1", attempt=1, trial=3)
    site.herald().look()
    assert sorted(site.said()) == ["dataset_sealed", "level_passed"]
    event_log.record(run, "level_missed", level="2", attempt=1, reason="x")
    site.herald().look()

    assert site.said() == ["level_missed"]


def test_a_memory_that_cannot_be_read_says_nothing_twice(site: Site) -> None:
    run = site.begin_run()
    event_log.record(run, "level_passed", level="1", attempt=1, trial=3)
    (site.folder / "state").mkdir()
    (site.folder / "state" / "herald.json").write_text("{")
    site.herald().look()

    assert site.said() == []


def test_what_is_noticed_while_a_run_goes_on_stands_in_its_log_and_is_said_once(site: Site) -> None:
    herald = site.herald()
    run = site.begin_run()
    herald.look()
    site.fetch(sealed=("coinbase/BTC-USD/M5", "coinbase/BTC-USD/M15"))
    for _ in range(3):
        herald.look()

    assert site.said() == ["dataset_sealed", "dataset_sealed"]
    assert [event.name for event in event_log.read(run)] == ["run_started", "dataset_sealed", "dataset_sealed"]


def test_what_the_run_s_own_fetcher_has_recorded_is_not_recorded_and_said_again(site: Site) -> None:
    herald = site.herald()
    run = site.begin_run()
    event_log.record(run, "dataset_sealed", dataset="coinbase/BTC-USD/M5", window="2020", rows=3)
    site.fetch(sealed=("coinbase/BTC-USD/M5",))
    for _ in range(2):
        herald.look()

    assert site.said() == ["dataset_sealed"]
    assert [event.name for event in event_log.read(run)] == ["run_started", "dataset_sealed"]


def test_after_a_run_s_end_nothing_is_added_to_its_log(site: Site) -> None:
    herald = site.herald()
    run = site.begin_run()
    event_log.record(run, "run_finished", run="r1", outcome="passed", reason="every gate is met")
    herald.look()
    site.fetch(sealed=("coinbase/BTC-USD/M5",))
    herald.look()

    assert site.said() == ["run_finished", "dataset_sealed"]
    assert len(event_log.read(run)) == 2


def test_a_worker_that_falls_silent_is_lost_and_one_that_ends_is_not(site: Site) -> None:
    herald = site.herald()
    site.workers = (worker(3.0, "w1"), worker(4.0, "w2"))
    herald.look()
    site.workers = (worker(16.0, "w1"),)
    herald.look()
    site.workers = (worker(21.0, "w1"),)
    herald.look()

    (message,) = site.told
    assert (message.event, message.kind, message.facts["worker"]) == ("worker_lost", "warning", "w1")


def test_a_pause_is_said_once_and_a_short_one_not_at_all(site: Site) -> None:
    herald = site.herald()
    site.fetch(paused=2.0)
    herald.look()
    for seconds in (0, 2, 4):
        site.now = START + seconds
        site.fetch(paused=100.0 - seconds)
        herald.look()

    assert site.said() == ["provider_paused"]


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (
            "coinbase does not answer (page: status 418, to be asked again in 7200 s); check the network",
            "provider_banned",
        ),
        ("coinbase refuses product X", "download_failed"),
    ],
)
def test_a_ban_is_told_from_another_failure(site: Site, error: str, event: str) -> None:
    herald = site.herald()
    site.fetch(error=error)
    herald.look()
    herald.look()

    (message,) = site.told
    assert (message.event, message.kind) == (event, "bad")
    assert error in message.title


def test_a_fetcher_that_was_killed_is_told(site: Site) -> None:
    herald = site.herald()
    site.fetch()
    herald.look()
    site.now += 60
    herald.look()
    herald.look()

    assert site.said() == ["fetcher_lost"]


def test_only_what_is_wanted_is_said(site: Site) -> None:
    herald = site.herald(wanted=frozenset({"level_passed"}))
    run = site.begin_run()
    for name in ("level_missed", "level_passed", "run_finished"):
        event_log.record(run, name, level="1")
    herald.look()

    assert site.said() == ["level_passed"]


def test_a_digest_comes_while_something_goes_on_and_tells_what_was_done_and_is_left(site: Site) -> None:
    herald = site.herald(digest_seconds=1_800.0)
    site.now += 1_900
    herald.look()
    assert site.said() == [], "nothing goes on"
    site.begin_run()
    site.fetch()
    site.workers = (
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
    herald.look()
    assert site.said() == [], "not yet"
    site.now += 1_800
    site.fetch()
    herald.look()

    (message,) = site.told
    assert (message.event, message.title) == ("digest", "run r1: how it goes")
    text = "\n".join(message.lines)
    for words in ("level 1: waiting", "30 of 90 pages (+30), about 2 min left", "1 workers on h1: 65 s of processor"):
        assert words in text, text
    assert "1.00 GB of memory" in text
    assert "GB free" in text
    site.told.clear()
    site.now += 1_800
    site.fetch()
    herald.look()
    assert "30 of 90 pages (+0)" in "\n".join(site.told[0].lines)


def test_no_digest_where_none_is_wanted(site: Site) -> None:
    herald = site.herald(digest_seconds=0.0)
    site.begin_run()
    site.now += 10**6
    herald.look()

    assert site.said() == []


def test_a_digest_is_due_where_the_last_herald_left_it(site: Site) -> None:
    site.herald(digest_seconds=1_800.0)
    site.begin_run()
    site.now += 1_000
    site.herald(digest_seconds=1_800.0).look()
    assert site.said() == []
    site.now += 900

    site.herald(digest_seconds=1_800.0).look()
    assert site.said() == ["digest"]


HOLD = """
import sys
from pathlib import Path
from workers.monitoring.notifications import only_one
with only_one(Path(sys.argv[1])) as is_ours:
    print(is_ours(), flush=True)
    sys.stdin.read()
"""


def test_a_search_that_stands_still_is_told_once_and_so_is_its_end(site: Site) -> None:
    folder = site.begin_run()
    herald = site.herald()
    site.stall = Stall.NO_WORKERS
    for _ in range(4):
        herald.look()
        site.now += 10
    herald = site.herald()
    herald.look()
    assert site.said() == ["search_stalled"]
    site.stall = None
    herald.look()
    herald.look()

    assert site.said() == ["search_moves"]
    assert [event.sentence for event in event_log.read(folder)][1:] == [
        "the search is stalled: no worker is connected; start some: tradeschool worker start -n 2",
        "the search goes on after 40 s: workers are at work again",
    ]


def test_workers_that_are_not_up_yet_are_no_stall_to_tell(site: Site) -> None:
    site.begin_run()
    herald = site.herald()
    for stall in (Stall.NO_WORKERS, Stall.NO_WORKERS, None, Stall.NO_WORKERS):
        site.stall = stall
        herald.look()
        site.now += 20

    assert site.said() == []


def test_one_of_several_processes_speaks_until_it_is_killed(tmp_path: Path, eventually: Callable[..., None]) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "True\n"
    with only_one(tmp_path) as is_ours:
        assert not is_ours()
        first.kill()
        first.communicate()
        eventually(is_ours)


def test_a_disk_that_takes_no_memory_stops_nobody(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    (site.folder / "state").write_text("a file where a folder should be")
    herald = site.herald()
    site.begin_run()
    herald.look()

    assert "memory not kept" in caplog.text


def test_days_of_looking_keep_the_memory_small(site: Site) -> None:
    herald = site.herald()
    for start in (0, 1_100):
        site.workers = tuple(worker(16.0, f"w{number}") for number in range(start, start + 1_100))
        herald.look()

    assert len(site.told) == 2_200
    assert (site.folder / "state" / "herald.json").stat().st_size < 100_000
