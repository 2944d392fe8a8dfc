"""Forward tests on the page: topic, daily series, metrics and panel."""

import pytest

from tests.factories.forward_tests import make_forward_test
from tests.workers.web.test_api import eventually
from tests.workers.web.test_metrics import scraped


@pytest.fixture
def forward_test(context):
    """A forward test that exists before the page starts: without visitors, the page looks for others every 30 s."""
    context.begin_run()
    return make_forward_test(context.results)


@pytest.fixture
def broken_log(context):
    context.begin_run()
    make_forward_test(context.results, name="sound")
    broken = make_forward_test(context.results, name="broken")
    (broken.folder / "days.jsonl").write_text("{}\n")


def by_name(page) -> dict[str, dict]:
    """The summaries that the page has now."""
    return {each["name"]: each for each in page.get("/api/forward").json().get("tests", ())}


def shown(page, days: int) -> dict[str, dict]:
    """The summaries once the poller has read the whole test."""
    return eventually(lambda: (found := by_name(page)) and found["live"].get("days") == days and found)


def test_the_topic_and_the_series_are_those_of_the_files(forward_test, page) -> None:
    found = shown(page, 12)["live"]
    series = page.get("/api/runs/r1/forward/live").json()

    assert (found["run"], found["name"], found["days"], found["action"]) == ("r1", "live", 12, "paper_trade")
    assert found["rule"] == [*forward_test.rule.sentences]
    assert series["equity"] == [each.equity for each in forward_test.log.days]
    assert series["days"][0] == 18_697
    assert page.get("/api/runs/r1/forward/absent").status_code == 404
    assert page.get("/api/runs/r1/forward/..%2F..").status_code == 404


@pytest.mark.usefixtures("broken_log")
def test_a_changed_log_is_an_error_of_that_test_alone(page) -> None:
    tests = eventually(lambda: (found := by_name(page)).get("broken", {}).get("error") and found)

    assert tests["sound"]["error"] == ""
    assert "line 1 is not what was recorded" in tests["broken"]["error"]
    assert "line 1 is not" in page.get("/api/runs/r1/forward/broken").json()["error"]


def test_metrics_hold_the_last_day(forward_test, page) -> None:
    last = forward_test.log.days[-1]
    where = '{run="r1",test="live"}'

    shown(page, 12)
    samples = scraped(page, f"tradeschool_forward_days{where}")

    assert samples[f"tradeschool_forward_days{where}"] == 12
    assert samples[f"tradeschool_forward_equity{where}"] == pytest.approx(last.equity)
    assert samples[f"tradeschool_forward_e_value{where}"] == pytest.approx(last.e_value)
    assert samples[f"tradeschool_forward_e_value_required{where}"] == 20
    assert samples[f"tradeschool_forward_recorded_until_seconds{where}"] == (18_697 + 12) * 86_400
    assert samples[f"tradeschool_forward_live{where}"] == 1
    assert samples['tradeschool_forward_action{action="paper_trade",run="r1",test="live"}'] == 1
    assert samples['tradeschool_forward_action{action="deploy",run="r1",test="live"}'] == 0


def test_the_panel_shows_state_figures_and_rule(context, serve, visit) -> None:
    context.begin_run()
    make_forward_test(context.results)
    with serve(context) as url, visit(url) as page:
        page.wait_for_selector("#c-forward-live .uplot")
        text = page.inner_text("#forward")
        assert page.wait_for_selector("#c-limits-live .uplot")

    for part in ("paper trade", "e-value of 20.0", "maximum drawdown", "mean daily return", "from 2021-03-11"):
        assert part in text
    assert "Rule, written before the first day" in text


def test_a_run_without_a_forward_test_shows_the_command(context, serve, visit) -> None:
    context.begin_run()
    with serve(context) as url, visit(url) as page:
        page.wait_for_selector("#p-forward code")
        assert page.inner_text("#p-forward code") == "tradeschool forward r1"
