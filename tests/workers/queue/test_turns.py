"""Studies of one queue take turns by trial: the order of the jobs, and which job a worker takes next."""

from itertools import pairwise

import pytest
from redis import Redis

from workers.queue.job_allowlist import TrialJob, TrialQueue
from workers.queue.turns import AHEAD_TRIALS, TURNS_KEY, enqueue_in_turn, take_next


@pytest.fixture
def queue(url: str) -> TrialQueue:
    return TrialQueue(connection=Redis.from_url(url))


def send(queue: TrialQueue, study: str, first: int, trials: int = 1, cost: int | None = None) -> None:
    job = TrialJob(f"{study}-L1-a1-{first}-{first + trials - 1}-a1", connection=queue.connection)
    assert enqueue_in_turn(queue, job, cost or trials, ["status", "queued"])


def queued(queue: TrialQueue) -> str:
    """The queued jobs as studies' names, such as `abab`."""
    return "".join(entry.decode()[0] for entry in queue.connection.lrange(queue.key, 0, -1))


def taken(queue: TrialQueue, last: str = "-L1-a1-0-0-a1", seconds: float = 0.1) -> str:
    """The study of the job that a worker takes after a job of that id."""
    with queue.connection.pipeline() as pipeline:
        take_next(pipeline, queue, last, seconds)
        (found,) = pipeline.execute()
    return found.decode()[0] if found else ""


def served(queue: TrialQueue, studies: dict[str, tuple[int, int]], jobs: int) -> dict[str, int]:
    """Trials of each study after so many jobs; `studies` says how many jobs of how many trials each has open."""
    numbers, counts = dict.fromkeys(studies, 0), dict.fromkeys(studies, 0)
    for study, (most, size) in studies.items():
        for _ in range(most):
            send(queue, study, numbers[study], size)
            numbers[study] += size
    for _ in range(jobs):
        study = taken(queue)
        if study in studies:
            counts[study] += studies[study][1]
            send(queue, study, numbers[study], studies[study][1])
            numbers[study] += studies[study][1]
    return counts


def test_a_later_study_does_not_wait_for_an_earlier_one(queue: TrialQueue) -> None:
    for number in range(4):
        send(queue, "a", number)
    for number in range(3):
        send(queue, "b", number)

    assert queued(queue) == "abababa"


@pytest.mark.parametrize(
    "studies",
    [
        {"a": (64, 1), "b": (4, 1), "c": (1, 1)},
        {"a": (8, 1), "b": (2, 4)},
        {"a": (3, 1), "b": (16, 4), "c": (1, 8)},
    ],
    ids=["lag", "trials per job", "both"],
)
def test_every_study_gets_the_same_number_of_trials(queue: TrialQueue, studies: dict[str, tuple[int, int]]) -> None:
    counts = served(queue, studies, jobs=240)

    largest = max(size for _, size in studies.values())
    assert max(counts.values()) - min(counts.values()) <= 2 * largest, counts


def test_a_study_that_was_idle_gets_no_credit(queue: TrialQueue) -> None:
    send(queue, "b", 0)
    assert taken(queue) == "b"
    served(queue, {"a": (4, 1)}, jobs=100)
    for number in range(1, 5):
        send(queue, "b", number)

    assert queued(queue) == "abababab"


def test_a_surrogate_market_counts_as_the_trials_of_its_curriculum(queue: TrialQueue) -> None:
    for number in range(2):
        send(queue, "n", number, cost=20)
    order = []
    for number in range(50):
        send(queue, "a", number)
        order.append(taken(queue))

    assert "".join(order).count("n") == 2
    assert order.index("n", order.index("n") + 1) >= 20


def test_jobs_of_one_study_keep_their_order(queue: TrialQueue) -> None:
    for number in range(200):
        send(queue, "abc"[number % 3], number)

    numbers = [int(entry.decode().split("-")[3]) for entry in queue.connection.lrange(queue.key, 0, -1)]
    for place in range(3):
        own = [number for number in numbers if number % 3 == place]
        assert own == sorted(own)


@pytest.mark.parametrize(("seconds", "ahead"), [(0.1, AHEAD_TRIALS), (2.0, 5), (60.0, 0)])
def test_a_worker_prefers_the_study_that_it_has_prepared(queue: TrialQueue, seconds: float, ahead: int) -> None:
    numbers = {"a": 0, "b": 0}

    def top_up() -> None:
        for study, number in numbers.items():
            if queued(queue).count(study) < 4:
                send(queue, study, number)
                numbers[study] += 1

    last, order = "a-L1-a1-0-0-a1", []
    for _ in range(100):
        for _ in range(4):
            top_up()
        order.append(taken(queue, last, seconds))
        last = f"{order[-1]}-L1-a1-0-0-a1"
    changes = sum(one != other for one, other in pairwise(order))

    assert changes <= 100 // (ahead + 1)
    assert all(abs(order[:end].count("a") - order[:end].count("b")) <= ahead + 2 for end in range(100))


def test_the_turns_forget_studies_that_are_over(queue: TrialQueue) -> None:
    for study in "cdefghij":
        send(queue, study, 0)
    served(queue, {"a": (2, 1)}, jobs=60)

    assert queue.connection.zrange(TURNS_KEY, 0, -1) == [b"", b"a-L1-a1"]


@pytest.mark.parametrize("turn", [b"nan", b"-1", b"inf", b"1e99", b"\xff", None])
def test_a_damaged_turn_stops_no_job(queue: TrialQueue, turn: bytes | None) -> None:
    connection = queue.connection
    for number in range(2):
        send(queue, "a", number)
    if turn is None:
        connection.delete("rq:job:a-L1-a1-0-0-a1")
        connection.set("rq:job:a-L1-a1-0-0-a1", "not a job")
    else:
        connection.hset("rq:job:a-L1-a1-0-0-a1", "turn", turn)
        connection.zadd(TURNS_KEY, {"b": 1e300})
    for number in range(2):
        send(queue, "b", number)

    assert sorted(taken(queue, "b-L1-a1-0-0-a1") for _ in range(4)) == ["a", "a", "b", "b"]


def test_a_job_is_queued_once(queue: TrialQueue) -> None:
    send(queue, "a", 0)
    job = TrialJob("a-L1-a1-0-0-a1", connection=queue.connection)

    assert not enqueue_in_turn(queue, job, 1, ["status", "queued"])
    assert queued(queue) == "a"
