"""Compile ahead of the first trial what searches run; what is on disk already is only loaded."""

from optuna.distributions import FloatDistribution

from optimizer import parzen
from optimizer.backtest import kernel
from optimizer.importing import built_in_names
from optimizer.warm import warm


def compile_all() -> str | None:
    """Compile what searches with the built-in strategies run, where it is not kept on disk already.

    Returns the folder in which the machine code is kept; None where numba is absent or no folder can be written.
    """
    for name in built_in_names():
        warm(name)
    axes = parzen.Axes.of({"any": FloatDistribution(0.0, 1.0)})
    if axes is None:  # nothing is compiled here
        return None
    parzen.load(axes)
    folder: str | None = kernel._trade.stats.cache_path  # type: ignore[attr-defined]  # numba's
    return folder
