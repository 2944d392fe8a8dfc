"""Names and values of metrics; dashboard, alerts and documentation use only existing ones."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.factories.downloads import provider_state
from tradeschool.store.download_status import DownloadState, DownloadStatus
from workers.web.metrics import MetricsCollector
from workers.web.topics import TopicStore

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text())
ALERTS = (PROMETHEUS / "alerts.yml").read_text()
DOCUMENT = (ROOT / "docs" / "reference" / "metrics.md").read_text()
NAME = re.compile(r"\b(?:rq|tradeschool)_[a-z_]+")


def names() -> set[str]:
    """Names of all series, including the suffixes of histograms."""
    found = set()
    for family in MetricsCollector(TopicStore()).collect():
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        found |= {family.name + ending for ending in endings}
    return found


def expressions() -> Iterator[str]:
    yield from (target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])
    yield from (each["expr"] for each in DASHBOARD["annotations"]["list"])
    yield ALERTS


@pytest.mark.parametrize("name", sorted({name for text in expressions() for name in NAME.findall(text)}))
def test_dashboard_and_alerts_use_existing_metrics(name: str) -> None:
    assert name in names()


def test_every_metric_is_documented() -> None:
    assert not [name for name in names() if f"`{re.sub('_(bucket|count|sum)$', '', name)}" not in DOCUMENT]


def test_a_scrape_equals_the_queue_snapshot(page, context) -> None:
    context.begin_run()
    context.add_trials(12)
    provider = provider_state(retries=1, paused_seconds=7, eta_seconds=9, outcomes={"ok": 5, "busy": 1})
    download = DownloadState(
        dataset="coinbase/BTC-USD/M5", range="2020", pages_done=2, pages_total=9, reached=None, sealed=(), error=None
    )
    from datetime import UTC, datetime

    record = DownloadStatus(
        time=datetime.now(UTC), running=True, eta_seconds=9, providers=(provider,), downloads=(download,)
    )
    record.publish(context.folder / "data")

    watched = page.get("/api/stream", stream=True)  # it looks every two seconds then, not every ten
    samples = scraped(
        page,
        'tradeschool_trials{level="1",state="complete"}',
        'tradeschool_fetch_requests_total{outcome="busy",provider="coinbase"}',
        "tradeschool_queue_oldest_seconds",
    )
    watched.close()

    assert samples['tradeschool_trials{level="1",state="complete"}'] == 10
    assert samples['tradeschool_trials{level="1",state="total"}'] == 40
    assert samples['tradeschool_level_best_value{level="1"}'] == pytest.approx(1.1)
    assert samples['tradeschool_level_gate_target{criterion="sharpe",level="1"}'] == 0.8
    assert samples['tradeschool_level_state{level="1",state="waiting"}'] == 1
    assert samples['tradeschool_fetch_requests_total{outcome="busy",provider="coinbase"}'] == 1
    assert samples['tradeschool_fetch_request_duration_seconds_bucket{le="1",provider="coinbase"}'] == 5
    assert samples['tradeschool_fetch_request_duration_seconds_count{provider="coinbase"}'] == 6
    assert samples['tradeschool_dataset_pages{dataset="coinbase/BTC-USD/M5",state="total"}'] == 9
    assert samples["tradeschool_fetch_running"] == 1
    assert samples['rq_jobs{queue="trials",status="queued"}'] == 0
    assert samples['tradeschool_up{source="queue"}'] == 1


def scraped(page, *wanted: str) -> dict[str, float]:
    import time

    end = time.monotonic() + 60
    while True:
        text = page.get("/metrics").text
        samples = {
            sample.name + labels(sample.labels): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        if all(name in samples for name in wanted):
            return samples
        assert time.monotonic() < end, text
        time.sleep(0.1)


def labels(given: dict[str, str]) -> str:
    inside = ",".join(f'{name}="{value}"' for name, value in sorted(given.items()))
    return f"{{{inside}}}" if inside else ""


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool here: it is part of Debian's package prometheus, which .ci/run installs")
    return found


def test_names_and_types_pass_the_prometheus_linter(promtool: str, page, context) -> None:
    context.begin_run()
    context.add_trials(3)
    done = subprocess.run(
        [promtool, "check", "metrics"], input=page.get("/metrics").text, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "words",
    [("check", "rules", "alerts.yml"), ("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")],
    ids=" ".join,
)
def test_alerts_are_valid_and_fire_on_recorded_series(promtool: str, words: tuple[str, ...]) -> None:
    done = subprocess.run([promtool, *words], cwd=PROMETHEUS, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_firing_test() -> None:
    tested = (PROMETHEUS / "alerts_test.yml").read_text()
    alerts = re.findall(r"- alert: (\w+)", ALERTS)

    assert len(alerts) > 6
    for alert in alerts:
        assert re.search(rf"alertname: {alert}\n\s+exp_alerts: \[{{", tested), alert
