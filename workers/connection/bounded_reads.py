"""Bounded reads from Redis: sizes are asked first, on the server, and what is too long or too many never travels.

A stranger who can write to Redis can store any key with any type and size. A read here costs a known amount, never
raises for what a key holds, and says what was left out.
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
"""Of one value; a job's data may be as long, unpacked."""
SHORT_BYTES = 1_024
"""Of a name, a date or a number."""
MAX_LOGGED = 500
TOO_LONG = 1
"""What the script says in place of a value that is too long: values are texts, never numbers."""

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
"""Read-only. The answer is the type, how much there is, and as much of it as was asked for."""
READ_FIELDS = """
local kind, found = redis.call('TYPE', KEYS[1])['ok'], {}
if kind ~= 'hash' then return {kind, 0} end
for place = 2, #ARGV do
    local long = redis.call('HSTRLEN', KEYS[1], ARGV[place]) > tonumber(ARGV[1])
    found[#found + 1] = long and 1 or redis.call('HGET', KEYS[1], ARGV[place])
end
return {kind, #found, found}
"""
"""The same for named fields of a hash; short, because a look sends it for each job and worker."""


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """What was read of one key."""

    parts: tuple[object, ...] = ()
    """As Redis says them; without those that are too long."""
    trouble: str = ""
    """Why there is nothing, or not everything; empty where all is there."""

    @property
    def texts(self) -> list[bytes]:
        """Of a list or a set."""
        return [part for part in self.parts if isinstance(part, bytes)]

    @property
    def pairs(self) -> list[tuple[bytes, bytes]]:
        """Of a hash or a sorted set: names with values or scores."""
        return [(part[0], part[1]) for part in self.parts if isinstance(part, tuple)]

    @property
    def entries(self) -> list[dict[bytes, bytes]]:
        """Of a stream: the fields of each entry."""
        lists = [part for part in self.parts if isinstance(part, list)]
        return [dict(zip(each[::2], each[1::2], strict=False)) for each in lists]


def read_key(
    pipeline: Pipeline, key: str, kind: str, *, most: int, most_bytes: int = SHORT_BYTES, newest: bool = False
) -> None:
    """Queue a read of a whole list, set, sorted set, hash or stream; of a stream the newest entries.

    A sorted set begins with its lowest scores, or with the highest where the `newest` are wanted.
    """
    pipeline.eval_ro(READ, 1, key, kind, str(most), str(most_bytes), *(["REV"] if newest else []))


def read_hash(pipeline: Pipeline | Redis, key: str, fields: Sequence[str], *, most_bytes: int = SHORT_BYTES) -> object:
    """Read, or queue a read of, these fields of a hash."""
    return pipeline.eval_ro(READ_FIELDS, 1, key, str(most_bytes), *fields)


def parse_key(key: str, kind: str, reply: object) -> Bounded:
    """What the answer to `ask` says, in pairs for a hash and a sorted set."""
    if isinstance(reply, RedisError):
        return Bounded(trouble=f"{key}: {str(reply).partition(chr(10))[0][:200]}")
    match reply:
        case [bytes() as found, int() as total, [*parts]] if found.decode() == kind:
            return _bounded(key, kind, total, parts)
        case [bytes() as found, *_] if found != b"none":
            return Bounded(trouble=f"{key} is a {found.decode(errors='replace')}, not a {kind}")
    return Bounded()


def parse_hash(fields: Sequence[str], reply: object) -> Mapping[bytes, bytes] | None:
    """The fields of a hash that are there and not too long; None where the key is none, or no hash."""
    match reply:
        case [b"hash", int(), [*values]]:
            pairs = zip(fields, values, strict=True)
            return {name.encode(): value for name, value in pairs if isinstance(value, bytes)}
    return None


def too_long(fields: Sequence[str], reply: object) -> list[str]:
    """The fields of a hash that were left out because they are too long."""
    match reply:
        case [b"hash", int(), [*values]]:
            return [name for name, value in zip(fields, values, strict=True) if value == TOO_LONG]
    return []


def unpacked(value: bytes, most_bytes: int = MAX_BYTES) -> str:
    """The text of what RQ packs (zlib in base64), cut where it is longer; empty where it cannot be read."""
    try:
        opened = zlib.decompressobj().decompress(b64decode(value), most_bytes)
    except (zlib.error, NotBase64):
        return ""
    return opened.decode(errors="replace")


def number(value: object, *, most: float = 1e15) -> float:
    """A count or a time that is finite, not negative and not beyond `most`; 0 for anything else."""
    if not isinstance(value, bytes) or len(value) > 40:
        return 0.0
    try:
        found = float(value)
    except ValueError:
        return 0.0
    return found if math.isfinite(found) and 0 <= found <= most else 0.0


def text(value: object, most: int = SHORT_BYTES) -> str:
    """A name as it can be shown: what is no text, and control characters, are replaced."""
    if not isinstance(value, bytes):
        return ""
    shown = value[:most].decode(errors="replace")
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in shown)


def log_once(what: str, reason: str) -> None:
    """Say in the log why something counts for nothing; once of each, however often it is looked at."""
    if what not in _logged() and len(_logged()) < MAX_LOGGED:
        _logged().add(what)
        log.warning("left out", extra={"action": "left_out", "what": what, "reason": reason[:200]})


@cache
def _logged() -> set[str]:
    """Of what this process has told."""
    return set()


def _bounded(key: str, kind: str, total: int, parts: Sequence[object]) -> Bounded:
    pairs = kind in {"hash", "zset"}
    whole = list(zip(parts[::2], parts[1::2], strict=False)) if pairs else list(parts)
    kept = tuple(each for each in whole if not _is_too_long(each))
    left = max(0, total - len(kept))
    return Bounded(parts=kept, trouble=f"{key}: {left:,} of {total:,} entries were left out" if left else "")


def _is_too_long(part: object) -> bool:
    return part == TOO_LONG or (isinstance(part, list | tuple) and TOO_LONG in part)
