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


def test_unserializable_values_are_logged_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json")
    logging.getLogger("x").warning("m", extra={"where": ValueError("wrong")})

    assert json.loads(lines(capsys)[0])["where"] == "wrong"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_is_logged(log_format, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(log_format)
    try:
        int("the cause")
    except ValueError:
        logging.getLogger("x").exception("Failed")

    assert "ValueError: invalid literal" in "\n".join(lines(capsys))


def test_verbose_libraries_log_only_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("text", level=logging.DEBUG)
    logging.getLogger("optuna").info("chatter")
    logging.getLogger("optuna").warning("failure")

    assert [line.rpartition(" ")[2] for line in lines(capsys)] == ["failure"]


def test_log_lines_carry_their_context(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json")
    with log.about(run="r1", level="2"), log.about(trial=7):
        logging.getLogger("x").warning("inside", extra={"run": "another"})
    logging.getLogger("x").warning("outside")

    inside, outside = map(json.loads, capsys.readouterr().err.splitlines())
    assert (inside["run"], inside["level"], inside["trial"]) == ("another", "2", 7)
    assert inside["severity"] == "warning"
    assert "run" not in outside


def test_an_exception_line_carries_the_context_of_its_origin(capsys: pytest.CaptureFixture[str]) -> None:
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
