"""HTTP client of one provider: rate limit, time-outs, retries and the interpretation of status codes.

The layers, from the outside in: `page` retries, `_attempt` takes a token of the rate limit, `_send` performs the HTTP
request, `fetcher.http.response.classify` turns a status code into an error.
"""

import logging
import math
import random
import time
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace, TracebackType
from typing import Self, TypeVar

import aiohttp

from fetcher.http.rate_limiter import TokenBucket
from fetcher.http.request_statistics import RequestOutcome, Traffic
from fetcher.http.response import RawResponse, TransientError, classify, inflated, moment
from fetcher.protocol.provider import Access, Page, Provider, Request
from tradeschool.errors import InvalidCandles, ProviderBanned, ProviderRejected, ProviderUnusable, ServiceUnreachable
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.ohlcv.frame import Candles

log = logging.getLogger(__name__)

USER_AGENT = "tradeschool/0.1"
CONNECT_TIMEOUT = 10.0  # seconds
READ_TIMEOUT = 30.0  # seconds without a byte
KEEPALIVE = 60.0  # seconds
FIRST_PAUSE = 0.25  # seconds; doubled with each consecutive failure
LONGEST_PAUSE = 2.0  # seconds, if the provider does not request a pause
MAX_REQUESTED_PAUSE = 600.0  # longest pause in seconds that a provider may request; a longer one is a ban
PROBE_SECONDS = 5.0  # seconds; a wrong URL should be reported quickly
UNREADABLE_ATTEMPTS = 6  # attempts if the response is HTML, truncated or violates the candle contract
UNAUTHORISED_ATTEMPTS = 2  # OANDA occasionally returns a 401 that a retry resolves

T = TypeVar("T")


class Client:
    """HTTP session with one provider; an async context manager."""

    def __init__(
        self,
        provider: Provider,
        access: Access,
        traffic: Traffic | None = None,
        *,
        retry_log_level: int = logging.WARNING,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.provider = provider
        self.access = access
        self.bucket = _bucket(provider, access)
        self.traffic = traffic or Traffic()
        self._headers = {
            **provider.headers(access.token),
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "gzip",
        }
        self._jitter, self._retry_log_level = jitter, retry_log_level
        self._date: str | None = None
        self._failures = 0
        self._probed: set[Instrument] = set()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit_per_host=self.provider.connections, keepalive_timeout=KEEPALIVE),
            timeout=aiohttp.ClientTimeout(
                total=self.access.total_timeout_seconds, connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT
            ),
            headers=self._headers,
            trace_configs=[self._trace()],
            auto_decompress=False,  # the ledger stores the compressed body as received
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.bucket.close()
        if self._session:
            await self._session.close()

    @property
    def server_time(self) -> datetime | None:
        """Time of the provider's clock in its latest response (Date header), None before the first one."""
        return moment(self._date)

    async def probe(self, dataset: Dataset) -> None:
        """Check URL, token and instrument with a cheap request before a long download; once per instrument.

        Raises:
            ServiceUnreachable: if the provider does not respond within a few seconds.
            ProviderRejected: if the provider rejects the request.
        """
        if dataset.instrument not in self._probed:
            patience = min(PROBE_SECONDS, self.access.patience_seconds)
            await self._request(self.provider.probe(dataset), dataset, lambda answer: answer, patience=patience)
            self._probed.add(dataset.instrument)

    async def products(self, request: Request) -> tuple[Instrument, ...]:
        """Request the provider's list of all instruments.

        Raises:
            ServiceUnreachable: if the provider does not respond within a few seconds.
            ProviderRejected: if the provider rejects the request.
            ProviderUnusable: if the responses remain unreadable after retries.
        """
        patience = min(PROBE_SECONDS, self.access.patience_seconds)
        what = f"{self.provider.name} product list"
        return await self._request(request, what, lambda answer: self.provider.products(answer.body), patience=patience)

    async def page(self, page: Page, *, fresh: bool = False) -> tuple[bytes, Candles]:
        """Request a page and return its body as received (usually gzip) and its candles.

        With `fresh`, caches between here and the provider are bypassed.

        Raises:
            ProviderBanned: if the provider asks for a pause of more than `MAX_REQUESTED_PAUSE`.
            ServiceUnreachable: if the provider does not respond for `patience_seconds`.
            ProviderRejected: if the provider rejects the request.
            ProviderUnusable: if the responses remain unreadable after retries.
            InvalidCandles: if the candles remain invalid after retries.
        """
        return await self._request(
            self.provider.request(page),
            page,
            lambda answer: (answer.packed, self.provider.parse(answer.body, page)),
            fresh=fresh,
            patience=self.access.patience_seconds,
        )

    async def _request(
        self,
        request: Request,
        what: Page | Dataset | str,
        read: Callable[[RawResponse], T],
        *,
        patience: float,
        fresh: bool = False,
    ) -> T:
        """Send a request until its response can be read; a truncated body may come with status 200."""
        silent_since, wrong_responses = math.inf, 0
        while True:
            try:
                answer = read(await self._attempt(request, what, fresh=fresh))
            except TransientError as failure:
                self.traffic.outcomes[failure.outcome] += 1
                silent_since = min(silent_since, time.monotonic())
                self._check_patience(failure, what, is_over=time.monotonic() - silent_since >= patience)
                await self._pause(what, failure, failure.pause_seconds)
            except (ProviderUnusable, InvalidCandles, ProviderRejected) as failure:
                refused = isinstance(failure, ProviderRejected)
                self.traffic.outcomes[RequestOutcome.REFUSED if refused else RequestOutcome.UNREADABLE] += 1
                wrong_responses += 1
                if wrong_responses >= _is_retryable(failure):
                    raise
                await self._pause(what, failure, None)
            else:
                self.traffic.outcomes[RequestOutcome.OK] += 1
                self._failures = 0
                return answer
            self.traffic.retries += 1

    def _check_patience(self, failure: TransientError, what: Page | Dataset | str, *, is_over: bool) -> None:
        """Raise if the provider asks for too long a pause, or has not responded for too long."""
        where = f"{self.provider.name} at {self.access.url}"
        if (failure.pause_seconds or 0.0) > MAX_REQUESTED_PAUSE:
            raise ProviderBanned(
                f"{where} asks for a pause of {failure.pause_seconds:g} s ({what}: {failure}); "
                "run tradeschool fetch later"
            ) from failure
        if is_over:
            raise ServiceUnreachable(
                f"{where} does not respond ({what}: {failure}); check the network and the URL"
            ) from failure

    async def _attempt(self, request: Request, what: Page | Dataset | str, *, fresh: bool) -> RawResponse:
        with self.traffic.throttled():
            tokens = [await self.bucket.acquire()]
        try:
            with self.traffic.in_flight():
                response = await self._send(request, tokens, fresh=fresh)
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise TransientError(f"{type(error).__name__}: {error}".rstrip(": "), RequestOutcome.NO_RESPONSE) from error
        finally:
            for token in tokens:
                self.bucket.sent(token)
        return classify(response, self.provider, str(what))

    async def _send(self, request: Request, tokens: list[int], *, fresh: bool) -> RawResponse:
        if self._session is None:
            raise RuntimeError("Client is a context manager: use async with Client(...) as client")
        async with self._session.get(
            self.access.url.rstrip("/") + request.path,
            params=request.query,
            headers={"Cache-Control": "no-cache"} if fresh else None,
            allow_redirects=False,
            trace_request_ctx=tokens,
        ) as response:
            self._date = response.headers.get("Date", self._date)
            packed = await response.read()
            return RawResponse(
                status=response.status,
                retry_after=response.headers.get("Retry-After"),
                packed=packed,
                body=inflated(packed) if response.headers.get("Content-Encoding") == "gzip" else packed,
            )

    async def _pause(self, what: Page | Dataset | str, reason: Exception, seconds: float | None) -> None:
        """Pause all requests to the provider, because a failure usually affects all pages at the same time."""
        if seconds is None:
            seconds = min(LONGEST_PAUSE, FIRST_PAUSE * 2**self._failures) * (0.5 + self._jitter() / 2)
        self._failures = min(self._failures + 1, 16)
        self.traffic.paused_until = max(self.traffic.paused_until, time.monotonic() + seconds)
        await self.bucket.pause(seconds)
        log.log(
            self._retry_log_level,
            "Retrying request",
            extra={
                "action": "retry",
                "page": str(what),
                "reason": str(reason)[:200],
                "pause_seconds": round(seconds, 2),
            },
        )

    def _trace(self) -> aiohttp.TraceConfig:
        """Return a trace that applies the rate limit to the retries of aiohttp itself.

        aiohttp silently repeats a GET if a kept-alive connection turns out to be closed. Each further attempt is
        visible as another connection that is reused or created, and takes an additional token.
        """
        trace = aiohttp.TraceConfig()

        async def on_connection(session: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
            del session, params
            context.attempts = getattr(context, "attempts", 0) + 1
            if context.attempts > 1:
                self.bucket.sent(context.trace_request_ctx[-1])  # otherwise a bucket with one token would deadlock
                context.trace_request_ctx.append(await self.bucket.acquire())

        async def on_sent(session: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
            del session, params
            self.traffic.requests += 1
            self.bucket.sent(context.trace_request_ctx[-1])

        trace.on_connection_reuseconn.append(on_connection)
        trace.on_connection_create_start.append(on_connection)
        trace.on_request_headers_sent.append(on_sent)
        return trace


def _bucket(provider: Provider, access: Access) -> TokenBucket:
    if access.shared_limit_url is None:
        return TokenBucket(access.rate)
    # Imported only if needed: the Redis client is slow to import, and most fetchers do not share a limit.
    from fetcher.http.shared_rate_limiter import SharedTokenBucket

    return SharedTokenBucket(access.rate, url=access.shared_limit_url, name=provider.name)


def _is_retryable(failure: Exception) -> int:
    """Return the total number of attempts for a page whose responses fail in this way."""
    if isinstance(failure, ProviderRejected):
        return UNAUTHORISED_ATTEMPTS if failure.status == 401 else 1
    return UNREADABLE_ATTEMPTS
