"""Leases of jobs by the server's clock; each step is one script on the server.

A lease is an entry of RQ's registry of started jobs. It ends with the job, or expires when its worker sends no
heartbeat.
"""

from rq.job import JobStatus
from rq.worker import WorkerStatus

from workers.connection.server_time import CLOCK_KEY, DATE, NOW, SETTLE
from workers.queue.job_allowlist import TrialJob, TrialQueue

LONGEST_LEASE_SECONDS = 600
"""Longest remaining time of a valid lease, which its worker renews every few seconds; a longer one is cut."""
MAX_EXPIRED = 1_000
"""Leases that one step ends at most."""

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
local is_hash = redis.call('TYPE', KEYS[1]).ok == 'hash'
local is_job = is_hash and redis.call('HEXISTS', KEYS[1], 'data') == 1
redis.call('LREM', KEYS[4], 1, ARGV[1])
if is_hash and not is_job then redis.call('DEL', KEYS[1]) end
if is_job then
    local moment = date()
    redis.call('HSET', KEYS[1], 'status', '{JobStatus.STARTED.value}', 'started_at', moment,
        'last_heartbeat', moment, 'worker_name', ARGV[4])
    redis.call('ZADD', KEYS[2], string.format('%.6f', now + ARGV[3]), ARGV[2])
end
return beat(KEYS[5], is_job and '{WorkerStatus.BUSY.value}' or '{WorkerStatus.IDLE.value}', ARGV[5])
"""
RENEW = f"""
{NOW}{DATE}{SETTLE}{_BEAT}
settle(KEYS[1], KEYS[2])
redis.call('ZADD', KEYS[1], 'XX', string.format('%.6f', now + ARGV[2]), ARGV[1])
return beat(KEYS[3], '{WorkerStatus.BUSY.value}', ARGV[3])
"""
BEAT = f"{NOW}{DATE}{_BEAT} return beat(KEYS[1], ARGV[1], ARGV[2])"
TAKE_EXPIRED = f"""
{NOW}{SETTLE}
settle(KEYS[1], KEYS[2])
local moment, longest = string.format('%.6f', now), string.format('%.6f', now + {LONGEST_LEASE_SECONDS})
local held, abandoned = {{}}, {{}}
for _, entry in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. longest, '+inf')) do
    redis.call('ZADD', KEYS[1], longest, entry)
end
for _, entry in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. moment, '+inf')) do
    held[string.match(entry, '^[^:]*')] = true
end
for _, entry in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', moment, 'LIMIT', 0, {MAX_EXPIRED})) do
    redis.call('ZREM', KEYS[1], entry)
    local id = string.match(entry, '^[^:]*')
    local job = ARGV[1] .. id
    local is_started = redis.call('TYPE', job).ok == 'hash' and redis.call('HGET', job, 'status') == 'started'
    if is_started and not held[id] then abandoned[#abandoned + 1] = id end
end
for _, registry in ipairs({{KEYS[3], KEYS[4]}}) do redis.call('ZREMRANGEBYSCORE', registry, 0, moment) end
return abandoned
"""
"""Entries of ended jobs, and of jobs that another worker has started since, are only removed."""


def take_expired(queue: TrialQueue) -> list[str]:
    """Remove expired leases and return their jobs; also remove expired entries of failed and finished jobs.

    Replaces the cleanup of RQ's registries, which uses the clock of the calling machine.
    """
    keys = (
        queue.started_job_registry.key,
        CLOCK_KEY,
        queue.failed_job_registry.key,
        queue.finished_job_registry.key,
    )
    taken: list[bytes] = queue.connection.eval(TAKE_EXPIRED, len(keys), *keys, TrialJob.key_for(""))
    return [job_id.decode(errors="replace") for job_id in taken]
