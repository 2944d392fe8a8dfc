"""`tradeschool forward` over sealed candles: replays, candles to come, kills, changes and messages."""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from optimizer.forward.day_log import DAYS_NAME
from optimizer.forward.rule import RULE_NAME
from optimizer.level.spec import Level
from optimizer.runs.run_store import RunStore
from optimizer.validation.holdout_log import read_holdout_log
from tests.factories.runs import make_context, make_level, make_run_record, recommended
from tests.factories.winner_setups import BTC, PARAMETERS, write_winner
from tradeschool.app.forward import decision_message, forward_session
from tradeschool.markets.timerange import settled_day
from tradeschool.notify import Notification, Notifier
from workers.coordinator import event_log
from workers.coordinator.context import RunContext

Command = Callable[..., tuple[int, str, str]]
WIDE = ("--max-drawdown", "1")
REPLAY = "2021-03-01..2021-04-10"
pytestmark = pytest.mark.usefixtures("forked_commands")


@pytest.fixture
def sealed(seal_random_walk: Callable[..., object]) -> None:
    """Seal more than three months of a synthetic market."""
    seal_random_walk(BTC, "20210101-20210410")


def folder(name: str = "replay-20210301-20210410") -> Path:
    return Path("results/r1/forward") / name


def days(name: str = "replay-20210301-20210410") -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (folder(name) / DAYS_NAME).read_text().splitlines()]
    return [{key: value for key, value in line["day"].items() if key != "recorded"} for line in lines if "day" in line]


def test_a_replay_records_each_day_and_is_the_same_again(command: Command, sealed: None) -> None:
    code, out, told = command("forward", "--params", write_winner(), "--replay", REPLAY, *WIDE, "--json")
    assert code == 0, told
    found = json.loads(out)
    before = (folder() / DAYS_NAME).read_bytes()

    assert (found["days"], found["action"], found["is_over"], found["is_replay"]) == (40, "paper_trade", True, True)
    assert found["last_day"] == "2021-04-09"
    assert (found["known_days"], found["read_days"]) == (40, 0)
    assert "rule of forward test replay-20210301-20210410" in told
    assert json.loads(command("forward", "--params", "best_params.json", "--replay", REPLAY, "--json")[1]) == found
    assert (folder() / DAYS_NAME).read_bytes() == before


def test_missing_candles_are_one_line_with_the_command_and_the_days_before_are_kept(
    command: Command, sealed: None, seal_random_walk: Callable[..., object]
) -> None:
    asked = ("forward", "--params", write_winner(), "--replay", "2021-03-01..2021-05-01", *WIDE)
    code, _, told = command(*asked)
    last = told.splitlines()[-1]

    assert code == 4
    assert "waits for 2021-04-10" in last
    assert f"{BTC}: 2021-04-10..2021-05-01 is not stored yet; run: tradeschool fetch --pairs BTC/USD" in last
    name = "replay-20210301-20210501"
    assert len(days(name)) == 40
    before = days(name)

    seal_random_walk(BTC, "20210410-20210501")
    assert command(*asked)[0] == 0
    assert days(name)[:40] == before
    assert len(days(name)) == 61


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"parameters": PARAMETERS | {"fast": 6}}, "fast was 5, now 6"),
        ({"direction": "long"}, "direction was both, now long"),
        ({"costs": {"crypto_fee_bps": 1.0}}, "costs was"),
        ({"position_fraction": 0.3}, "position_fraction was 0.2, now 0.3"),
    ],
)
def test_changed_parameters_are_refused_in_one_line(
    command: Command, sealed: None, changes: dict[str, object], told: str
) -> None:
    command("forward", "--params", write_winner(), "--replay", REPLAY, *WIDE)
    code, _, said = command("forward", "--params", write_winner(**changes), "--replay", REPLAY)

    assert code == 1
    assert told in said
    assert "its rule never changes" in said
    assert len(said.splitlines()) == 1


def test_a_limit_that_differs_from_the_rule_is_refused(command: Command, sealed: None) -> None:
    command("forward", "--params", write_winner(), "--replay", REPLAY, *WIDE)

    assert command("forward", "--params", "best_params.json", "--replay", REPLAY, *WIDE)[0] == 0
    code, _, said = command("forward", "--params", "best_params.json", "--replay", REPLAY, "--alpha-deploy", "0.5")
    assert code == 1
    assert "alpha_deploy was 0.05, now 0.5" in said


def test_changed_code_needs_force(command: Command, sealed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("forward", "--params", write_winner(), "--replay", REPLAY, *WIDE)
    command(*asked)
    before = days()
    monkeypatch.setattr(forward_session.fingerprint, "of_code", lambda: "another")

    code, _, said = command(*asked)
    assert code == 1
    assert "the code changed" in said
    assert command(*asked, "--force")[0] == 0
    assert days() == before


def test_an_edited_rule_and_an_edited_day_are_refused(command: Command, sealed: None) -> None:
    asked = ("forward", "--params", write_winner(), "--replay", REPLAY, *WIDE)
    command(*asked)
    rule = (folder() / RULE_NAME).read_text()
    (folder() / RULE_NAME).write_text(rule.replace('"max_days": 1095', '"max_days": 2000'))
    code, _, said = command(*asked)
    assert (code, len(said.splitlines())) == (1, 1)
    assert "the rule was changed after it was written" in said

    (folder() / RULE_NAME).write_text(rule)
    log = (folder() / DAYS_NAME).read_text()
    (folder() / DAYS_NAME).write_text(log.replace('"number":7', '"number":8'))
    code, _, said = command(*asked)
    assert (code, len(said.splitlines())) == (1, 1)
    assert "line 8 is not what was recorded" in said


def test_a_stop_ends_the_test_with_exit_code_3_and_is_told_once(
    command: Command, sealed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Notification] = []
    monkeypatch.setattr(decision_message, "channels_of", lambda notify: [])
    monkeypatch.setattr(Notifier, "notify", lambda self, message: sent.append(message))
    monkeypatch.setenv("TRADESCHOOL_NOTIFY__WEBHOOK_URL", "https://hooks.example/x")
    asked = ("forward", "--params", write_winner(), "--replay", REPLAY, *WIDE, "--max-days", "9")
    first, second = command(*asked), command(*asked)

    assert (first[0], second[0]) == (3, 3)
    assert "stop: no decision after 9 days" in first[2]
    assert len(days()) == 9
    events = [each for each in event_log.read(Path("results/r1")) if each.name.startswith("forward")]
    assert [each.name for each in events] == ["forward_started", "forward_decided"]
    assert "stop after 2021-03-09: no decision after 9 days" in events[-1].sentence
    assert [(each.event, each.kind) for each in sent] == [("forward_decided", "bad")]

    (folder() / "told.json").unlink()  # killed after the day was recorded, before the decision was told
    assert command(*asked)[0] == 3
    assert len(sent) == 2


def test_a_decision_to_deploy_is_a_success(command: Command, sealed: None) -> None:
    """With an error rate of 99.5 % any day at which the capital is above 1.005 deploys."""
    asked = ("--params", write_winner(), "--replay", REPLAY, *WIDE, "--alpha-deploy", "0.995", "--min-days", "1")
    code, out, _ = command("forward", *asked, "--json")
    found = json.loads(out)

    assert (code, found["action"]) == (0, "deploy")
    assert found["e_value"] >= found["e_value_required"] == pytest.approx(1 / 0.995)
    assert found["lower"] >= 0
    assert days()[-1]["action"] == "deploy"
    assert {each["action"] for each in days()[:-1]} <= {"paper_trade"}


def finished_run(context: RunContext) -> None:
    """A run that recommends `PARAMETERS`, whose last level ends on 1 March 2021."""
    days = {"dataset": BTC, "start": "2021-01-01", "end": "2021-03-01"}
    level = Level.model_validate(make_level("1").model_dump(mode="json") | {"datasets": [days]})
    record = recommended(context, make_run_record(context, level))
    assert record.recommendation is not None
    chosen = record.recommendation.model_copy(update={"parameters": PARAMETERS})
    with closing(RunStore(context.storage_url)) as runs:
        runs.write(record.model_copy(update={"recommendation": chosen}))


def test_a_run_trades_what_it_recommends_from_the_end_of_its_data(
    command: Command, sealed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make_context(Path.cwd())
    finished_run(context)
    monkeypatch.setenv("TRADESCHOOL_STORAGE_URL", context.storage_url)
    monkeypatch.setattr(forward_session, "settled_day", lambda: date(2021, 3, 4))
    best = context.folder("r1") / "1" / "best_params.json"
    write_winner(best)
    code, out, said = command("forward", "r1", "--json")
    found = json.loads(out)

    assert code == 0, said
    assert (found["run"], found["start"], found["days"], found["parameters"]) == ("r1", "2021-03-01", 3, PARAMETERS)
    assert json.loads((folder("live") / RULE_NAME).read_text())["limits"]["max_drawdown"] == 0.15  # the gate's

    write_winner(best, parameters=PARAMETERS | {"fast": 8})
    code, _, said = command("forward", "r1")
    assert code == 2
    assert "not the parameters that run r1 recommends" in said


def test_a_run_that_has_not_ended_is_refused(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    context = make_context(Path.cwd())
    make_run_record(context)
    monkeypatch.setenv("TRADESCHOOL_STORAGE_URL", context.storage_url)

    code, _, said = command("forward", "r1")

    assert code == 2
    assert "has no recommendation yet" in said


def test_a_replay_of_days_that_the_search_read_says_so(command: Command, sealed: None) -> None:
    code, out, told = command("forward", "--params", write_winner(), "--replay", "2021-02-20..2021-03-05", *WIDE)

    assert code == 0
    assert "days before 2021-03-01 were read by the search: they are no evidence" in told
    assert "9 of 13 days were read by the search" in out


def test_candles_to_come_begin_after_the_data_and_wait_for_settled_days(
    command: Command, sealed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward_session, "settled_day", lambda: date(2021, 3, 20))
    monkeypatch.setattr(forward_session, "now", lambda: datetime(2021, 3, 5, tzinfo=UTC))
    asked = ("forward", "--params", write_winner(), *WIDE, "--json")
    first = json.loads(command(*asked)[1])
    assert (first["start"], first["days"], first["next_day"], first["name"]) == ("2021-03-01", 19, "2021-03-20", "live")
    assert first["known_days"] == 4
    assert command(*asked)[0] == 0  # nothing new, nothing missing

    monkeypatch.setattr(forward_session, "settled_day", lambda: date(2021, 4, 12))
    code, out, said = command(*asked)
    assert code == 4
    assert json.loads(out)["days"] == 40
    assert "waits for 2021-04-10" in said


def test_the_read_is_in_the_access_log(command: Command, sealed: None) -> None:
    command("forward", "--params", write_winner(), "--replay", REPLAY, *WIDE)

    (line,) = read_holdout_log(Path("results/r1"))
    assert (line["part"], line["level"], line["trials"]) == ("forward", "1", [3])


def test_lists_and_shows(command: Command, sealed: None) -> None:
    assert command("forward", "list")[0] == 0
    _, out, told = command("forward", "--params", write_winner(), "--replay", REPLAY, *WIDE)
    assert (out + told).count("deploy: from day 30 on") == 1
    command("forward", "--params", "best_params.json", "--replay", REPLAY, *WIDE, "--name", "second")

    listed = json.loads(command("forward", "list", "--json")[1])
    assert [(each["run"], each["name"], each["days"]) for each in listed] == [
        ("r1", "replay-20210301-20210410", 40),
        ("r1", "second", 40),
    ]
    assert "second" in command("forward", "list")[1]
    shown = json.loads(command("forward", "show", "r1", "--name", "second", "--json")[1])
    assert shown["series"]["equity"] == [each["equity"] for each in days("second")]
    text = command("forward", "show", "r1", "--name", "second")[1]
    assert "rule: deploy: from day 30 on" in text
    assert "40 of 40 days had ended before the rule was written" in text
    code, _, said = command("forward", "show", "r1")
    assert code == 2
    assert "no forward test live of run r1" in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "expected either RUN or --params FILE"),
        (("r1", "--params", "best_params.json"), "expected either RUN or --params FILE"),
        (("--params", "absent.json"), "absent.json: No such file or directory"),
        (("--params", "best_params.json", "--replay", "2021-03-01T12:00..2021-04-01"), "expected whole days"),
        (("--params", "best_params.json", "--replay", REPLAY, "--name", "../x"), "--name ../x: expected up to 64"),
        (("--params", "best_params.json", "--replay", "2019"), "is not stored yet"),
        (("absent",), "no run 'absent'"),
    ],
)
def test_wrong_usage_is_one_line(command: Command, sealed: None, words: tuple[str, ...], told: str) -> None:
    write_winner()
    code, _, said = command("forward", "run", *words)

    assert code in (2, 4)
    assert told in said.splitlines()[-1]
    assert not Path("x").exists()
    assert not Path("results/r1/x").exists()


def test_two_processes_do_not_continue_one_test(command: Command, sealed: None) -> None:
    command("forward", "--params", write_winner(), "--replay", REPLAY, *WIDE)
    with (folder() / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, said = command("forward", "--params", "best_params.json", "--replay", REPLAY)

    assert code == 2
    assert "another process continues it" in said


async def started(*words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tradeschool", "forward", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


async def test_a_process_killed_at_any_day_is_continued_without_a_difference(command: Command, sealed: None) -> None:
    """The kills come when the log has grown by a few days, so each process gets further than the one before."""
    asked = ("--params", write_winner(), "--replay", REPLAY, *WIDE)
    log = folder() / DAYS_NAME
    kills = 0
    for lines in (1, 13, 35):
        process = await started(*asked)
        while process.returncode is None and (log.read_bytes().count(b"\n") if log.exists() else 0) < lines:  # noqa: ASYNC110  # a file sets no event
            await asyncio.sleep(0.005)
        if process.returncode is None:
            os.kill(process.pid, signal.SIGKILL)
        await process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills >= 1
    assert command("forward", *asked)[0] == 0
    command("forward", *asked, "--name", "undisturbed")

    assert len(days()) == 40
    assert days() == days("undisturbed")


def test_watch_says_what_it_waits_for_and_records_days_as_they_come(
    sealed: None, seal_random_walk: Callable[..., object]
) -> None:
    asked = ("--params", write_winner(), "--replay", "2021-03-01..2021-04-20", *WIDE, "--watch", "--every", "1")
    words = (sys.executable, "-m", "tradeschool", "forward", *asked)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "waiting for" not in (line := process.stderr.readline()):
            assert line, "the process ended"
        assert f"{BTC}: 2021-04-10..2021-04-20 is not stored yet" in line

        seal_random_walk(BTC, "20210410-20210420")
        out, _ = process.communicate()

    assert process.returncode == 0
    assert "e-value" in out
    assert len(days("replay-20210301-20210420")) == 50


async def test_watch_ends_with_an_interrupt(sealed: None) -> None:
    process = await started("--params", write_winner(), *WIDE, "--watch", "--no-follow")
    assert process.stderr is not None
    while b"waiting for" not in (line := await process.stderr.readline()):
        assert line, "the process ended"
    process.send_signal(signal.SIGINT)
    await process.communicate()

    assert process.returncode == 130
    assert len(days("live")) == 40


async def test_watch_downloads_the_days_to_come_and_reads_them_unsealed(serving, tmp_path: Path) -> None:
    """Train is sealed by a fetch; the test's own days are only stored, because their year is not complete."""
    last = settled_day()
    start, begin = last - timedelta(days=5), last - timedelta(days=45)
    part = dict.fromkeys(("train", "validation", "test"), f"{begin:%Y%m%d}-{start:%Y%m%d}")
    dataset = {"dataset": BTC, "warm_up_bars": 60, **part, "candles": "d", "start": str(begin), "end": str(start)}
    params = write_winner(datasets=[dataset])
    async with serving() as served:
        exchange = {"TRADESCHOOL_FETCH__COINBASE_URL": served.url, "TRADESCHOOL_FETCH__COINBASE_RATE": "150"}
        fetched = ("fetch", "--pairs", "BTC/USD", "--timeframes", "H1", "--timerange", part["train"])
        watched = ("forward", "--params", params, *WIDE, "--watch", "--every", "1", "--max-days", "5")
        codes = []
        for words in (fetched, watched):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tradeschool", *words),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=os.environ | exchange,
            )
            _, told = await process.communicate()
            codes.append(process.returncode)

    assert codes == [0, 3], told.decode()
    assert f"waiting for {start}" in told.decode()
    assert "no decision after 5 days" in told.decode()
    assert [each["day"] for each in days("live")] == [str(start + timedelta(days=number)) for number in range(5)]
    assert any(each["daily_return"] for each in days("live"))
