"""The queue server's time, for all times that several machines compare: leases, heartbeats, dates of jobs.

Scripts read it on the server, without another round trip. The server's clock may jump, or stop with the machine:
between two updates of leases it counts at most a few seconds, and never backwards. Lease scores stay the server's
Unix time, as RQ's tools expect; after a jump they are shifted by the same amount.
"""

from collections.abc import Mapping, Sequence
from typing import cast

from redis import Redis
from redis.client import Pipeline

CLOCK_KEY = "tradeschool:clock"
"""The server's time at the latest update of a lease."""
MAX_ADVANCE_SECONDS = 5
"""Seconds that count between two updates of leases; more means that the clock was set, or no worker ran."""

NOW = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
"""
DATE = """
local function date()
    local days, second = math.floor(time[1] / 86400) + 719468, time[1] % 86400
    local era = math.floor(days / 146097)
    local day = days - era * 146097
    local year = math.floor((day - math.floor(day / 1460) + math.floor(day / 36524) - math.floor(day / 146096)) / 365)
    day = day - (365 * year + math.floor(year / 4) - math.floor(year / 100))
    local month = math.floor((5 * day + 2) / 153)
    day = day - math.floor((153 * month + 2) / 5) + 1
    month = month < 10 and month + 3 or month - 9
    year = year + era * 400 + (month <= 2 and 1 or 0)
    local hour, minute = math.floor(second / 3600), math.floor(second % 3600 / 60)
    return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', year, month, day, hour, minute, second % 60, time[2])
end
"""
"""The current time in RQ's format. Source: https://howardhinnant.github.io/date_algorithms.html#civil_from_days"""
SETTLE = f"""
local function settle(leases, clock)
    local before = redis.call('TYPE', clock).ok == 'string' and tonumber(redis.call('GET', clock))
    if before and not (math.abs(before) < 1e12) then before = nil end
    redis.call('SET', clock, string.format('%.6f', now))
    if not before or (now >= before and now - before <= {MAX_ADVANCE_SECONDS}) then return end
    local leap = now - before
    if leap > 0 then leap = leap - {MAX_ADVANCE_SECONDS} end
    local entries = redis.call('ZRANGE', leases, 0, -1, 'WITHSCORES')
    for place = 1, #entries, 2 do
        redis.call('ZADD', leases, string.format('%.6f', entries[place + 1] + leap), entries[place])
    end
end
"""
"""Shifts every lease after a jump of the server's clock."""
STAMP = (
    NOW
    + DATE
    + """
local fields = {}
for place = 2, #ARGV do fields[place - 1] = ARGV[place] end
for name in string.gmatch(ARGV[1], '[^ ]+') do
    fields[#fields + 1] = name
    fields[#fields + 1] = date()
end
return redis.call('HSET', KEYS[1], unpack(fields))
"""
)
REMEMBER = NOW + "return redis.call('ZADD', KEYS[1], string.format('%.6f', now + ARGV[1]), ARGV[2])"
TAKE_TURN = """
local left = redis.call('PTTL', KEYS[1])
if left == -1 or left > tonumber(ARGV[1]) then redis.call('DEL', KEYS[1]) end
return redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1])
"""
"""Takes a turn; one that lasts too long is left over from before the clock was set back, and is deleted."""


def server_now(connection: Redis) -> float:
    """Unix time in seconds by the server's clock."""
    return unix_time(connection.time())


def unix_time(answer: object) -> float:
    """Unix time in seconds of a reply to TIME."""
    seconds, microseconds = cast(tuple[int, int], answer)
    return seconds + microseconds / 1_000_000


def stamp(pipeline: Pipeline, key: str, dates: Sequence[str], fields: Mapping[str, str]) -> None:
    """Set fields of a hash, and those of `dates` to the current time; the reply is the number of new fields."""
    pipeline.eval(STAMP, 1, key, " ".join(dates), *(part for pair in fields.items() for part in pair))


def remember(pipeline: Pipeline, key: str, member: str, seconds: int) -> None:
    """Add a member to a registry that expires after `seconds`."""
    pipeline.eval(REMEMBER, 1, key, seconds, member)


def take_turn(connection: Redis, key: str, milliseconds: int) -> bool:
    """Whether this caller gets the turn; the next turn starts after `milliseconds`."""
    return bool(connection.eval(TAKE_TURN, 1, key, milliseconds))
