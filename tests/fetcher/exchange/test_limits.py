import pytest

from fetcher.exchange.limits import BINANCE_LIMIT, COINBASE_LIMIT, OANDA_LIMIT, Limit, TokenBucket


class Moment:
    seconds = 100.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def moment():
    return Moment()


def taken(bucket, requests):
    return sum(bucket.take() for _ in range(requests))


def test_a_rested_bucket_answers_its_burst_at_once(moment):
    bucket = TokenBucket(Limit(rate_per_second=10, burst=15), moment)

    assert taken(bucket, 40) == 15


def test_tokens_come_back_at_the_rate(moment):
    bucket = TokenBucket(Limit(rate_per_second=10, burst=15), moment)
    taken(bucket, 15)
    moment.seconds += 0.5

    assert taken(bucket, 40) == 5


def test_no_rest_holds_more_than_the_burst(moment):
    bucket = TokenBucket(Limit(rate_per_second=10, burst=15), moment)
    moment.seconds += 3600

    assert taken(bucket, 40) == 15


def test_refusals_cost_nothing(moment):
    bucket = TokenBucket(Limit(rate_per_second=10, burst=1), moment)
    taken(bucket, 1000)
    moment.seconds += 0.125

    assert bucket.take()


def test_a_path_takes_what_it_weighs(moment):
    bucket = TokenBucket(Limit(rate_per_second=1, burst=5, weights={"/heavy": 4}), moment)

    assert [bucket.take("/heavy"), bucket.take("/heavy"), bucket.take("/light"), bucket.take()] == [
        True,
        False,
        True,
        False,
    ]


def test_the_limits_are_the_providers():
    assert (COINBASE_LIMIT.rate_per_second, COINBASE_LIMIT.burst) == (10, 15)
    assert OANDA_LIMIT.rate_per_second == 120
    assert (BINANCE_LIMIT.rate_per_second * 60, BINANCE_LIMIT.weights["/api/v3/klines"]) == (6000, 2)
