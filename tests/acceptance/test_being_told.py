"""Somebody elsewhere is told, by the command that does the work, and no secret with it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

SECRET = "s3cret-path"


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict]]]:
    """An address that notes what it is sent."""
    got: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/{SECRET}", got
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_fetch_tells_what_it_sealed(program, hook) -> None:
    url, got = hook
    days = ("--timerange", "20230101-20230108")
    told = {"TRADESCHOOL_NOTIFY__WEBHOOK_URL": url}
    done = program.run("fetch", "--pairs", "BTC/USD", "--timeframes", "M5,M15", *days, environment=told)

    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stderr + done.stdout
    assert {each["event"] for each in got} == {"dataset_sealed"}
    assert {each["facts"]["dataset"] for each in got} == {"coinbase/BTC-USD/M5", "coinbase/BTC-USD/M15"}
    shown = program.run("config", "show", environment=told)
    assert SECRET not in shown.stdout


def test_nobody_who_does_not_answer_holds_a_fetch_up(program) -> None:
    days = ("--timerange", "20230101-20230103")
    told = {"TRADESCHOOL_NOTIFY__SLACK_URL": f"http://127.0.0.1:9/{SECRET}"}
    done = program.run("fetch", "--pairs", "BTC/USD", "--timeframes", "M5", *days, environment=told)

    assert done.returncode == 0, done.stderr
    assert "message given up" in done.stderr
    assert SECRET not in done.stderr


def test_an_event_that_is_wrong_is_said_before_anything_begins(program) -> None:
    told = {"TRADESCHOOL_NOTIFY__EVENTS": "level_pased", "TRADESCHOOL_SERVE__PORT": "0"}
    done = program.run("serve", environment=told)

    assert done.returncode == 2
    assert "unknown event 'level_pased'" in done.stderr


def test_a_run_tells_its_gates_and_its_end(fetched, hook) -> None:
    url, got = hook
    curriculum = str(fetched.write_curriculum())
    told = {"TRADESCHOOL_NOTIFY__WEBHOOK_URL": url}
    words = ("optimize", "run", "--curriculum", curriculum, "--seed", "7", "-j", "1", "--run", "r")
    done = fetched.run(*words, environment=told)

    assert done.returncode == 0, done.stderr
    assert [each["event"] for each in got] == ["level_passed", "recommendation", "run_finished"]
    assert got[0]["kind"] == got[2]["kind"] == "good"
    assert got[1]["kind"] in {"bad", "warning"}, "nothing is deployed without a look at the sealed period"
    assert SECRET not in done.stderr


def test_up_serves_the_page_beside_its_run(program) -> None:
    curriculum = str(program.write_curriculum())
    port = {"TRADESCHOOL_SERVE__PORT": "0"}
    done = program.run("up", "--curriculum", curriculum, "--seed", "7", "-j", "1", environment=port)

    assert done.returncode == 0, done.stderr
    assert "monitoring page: http://127.0.0.1:" in done.stderr
    without = program.run("up", "--curriculum", curriculum, "--seed", "7", "-j", "1", "--no-page", environment=port)
    assert without.returncode == 0, without.stderr
    assert "monitoring page:" not in without.stderr
