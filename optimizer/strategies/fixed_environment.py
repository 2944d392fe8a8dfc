"""Fixed random state for user strategies: the same for every dataset of every trial, in every process."""

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np

SEED = 0
"""Seed of `random` and `numpy.random` during a call of a user strategy."""


def surroundings(strategy: str) -> AbstractContextManager[None]:
    """Return the context manager for calls of a strategy. Built-in strategies use no random numbers and need none."""
    return _drawn_anew() if ":" in strategy else nullcontext()


@contextmanager
def _drawn_anew() -> Iterator[None]:
    """Seed `random` and `numpy.random`; restore their previous states when the block ends."""
    ours, numpys = random.getstate(), np.random.get_state()  # the global state, which strategies use
    random.seed(SEED)
    np.random.seed(SEED)
    try:
        yield
    finally:
        random.setstate(ours)
        np.random.set_state(numpys)
