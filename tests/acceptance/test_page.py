"""The page during a whole run, from the download to the verdict, with two terminals and a browser."""

import re
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest

SLOW = {"TRADESCHOOL_FETCH__COINBASE_RATE": "2", "TRADESCHOOL_FETCH__OANDA_RATE": "2"}
"""Requests a second: slow enough to be watched."""


@pytest.fixture
def page_url(program) -> Iterator[str]:
    """URL of `tradeschool serve`."""
    serving = program.start("serve", "--port", "0")
    assert serving.stderr is not None
    found = None
    while found is None:  # what is away is said as soon as it is noticed
        said = serving.stderr.readline()
        assert said, "it ended"
        found = re.search(r"http://127\.0\.0\.1:\d+", said)
    yield found[0]
    serving.send_signal(signal.SIGTERM)
    _, said = serving.communicate(timeout=60)
    assert serving.returncode == 0, said
    assert "Traceback" not in said


def test_the_page_shows_a_run_from_download_to_verdict(program, page_url: str, visit) -> None:
    program = replace(program, environment={**program.environment, **SLOW})
    curriculum = str(program.write_curriculum(trials=60))
    with visit(page_url) as page:
        page.set_default_timeout(60_000)
        page.get_by_text("No run yet. Start one").wait_for()
        page.locator("#alerts .neutral", has_text="Redis is not running: no run is active").wait_for()
        up = program.start("up", "--curriculum", curriculum, "--seed", "7", "-j", "2")
        page.locator("#p-download .chip.running").wait_for()
        page.locator("#alerts .alert").wait_for(state="detached")
        assert "coinbase/BTC-USD/M5" in page.locator("#p-download").inner_text()
        page.locator("#p-workers tr", has_text="2 workers").wait_for()
        page.locator("#p-coverage tbody tr", has_text="coinbase/BTC-USD/M15").wait_for()
        page.locator(".level .bar .complete").wait_for()
        page.locator("#p-importance .shares, #p-importance .empty").first.wait_for()
        page.locator(".level.passed").wait_for()
        page.locator("#c-search canvas").wait_for()
        page.locator("#c-queue canvas").wait_for()
        _, said = up.communicate(timeout=90)
        page.locator("#alerts .neutral", has_text="Redis is not running: no run is active").wait_for()

        assert up.returncode == 0, said
        text = page.locator("#curriculum").inner_text()
        assert "60 / 60" in text
        assert "on validation" in text
        said = page.locator("#p-recommendation").inner_text()
        assert "checks met" in said
        checks = page.locator("#p-recommendation").text_content()
        assert "holdout period not opened" in checks
        assert "false-positive rate of the mandate (null test)" in checks
        assert page.locator("#p-coverage tbody tr").count() == 3
        report = page.get_by_role("link", name="Full report").get_attribute("href")
        page.goto(page_url + report)
        page.locator(".verdict").wait_for()
        page.get_by_role("heading", name="Selection bias").wait_for()
        page.get_by_role("img", name="Equity and drawdown of level 1").wait_for()
