import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from fetcher.simulator.candles.generated import GeneratedCandles
from fetcher.simulator.candles.source import CandleSource, SimulatedCandles, no_candles
from fetcher.simulator.server import RunningExchange, serve
from tests.factories.exchanges import exchange_of
from tradeschool.markets.catalogue import BTC_USD, EUR_USD
from tradeschool.markets.instruments import Dataset, Instrument, Market

TOKEN = {"Authorization": "Bearer made-up"}


@dataclass
class Clock:
    """Manual clock: Unix seconds as `now`, and a monotonic clock that moves with it."""

    now: float = datetime(2024, 3, 13, 11, 10, 40, tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeReply:
    """A complete response."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Client:
    """Client of one simulated exchange."""

    served: RunningExchange
    session: aiohttp.ClientSession

    async def get(self, path: str, headers: dict[str, str] | None = None, **query: object) -> FakeReply:
        named = {key.rstrip("_"): str(value) for key, value in query.items()}
        async with self.session.get(path, params=named, headers=TOKEN | (headers or {})) as response:
            return FakeReply(response.status, await response.read(), dict(response.headers))


@dataclass
class ArraySource:
    """A source with the candles of a test."""

    written: dict[Dataset, SimulatedCandles] = field(default_factory=dict)
    instruments: tuple[Instrument, ...] = (BTC_USD, EUR_USD)

    def candles(self, dataset: Dataset, start: int, end: int) -> SimulatedCandles:
        candles = self.written.get(dataset)
        return no_candles(dataset.instrument.market) if candles is None else candles.within(start, end)


Serving = Callable[..., AbstractAsyncContextManager[Client]]
Written = Callable[..., ArraySource]


@pytest.fixture(scope="session")
def generated() -> GeneratedCandles:
    return GeneratedCandles(seed=7)


@pytest.fixture
def clock() -> Clock:
    """2024-03-13 11:10:40 UTC, a Wednesday."""
    return Clock()


@pytest.fixture
def serving(generated: GeneratedCandles, clock: Clock) -> Serving:
    """Serves a source, by default without a rate limit, and yields a client."""

    @asynccontextmanager
    async def connected(source: CandleSource = generated, **options: object) -> AsyncIterator[Client]:
        async with (
            serve(exchange_of(source, **({"now": clock} | options))) as served,
            aiohttp.ClientSession(served.url) as session,
        ):
            yield Client(served, session)

    return connected


@pytest.fixture
async def client(serving: Serving) -> AsyncIterator[Client]:
    """Client of an exchange with generated candles."""
    async with serving() as connected:
        yield connected


@pytest.fixture
def written() -> Written:
    """A source of one dataset with the given rows: time, open, high, low, close, volume."""

    def source(dataset: Dataset, *rows: tuple[float, ...], half_spread: float = 0.0001) -> ArraySource:
        columns = np.array(rows, dtype=np.float64).reshape(-1, 6)
        prices = columns[:, 1:5]
        is_fx = dataset.instrument.market is Market.FX
        arrays = SimulatedCandles(
            times=columns[:, 0].astype(np.int64),
            prices=prices,
            volumes=columns[:, 5],
            bid=np.round(prices - half_spread, 5) if is_fx else None,
            ask=np.round(prices + half_spread, 5) if is_fx else None,
        )
        return ArraySource({dataset: arrays})

    return source


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real candles and recorded responses."""
    beside = Path(__file__).parents[3].parent / "shared"
    folder = Path(os.environ.get("SHARED_FOLDER", beside))
    if not folder.is_dir():
        pytest.skip(f"no real candles and recorded answers in {folder}")
    return folder


@pytest.fixture(scope="session")
def recorded(shared: Path) -> Callable[[str], bytes]:
    """The recorded body of a name such as `coinbase/c09`."""

    def body(name: str) -> bytes:
        (path,) = (shared / "recorded").glob(f"{name}*")
        return path.read_bytes()

    return body
