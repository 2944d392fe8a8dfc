"""Redis refuses to work for a while: away, full, read-only, loading, failing over, or with another password.

None of it says anything of a trial. Whoever has an answer keeps it until it can be handed in.
"""

import logging
import re
import time
from collections.abc import Callable

from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import (
    ExecAbortError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import TimeoutError as RedisSilent

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 2.0
PASSING = (RedisAway, RedisSilent, OutOfMemoryError, ReadOnlyError, NoPermissionError, TryAgainError, ExecAbortError)
CODES = re.compile(
    r"\b(OOM|READONLY|MISCONF|NOREPLICAS|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|UNBLOCKED|NOAUTH|WRONGPASS|NOPERM)\b"
)
"""How Redis' answers begin that have no class of their own; in a transaction something stands before them."""
REMEDIES = (
    (r"OOM|used memory > 'maxmemory'", "its memory is full: raise maxmemory, or remove what is not ours"),
    (r"READONLY|read only replica", "it takes no writes: is redis_url that of the primary?"),
    (r"MISCONF", "it cannot write to its disk: see its log"),
    (r"NOREPLICAS", "too few of its replicas answer: see min-replicas-to-write"),
    (r"LOADING|loading the dataset", "it still reads what it stored"),
    (
        r"NOAUTH|WRONGPASS|Authentication required|invalid username-password",
        "are user and password right?",
    ),
    (r"NOPERM|has no permissions", "give the user what deploy/valkey-users.acl gives"),
)

log = logging.getLogger(__name__)


def may_pass(error: RedisError) -> bool:
    """Whether it can be gone at the next try; what a key holds, or a command's form, stays as it is."""
    return isinstance(error, PASSING) or CODES.search(str(error)) is not None


def remedy(error: RedisError) -> str:
    """What to do about it."""
    text = str(error)
    return next((what for pattern, what in REMEDIES if re.search(pattern, text)), "is it running, is redis_url right?")


class RedisOutage:
    """One that may come; a line when it begins and one when it ends, however often is tried in between."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._pause = FIRST_PAUSE_SECONDS

    def begin(self, error: RedisError) -> None:
        """Note that a try has failed."""
        if self._since is None:
            self._since = self._clock()
            reason = f"{str(error).partition(chr(10))[0][:512]}: {remedy(error)}"
            log.warning("redis away", extra={"action": "redis_away", "reason": reason})

    def pause(self) -> float:
        """Seconds until the next try, ever longer."""
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        return pause

    def end(self) -> None:
        """Note that a try has succeeded."""
        if self._since is not None:
            seconds = round(self._clock() - self._since, 1)
            log.warning("redis back", extra={"action": "redis_back", "seconds": seconds})
        self._since, self._pause = None, FIRST_PAUSE_SECONDS
