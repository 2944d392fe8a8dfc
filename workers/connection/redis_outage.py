"""Temporary errors of Redis: unreachable, out of memory, read-only, loading, failing over or another password.

None of them concerns a trial. A worker keeps its result until it can be submitted.
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
"""Error codes without an exception class; in a transaction they do not stand at the start."""
REMEDIES = (
    (r"OOM|used memory > 'maxmemory'", "its memory is full: raise maxmemory, or remove other programs' keys"),
    (r"READONLY|read only replica", "it is read-only: does redis_url name the primary?"),
    (r"MISCONF", "it cannot write to its disk: see its log"),
    (r"NOREPLICAS", "too few of its replicas answer: see min-replicas-to-write"),
    (r"LOADING|loading the dataset", "it is still loading its data"),
    (
        r"NOAUTH|WRONGPASS|Authentication required|invalid username-password",
        "are user and password right?",
    ),
    (r"CERTIFICATE_VERIFY_FAILED.*(Hostname|IP address) mismatch", "redis_url must name the host of its certificate"),
    (r"CERTIFICATE_VERIFY_FAILED", "set redis.ca_file to the CA of its certificate"),
    (r"No master found", "do the sentinels answer, and does sentinelMasterId name their primary?"),
    (r"MOVED|CROSSSLOT|(?i:hash slot)|cluster support", "clusters are not supported: use one server, or Sentinel"),
    (r"NOPERM|has no permissions", "grant the permissions of deploy/valkey-users.acl"),
)
TLS_REMEDIES = (
    (
        r"EOF|CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|reset by peer",
        "does it ask for redis.cert_file and redis.key_file?",
    ),
    (r"WRONG_VERSION_NUMBER|RECORD_LAYER|Timeout connecting", "does it use TLS on this port, as rediss:// expects?"),
)
"""What an error of a connection with TLS means in addition."""
PLAIN_REMEDIES = ((r"reset by peer|closed by server", "is it running, or does it expect TLS (rediss://)?"),)
"""What an error of a connection without TLS means in addition."""

log = logging.getLogger(__name__)


def may_pass(error: RedisError) -> bool:
    """Whether an error is temporary; errors due to a key's content or a command's form are not."""
    return isinstance(error, PASSING) or CODES.search(str(error)) is not None


def remedy(error: RedisError, url: str = "") -> str:
    """The advice for an error of the server at `url`."""
    by_scheme = TLS_REMEDIES if url.startswith("rediss") else PLAIN_REMEDIES
    found = (what for pattern, what in (*REMEDIES, *by_scheme) if re.search(pattern, str(error)))
    return next(found, "is it running, is redis_url right?")


class RedisOutage:
    """An outage of Redis; logs one line at its start and one at its end."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._pause = FIRST_PAUSE_SECONDS

    def begin(self, error: RedisError) -> None:
        """Record a failed attempt."""
        if self._since is None:
            self._since = self._clock()
            reason = f"{str(error).partition(chr(10))[0][:512]}: {remedy(error)}"
            log.warning("redis away", extra={"action": "redis_away", "reason": reason})

    def pause(self) -> float:
        """Seconds until the next attempt, doubled each time."""
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        return pause

    def end(self) -> None:
        """Record a successful attempt."""
        if self._since is not None:
            seconds = round(self._clock() - self._since, 1)
            log.warning("redis back", extra={"action": "redis_back", "seconds": seconds})
        self._since, self._pause = None, FIRST_PAUSE_SECONDS
