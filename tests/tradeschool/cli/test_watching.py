"""The screen and the line of `queue watch`."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from optimizer.watch import SeenTrial
from tradeschool.acquisition import Acquisition, DownloadState, Durations, LaneState
from tradeschool.cli.watching import MOST_WORKERS, Look, duration, line, screen
from workers.monitor import Flight, Snapshot, WorkerSnapshot
from workers.overview import View
from workers.standing import AttemptStanding, LevelStanding, Standing
from workers.tally import Tally

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
        flights=(Flight(job="r-L1-a1-16-19-a1", worker="host0-0", seconds=3),),
    )


ATTEMPT = AttemptStanding(
    attempt=2,
    study="r-L1-a2",
    tally=Tally(
        trials=150,
        complete=50,
        pruned=20,
        failed=5,
        best=SeenTrial(
            number=3,
            state="complete",
            value=1.25,
            is_feasible=True,
            parameters={},
            metrics={},
            worker="w",
            ended=0.0,
            seconds=1.0,
            reason="",
        ),
        pace_per_minute=30,
    ),
)
RUN = Standing(
    run="r",
    seed=7,
    created=datetime(2026, 1, 1, tzinfo=UTC),
    levels=tuple(
        LevelStanding(
            level=name,
            title=f"Level {name}",
            direction="long",
            state="searching" if attempts else "waiting",
            retries=3,
            attempts=attempts,
            gate=({"name": "sharpe", "value": 1.0, "target": 0.8, "met": True},) if attempts else (),
            gate_part="train",
            winner=None,
            has_equity=False,
            reason="",
            null=None,
            datasets=(),
        )
        for name, attempts in (("1", (ATTEMPT,)), ("2", ()))
    ),
    recommendation=None,
    has_report=False,
)
SPREAD = Durations(bounds_seconds=(), counts=(0,), seconds=0)
DOWNLOAD = Acquisition(
    time=NOW,
    running=True,
    eta_seconds=600,
    lanes=(
        LaneState(
            provider="coinbase",
            limit_per_second=3,
            requests=30,
            retries=0,
            requests_per_second=2.9,
            waiting_for_token=1,
            waiting_for_network=0,
            paused_seconds=7,
            eta_seconds=600,
            outcomes={"ok": 30},
            token_seconds=SPREAD,
            answer_seconds=SPREAD,
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
AWAY = View(trouble="Redis unix:///x does not answer: gone")


def shown(look: Look) -> str:
    out = Console(width=140, record=True, file=io.StringIO())
    out.print(screen(look))
    return out.export_text()


def test_the_screen_tells_queue_workers_levels_and_download() -> None:
    text = shown(Look(queue=View(value=queue(2)), run=View(value=RUN), download=View(value=DOWNLOAD), now=NOW))

    for words in (
        "1,234",
        "16-19",
        "host1",
        "99 s ago",
        "75 of 150",
        "1.250",
        "1 of 1 met on train",
        "30 of 1,400",
        "pauses for 7 s",
    ):
        assert words in text, words
    assert "waiting" in text


def test_a_screen_of_many_workers_stays_a_screen() -> None:
    text = shown(Look(queue=View(value=queue(40)), run=View(), download=View(), now=NOW))

    assert f"and {40 - MOST_WORKERS} more on 2 hosts" in text
    assert len(text.splitlines()) < 45


def test_what_is_away_is_on_the_screen_and_in_the_line() -> None:
    look = Look(queue=AWAY, run=View(value=RUN), download=View(), now=NOW)

    assert AWAY.trouble in shown(look)
    assert line(look).startswith(AWAY.trouble)
    assert "level 1: 75 of 150 trials, about 2 min left" in line(look)


def test_a_fetcher_that_was_killed_is_told_on_the_screen() -> None:
    text = shown(
        Look(queue=View(value=queue(0)), run=View(), download=View(value=DOWNLOAD), now=NOW + timedelta(minutes=5))
    )

    assert "killed? run tradeschool fetch to go on" in text
    assert "no worker is there" in text


def test_nothing_is_a_line_too() -> None:
    assert line(Look(queue=View(), run=View(), download=View(), now=NOW)) == "nothing is under way"


def test_a_line_tells_the_download() -> None:
    look = Look(queue=View(value=queue(1)), run=View(), download=View(value=DOWNLOAD), now=NOW)

    assert "fetched 30 of 1,400 pages, about 10 min left" in line(look)


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0, "0 s"), (99.4, "99 s"), (600, "10 min"), (7_500, "2 h 5 min")]
)
def test_durations_are_for_people(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
