"""A scripted loopback server and the access to it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from inspect import isawaitable

import pytest
from aiohttp import web

from fetcher.protocol.provider import Access


@dataclass(slots=True, kw_only=True)
class Scripted:
    """The requests that the server received, and its URL."""

    url: str = ""
    asked: list[web.Request] = field(default_factory=list)


@pytest.fixture
def scripted():
    """Serve the responses in order and repeat the last one; None closes the connection."""

    @asynccontextmanager
    async def one(*answers: Callable[[], web.Response | Awaitable[web.Response]] | None) -> AsyncIterator[Scripted]:
        script = Scripted()

        async def response(request: web.Request) -> web.Response:
            script.asked.append(request)
            make = answers[min(len(script.asked), len(answers)) - 1]
            if make is None:
                assert request.transport
                request.transport.close()
                return web.Response()
            made = make()
            return await made if isawaitable(made) else made

        app = web.Application()
        app.router.add_get("/{path:.*}", response)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            script.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield script
        finally:
            await runner.cleanup()

    return one


@pytest.fixture
def fast() -> Callable[..., Access]:
    """Access with a rate limit that does not slow a test."""

    def access(url: str, **changes: object) -> Access:
        return Access(**({"url": url, "rate": 500.0, "token": "any", "patience_seconds": 0.5} | changes))  # type: ignore[arg-type]

    return access
