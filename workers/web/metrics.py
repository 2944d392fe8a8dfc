"""Prometheus metrics at `/metrics`, served from the poller's latest results; a scrape reads no source.

The `rq_` metrics have the names and labels of rq-exporter, which does not support RQ 3.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from itertools import accumulate

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import JsonValue

from workers.queue.job_allowlist import QUEUE
from workers.web import api
from workers.web.topics import TopicStore

Object = Mapping[str, JsonValue]
Sample = tuple[Sequence[str], JsonValue]
"""Labels and value of a sample; samples without a numeric value are omitted."""

SOURCES = ("queue", "run", "candles", "download", "forward")
JOB_STATES = ("queued", "started", "finished", "failed", "deferred", "scheduled")
TRIAL_STATES = ("complete", "pruned", "failed")
STALLS = ("no workers", "workers suspended")
FORWARD_ACTIONS = ("paper_trade", "deploy", "stop")
LEVEL_STATES = ("waiting", "searching", "validating", "failed", "passed")


async def scrape(request: web.Request) -> web.Response:
    """Return all metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(MetricsCollector(request.app[api.TOPIC_STORE]))
    return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


class MetricsCollector(Collector):
    """Collector over the topics; families without data are exported without samples, so no name is ever absent."""

    def __init__(self, topics: TopicStore) -> None:
        self._topics = topics

    def collect(self) -> Iterator[Metric]:
        """Yield all metric families."""
        topics = {source: _object(json.loads(self._topics.text(source) or b"{}")) for source in SOURCES}
        queue, download = _object(topics["queue"].get("queue")), topics["download"]
        yield _gauge(
            "tradeschool_build_info",
            "Version of tradeschool, as a label; always 1.",
            ["version"],
            [([version("tradeschool-curriculum")], 1)],
        )
        seen = [([source], bool(topic) and not topic.get("error")) for source, topic in topics.items()]
        yield _gauge("tradeschool_up", "1 if a source was readable at the last check, else 0.", ["source"], seen)
        yield from _redis(topics["queue"], queue)
        yield from _queue(queue)
        yield from _workers(_objects(queue.get("workers")))
        yield from _levels(_objects(_object(topics["run"].get("run")).get("levels")))
        yield from _forward(_objects(topics["forward"].get("tests")))
        yield from _candles(_objects(topics["candles"].get("datasets")))
        yield from _downloads(_object(download.get("download")), download.get("state") == "running")
        yield from _providers(_objects(_object(download.get("download")).get("providers")))


def _redis(topic: Object, queue: Object) -> Iterator[Metric]:
    """Yield reachability, stall and ETA of the queue; without samples before the first check."""
    description = "1 if Redis was reachable at the last check, else 0. The embedded server is stopped between two runs."
    yield _gauge("tradeschool_redis_up", description, [], [([], bool(queue))] if topic else [])
    stalls = [([reason], reason == queue.get("stalled")) for reason in STALLS] if topic else []
    yield _gauge("tradeschool_stalled", "1 for the reason why the search is stalled, else 0.", ["reason"], stalls)
    yield _gauge(
        "tradeschool_queue_eta_seconds",
        "Estimated seconds until all queued jobs have finished; absent while no job finishes.",
        [],
        [([], queue.get("eta_seconds"))],
    )


def _queue(queue: Object) -> Iterator[Metric]:
    jobs = [([QUEUE, state], queue.get(state)) for state in JOB_STATES]
    labels = ["queue", "status"]
    yield _gauge("rq_jobs", "Number of jobs by queue and status.", labels, jobs)
    yield _gauge(
        "tradeschool_queue_jobs",
        "Number of jobs by queue and status; finished and failed ones of the last day.",
        labels,
        jobs,
    )
    yield _gauge(
        "tradeschool_queue_oldest_seconds", "Age of the oldest queued job.", [], [([], queue.get("oldest_seconds"))]
    )
    yield _gauge(
        "tradeschool_queue_finished_last_minute",
        "Number of jobs finished in the last minute.",
        [],
        [([], queue.get("throughput_per_minute"))],
    )


def _workers(workers: Sequence[Object]) -> Iterator[Metric]:
    known = [(str(worker.get("name")), worker) for worker in workers]
    states = [([name, str(worker.get("state")), QUEUE], 1) for name, worker in known]
    yield _gauge("rq_workers", "Workers by state; always 1.", ["name", "state", "queues"], states)
    for name, field, description in (
        ("rq_workers_success", "done", "Number of jobs that a worker finished."),
        ("rq_workers_failed", "failed", "Number of jobs that failed on a worker."),
        ("rq_workers_working_time", "working_seconds", "Seconds that a worker spent on jobs."),
    ):
        yield _counter(
            name, description, ["name", "queues"], [([each, QUEUE], worker.get(field)) for each, worker in known]
        )
    ages = [([name, str(worker.get("host"))], worker.get("heartbeat_age_seconds")) for name, worker in known]
    description = "Seconds since the last heartbeat of a worker."
    yield _gauge("tradeschool_worker_heartbeat_age_seconds", description, ["name", "host"], ages)


def _levels(levels: Sequence[Object]) -> Iterator[Metric]:
    named = [(str(level.get("level")), level) for level in levels]
    last = [(name, attempts[-1]) for name, level in named if (attempts := _objects(level.get("attempts")))]
    trials: list[Sample] = [([name, state], attempt.get(state)) for name, attempt in last for state in TRIAL_STATES]
    trials += [([name, "total"], attempt.get("trials")) for name, attempt in last]
    yield _gauge("tradeschool_trials", "Number of trials in a level's latest attempt.", ["level", "state"], trials)
    best = [([name], _object(attempt.get("best")).get("value")) for name, attempt in last]
    yield _gauge("tradeschool_level_best_value", "Best objective value of a feasible trial on train.", ["level"], best)
    left = [([name], attempt.get("eta_seconds")) for name, attempt in last]
    description = "Estimated seconds until the last trial of a level's latest attempt; absent while no trial finishes."
    yield _gauge("tradeschool_level_eta_seconds", description, ["level"], left)
    numbers = [([name], attempt.get("attempt")) for name, attempt in last]
    yield _gauge("tradeschool_level_attempt", "Number of a level's latest attempt.", ["level"], numbers)
    for field in ("value", "target", "met"):
        readings = [
            ([name, str(reading.get("name"))], reading.get(field))
            for name, level in named
            for reading in _objects(level.get("gate"))
        ]
        description = (
            f"The {field} of each gate criterion of a level, on validation after the verdict, on train before."
        )
        yield _gauge(f"tradeschool_level_gate_{field}", description, ["level", "criterion"], readings)
    states = [([name, state], state == level.get("state")) for name, level in named for state in LEVEL_STATES]
    yield _gauge("tradeschool_level_state", "1 for the current state of a level, else 0.", ["level", "state"], states)


def _forward(tests: Sequence[Object]) -> Iterator[Metric]:
    named = [((str(test.get("run")), str(test.get("name"))), test) for test in tests]
    labels = ["run", "test"]
    for name, field, description in (
        ("tradeschool_forward_days", "days", "Number of recorded days of a forward test."),
        ("tradeschool_forward_equity", "equity", "Equity of a forward test; 1 at its start."),
        ("tradeschool_forward_drawdown_ratio", "drawdown", "Maximum intrabar drawdown of a forward test so far."),
        ("tradeschool_forward_mean_lower_limit", "lower", "Lower limit of the mean daily return of a forward test."),
        ("tradeschool_forward_mean_upper_limit", "upper", "Upper limit of the mean daily return of a forward test."),
        ("tradeschool_forward_e_value", "e_value", "E-value against a mean daily return of zero or less."),
        ("tradeschool_forward_e_value_required", "e_value_required", "E-value at which a forward test deploys."),
    ):
        yield _gauge(name, description, labels, [(list(who), test.get(field)) for who, test in named])
    actions = [([*who, each], each == test.get("action")) for who, test in named for each in FORWARD_ACTIONS]
    description = "1 for what the rule of a forward test says now, else 0."
    yield _gauge("tradeschool_forward_action", description, [*labels, "action"], actions)
    live = [(list(who), test.get("next_day") is not None and test.get("is_replay") is False) for who, test in named]
    description = "1 while a forward test waits for new days; 0 after its decision and for a replay."
    yield _gauge("tradeschool_forward_live", description, labels, live)
    ends = [(list(who), _end_of_day(test.get("last_day"))) for who, test in named]
    description = "Unix time at the end of the last recorded day of a forward test."
    yield _gauge("tradeschool_forward_recorded_until_seconds", description, labels, ends)


def _end_of_day(day: JsonValue) -> JsonValue:
    if not isinstance(day, str):
        return None
    return (datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)).timestamp()


def _candles(datasets: Sequence[Object]) -> Iterator[Metric]:
    covered: list[Sample] = [([str(each.get("dataset"))], each.get("coverage")) for each in datasets]
    traded: list[Sample] = [([str(each.get("dataset"))], each.get("density")) for each in datasets]
    stored: list[Sample] = [([str(each.get("dataset"))], each.get("rows")) for each in datasets]
    yield _gauge(
        "tradeschool_dataset_coverage_ratio",
        "Share of the expected candles that is stored or confirmed not to exist in the sealed ranges of a dataset.",
        ["dataset"],
        covered,
    )
    yield _gauge(
        "tradeschool_dataset_density_ratio",
        "Share of the expected candles that is stored in the sealed ranges of a dataset: slots with a trade.",
        ["dataset"],
        traded,
    )
    yield _gauge("tradeschool_dataset_candles", "Number of sealed candles of a dataset.", ["dataset"], stored)


def _downloads(download: Object, is_running: bool) -> Iterator[Metric]:
    pages: list[Sample] = []
    for each in _objects(download.get("downloads")):
        pages += [([str(each.get("dataset")), state], each.get(f"pages_{state}")) for state in ("done", "total")]
    yield _gauge(
        "tradeschool_dataset_pages",
        "Number of pages of the latest download: done and total.",
        ["dataset", "state"],
        pages,
    )
    yield _gauge("tradeschool_fetch_running", "1 while a fetcher is running, else 0.", [], [([], is_running)])
    yield _gauge(
        "tradeschool_fetch_eta_seconds",
        "Estimated seconds until the last page, at the rate limit.",
        [],
        [([], download.get("eta_seconds") if is_running else None)],
    )


def _providers(providers: Sequence[Object]) -> Iterator[Metric]:
    named = [(str(each.get("provider")), each) for each in providers]
    outcomes = [
        ([name, outcome], count) for name, each in named for outcome, count in _object(each.get("outcomes")).items()
    ]
    yield _counter("tradeschool_fetch_requests", "Number of requests by outcome.", ["provider", "outcome"], outcomes)
    for name, field, description in (
        (
            "tradeschool_fetch_request_duration_seconds",
            "response_seconds",
            "Seconds from request to complete response.",
        ),
        (
            "tradeschool_fetch_throttle_wait_seconds",
            "token_seconds",
            "Seconds that a request waited for the rate limit.",
        ),
    ):
        family = HistogramMetricFamily(name, description, labels=["provider"])
        for provider, each in named:
            _add_histogram(family, provider, _object(each.get(field)))
        yield family
    pauses = [([name], each.get("paused_seconds")) for name, each in named]
    yield _gauge("tradeschool_fetch_paused_seconds", "Remaining seconds of a provider's pause.", ["provider"], pauses)


def _add_histogram(family: HistogramMetricFamily, provider: str, spread: Object) -> None:
    bounds, counts = _numbers(spread.get("bounds_seconds")), _numbers(spread.get("counts"))
    if len(counts) != len(bounds) + 1:
        return
    names = [*(f"{bound:g}" for bound in bounds), "+Inf"]
    (seconds,) = _numbers([spread.get("seconds")]) or (0.0,)
    family.add_metric([provider], list(zip(names, accumulate(counts), strict=True)), seconds)


def _gauge(name: str, description: str, labels: Sequence[str], samples: Iterable[Sample]) -> Metric:
    return _filled(GaugeMetricFamily(name, description, labels=labels), samples)


def _counter(name: str, description: str, labels: Sequence[str], samples: Iterable[Sample]) -> Metric:
    return _filled(CounterMetricFamily(name, description, labels=labels), samples)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, samples: Iterable[Sample]) -> Metric:
    for labels, value in samples:
        if isinstance(value, int | float):
            family.add_metric(labels, float(value))
    return family


def _object(value: JsonValue) -> Object:
    return value if isinstance(value, dict) else {}


def _objects(value: JsonValue) -> list[Object]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _numbers(value: JsonValue) -> list[float]:
    return [float(each) for each in value if isinstance(each, int | float)] if isinstance(value, list) else []
