"""Rate limiter of one provider: a token bucket based on asyncio-throttle.

It extends the sliding window of the base class with first-come-first-served waiting, exact sleeps instead of polling,
an even pace with a small burst, and a pause for all requests.
The window counts requests by the time at which they were *sent*, because opening a connection takes longer than reusing
one, and the provider counts arrivals.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

from asyncio_throttle.throttler import Throttler

BURST = 2  # largest number of accumulated tokens
MARGIN = 0.018  # fraction by which the pace stays below the limit; allows for 18 ms of network jitter per second


class TokenBucket(Throttler):
    """Allows at most `rate` requests in any second.

    `acquire` takes a token; `sent` reports that its request was sent. A token that is taken but not yet reported
    counts against the limit.
    Source: the even pace is the generic cell rate algorithm (ITU-T I.371, annex A).
    """

    def __init__(
        self,
        rate: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        limit = max(1, math.floor(rate))
        super().__init__(rate_limit=limit, period=limit / rate * (1 + MARGIN))
        self._interval = (1 + MARGIN) / rate  # seconds between two requests at an even pace
        self._clock = clock
        self._sleep = sleep
        self._line = asyncio.Lock()  # asyncio.Lock is first come, first served
        self._unsent: set[int] = set()
        self._next_token = 0
        self._due = clock() + (BURST - 1) * self._interval  # a new bucket holds one token
        self._paused_until = -math.inf
        self._changed = asyncio.Event()
        self.taken = 0
        """Number of tokens issued."""

    async def acquire(self) -> int:
        """Wait for a token and return its number, to be passed to `sent`."""
        async with self._line:
            while (wait := self._wait()) > 0:
                await self._wait_for_change(wait)
            now = self._clock()
            self._due = max(self._due, now) + self._interval
            self._next_token += 1
            self._unsent.add(self._next_token)
            self.taken += 1
            return self._next_token

    def sent(self, token: int) -> None:
        """Report that the request of a token was sent or cancelled; further calls have no effect."""
        if token in self._unsent:
            self._unsent.remove(token)
            self._task_logs.append(self._clock())
            self._changed.set()

    async def pause(self, seconds: float) -> None:
        """Issue no token for `seconds`; a longer pause in progress is not shortened."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    async def close(self) -> None:
        """Release resources; a bucket that is not shared holds none."""

    def flush(self) -> None:
        """Remove requests that have left the window."""
        while self._task_logs and self._clock() - self._task_logs[0] >= self.period:
            self._task_logs.popleft()

    def _wait(self) -> float:
        """Return the seconds until the next token is available; 0 or less if it is available now."""
        self.flush()
        now = self._clock()
        wait = max(self._due - (BURST - 1) * self._interval, self._paused_until) - now
        if len(self._unsent) + len(self._task_logs) >= self.rate_limit:
            # Computed as in flush, so that a request at the end of its window cannot admit two others.
            in_window = self.period - (now - self._task_logs[0]) if self._task_logs else math.inf
            wait = max(wait, in_window)
        return wait

    async def _wait_for_change(self, seconds: float) -> None:
        if seconds < math.inf:
            await self._sleep(seconds)
            return
        self._changed.clear()
        await self._changed.wait()
