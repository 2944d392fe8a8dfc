"""Fixtures: a served page with real files, a real study and a real Valkey server."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import optuna
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from rq.job_lifecycle import record_job_failure
from schemathesis import GenerationMode

from optimizer.level.spec import Level
from optimizer.runs.run_record import RunRecord
from tests.factories.runs import make_attempt, make_context, make_run_record, make_verdict, recommended
from tradeschool.markets.catalogue import BTC_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from workers.coordinator import event_log
from workers.coordinator.context import RunContext
from workers.monitoring.overview import Overview, Sources
from workers.web import app
from workers.web.auth import Auth

TOKEN = "a-token-of-some-length"
CALLS = min(int(os.environ.get("FUZZ_EXAMPLES", "24")), 1_000)
"""Calls of each documented operation; `scripts/fuzz` sets more."""
BTC = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
METRICS = {"win_rate": 0.6, "sharpe": 0.5, "max_drawdown_intrabar": 0.1, "profit_factor": 1.4, "trades": 40}
DISTRIBUTIONS = {"fast": IntDistribution(5, 50), "stop": FloatDistribution(1.0, 5.0)}
LEVEL = Level.model_validate(
    {
        "name": "1",
        "title": "Long in bull markets",
        "direction": "long",
        "trials": 40,
        "retries": 0,
        "datasets": [{"dataset": "coinbase/BTC-USD/M5", "start": "2020-01-01", "end": "2022-01-01"}],
        "gate": {"win_rate": 0.5, "sharpe": 0.8, "max_drawdown_intrabar": 0.15, "profit_factor": 1.3},
        "ranges": {"fast": [5, 50], "stop": [1.0, 5.0]},
    }
)


@dataclass
class ServiceHarness:
    """Folders of an installation."""

    folder: Path
    redis_url: str
    run: str = "r1"
    storage_url: str | None = None
    made: list[optuna.storages.RDBStorage] = field(default_factory=list)

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def context(self) -> RunContext:
        made = make_context(self.folder)
        return replace(made, storage_url=self.storage_url or made.storage_url)

    def overview(self) -> Overview:
        return Overview(
            Sources(
                redis_url=self.redis_url,
                context=self.context,
                datasets=[BTC],
            )
        )

    def begin_run(self, run: str = "r1") -> None:
        make_attempt(self.context, make_run_record(self.context, LEVEL, name=run))
        event_log.record(self.results / run, "run_started", run=run, seed=7)

    def add_trials(self, count: int, study: str = "r1-L1-a1") -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = optuna.storages.RDBStorage(self.context.storage_url)
        self.made.append(storage)
        found = optuna.create_study(storage=storage, study_name=study, load_if_exists=True, direction="maximize")
        found.set_user_attr("level", LEVEL.model_dump(mode="json"))
        for _ in range(count):
            number = len(found.trials)
            found.add_trial(
                create_trial(
                    state=TrialState.PRUNED if number % 5 == 4 else TrialState.COMPLETE,
                    value=number / 10,
                    params={"fast": 5 + number % 40, "stop": 1.0 + number % 3},
                    distributions=DISTRIBUTIONS,
                    constraints={"sharpe": -1.0 if number % 2 else 1.0},
                    user_attrs={"metrics": METRICS, "worker": "w", "seconds": 0.25},
                )
            )

    @property
    def record(self) -> RunRecord:
        record = self.overview().studies.run(self.run)
        assert record is not None
        return record

    def recommend(self, reason: str) -> None:
        recommended(self.context, self.record, reason)

    def judge(self, *, passed: bool) -> None:
        make_attempt(self.context, self.record, verdict=make_verdict(passed=passed))
        (self.results / self.run / "1").mkdir(exist_ok=True)

    def close(self) -> None:
        for storage in self.made:
            storage.scoped_session.remove()
            storage.engine.dispose()


class Client(requests.Session):
    """HTTP client of a page; it does not follow redirects and uses no proxy."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url, self.trust_env = url, False

    def request(self, method: str, url: str, **options: object) -> requests.Response:  # type: ignore[override]
        asked = url if "://" in url else self.url + url
        return super().request(method, asked, **({"timeout": 60} | options | {"allow_redirects": False}))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def make_site() -> Callable[[Path, str], ServiceHarness]:
    return lambda folder, redis_url: ServiceHarness(folder=folder, redis_url=redis_url)


@pytest.fixture
def context(tmp_path: Path, url: str) -> Iterator[ServiceHarness]:
    made = ServiceHarness(folder=tmp_path, redis_url=url)
    yield made
    made.close()


@pytest.fixture(scope="session")
def serve() -> Callable[..., object]:
    """Serve an installation in a thread and yield its URL."""

    @contextmanager
    def one(context: ServiceHarness, token: str | None = None, **options: Any) -> Iterator[str]:
        with served(context, token, **options) as (url, _):
            yield url

    return one


@pytest.fixture(scope="session")
def serve_on() -> Callable[..., object]:
    """Like `serve`, but yield the event loop, too."""
    return served


@contextmanager
def served(
    context: ServiceHarness, token: str | None = None, clock: Callable[[], float] = time.time, port: int = 0
) -> Iterator[tuple[str, asyncio.AbstractEventLoop]]:
    loop = asyncio.new_event_loop()
    made = app.make_app(context.overview(), Auth(token=token, clock=clock))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(app.serve(made, "127.0.0.1", port), loop).result(60)
    try:
        yield app.address(runner), loop
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="session")
def fail_a_job() -> Callable[..., str]:
    """Open a plan's study and let its first job fail."""

    def fail(plan, reason: str = "no luck") -> str:
        study = plan.open()
        plan.run(study).reconcile()
        study.close()
        queue = plan.queue
        job = queue.fetch_job(queue.job_ids[0])
        queue.connection.lrem(queue.key, 0, job.id)
        with queue.connection.pipeline() as pipeline:
            record_job_failure(job, f"Traceback\nRuntimeError: {reason}", pipeline)
            pipeline.execute()
        job.set_status("failed")
        return str(job.id)

    return fail


@pytest.fixture
def page(context: ServiceHarness, serve: Callable[..., object]) -> Iterator[Client]:
    """Client of a page without a token."""
    with serve(context) as url, Client(url) as client:
        yield client


@pytest.fixture
def locked(context: ServiceHarness, serve: Callable[..., object]) -> Iterator[Client]:
    """Client of a page with a token."""
    with serve(context, TOKEN) as url, Client(url) as client:
        yield client


@pytest.fixture
def client() -> Callable[[str], Client]:
    return Client


@pytest.fixture
def schema_of() -> Callable[[str], int]:
    """Validate the API at a URL against its OpenAPI document and return the number of calls."""

    def check(url: str) -> int:
        calls = 0
        schema = schemathesis.openapi.from_dict(Client(url).get("/api/openapi.json").json())
        schema.config.update(base_url=url)
        for result in schema.get_all_operations():
            operation = result.ok()
            if operation.path == "/api/stream":
                continue  # its answer never ends

            @settings(max_examples=CALLS, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
            @given(case=operation.as_strategy() | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
            def holds(case: schemathesis.Case) -> None:
                nonlocal calls
                calls += 1
                with Client(url) as session:
                    response = case.call(session=session)
                    if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:  # Redis was slow on a busy machine
                        assert set(response.json()) == {"error"}
                        return
                    case.validate_response(response)

            holds()
        return calls

    return check
