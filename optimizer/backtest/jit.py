"""Compilation to machine code where numba is installed; the same functions as plain Python where it is not."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., object])


def is_compiled() -> bool:
    """Whether numba is there. It has no wheel for Intel Macs and musl; there a backtest takes 1000 times longer."""
    return find_spec("numba") is not None


def njit(function: Function) -> Function:
    """The function compiled at its first call and kept on disk, or unchanged where numba is absent.

    numba's disk cache watches only the file of the function that is called. A compiled function must
    therefore call compiled functions of its own module alone, or an edit elsewhere would go unnoticed.
    No fastmath: every machine gives the same bits.
    """
    if not is_compiled():
        return function
    import numba

    # With Python's error model every division would carry a branch that raises; that costs half the speed.
    return cast(Function, numba.njit(cache=True, error_model="numpy", forceinline=True)(function))
