"""Notifications of a running command: events arrive and contain no secret."""

import json

SECRET = "s3cret-path"


def events(got: list[bytes]) -> list[dict]:
    return [json.loads(body) for body in got]


def test_a_fetch_notifies_about_sealed_datasets(program, hook) -> None:
    url, bodies = hook
    days = ("--timerange", "20230101-20230108")
    told = {"TRADESCHOOL_NOTIFY__WEBHOOK_URL": f"{url}/{SECRET}"}
    done = program.run("fetch", "--pairs", "BTC/USD", "--timeframes", "M5,M15", *days, environment=told)

    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stderr + done.stdout
    got = events(bodies)
    assert {each["event"] for each in got} == {"dataset_sealed"}
    assert {each["facts"]["dataset"] for each in got} == {"coinbase/BTC-USD/M5", "coinbase/BTC-USD/M15"}
    shown = program.run("config", "show", environment=told)
    assert SECRET not in shown.stdout


def test_fetch_continues_when_a_webhook_does_not_answer(program) -> None:
    days = ("--timerange", "20230101-20230103")
    told = {"TRADESCHOOL_NOTIFY__SLACK_URL": f"http://127.0.0.1:9/{SECRET}"}
    done = program.run("fetch", "--pairs", "BTC/USD", "--timeframes", "M5", *days, environment=told)

    assert done.returncode == 0, done.stderr
    assert "Notification dropped" in done.stderr
    assert SECRET not in done.stderr


def test_an_unknown_event_name_is_reported_before_the_start(program) -> None:
    told = {"TRADESCHOOL_NOTIFY__EVENTS": "level_pased", "TRADESCHOOL_SERVE__PORT": "0"}
    done = program.run("serve", environment=told)

    assert done.returncode == 2
    assert "unknown event 'level_pased'" in done.stderr


def test_a_run_notifies_about_gates_and_its_end(fetched, hook) -> None:
    url, bodies = hook
    curriculum = str(fetched.write_curriculum())
    told = {"TRADESCHOOL_NOTIFY__WEBHOOK_URL": f"{url}/{SECRET}"}
    words = ("optimize", "run", "--curriculum", curriculum, "--seed", "7", "-j", "1", "--run", "r")
    done = fetched.run(*words, environment=told)

    assert done.returncode == 0, done.stderr
    got = events(bodies)
    assert [each["event"] for each in got] == ["level_passed", "recommendation", "run_finished"]
    assert got[0]["kind"] == got[2]["kind"] == "good"
    assert got[1]["kind"] in {"bad", "warning"}, "nothing is deployed without a look at the holdout period"
    assert SECRET not in done.stderr
