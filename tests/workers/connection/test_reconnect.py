"""Reconnection after an outage: growing pauses and a maximum wait."""

import pytest

from tradeschool.errors import ServiceUnreachable
from workers.connection.reconnect import LONGEST_PAUSE_SECONDS, Outage

AWAY = ServiceUnreachable("gone")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)


def test_pauses_grow_to_a_maximum_and_then_the_error_is_raised() -> None:
    clock = Clock()
    outage = Outage(60.0, clock=clock, sleep=clock.sleep)

    with pytest.raises(ServiceUnreachable, match="gone"):
        for _ in range(1_000):
            outage.wait(AWAY)

    assert clock.pauses == sorted(clock.pauses)
    assert (clock.pauses[0], clock.pauses[-1]) == (0.2, LONGEST_PAUSE_SECONDS)
    assert 160.0 < clock.now <= 100.0 + 60.0 + LONGEST_PAUSE_SECONDS


def test_a_past_outage_does_not_count_for_the_next() -> None:
    clock = Clock()
    outage = Outage(1.0, clock=clock, sleep=clock.sleep)
    for _ in range(50):
        outage.wait(AWAY)
        outage.end()

    assert clock.pauses == [0.2] * 50
