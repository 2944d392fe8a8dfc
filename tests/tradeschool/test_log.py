import json
import logging

import pytest

from tradeschool import log


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_text_is_one_line_with_its_values(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("text")
    logging.getLogger("fetcher.http.client").warning("Retrying request", extra={"action": "retry", "page": "BTC"})

    (line,) = lines(capsys)
    assert line.endswith("WARNING fetcher.http.client: Retrying request action=retry page=BTC")


def test_json_is_one_object_a_line_with_its_values(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json")
    logging.getLogger("fetcher.http.client").warning(
        "Retrying %s", "request", extra={"action": "retry", "pause_seconds": 0.5}
    )

    (line,) = lines(capsys)
    told = json.loads(line)
    assert told.pop("time").endswith("+00:00")
    assert told == {
        "severity": "warning",
        "logger": "fetcher.http.client",
        "message": "Retrying request",
        "action": "retry",
        "pause_seconds": 0.5,
    }


def test_what_json_does_not_know_is_told_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json")
    logging.getLogger("x").warning("m", extra={"where": ValueError("wrong")})

    assert json.loads(lines(capsys)[0])["where"] == "wrong"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_is_told(log_format, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(log_format)
    try:
        int("the cause")
    except ValueError:
        logging.getLogger("x").exception("Failed")

    assert "ValueError: invalid literal" in "\n".join(lines(capsys))


def test_libraries_that_talk_a_lot_are_told_only_when_something_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("text", level=logging.DEBUG)
    logging.getLogger("optuna").info("chatter")
    logging.getLogger("optuna").warning("failure")

    assert [line.rpartition(" ")[2] for line in lines(capsys)] == ["failure"]


def test_lines_bear_what_they_are_about(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json")
    with log.about(run="r1", level="2"), log.about(trial=7):
        logging.getLogger("x").warning("inside", extra={"run": "another"})
    logging.getLogger("x").warning("outside")

    inside, outside = map(json.loads, capsys.readouterr().err.splitlines())
    assert (inside["run"], inside["level"], inside["trial"]) == ("another", "2", 7)
    assert inside["severity"] == "warning"
    assert "run" not in outside


def test_a_line_on_an_exception_tells_what_was_at_work_where_it_was_raised(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json")
    try:
        with log.about(run="r1", dataset="outer"), log.about(dataset="inner"):
            int("x")
    except ValueError as error:
        caught = error
        logging.getLogger("x").exception("caught")

    assert log.facts_of(caught) == {"run": "r1", "dataset": "inner"}
    line = json.loads(capsys.readouterr().err)
    assert (line["run"], line["dataset"]) == ("r1", "inner")
    assert log.facts_of(None) == {}
