import pytest

from fetcher.simulator.rate_limit import (
    BINANCE_LIMIT,
    COINBASE_LIMIT,
    OANDA_LIMIT,
    Limit,
    RequestLimiter,
    ServerTokenBucket,
)


class Moment:
    seconds = 100.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def moment():
    return Moment()


def taken(bucket, requests):
    return sum(bucket.take() for _ in range(requests))


def test_an_idle_bucket_allows_its_burst_at_once(moment):
    bucket = ServerTokenBucket(Limit(rate_per_second=10, burst=15), moment)

    assert taken(bucket, 40) == 15


def test_tokens_refill_at_the_rate(moment):
    bucket = ServerTokenBucket(Limit(rate_per_second=10, burst=15), moment)
    taken(bucket, 15)
    moment.seconds += 0.5

    assert taken(bucket, 40) == 5


def test_an_idle_bucket_holds_at_most_the_burst(moment):
    bucket = ServerTokenBucket(Limit(rate_per_second=10, burst=15), moment)
    moment.seconds += 3600

    assert taken(bucket, 40) == 15


def test_refusals_take_no_token(moment):
    bucket = ServerTokenBucket(Limit(rate_per_second=10, burst=1), moment)
    taken(bucket, 1000)
    moment.seconds += 0.125

    assert bucket.take()


def test_a_request_takes_tokens_by_path_weight(moment):
    bucket = ServerTokenBucket(Limit(rate_per_second=1, burst=5, weights={"/heavy": 4}), moment)

    assert [bucket.take("/heavy"), bucket.take("/heavy"), bucket.take("/light"), bucket.take()] == [
        True,
        False,
        True,
        False,
    ]


class Connection:
    """Stand-in for the connection of a request."""


def test_new_connections_have_a_separate_limit(moment):
    gate = RequestLimiter(Limit(rate_per_second=100, burst=100, connections_per_second=2), moment)
    connections = [Connection() for _ in range(4)]
    first = [gate.admits("/", connection) for connection in connections]
    moment.seconds += 1.0
    second = [gate.admits("/", connection) for connection in connections]

    assert first == [True, True, False, False]
    assert second == [True, True, True, True]


def test_connections_are_not_counted_without_a_limit(moment):
    gate = RequestLimiter(Limit(rate_per_second=100, burst=100), moment)

    assert all(gate.admits("/", Connection()) for _ in range(50))


def test_the_limits_equal_those_of_the_providers():
    assert (COINBASE_LIMIT.rate_per_second, COINBASE_LIMIT.burst) == (10, 15)
    assert (OANDA_LIMIT.rate_per_second, OANDA_LIMIT.connections_per_second) == (120, 2)
    assert (BINANCE_LIMIT.rate_per_second * 60, BINANCE_LIMIT.weights["/api/v3/klines"]) == (6000, 2)
