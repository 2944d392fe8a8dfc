"""Screen and one-line output of `queue watch`."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from optimizer.curriculum.state_machine import Search
from optimizer.runs.run_record import AttemptRow, RunRecord
from optimizer.search.trial_summary import TrialView
from tests.factories.downloads import provider_state
from tests.factories.runs import make_level
from tradeschool.store.download_status import DownloadState, DownloadStatus
from tradeschool.views.durations import duration
from tradeschool.views.live_screen import MAX_WORKERS, QueueScreen, line, screen
from workers.monitoring.absence import NOT_RUNNING
from workers.monitoring.overview import View
from workers.monitoring.run_status import AttemptStatus, LevelStatus, RunStatus, with_queue
from workers.monitoring.snapshot import RunningJob, Snapshot
from workers.monitoring.trial_counts import TrialCounts
from workers.monitoring.worker_snapshot import WorkerSnapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def queue(workers: int) -> Snapshot:
    return Snapshot(
        queued=4,
        started=2,
        finished=1_234,
        failed=3,
        deferred=0,
        scheduled=0,
        oldest_seconds=12,
        throughput_per_minute=30,
        workers=tuple(
            WorkerSnapshot(
                name=f"host{number % 2}-{number}",
                host=f"host{number % 2}",
                state="busy",
                heartbeat_age_seconds=99 if number else 1,
                done=10,
                failed=0,
                job="r-L1-a1-16-19-a1" if not number else "",
            )
            for number in range(workers)
        ),
        running_jobs=(RunningJob(job="r-L1-a1-16-19-a1", worker="host0-0", seconds=3),),
    )


LEVELS = (make_level("1"), make_level("2"))
ROW = AttemptRow(level="1", number=2, fingerprints={}, inherited=None, reused=0)
METRICS = {"win_rate": 0.6, "sharpe": 1.25, "max_drawdown_intrabar": 0.1, "profit_factor": 1.4, "trades": 40}
ATTEMPT = AttemptStatus(
    row=ROW,
    study="r-L1-a2",
    level=LEVELS[0],
    counts=TrialCounts(
        trials=150,
        complete=50,
        pruned=20,
        failed=5,
        best=TrialView(
            number=3,
            state="complete",
            value=1.25,
            is_feasible=True,
            parameters={},
            metrics=METRICS,
            worker="w",
            ended=0.0,
            seconds=1.0,
            reason="",
        ),
        pace_per_minute=30,
        idle_seconds=2.0,
    ),
)
RUN = RunStatus(
    record=RunRecord(name="r", seed=7, levels=LEVELS, created=NOW, fingerprints={}, attempts=(ROW,)),
    levels=tuple(
        LevelStatus(level=level, state=state, attempts=attempts, has_equity=False)
        for level, state, attempts in zip(LEVELS, ("searching", "waiting"), ((ATTEMPT,), ()), strict=True)
    ),
    action=Search("1", 2),
    is_active=True,
    recommendation=None,
    has_report=False,
)
DOWNLOAD = DownloadStatus(
    time=NOW,
    running=True,
    eta_seconds=600,
    providers=(
        provider_state(
            requests=30,
            requests_per_second=2.9,
            waiting_for_token=1,
            paused_seconds=7,
            eta_seconds=600,
            outcomes={"ok": 30},
        ),
    ),
    downloads=(
        DownloadState(
            dataset="coinbase/BTC-USD/M5",
            range="2020",
            pages_done=30,
            pages_total=1_400,
            reached=datetime(2020, 2, 1, tzinfo=UTC),
            sealed=(),
            error=None,
        ),
    ),
)
AWAY = View(error="Redis unix:///x does not answer: gone")


def shown(look: QueueScreen) -> str:
    out = Console(width=140, record=True, file=io.StringIO())
    out.print(screen(look))
    return out.export_text()


def test_the_screen_shows_queue_workers_levels_and_download() -> None:
    text = shown(QueueScreen(queue=View(value=queue(2)), run=View(value=RUN), download=View(value=DOWNLOAD), now=NOW))

    for words in (
        "1,234",
        "16-19",
        "host1",
        "99 s ago",
        "75 of 150",
        "1.250",
        "5 of 5 met on train",
        "30 of 1,400",
        "paused for 7 s",
    ):
        assert words in text, words
    assert "waiting" in text


def test_many_workers_fit_on_one_screen() -> None:
    text = shown(QueueScreen(queue=View(value=queue(40)), run=View(), download=View(), now=NOW))

    assert f"and {40 - MAX_WORKERS} more on 2 hosts" in text
    assert len(text.splitlines()) < 45


def test_too_many_workers_are_reported_with_advice() -> None:
    crowded = replace(queue(12), most_jobs=8)

    text = " ".join(shown(QueueScreen(queue=View(value=crowded), run=View(), download=View(), now=NOW)).split())

    assert "4 of 12 workers stay idle" in text
    assert "at most 8 open jobs" in text
    assert replace(queue(8), most_jobs=8).advice == ""
    assert queue(12).advice == "", "nothing is searched"


def test_unavailable_services_are_shown_on_screen_and_line() -> None:
    look = QueueScreen(queue=AWAY, run=View(value=RUN), download=View(), now=NOW)

    assert AWAY.error in shown(look)
    assert line(look).startswith(AWAY.error)
    assert "level 1: 75 of 150 trials, ETA 2 min" in line(look)


def test_a_server_stopped_with_its_run_is_not_an_error() -> None:
    look = QueueScreen(queue=View(note=NOT_RUNNING), run=View(), download=View(), now=NOW)

    assert look.errors == []
    assert line(look) == NOT_RUNNING
    assert "no run is active" in shown(look)


def test_a_search_without_workers_is_reported_without_eta() -> None:
    seen = replace(queue(0), most_jobs=8)
    look = QueueScreen(queue=View(value=seen), run=View(value=with_queue(RUN, seen)), download=View(), now=NOW)

    assert line(look).startswith("stalled: no worker is connected; start some: tradeschool worker start -n 2; ")
    assert line(look).endswith("level 1: 75 of 150 trials, ETA -")
    assert "stalled: no worker is connected" in shown(look)


def test_a_killed_fetcher_is_shown_on_the_screen() -> None:
    text = shown(
        QueueScreen(
            queue=View(value=queue(0)), run=View(), download=View(value=DOWNLOAD), now=NOW + timedelta(minutes=5)
        )
    )

    assert "killed? resume it: tradeschool fetch" in text
    assert "no worker is connected" in text


def test_an_empty_state_has_a_line() -> None:
    assert line(QueueScreen(queue=View(), run=View(), download=View(), now=NOW)) == "no run or download is active"


def test_a_line_shows_the_download() -> None:
    look = QueueScreen(queue=View(value=queue(1)), run=View(), download=View(value=DOWNLOAD), now=NOW)

    assert "fetched 30 of 1,400 pages, ETA 10 min" in line(look)


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0, "0 s"), (99.4, "99 s"), (600, "10 min"), (7_500, "2 h 5 min")]
)
def test_durations_are_human_readable(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
