"""Seeds of single trials, and the log and warning settings for Optuna."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import optuna


def trial_seed(seed: int, number: int) -> int:
    """Return the sampler seed of one trial, in [0, 2**32)."""
    return int.from_bytes(blake2b(f"{seed}:{number}".encode(), digest_size=4).digest(), "big")


def silence_optuna() -> None:
    """Route Optuna's log messages to `logging`, warnings and above only."""
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Suppress warnings on experimental options and on constraints that a sampler does not read.

    Such constraints are in the values that it is told.
    """
    silence_optuna()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
