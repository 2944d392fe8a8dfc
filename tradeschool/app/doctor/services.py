"""Checks of services: trial queue, workers, study database, providers, and the clocks of this machine and theirs."""

import asyncio
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from email.utils import parsedate_to_datetime

import aiohttp

from fetcher.protocol.provider import Access, Provider
from fetcher.provider_registry import find, load
from optimizer.runs.database_check import check_database
from tradeschool.app.context import candles_of
from tradeschool.app.doctor.check_result import CheckResult, CheckState, failed, ok, warning
from tradeschool.app.doctor.machine import check_folder
from tradeschool.app.download.dataset_download import access_to
from tradeschool.app.monitoring import sources_of
from tradeschool.app.search.search_run import context_of
from tradeschool.errors import SettingsError, TradeschoolError
from tradeschool.markets.catalogue import INSTRUMENTS
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.settings.model import Settings
from tradeschool.settings.urls import mask_url
from workers.coordinator.run import run_persistence
from workers.monitoring.overview import Overview

PATIENCE_SECONDS = 10.0
"""Time limit of a request to a provider."""
TOLERATED_SECONDS, MOST_SECONDS = 5.0, 60.0
"""Differences of clocks above which a check warns, and above which it fails."""
CLOCK_ACTION = "synchronise the clock, for example: timedatectl set-ntp true"


def check_queue(settings: Settings) -> Iterator[CheckResult]:
    """Check that the configured server is suitable for the queue, its clock, and the connected workers."""
    url = settings.redis_server
    if url is None:
        yield ok("queue", "embedded server, started with a run")
    else:
        # Imported here: most checks need no server, and the client is slow to import.
        from workers.connection.server_time import server_now
        from workers.queue.server_check import connect_to_work, require_fit

        with connect_to_work(url) as connection:
            yield ok("queue", f"{mask_url(url)} {require_fit(connection, url)}")
            yield clock_finding("clock of Redis", server_now(connection), time.time())
    yield _check_workers(settings)


def _check_workers(settings: Settings) -> CheckResult:
    with closing(Overview(sources_of(settings), is_quiet=True)) as overview:
        queue = overview.queue().value
    if queue is None:
        return ok("workers", "none: the server is not running; a run starts its own")
    return ok("workers", f"{len(queue.workers)} connected")


def check_candles(settings: Settings) -> CheckResult:
    """Check the local folder and, with candles in a bucket, that its seals can be listed."""
    folder, store = check_folder("data_dir", settings.data_root), candles_of(settings)
    if store.bucket is None or folder.state is CheckState.FAILED:
        return folder
    store.bucket.refresh(at_once=True)
    return ok("data_dir", f"{store} answers, {len(store.dataset_names())} datasets; {folder.found}")


def check_study(settings: Settings) -> CheckResult:
    """Check the study database: file system, connection, TLS, schema, permissions, and that its runs can be read."""
    told = check_database(settings.storage)
    context = context_of(settings)
    with run_persistence.opened(context) as runs:
        found = runs.all()
    active = [record.name for record in run_persistence.under_way(context)]
    running = f", unfinished: {', '.join(active[:3])}" if active else ""
    return ok("study database", f"{told}; {len(found)} runs{running}")


def check_tokens(settings: Settings) -> CheckResult:
    """Check that the OANDA token is set; the probe of the provider checks that it is accepted."""
    if settings.oanda_token():
        return ok("OANDA token", "set")
    return warning(
        "OANDA token",
        "not set: OANDA datasets cannot be fetched",
        "export OANDA_API_TOKEN=..., or set oanda_api_token_file",
    )


def clock_finding(name: str, theirs: float, ours: float) -> CheckResult:
    """Compare this machine's clock with another one; both are Unix times in seconds."""
    off = ours - theirs
    told = f"this machine is {abs(off):.1f} s {'ahead' if off > 0 else 'behind'}"
    if abs(off) > MOST_SECONDS:
        return failed(name, told, CLOCK_ACTION)
    if abs(off) > TOLERATED_SECONDS:
        return warning(name, told, CLOCK_ACTION)
    return ok(name, told)


def check_providers(settings: Settings, *, is_offline: bool) -> Iterable[CheckResult]:
    """Send one cheap request to each provider that has a shipped instrument; without requests if `is_offline`."""
    names = sorted({each.name for each in load().values()})
    accesses = {name: access_to(name, settings) for name in names}
    if is_offline:
        return [ok(name, f"{_address(access)}; not requested") for name, access in accesses.items()]
    return asyncio.run(_probe_all(accesses, settings))


async def _probe_all(accesses: dict[str, Access], settings: Settings) -> list[CheckResult]:
    limit = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
    async with aiohttp.ClientSession(timeout=limit, cookie_jar=aiohttp.DummyCookieJar()) as session:
        found = await asyncio.gather(*(_probe(session, name, access, settings) for name, access in accesses.items()))
    return [each for findings in found for each in findings]


async def _probe(session: aiohttp.ClientSession, name: str, access: Access, settings: Settings) -> list[CheckResult]:
    provider = find(name, settings.fetch.provider(name).source)
    instrument = next((each for each in INSTRUMENTS if each.provider == name), None)
    told = _address(access)
    if instrument is None or (provider.needs_token and access.token is None):
        return [ok(name, f"{told}; not requested without {'a token' if instrument else 'an instrument'}")]
    try:
        request = provider.probe(Dataset(instrument=instrument, timeframe=Timeframe.H1))
        headers = provider.headers(access.token)
        async with session.get(access.url.rstrip("/") + request.path, params=request.query, headers=headers) as answer:
            return [_answer_finding(provider, told, answer.status), *_clock(name, answer.headers.get("Date"))]
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        why = str(error) or type(error).__name__
        action = f"check the network, the proxy ({_proxy()}) and fetch.{name}_url; stored candles work without it"
        return [warning(name, f"{told}: {why[:160]}", action)]
    except TradeschoolError as error:
        return [failed(name, f"{told}: {error}", "fix it as the message says")]


def _answer_finding(provider: Provider, told: str, status: int) -> CheckResult:
    if status in (401, 403) and provider.needs_token:
        return failed(
            provider.name, f"{told}: the token is refused ({status})", "renew the token; it belongs to one host"
        )
    if status >= 400:
        return warning(provider.name, f"{told}: answers with status {status}", "try again later; check the URL")
    return ok(provider.name, f"{told}; answers")


def _clock(name: str, date: str | None) -> Iterator[CheckResult]:
    try:
        theirs = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return
    yield clock_finding(f"clock of {name}", theirs, time.time())


def _address(access: Access) -> str:
    return f"{access.url} ({access.source}), {access.rate:g} requests/s"


def _proxy() -> str:
    """Return the configured proxy without its password."""
    url = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    try:
        return mask_url(url) if url else "none"
    except SettingsError:
        return "set"
