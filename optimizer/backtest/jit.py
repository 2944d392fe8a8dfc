"""Compilation to machine code where numba is installed; the same functions as plain Python where it is not."""

from collections.abc import Callable
from importlib.util import find_spec
from types import FunctionType
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., object])


def is_compiled() -> bool:
    """Whether numba is there. It has no wheel for Intel Macs and musl; there a backtest takes 1000 times longer."""
    return find_spec("numba") is not None


def njit(function: Function) -> Function:
    """The function compiled at its first call from Python and kept on disk, or unchanged where numba is absent.

    What it calls must be `inlined` functions of its own module: the cache on disk watches only the file of the
    function that is kept, so an edit elsewhere would go unnoticed. No fastmath: every machine gives the same bits.
    """
    if not is_compiled():
        return function
    import numba

    from optimizer.backtest.code_cache import CodeCache

    # With Python's error model every division would carry a branch that raises; that costs half the speed.
    options: dict[str, Any] = {"error_model": "numpy", "no_cfunc_wrapper": True}
    compiled: Any = numba.njit(**options)(function)
    compiled._cache = CodeCache(
        cast(FunctionType, function)
    )  # numba's own refuses a folder that can be read and not written
    return cast(Function, compiled)


def inlined(function: Function) -> Function:
    """A function that compiled ones call and take into themselves; called from Python, it runs as Python.

    It is not kept on disk: a kept one comes back as machine code that nobody can take in any more, and a caller that is
    compiled then (for another type of array, say) runs ten times as slow.
    """
    if not is_compiled():
        return function
    from numba.extending import register_jitable

    # Wrappers for calls from Python and from C would take a third of the time to compile.
    options: dict[str, Any] = {
        "error_model": "numpy",
        "forceinline": True,
        "no_cpython_wrapper": True,
        "no_cfunc_wrapper": True,
    }
    return register_jitable(**options)(function)
