"""Compilation to machine code where numba is installed; the same functions as plain Python where it is not."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., object])


def is_compiled() -> bool:
    """Whether numba is there. It has no wheel for Intel Macs and musl; there a backtest takes 1000 times longer."""
    return find_spec("numba") is not None


def njit(function: Function) -> Function:
    """The function compiled at its first call from Python and kept on disk, or unchanged where numba is absent.

    What it calls must be `inlined` functions of its own module: numba's disk cache watches only the file of the
    function that is kept, so an edit elsewhere would go unnoticed. No fastmath: every machine gives the same bits.
    """
    return _compiled(function, is_kept=True)


def inlined(function: Function) -> Function:
    """A function that compiled ones call and take into themselves.

    It is not kept on disk: a kept one comes back as machine code that nobody can take in any more, and a caller that is
    compiled then (for another type of array, say) runs ten times as slow.
    """
    return _compiled(function, is_kept=False)


def _compiled(function: Function, *, is_kept: bool) -> Function:
    if not is_compiled():
        return function
    import numba

    # With Python's error model every division would carry a branch that raises; that costs half the speed.
    compiled = numba.njit(cache=is_kept, error_model="numpy", forceinline=not is_kept)(function)
    return cast(Function, compiled)
