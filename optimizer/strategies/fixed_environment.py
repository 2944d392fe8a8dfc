"""What a user's strategy finds around it: the same for every dataset of every trial, in every process."""

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np

SEED = 0


def surroundings(strategy: str) -> AbstractContextManager[None]:
    """Those of a strategy by its name; a built-in one draws nothing and needs none."""
    return _drawn_anew() if ":" in strategy else nullcontext()


@contextmanager
def _drawn_anew() -> Iterator[None]:
    """`random` and `numpy.random` begin at the same place each time; whoever drew from them before goes on after."""
    ours, numpys = random.getstate(), np.random.get_state()  # the state that strategies share
    random.seed(SEED)
    np.random.seed(SEED)
    try:
        yield
    finally:
        random.setstate(ours)
        np.random.set_state(numpys)
