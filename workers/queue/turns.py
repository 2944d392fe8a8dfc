"""Fair shares of the queue: studies take turns by trial, whatever their lag, trials per job or order of arrival.

Start-time fair queueing. Each study has a count of trials, and each job gets the count of its study as its turn; the
queue is ordered by turn. A study that begins, or was idle, starts at the turn of the job at the head: it gets no
credit for the past. A surrogate market counts as the trials of its curriculum. RQ and its tools see a list of jobs.

Source: Goyal, Vin, Cheng (1997), Start-time fair queueing, IEEE/ACM Transactions on Networking 5(5).
"""

from collections.abc import Sequence

from redis.client import Pipeline
from rq.job import Job
from rq.suspension import WORKERS_SUSPENDED

from workers.connection.server_time import DATE, NOW
from workers.queue.job_allowlist import TrialJob, TrialQueue
from workers.queue.job_names import size_of, study_of

TURNS_KEY = "tradeschool:turns"
"""Turn of the next job per study with queued jobs; the empty name holds the turn of the head of the queue."""
KEEP_SECONDS = 86_400
TURN = "turn"
"""Field of a job."""
AHEAD_TRIALS, AHEAD_SECONDS = 16, 10.0
"""Trials, and their seconds, by which a worker may prefer the study that it has prepared: a change starts a new work
horse, which may import a strategy.
"""
LOOKED_AT = 256
"""Jobs at the head of the queue among which a worker looks for one of the study that it has prepared."""

_TURN_OF = f"""
local function turn_of(jobs, entry)
    local found = redis.pcall('HGET', jobs .. entry, '{TURN}')
    local turn = type(found) == 'string' and tonumber(found)
    return turn and turn >= 0 and turn < 1e15 and turn or nil
end
"""
"""The turn of a job; nil where it has none, as one of an earlier release."""
ENQUEUE = f"""
{NOW}{DATE}{_TURN_OF}
local job, queue, queues, turns = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, study, trials, jobs = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
if redis.call('EXISTS', job) == 1 then return 0 end
local head, now = redis.call('LINDEX', queue, 0), tonumber(redis.call('ZSCORE', turns, '') or 0)
if head then
    now = math.max(now, turn_of(jobs, head) or 0)
else
    now = math.max(now, tonumber(redis.call('ZRANGE', turns, -1, -1, 'WITHSCORES')[2] or 0))
end
local turn = math.max(now, tonumber(redis.call('ZSCORE', turns, study) or 0))
local place, behind = redis.call('LLEN', queue), nil
while place > 0 and not behind do
    local entries = redis.call('LRANGE', queue, math.max(0, place - 64), place - 1)
    for last = #entries, 1, -1 do
        local other = turn_of(jobs, entries[last])
        if not other or other <= turn then behind = entries[last] break end
    end
    place = place - #entries
end
redis.call('ZADD', turns, now, '', turn + trials, study)
redis.call('ZREMRANGEBYSCORE', turns, '-inf', '(' .. now)
redis.call('EXPIRE', turns, {KEEP_SECONDS})
redis.call('HSET', job, unpack(ARGV, 5))
redis.call('HSET', job, '{TURN}', turn, 'created_at', date(), 'enqueued_at', date())
redis.call('SADD', queues, queue)
if not behind then
    redis.call('LPUSH', queue, id)
elseif redis.call('LINDEX', queue, -1) == behind then
    redis.call('RPUSH', queue, id)
else
    redis.call('LINSERT', queue, 'AFTER', behind, id)
end
return 1
"""
"""Puts a job behind the last one whose turn is not later. Atomic: a coordinator that is killed halfway would
otherwise leave a job in no list.
"""
TAKE = f"""
{_TURN_OF}
local queue, taken, suspended = KEYS[1], KEYS[2], KEYS[3]
local study, jobs, ahead = ARGV[1] .. '-', ARGV[2], tonumber(ARGV[3])
if redis.call('EXISTS', suspended) == 1 then return false end
local entries = redis.call('LRANGE', queue, 0, {LOOKED_AT - 1})
local first = entries[1] and turn_of(jobs, entries[1])
for place = 1, first and #entries or 0 do
    local entry = entries[place]
    if string.sub(entry, 1, #study) == study and string.find(entry, '^%d+%-%d+%-a%d+$', #study + 1) then
        local turn = turn_of(jobs, entry)
        if place == 1 or not turn or turn > first + ahead then break end
        redis.call('LREM', queue, 1, entry)
        redis.call('RPUSH', taken, entry)
        return entry
    end
end
return redis.call('LMOVE', queue, taken, 'LEFT', 'RIGHT')
"""
"""Takes the next job unless workers are suspended; part of the transaction that submits a result."""


def enqueue_in_turn(queue: TrialQueue, job: Job, trials: int, fields: Sequence[str | bytes | int | float]) -> bool:
    """Put a job of so many trials at its place in the queue; False if a job of that id exists."""
    keys = (job.key, queue.key, queue.redis_queues_keys, TURNS_KEY)
    values = (job.id, study_of(job.id) or job.id, trials, TrialJob.key_for(""))
    return bool(queue.connection.eval(ENQUEUE, len(keys), *keys, *values, *fields))


def take_next(pipeline: Pipeline, queue: TrialQueue, job_id: str, seconds: float) -> None:
    """Add to a pipeline the step that takes the next job, after a job of that id that took so many seconds."""
    keys = (queue.key, queue.intermediate_queue_key, WORKERS_SUSPENDED)
    ahead = min(AHEAD_TRIALS, int(AHEAD_SECONDS * size_of(job_id) / max(seconds, 0.001)))
    pipeline.eval(TAKE, len(keys), *keys, study_of(job_id) or job_id, TrialJob.key_for(""), ahead)
