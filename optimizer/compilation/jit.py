"""Compilation to machine code with numba; without numba the same functions run as plain Python."""

from collections.abc import Callable
from importlib.util import find_spec
from types import FunctionType
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., object])


def is_compiled() -> bool:
    """Return whether numba is installed.

    It has no wheel for Intel Macs and musl; without it a backtest is 1000 times slower.
    """
    return find_spec("numba") is not None


def njit(function: Function) -> Function:
    """Compile a function at its first call from Python and cache it on disk; unchanged without numba.

    Its callees must be `inlined` functions of the same module: the disk cache tracks only the file of the cached
    function, so an edit in another file would go unnoticed. No fastmath: every machine gives the same bits.
    """
    if not is_compiled():
        return function
    import numba

    from optimizer.compilation.code_cache import CodeCache

    # With Python's error model every division carries a branch that raises, which halves the speed.
    options: dict[str, Any] = {"error_model": "numpy", "no_cfunc_wrapper": True}
    compiled: Any = numba.njit(**options)(function)
    compiled._cache = CodeCache(cast(FunctionType, function))  # numba's own cache refuses read-only folders
    return cast(Function, compiled)


def inlined(function: Function) -> Function:
    """Mark a function for inlining into compiled callers; called from Python, it runs as Python.

    It is not cached on disk: a cached function is loaded as machine code that cannot be inlined, and a caller compiled
    later (for another array type, for example) would run ten times slower.
    """
    if not is_compiled():
        return function
    from numba.extending import register_jitable

    # Wrappers for calls from Python and from C would add a third to the compile time.
    options: dict[str, Any] = {
        "error_model": "numpy",
        "forceinline": True,
        "no_cpython_wrapper": True,
        "no_cfunc_wrapper": True,
    }
    return register_jitable(**options)(function)
