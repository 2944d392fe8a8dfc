"""Simulated kills: an exception after a number of writes."""


class Stopped(Exception):
    """The simulated kill."""


class Countdown:
    """Allows a number of steps and raises `Stopped` at each one after them."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def step(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Stopped
