"""Ahead-of-time compilation of the functions that searches run; loads those already cached on disk."""

from optuna.distributions import FloatDistribution

from optimizer.backtest import kernel
from optimizer.objective.warm_up import precompile
from optimizer.search import tpe
from optimizer.strategies.registry import built_in_names


def compile_all() -> str | None:
    """Compile the functions that searches with built-in strategies run, unless they are cached on disk.

    Returns the cache folder; None without numba or without a writable folder.
    """
    for name in built_in_names():
        precompile(name)
    axes = tpe.SearchAxes.of({"any": FloatDistribution(0.0, 1.0)})
    if axes is None:  # numba is not installed
        return None
    tpe.load(axes)
    folder: str | None = kernel._trade.stats.cache_path  # type: ignore[attr-defined]  # numba's
    return folder
