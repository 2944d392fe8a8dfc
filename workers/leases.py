"""Who works on which job, and since when nothing was heard of it: leases by the server's clock, each step a script.

A lease is an entry of RQ's registry of started jobs. It ends with the job, or when its worker is not heard of for
longer than it lasts.
"""

import base64
import zlib

from redis import Redis
from rq.job import JobStatus
from rq.results import Result
from rq.worker import WorkerStatus

from workers.guard import TrialJob, TrialQueue
from workers.server_time import CLOCK_KEY, DATE, NOW, SETTLE

LEASE_EXPIRED = "the worker's lease ran out"
LONGEST_LEASE_SECONDS = 600
"""A worker at work renews its lease every few seconds: who has left more than this has it from nobody of ours."""
MOST_EXPIRED = 1_000
"""Leases that are ended in one step; the others are in the next."""
WORKER_PREFIX = "rq:worker:"

_BEAT = """
local function beat(key, state, seconds)
    local new = redis.call('HSET', key, 'last_heartbeat', date(), 'state', state)
    redis.call('EXPIRE', key, seconds)
    return new
end
"""
BEGIN = f"""
{NOW}{DATE}{SETTLE}{_BEAT}
settle(KEYS[2], KEYS[3])
local kind, found = redis.call('TYPE', KEYS[1]).ok, {{}}
redis.call('LREM', KEYS[4], 1, ARGV[1])
if kind == 'hash' and redis.call('HEXISTS', KEYS[1], 'data') == 0 then redis.call('DEL', KEYS[1]) end
if kind == 'hash' then found = redis.call('HGETALL', KEYS[1]) end
if #found > 0 then
    local moment = date()
    redis.call('HSET', KEYS[1], 'status', '{JobStatus.STARTED.value}', 'started_at', moment,
        'last_heartbeat', moment, 'worker_name', ARGV[4])
    redis.call('ZADD', KEYS[2], string.format('%.6f', now + ARGV[3]), ARGV[2])
end
beat(KEYS[5], #found > 0 and '{WorkerStatus.BUSY.value}' or '{WorkerStatus.IDLE.value}', ARGV[5])
return found
"""
RENEW = f"""
{NOW}{DATE}{SETTLE}{_BEAT}
settle(KEYS[1], KEYS[2])
redis.call('ZADD', KEYS[1], 'XX', string.format('%.6f', now + ARGV[2]), ARGV[1])
return beat(KEYS[3], '{WorkerStatus.BUSY.value}', ARGV[3])
"""
BEAT = f"{NOW}{DATE}{_BEAT} return beat(KEYS[1], ARGV[1], ARGV[2])"
EXPIRE = f"""
{NOW}{DATE}{SETTLE}
settle(KEYS[1], KEYS[2])
local keep, held, longest = ARGV[4], {{}}, string.format('%.6f', now + {LONGEST_LEASE_SECONDS})
for _, entry in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. longest, '+inf')) do
    redis.call('ZADD', KEYS[1], longest, entry)
end
for _, entry in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.6f', now), '+inf')) do
    held[string.match(entry, '^[^:]*')] = true
end
for _, entry in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.6f', now), 'LIMIT', 0, ARGV[5])) do
    redis.call('ZREM', KEYS[1], entry)
    local id = string.match(entry, '^[^:]*')
    local job, results = ARGV[1] .. id, ARGV[2] .. id
    local is_started = redis.call('TYPE', job).ok == 'hash' and redis.call('HGET', job, 'status') == 'started'
    if is_started and not held[id] then
        redis.call('HSET', job, 'status', '{JobStatus.FAILED.value}', 'ended_at', date())
        redis.call('EXPIRE', job, keep)
        if redis.call('TYPE', results).ok ~= 'stream' then redis.call('DEL', results) end
        redis.call('XADD', results, 'MAXLEN', 10, '*', 'type', '{Result.Type.FAILED.value}', 'worker_name', '',
            'exc_string', ARGV[3])
        redis.call('EXPIRE', results, keep)
        redis.call('ZADD', KEYS[3], string.format('%.6f', now + keep), id)
    end
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], 0, string.format('%.6f', now))
redis.call('ZREMRANGEBYSCORE', KEYS[4], 0, string.format('%.6f', now))
"""
"""An entry of a job that has ended, or that another worker has begun since, is a left-over."""
COUNT_LOSS = """
local worker, gone = redis.call('HGET', KEYS[2], 'worker_name'), 0
local names = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if worker and #names < 10000 and not string.find(' ' .. names, ' ' .. worker .. ' ', 1, true) then
    names = names .. worker .. ' '
end
redis.call('HSET', KEYS[1], ARGV[1], names)
for name in string.gmatch(names, '[^ ]+') do
    gone = gone + 1 - redis.call('EXISTS', ARGV[2] .. name)
end
return gone
"""
"""A worker that is known again was held up, or could not reach Redis for a while; it did not die of the job."""


def expire_leases(queue: TrialQueue, keep_seconds: int) -> None:
    """Fail every job whose lease has run out, and forget what has been kept for long enough.

    In place of what RQ's registries do, which go by the clock of whoever cleans.
    """
    keys = (
        queue.started_job_registry.key,
        CLOCK_KEY,
        queue.failed_job_registry.key,
        queue.finished_job_registry.key,
    )
    reason = base64.b64encode(zlib.compress(LEASE_EXPIRED.encode()))
    prefixes = (TrialJob.key_for(""), Result.get_key(""))
    queue.connection.eval(EXPIRE, len(keys), *keys, *prefixes, reason, keep_seconds, MOST_EXPIRED)


def count_loss(connection: Redis, losses: str, job_id: str) -> int:
    """How many workers are gone that had this job when their lease ran out, the latest included."""
    keys = (losses, TrialJob.key_for(job_id))
    return int(connection.eval(COUNT_LOSS, len(keys), *keys, job_id, WORKER_PREFIX))
