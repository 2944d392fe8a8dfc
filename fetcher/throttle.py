"""The token bucket of one provider, built on asyncio-throttle.

Over the parent's log of requests it adds what the limit of a real provider needs: waiters in order of arrival,
an exact sleep instead of polling, an even pace with a small burst, and a pause that all requests share.
The log is kept by the time a request was *sent*: opening a connection takes longer than reusing one, and what
the provider counts is what arrives.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

from asyncio_throttle.throttler import Throttler

BURST = 2  # tokens that may be saved up
MARGIN = 0.018  # share by which the pace stays below the limit: 18 ms of jitter on the way break no second


class TokenBucket(Throttler):
    """At most `rate` requests in any second, whoever asks.

    `acquire` takes a token, `sent` says that its request is on the way; a token that was taken but not sent
    counts against the limit until it is.
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
        self._line = asyncio.Lock()  # asyncio's lock serves in order of arrival
        self._unsent: set[int] = set()
        self._next_token = 0
        self._due = clock() + (BURST - 1) * self._interval  # a cold bucket holds one token
        self._paused_until = -math.inf
        self._changed = asyncio.Event()
        self.taken = 0
        """Tokens handed out so far."""

    async def acquire(self) -> int:
        """Wait for a token; what `sent` is to be told."""
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
        """A token's request is on the way, or will never be; saying so again changes nothing."""
        if token in self._unsent:
            self._unsent.remove(token)
            self._task_logs.append(self._clock())
            self._changed.set()

    async def pause(self, seconds: float) -> None:
        """Hand out no token for so long; a pause under way is only ever made longer."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    async def close(self) -> None:
        """Nothing is held; a bucket that is shared holds a connection."""

    def flush(self) -> None:
        """Forget the requests that have left the window."""
        while self._task_logs and self._clock() - self._task_logs[0] >= self.period:
            self._task_logs.popleft()

    def _wait(self) -> float:
        """Seconds until the next token may be there; 0 or less when it is."""
        self.flush()
        now = self._clock()
        wait = max(self._due - (BURST - 1) * self._interval, self._paused_until) - now
        if len(self._unsent) + len(self._task_logs) >= self.rate_limit:
            # Rounded as in flush: a request that is still in the log must not let two others pass at its last moment.
            in_window = self.period - (now - self._task_logs[0]) if self._task_logs else math.inf
            wait = max(wait, in_window)
        return wait

    async def _wait_for_change(self, seconds: float) -> None:
        if seconds < math.inf:
            await self._sleep(seconds)
            return
        self._changed.clear()
        await self._changed.wait()
