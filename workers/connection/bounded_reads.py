"""Bounded reads from Redis: scripts check sizes on the server, so oversized values are never transferred.

A client with write access can store any key with any type and size. A read here has a bounded cost, never raises for
the content of a key, and reports what was left out.
"""

import logging
import math
import zlib
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError

MAX_BYTES = 1_000_000
"""Limit of one value, and of a job's decompressed data."""
SHORT_BYTES = 1_024
"""Limit of a name, a date or a number."""
MAX_LOGGED = 500
TOO_LONG = 1
"""The script's placeholder for a value that is too long; real values are strings, never numbers."""

READ = """
local key, wanted, most, bytes = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local kind = redis.call('TYPE', key)['ok']
if kind ~= wanted then return {kind, 0} end
local total, found = 0, {}
if kind == 'list' then
    total, found = redis.call('LLEN', key), redis.call('LRANGE', key, 0, most - 1)
elseif kind == 'set' then
    total = redis.call('SCARD', key)
    found = total <= most and redis.call('SMEMBERS', key) or redis.call('SRANDMEMBER', key, most)
elseif kind == 'zset' then
    total, found = redis.call('ZCARD', key), redis.call('ZRANGE', key, 0, most - 1, 'WITHSCORES', unpack(ARGV, 4))
elseif kind == 'hash' then
    total = redis.call('HLEN', key)
    found = total <= most and redis.call('HGETALL', key) or redis.call('HRANDFIELD', key, most, 'WITHVALUES')
elseif kind == 'stream' then
    total = redis.call('XLEN', key)
    for _, entry in ipairs(redis.call('XREVRANGE', key, '+', '-', 'COUNT', most)) do
        for place, part in ipairs(entry[2]) do
            if #part > bytes then entry[2][place] = 1 end
        end
        found[#found + 1] = entry[2]
    end
end
for place, part in ipairs(found) do
    if type(part) == 'string' and #part > bytes then found[place] = 1 end
end
return {kind, total, found}
"""
"""Read-only. Returns the type, the number of entries, and entries up to the limit."""
READ_FIELDS = """
local kind, found = redis.call('TYPE', KEYS[1])['ok'], {}
if kind ~= 'hash' then return {kind, 0} end
for place = 2, #ARGV do
    local long = redis.call('HSTRLEN', KEYS[1], ARGV[place]) > tonumber(ARGV[1])
    found[#found + 1] = long and 1 or redis.call('HGET', KEYS[1], ARGV[place])
end
return {kind, #found, found}
"""
"""The same for named fields of a hash; short, because a snapshot sends it per job and worker."""


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """The content of one key, as far as it was read."""

    parts: tuple[object, ...] = ()
    """Entries as Redis returns them, without those that are too long."""
    error: str = ""
    """Why entries are missing; empty if all were read."""

    @property
    def texts(self) -> list[bytes]:
        """The entries of a list or a set."""
        return [part for part in self.parts if isinstance(part, bytes)]

    @property
    def pairs(self) -> list[tuple[bytes, bytes]]:
        """The entries of a hash or a sorted set: names with values or scores."""
        return [(part[0], part[1]) for part in self.parts if isinstance(part, tuple)]

    @property
    def entries(self) -> list[dict[bytes, bytes]]:
        """The entries of a stream, as fields."""
        lists = [part for part in self.parts if isinstance(part, list)]
        return [dict(zip(each[::2], each[1::2], strict=False)) for each in lists]


def read_key(
    pipeline: Pipeline, key: str, kind: str, *, most: int, most_bytes: int = SHORT_BYTES, newest: bool = False
) -> None:
    """Add a read of a list, set, sorted set, hash or stream to a pipeline; of a stream the newest entries come first.

    A sorted set starts with its lowest scores, or with its highest if `newest`.
    """
    pipeline.eval_ro(READ, 1, key, kind, str(most), str(most_bytes), *(["REV"] if newest else []))


def read_hash(pipeline: Pipeline | Redis, key: str, fields: Sequence[str], *, most_bytes: int = SHORT_BYTES) -> object:
    """Read fields of a hash, or add the read to a pipeline."""
    return pipeline.eval_ro(READ_FIELDS, 1, key, str(most_bytes), *fields)


def parse_key(key: str, kind: str, reply: object) -> Bounded:
    """Parse a reply to `read_key`; pairs for a hash and a sorted set."""
    if isinstance(reply, RedisError):
        return Bounded(error=f"{key}: {str(reply).partition(chr(10))[0][:200]}")
    match reply:
        case [bytes() as found, int() as total, [*parts]] if found.decode() == kind:
            return _bounded(key, kind, total, parts)
        case [bytes() as found, *_] if found != b"none":
            return Bounded(error=f"{key} is a {found.decode(errors='replace')}, not a {kind}")
    return Bounded()


def parse_hash(fields: Sequence[str], reply: object) -> Mapping[bytes, bytes] | None:
    """The existing fields of a reply to `read_hash` that are not too long; None if there is no hash."""
    match reply:
        case [b"hash", int(), [*values]]:
            pairs = zip(fields, values, strict=True)
            return {name.encode(): value for name, value in pairs if isinstance(value, bytes)}
    return None


def too_long(fields: Sequence[str], reply: object) -> list[str]:
    """The fields of a reply to `read_hash` that are too long."""
    match reply:
        case [b"hash", int(), [*values]]:
            return [name for name, value in zip(fields, values, strict=True) if value == TOO_LONG]
    return []


def unpacked(value: bytes, most_bytes: int = MAX_BYTES) -> str:
    """Decompress a text of RQ (zlib in base64), cut at `most_bytes`; empty if it is invalid."""
    try:
        opened = zlib.decompressobj().decompress(b64decode(value), most_bytes)
    except (zlib.error, NotBase64):
        return ""
    return opened.decode(errors="replace")


def number(value: object, *, most: float = 1e15) -> float:
    """Parse a finite number between 0 and `most`; 0 for anything else."""
    if not isinstance(value, bytes) or len(value) > 40:
        return 0.0
    try:
        found = float(value)
    except ValueError:
        return 0.0
    return found if math.isfinite(found) and 0 <= found <= most else 0.0


def text(value: object, most: int = SHORT_BYTES) -> str:
    """Decode a printable text; invalid bytes and control characters are replaced."""
    if not isinstance(value, bytes):
        return ""
    shown = value[:most].decode(errors="replace")
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in shown)


def log_once(what: str, reason: str) -> None:
    """Log once per `what` why it is ignored."""
    if what not in _logged() and len(_logged()) < MAX_LOGGED:
        _logged().add(what)
        log.warning("left out", extra={"action": "left_out", "what": what, "reason": reason[:200]})


@cache
def _logged() -> set[str]:
    """What this process has logged."""
    return set()


def _bounded(key: str, kind: str, total: int, parts: Sequence[object]) -> Bounded:
    pairs = kind in {"hash", "zset"}
    whole = list(zip(parts[::2], parts[1::2], strict=False)) if pairs else list(parts)
    kept = tuple(each for each in whole if not _is_too_long(each))
    left = max(0, total - len(kept))
    return Bounded(parts=kept, error=f"{key}: {left:,} of {total:,} entries were left out" if left else "")


def _is_too_long(part: object) -> bool:
    return part == TOO_LONG or (isinstance(part, list | tuple) and TOO_LONG in part)
